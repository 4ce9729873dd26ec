//! The end of the road: one report, whole and readable, then the panic ladder, then a halt.
//!
//! Two ways in: [`panicked`] for Rust panics, `trapped` for fatal exceptions. The first CPU to arrive reports; others stop
//! silently; a panic inside the report prints one line more and goes on to the halt. Nothing here allocates or waits unbounded.
//!
//! Context: any, including NMI and the double-fault stack.

use core::{
    fmt::{self, Write},
    panic::PanicInfo,
    sync::atomic::{AtomicU32, Ordering},
};

use x86_64::registers::control::Cr2;

use crate::{
    boot,
    console::Emergency,
    cpu, frame, heap, hooks, stack,
    trap::{TrapFrame, TrapReport, probe, vector},
};

/// Nobody has panicked.
const NOBODY: u32 = u32::MAX;
/// Longest backtrace.
const MAX_FRAMES: usize = 32;
/// Longest thread name that is printed whole.
const NAME_SIZE: usize = 48;

static OWNER: AtomicU32 = AtomicU32::new(NOBODY);
/// What to tell QEMU's test exit at the end; 0 for nothing.
static EXIT_CODE: AtomicU32 = AtomicU32::new(0);
/// As [`EXIT_CODE`], after a fatal exception.
static FAULT_EXIT_CODE: AtomicU32 = AtomicU32::new(0);

/// Makes a panic end QEMU through its test exit with `code` (not 0) instead of halting: for tests.
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

/// Returns whether some CPU has panicked.
#[must_use]
pub fn is_panicking() -> bool {
    // ORDERING: a hint for loops that should stop; nothing is published through it.
    OWNER.load(Ordering::Relaxed) != NOBODY
}

/// Reports a Rust panic and stops the machine; the body of the `#[panic_handler]`.
pub fn panicked(info: &PanicInfo<'_>) -> ! {
    cpu::disable_interrupts();
    let mut out = enter(&info.message());
    // Writing to the emergency console cannot fail.
    let _ = write!(out, "\n\npanic: {}\n", info.message());
    if let Some(location) = info.location() {
        let _ = writeln!(out, "at {location}");
    }
    let name = Name::current();
    let _ = writeln!(out, "cpuid = {}; apic id = {:02x}", hooks::cpu(), cpu::apic_id());
    let _ = writeln!(out, "current thread          = {}", name.as_str());
    finish(&mut out, cpu::frame_pointer(), &EXIT_CODE)
}

/// Reports a fatal exception and stops the machine.
pub(crate) fn trapped(frame: &TrapFrame) -> ! {
    let mut out = enter(&format_args!("trap, vector {} at {:#x}", frame.vector, frame.rip));
    let fault_address = Cr2::read_raw();
    // A stack overflow usually arrives as a double fault: the processor could not push the page fault's frame.
    let may_be_guard = [vector::PAGE_FAULT, vector::DOUBLE_FAULT].contains(&(frame.vector as u8));
    let name = Name::current();
    let report = TrapReport {
        frame,
        cpu: hooks::cpu().0,
        apic_id: cpu::apic_id(),
        fault_address,
        stack_overflow: may_be_guard && stack::is_guard(fault_address),
        thread: name.as_str(),
        image_offset: boot::record().map_or(0, |record| record.image_offset),
    };
    let _ = write!(out, "{report}");
    let _ = writeln!(out, "panic: {}", report.description());
    finish(&mut out, frame.rbp, &FAULT_EXIT_CODE)
}

/// Lets one CPU through; the others stop here. A second arrival of the same CPU prints one line and skips the report.
fn enter(what: &dyn fmt::Display) -> Emergency {
    let me = cpu::apic_id();
    // ORDERING: acquire-release: one winner, and it sees what was written before an earlier winner's attempt.
    match OWNER.compare_exchange(NOBODY, me, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => Emergency::begin(),
        Err(owner) if owner == me => {
            let _ = writeln!(Emergency, "panic while reporting a panic: {what}");
            stop(&EXIT_CODE)
        }
        Err(_) => cpu::halt_forever(),
    }
}

/// Prints what is common to all reports, runs the ladder and stops.
fn finish(out: &mut Emergency, frame_pointer: u64, exit_code: &AtomicU32) -> ! {
    backtrace(out, frame_pointer);
    if let Some(usage) = heap::usage_bounded() {
        let _ = writeln!(out, "heap: {usage}");
    }
    if let Some(usage) = frame::usage_bounded() {
        let _ = writeln!(out, "memory: {} of {} frames free", usage.free, usage.total);
    }
    hooks::panic();
    stop(exit_code)
}

/// Ends the emulator in tests, else halts this CPU.
fn stop(exit_code: &AtomicU32) -> ! {
    let code = exit_code.load(Ordering::Relaxed);
    if code != 0 {
        cpu::debug_exit(code);
    }
    let _ = writeln!(Emergency, "The machine is halted.");
    cpu::halt_forever()
}

/// Walks saved frame pointers with guarded reads and prints return addresses, as they run and as they are in the kernel file.
fn backtrace(out: &mut Emergency, mut frame_pointer: u64) {
    let offset = boot::record().map_or(0, |record| record.image_offset);
    let _ = writeln!(out, "stack backtrace:");
    for number in 0..MAX_FRAMES {
        let (Ok(next), Ok(back)) = (probe::read(frame_pointer), probe::read(frame_pointer.wrapping_add(8))) else {
            return;
        };
        if back == 0 {
            return;
        }
        let _ = writeln!(out, "#{number} {back:#x} (image {:#x})", back.wrapping_sub(offset));
        // Stacks grow down, so each caller's frame lies higher; anything else is a torn chain.
        if next <= frame_pointer {
            return;
        }
        frame_pointer = next;
    }
}

/// The running thread's name, copied so that the report can borrow it.
struct Name {
    octets: [u8; NAME_SIZE],
    len: usize,
}

impl Name {
    fn current() -> Self {
        let mut name = Self { octets: [0; NAME_SIZE], len: 0 };
        // A longer name is cut.
        let _ = hooks::thread_name(&mut name);
        name
    }

    fn as_str(&self) -> &str {
        self.octets.get(..self.len).and_then(|octets| core::str::from_utf8(octets).ok()).unwrap_or("?")
    }
}

impl Write for Name {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            let len = character.len_utf8();
            let slot = self.octets.get_mut(self.len..self.len + len).ok_or(fmt::Error)?;
            character.encode_utf8(slot);
            self.len += len;
        }
        Ok(())
    }
}
