//! Going on after a crash report: [`attempt`] calls something that traps or panics, and returns.
//!
//! The report is made as ever, to its last line; then the machine layer asks where the CPU goes on, and that is behind the call.

use core::{
    arch::global_asm,
    sync::atomic::{AtomicU64, Ordering},
};

use ksync::cpu::MAX_CPUS;
use machine::{panic, percpu, trap::TrapFrame};

global_asm!(
    // rdi: the function, rsi: where to leave the stack pointer.
    ".global guest_attempt",
    "guest_attempt:",
    "push rbp",
    "mov rbp, rsp",
    "push rbx",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "sub rsp, 8",
    "mov [rsi], rsp",
    "call rdi",
    ".global guest_survived",
    "guest_survived:",
    "add rsp, 8",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbx",
    "pop rbp",
    "ret",
);

unsafe extern "C" {
    fn guest_attempt(function: extern "C" fn(), place: *const AtomicU64);
    static guest_survived: u8;
}

static PLACES: [AtomicU64; MAX_CPUS] = [const { AtomicU64::new(0) }; MAX_CPUS];

/// Lets crashes inside [`attempt`] be survived from now on.
pub(crate) fn init() {
    panic::set_survivor(|frame: &mut TrapFrame| {
        frame.rip = (&raw const guest_survived).addr() as u64;
        frame.rsp = PLACES[percpu::current_cpu().index()].load(Ordering::Relaxed);
    });
}

/// Calls `function` on this CPU, with interrupts off; returns when it has crashed and been reported.
pub(crate) fn attempt(function: extern "C" fn()) {
    ksync::irq::without_interrupts(|| {
        let place = &raw const PLACES[percpu::current_cpu().index()];
        // SAFETY: the frames that a crash abandons own nothing; callee-saved registers are those of the entry.
        unsafe { guest_attempt(function, place) };
    });
}
