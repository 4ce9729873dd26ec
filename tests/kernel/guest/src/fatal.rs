//! Scenarios that end the machine: each does one thing that must not go unnoticed, and never comes back.

use alloc::vec::Vec;
use core::{arch::asm, fmt, hint, sync::atomic::AtomicU8};

use ksync::{Once, cpu::CpuId};
use machine::{
    boot::BootRecord,
    cpu, hooks, platform,
    thread::{self, ThreadContext},
    trap::TrapFrame,
};

static DATA: AtomicU8 = AtomicU8::new(0xC3);
static BOOT: Once<&'static ThreadContext> = Once::new();
static OTHER: Once<&'static ThreadContext> = Once::new();

/// Never ends; also what waits for a non-maskable interrupt.
pub(crate) fn endless(_: &'static BootRecord) -> ! {
    log::info!("waiting for ever");
    loop {
        cpu::halt();
    }
}

fn survived() -> ! {
    panic!("this should not have been survived")
}

pub(crate) fn write_code(_: &'static BootRecord) -> ! {
    let code = core::ptr::with_exposed_provenance_mut::<u8>(cpu::enable_protections as *const () as usize);
    // SAFETY: the page is read-only, so this faults; nothing is changed.
    unsafe { code.write_volatile(0) };
    survived()
}

pub(crate) fn execute_data(_: &'static BootRecord) -> ! {
    // SAFETY: the page is not executable, so this faults; otherwise it would return at once.
    unsafe { asm!("call {}", in(reg) DATA.as_ptr()) };
    survived()
}

pub(crate) fn write_null(_: &'static BootRecord) -> ! {
    // SAFETY: nothing is mapped there, so this faults.
    unsafe { asm!("mov qword ptr [{}], 1", in(reg) 0x18_u64) };
    survived()
}

pub(crate) fn general_protection(_: &'static BootRecord) -> ! {
    // SAFETY: the address is not canonical, so this faults.
    unsafe { asm!("mov {0}, [{0}]", inout(reg) 0x8000_0000_0000_0000_u64 => _) };
    survived()
}

pub(crate) fn divide(_: &'static BootRecord) -> ! {
    // SAFETY: dividing by zero faults.
    unsafe { asm!("xor edx, edx", "div {:e}", in(reg) 0, inout("eax") 1 => _, out("edx") _) };
    survived()
}

/// No stack at all: neither the fault nor its own frame can be pushed.
pub(crate) fn double_fault(_: &'static BootRecord) -> ! {
    // SAFETY: nothing continues on this stack; the push faults, and so does the delivery of that fault.
    unsafe { asm!("mov rsp, 0x2000", "push rax", options(noreturn)) }
}

#[inline(never)]
fn descend(depth: u64) -> u64 {
    let filling = [depth; 64];
    hint::black_box(&filling);
    if depth == u64::MAX { 0 } else { descend(depth + 1) + filling[3] }
}

pub(crate) fn overflow_boot_stack(_: &'static BootRecord) -> ! {
    descend(0);
    survived()
}

extern "C" fn descending(_: usize) -> ! {
    descend(0);
    survived()
}

pub(crate) fn overflow_thread_stack(_: &'static BootRecord) -> ! {
    hooks::set_thread_name(|out| out.write_str("deep thinker"));
    cpu::disable_interrupts();
    let boot = ThreadContext::boot();
    match ThreadContext::create(descending, 0) {
        Ok(deep) => thread::switch(boot, deep),
        Err(error) => panic!("no stack: {error:?}"),
    }
    survived()
}

pub(crate) fn overflow_on_another_processor(record: &'static BootRecord) -> ! {
    fn enter(_: CpuId) -> ! {
        descend(0);
        survived()
    }
    let started = platform::bring_up(record).map(|platform| platform::start_cpus(platform, enter));
    match started {
        Ok(Ok(report)) => log::info!("{} processors", report.online),
        other => panic!("no other processor: {other:?}"),
    }
    loop {
        cpu::halt();
    }
}

pub(crate) fn out_of_memory(_: &'static BootRecord) -> ! {
    let vector: Vec<u8> = Vec::with_capacity(hint::black_box(1 << 33));
    hint::black_box(&vector);
    survived()
}

pub(crate) fn panic(_: &'static BootRecord) -> ! {
    panic!("the answer is {}", hint::black_box(42))
}

/// The report asks for the thread's name, and that panics as well.
pub(crate) fn panic_twice(_: &'static BootRecord) -> ! {
    fn name(_: &mut dyn fmt::Write) -> fmt::Result {
        panic!("the thread has no name")
    }
    hooks::set_thread_name(name);
    panic!("the first of two")
}

/// The handler of an interrupt panics; the report has to find its way back through the stubs.
pub(crate) fn panic_in_interrupt(_: &'static BootRecord) -> ! {
    fn handler(vector: u8, _: &mut TrapFrame) {
        panic!("vector {vector} has no device")
    }
    hooks::set_interrupt(handler);
    // SAFETY: the vector leads to the stubs, which save and restore every register.
    unsafe { asm!("int 0x40") };
    survived()
}

/// The switch notices before it touches a register.
pub(crate) fn switch_with_interrupts_on(record: &'static BootRecord) -> ! {
    if let Err(error) = platform::bring_up(record) {
        log::error!("{error:?}");
        loop {
            cpu::halt();
        }
    }
    let boot = *BOOT.call_once(ThreadContext::boot);
    if let Ok(other) = ThreadContext::create(descending, 0) {
        thread::switch(boot, OTHER.call_once(|| other));
    }
    loop {
        cpu::halt();
    }
}
