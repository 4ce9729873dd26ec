//! The end of the road: one report, whole and readable, then a restart.
//!
//! Two ways in: [`panicked`] for Rust panics, `trapped` for fatal exceptions. A CPU first writes down what happened to it
//! ([`mod@incident`]), then asks for the world ([`crate::kdb`]) by compare-and-swap, before the first octet is printed. The winner stops
//! the others by NMI, stops DMA, and prints its report; then, in order of arrival and labelled, the incidents of the CPUs that
//! lost. After that come the debugger (if asked for), the crash dump, and [`mod@end`].
//!
//! Every step that calls out of this crate runs under a guard: a panic, a fault or a lock inside the report costs that step and a
//! line that says so. Nothing here allocates or waits unbounded. Context: any, including NMI and the double-fault stack.

mod end;
mod incident;

use core::{
    fmt::{self, Write},
    panic::PanicInfo,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
};

use ksync::{Once, cpu::CpuId};
use x86_64::registers::control::Cr2;

use crate::{
    backtrace,
    console::Emergency,
    cpu, frame, heap, hooks,
    kdb::{
        self, Caught, Reason, Resume, WORLD, World, guard, nmi,
        stop::{Claim, Purpose},
    },
    percpu, reset,
    trap::{self, TrapFrame},
};

pub use self::end::{reboot_wait_time, set_reboot_wait_time};

/// What to tell QEMU's test exit at the end; 0 for nothing.
static EXIT_CODE: AtomicU32 = AtomicU32::new(0);
/// As [`EXIT_CODE`], after a fatal exception.
static FAULT_EXIT_CODE: AtomicU32 = AtomicU32::new(0);
/// Something has gone wrong in the report outside any guard.
static BROKEN: AtomicBool = AtomicBool::new(false);
static SURVIVOR: Once<fn(&mut TrapFrame)> = Once::new();

/// Makes a panic end QEMU through its test exit with `code` (not 0) instead of restarting: for tests.
pub fn set_exit_code(code: u32) {
    // ORDERING: set once at boot; a panic reads it much later.
    EXIT_CODE.store(code, Ordering::Relaxed);
    set_fault_exit_code(code);
}

/// Makes a fatal exception end QEMU with a code of its own; after [`set_exit_code`].
pub fn set_fault_exit_code(code: u32) {
    // ORDERING: as above.
    FAULT_EXIT_CODE.store(code, Ordering::Relaxed);
}

/// Makes a reported CPU go on where `survive` points its registers, instead of ending the machine: for tests that provoke report
/// after report in one boot. Everything up to the last line of the report is as ever.
pub fn set_survivor(survive: fn(&mut TrapFrame)) {
    SURVIVOR.call_once(|| survive);
}

/// Whether a test wants CPUs to go on after a report.
pub(crate) fn is_survivable() -> bool {
    SURVIVOR.get().is_some()
}

/// Returns whether some CPU has panicked or trapped.
#[must_use]
pub fn is_panicking() -> bool {
    WORLD.owner().is_some_and(|(_, purpose)| purpose == Purpose::Report)
}

/// Reports a Rust panic and ends the machine; the body of the `#[panic_handler]`.
pub fn panicked(info: &PanicInfo<'_>) -> ! {
    cpu::disable_interrupts();
    guard::on_panic(info);
    let me = kdb::me();
    // Like an exception: an NMI that asks this CPU to stop lets it write down first.
    let block = percpu::this_block();
    let depth = block.exceptions();
    block.set_exceptions(depth + 1);
    let mut frame = TrapFrame::empty();
    trap::capture(&mut frame);
    if !incident::record_panic(me, info, &frame) {
        nested(me, &info.message());
    }
    settle(me, &mut frame);
    block.set_exceptions(depth);
    // SAFETY: a test's survivor has pointed the frame at a place of this CPU that may go on; this stack is given up.
    unsafe { trap::resume(&frame) }
}

/// Reports a fatal exception and ends the machine; returns only for a test's survivor.
pub(crate) fn trapped(frame: &mut TrapFrame) {
    let me = kdb::me();
    if !incident::record_trap(me, frame, Cr2::read_raw()) {
        nested(me, &format_args!("trap, vector {} at {:#x}", frame.vector, frame.rip));
    }
    settle(me, frame);
}

/// This CPU has an incident already. While that was being written down, this is noted and the report goes on; later, it is
/// the end of the report.
fn nested(me: CpuId, what: &dyn fmt::Display) {
    if !WORLD.is_mine(me) && !incident::is_recorded(me) {
        return incident::record_nested(me, what);
    }
    if !BROKEN.swap(true, Ordering::Relaxed) {
        let _ = writeln!(Emergency::kept(), "panic while reporting a panic: {what}");
        hooks::panic();
    }
    end::now(EXIT_CODE.load(Ordering::Relaxed))
}

/// With this CPU's incident written down: report it, or hand it to whoever reports. Returns only for a test's survivor.
fn settle(me: CpuId, frame: &mut TrapFrame) {
    loop {
        match WORLD.claim(me, Purpose::Report) {
            Claim::Won => return report(me, frame),
            // The debugger itself has failed: its world becomes the report's.
            Claim::Nested(Purpose::Debugger) => {
                WORLD.turn_into_report(me);
                return report(me, frame);
            }
            Claim::Nested(Purpose::Report) => nested(me, &"the report was entered twice"),
            Claim::Lost(Purpose::Debugger) => nmi::hold(frame),
            Claim::Lost(Purpose::Report) => {
                incident::arrive(me);
                nmi::hold(frame);
                return survive(frame);
            }
        }
    }
}

/// Points a test's CPU at where it goes on.
fn survive(frame: &mut TrapFrame) {
    match SURVIVOR.get() {
        Some(survivor) => survivor(frame),
        None => cpu::halt_forever(),
    }
}

/// Runs a step of the report; says on the console if it failed.
fn step<R>(name: &str, work: impl FnOnce() -> R) -> Option<R> {
    match guard::run(work) {
        Ok(result) => Some(result),
        Err(why) => {
            complain(name, &why);
            None
        }
    }
}

fn complain(name: &str, why: &Caught) {
    let mut out = Emergency::kept();
    let _ = match why {
        Caught::Panicked(message) => {
            writeln!(out, "panic while reporting a panic: {} ({name})", message.as_str())
        }
        other => writeln!(out, "while reporting a panic: {name}: {other}"),
    };
}

/// Reports everything; this CPU owns the world.
fn report(me: CpuId, frame: &mut TrapFrame) {
    nmi::stop_others();
    let quiet = guard::run(hooks::panic);
    let mut out = Emergency::begin();
    let own = incident::own(me);
    step("report", || print(&mut out, own));
    if let Err(why) = quiet {
        complain("stopping DMA", &why);
    }
    for cpu in nmi::missing(me) {
        let _ = writeln!(out, "cpu {cpu} (apic id {:02x}) does not answer", percpu::block(cpu).apic_id());
    }
    step("memory", || usage(&mut out));
    step("further reports", || further(&mut out));
    if let Some(survivor) = SURVIVOR.get() {
        survivor(frame);
        incident::clear();
        return nmi::resume_others();
    }
    debug(own.is_panic, own.message.as_str(), frame);
    let reason = if own.is_panic { Reason::Panic } else { Reason::Trap };
    step("crash dump", || hooks::dump(&mut World::new(reason, frame, own.message.as_str())));
    let code = if own.is_panic { &EXIT_CODE } else { &FAULT_EXIT_CODE };
    // ORDERING: relaxed; set at boot.
    end::run(code.load(Ordering::Relaxed))
}

/// Prints an incident and its backtrace.
fn print(out: &mut Emergency, incident: &incident::Incident) {
    let _ = write!(out, "{incident}");
    let _ = writeln!(out, "KDB: stack backtrace:");
    let _ = backtrace::write(out, incident.frame.rip, incident.frame.rbp);
}

fn usage(out: &mut Emergency) {
    if let Some(usage) = heap::usage_bounded() {
        let _ = writeln!(out, "heap: {usage}");
    }
    if let Some(usage) = frame::usage_bounded() {
        let _ = writeln!(out, "memory: {} of {} frames free", usage.free, usage.total);
    }
}

/// Prints the incidents of the other CPUs, in order of arrival. Those that confirmed have arrived, if they had anything to say.
fn further(out: &mut Emergency) {
    const ORDINALS: [&str; 3] = ["second", "third", "fourth"];
    for number in 1.. {
        let Some(incident) = incident::arrived(number) else { return };
        let ordinal = ORDINALS.get(number as usize - 1).copied().unwrap_or("further");
        let _ = writeln!(out, "\n{ordinal} report, cpu {}:", incident.cpu);
        print(out, incident);
    }
}

/// Enters the debugger if the settings ask for it.
fn debug(is_panic: bool, message: &str, frame: &mut TrapFrame) {
    let wanted = if is_panic { kdb::debugger_on_panic() } else { kdb::debugger_on_trap() };
    let Some(debugger) = kdb::debugger().filter(|_| wanted) else { return };
    let reason = if is_panic { Reason::Panic } else { Reason::Trap };
    match step("debugger", || debugger(&mut World::new(reason, frame, message))) {
        Some(Resume::Reset) => reset::restart(),
        Some(Resume::Halt) => cpu::halt_forever(),
        Some(Resume::Continue | Resume::Step) | None => {}
    }
}

/// Provokes a trap, as FreeBSD's `debug.kdb.trap` does: reads through a null pointer.
///
/// # Context
/// Thread. Does not return: the machine reports and restarts.
#[inline(never)]
pub fn provoke_trap() {
    // SAFETY: nothing is mapped there, so this faults, which is the purpose.
    unsafe { core::arch::asm!("mov {0}, [{1}]", out(reg) _, in(reg) 0x10_u64, options(nostack)) };
}
