//! What the rooms above plug into the floor: one function each, set once during boot.
//!
//! The floor must not know threads, clocks or drivers, but its trap handler and its panic report want to name them. Each hook is
//! an [`ksync::Once`]: reading it is one acquire load and is allowed in any context, NMI included. A hook that is not set yet
//! has a neutral default.

use core::fmt;

use ksync::{Once, cpu::CpuId};

use crate::{kdb::World, trap::TrapFrame};

/// Runs a device, timer or inter-processor interrupt (vectors 32 to 255).
///
/// # Context
/// Interrupt: interrupts are off; the function acknowledges the controller itself.
pub type InterruptHook = fn(vector: u8, frame: &mut TrapFrame);

/// Writes the name of the running thread.
///
/// # Context
/// Any, including NMI and panic: takes no lock.
pub type NameHook = fn(out: &mut dyn fmt::Write) -> fmt::Result;

static INTERRUPT: Once<InterruptHook> = Once::new();
static INTERRUPT_EXIT: Once<fn()> = Once::new();
static NMI: Once<fn(&mut TrapFrame) -> bool> = Once::new();
static CPU: Once<fn() -> CpuId> = Once::new();
static THREAD_NAME: Once<NameHook> = Once::new();
static CLOCK: Once<fn() -> u64> = Once::new();
static PANIC: Once<fn()> = Once::new();
static DUMP: Once<fn(&mut World<'_>)> = Once::new();
static CONSOLE_INPUT: Once<fn()> = Once::new();
static KEY_WAIT: Once<fn()> = Once::new();

/// Installs the dispatcher of vectors 32 to 255; the first call wins.
pub fn set_interrupt(hook: InterruptHook) {
    INTERRUPT.call_once(|| hook);
}

/// Installs the function that runs after each interrupt which found interrupts enabled; it may switch threads.
pub fn set_interrupt_exit(hook: fn()) {
    INTERRUPT_EXIT.call_once(|| hook);
}

/// Installs the NMI handler; it answers whether the NMI was expected (a stop request), else it is fatal.
pub fn set_nmi(hook: fn(&mut TrapFrame) -> bool) {
    NMI.call_once(|| hook);
}

/// Installs the function that names the executing CPU.
pub fn set_cpu(hook: fn() -> CpuId) {
    CPU.call_once(|| hook);
}

/// Installs the function that names the running thread.
pub fn set_thread_name(hook: NameHook) {
    THREAD_NAME.call_once(|| hook);
}

/// Installs the clock that stamps log lines: nanoseconds since boot.
pub fn set_clock(hook: fn() -> u64) {
    CLOCK.call_once(|| hook);
}

/// Installs what a crash does before its report is printed, the other CPUs stopped: it stops the cards' DMA.
///
/// # Context
/// Any, NMI included: takes no lock, waits for nothing without a bound. Runs under a guard.
pub fn set_panic(hook: fn()) {
    PANIC.call_once(|| hook);
}

/// Installs what keeps a crash for later, after its report: the crash dump. It gets the stopped world and runs under a guard.
///
/// # Context
/// As for [`set_panic`].
pub fn set_dump(hook: fn(&mut World<'_>)) {
    DUMP.call_once(|| hook);
}

/// Installs the function that wakes the console's reader after input arrived by interrupt.
pub fn set_console_input(hook: fn()) {
    CONSOLE_INPUT.call_once(|| hook);
}

/// Installs what is to be done before a crashed machine waits for a key, for as long as it takes: nothing may reset it meanwhile.
///
/// # Context
/// As for [`set_panic`].
pub fn set_key_wait(hook: fn()) {
    KEY_WAIT.call_once(|| hook);
}

/// Hands an interrupt to the dispatcher; without one it is dropped.
#[inline]
pub(crate) fn interrupt(vector: u8, frame: &mut TrapFrame) {
    if let Some(hook) = INTERRUPT.get() {
        hook(vector, frame);
    }
}

/// Gives the scheduler its chance to preempt.
#[inline]
pub(crate) fn interrupt_exit() {
    if let Some(hook) = INTERRUPT_EXIT.get() {
        hook();
    }
}

/// Returns whether somebody expected this NMI.
pub(crate) fn nmi(frame: &mut TrapFrame) -> bool {
    NMI.get().is_some_and(|hook| hook(frame))
}

/// Returns the executing CPU, or the boot CPU while nobody can tell.
pub(crate) fn cpu() -> CpuId {
    CPU.get().map_or(CpuId::BOOT, |hook| hook())
}

/// Writes the running thread's name, or `boot` before there are threads.
pub(crate) fn thread_name(out: &mut dyn fmt::Write) -> fmt::Result {
    match THREAD_NAME.get() {
        Some(hook) => hook(out),
        None => out.write_str("boot"),
    }
}

/// Returns the time since boot in nanoseconds once there is a clock.
pub(crate) fn clock() -> Option<u64> {
    CLOCK.get().map(|hook| hook())
}

/// Runs the panic ladder, if it has been installed.
pub(crate) fn panic() {
    if let Some(hook) = PANIC.get() {
        hook();
    }
}

/// Keeps the crash for later, if somebody does.
pub(crate) fn dump(world: &mut World<'_>) {
    if let Some(hook) = DUMP.get() {
        hook(world);
    }
}

/// Says that the machine is about to wait for a key.
pub(crate) fn key_wait() {
    if let Some(hook) = KEY_WAIT.get() {
        hook();
    }
}

/// Wakes the console's reader.
pub(crate) fn console_input() {
    if let Some(hook) = CONSOLE_INPUT.get() {
        hook();
    }
}
