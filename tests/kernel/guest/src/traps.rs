//! Vectors: each arrives with its own number and its registers intact, and the exit hook runs where it may.

use core::{
    arch::asm,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
};

use machine::{cpu, hooks, trap::TrapFrame};

use crate::harness::{Outcome, Test};

pub(crate) const TESTS: &[Test] = tests![
    an_interrupt_arrives_with_its_own_number,
    the_exit_hook_runs_where_interrupts_were_on,
    registers_survive_an_interrupt,
    a_breakpoint_is_reported_and_passed,
];

static COUNT: AtomicU32 = AtomicU32::new(0);
static VECTORS: AtomicU64 = AtomicU64::new(0);
static EXITS: AtomicU32 = AtomicU32::new(0);

fn on_interrupt(vector: u8, frame: &mut TrapFrame) {
    COUNT.fetch_add(1, Ordering::Relaxed);
    VECTORS.fetch_add(u64::from(vector) << 16 | frame.vector, Ordering::Relaxed);
}

fn an_interrupt_arrives_with_its_own_number() -> Outcome {
    hooks::set_interrupt(on_interrupt);
    // SAFETY: the vectors are not in use, and their stubs save and restore everything.
    unsafe { asm!("int 0x20", "int 0x40", "int 0x80", "int 0xff") };
    let (count, vectors) = (COUNT.load(Ordering::Relaxed), VECTORS.load(Ordering::Relaxed));
    let expected: u64 = [0x20, 0x40, 0x80, 0xFF].iter().map(|vector| vector << 16 | vector).sum();
    ensure!((count, vectors) == (4, expected), "{count} interrupts, numbers {vectors:#x}");
    Ok(())
}

fn the_exit_hook_runs_where_interrupts_were_on() -> Outcome {
    hooks::set_interrupt_exit(|| {
        EXITS.fetch_add(1, Ordering::Relaxed);
    });
    // SAFETY: as above.
    unsafe { asm!("int 0x41") };
    let off = EXITS.load(Ordering::Relaxed);
    // The 8259s are still as firmware left them: silence them before interrupts go on.
    // SAFETY: their mask registers; this scenario uses no device.
    unsafe { asm!("out 0x21, al", "out 0xa1, al", in("al") 0xFF_u8) };
    cpu::enable_interrupts();
    // SAFETY: as above.
    unsafe { asm!("int 0x41") };
    cpu::disable_interrupts();
    let on = EXITS.load(Ordering::Relaxed);
    ensure!(off == 0, "preemption was offered to code that had interrupts off");
    ensure!(on == 1, "preemption was offered {on} times for one interrupt");
    Ok(())
}

fn registers_survive_an_interrupt() -> Outcome {
    let mut sum: u64;
    // SAFETY: only registers that are declared change; the vector's stub restores all of them.
    unsafe {
        asm!(
            "mov rax, 1", "mov rcx, 2", "mov rdx, 4", "mov rsi, 8", "mov rdi, 16", "mov r8, 32", "mov r9, 64",
            "mov r10, 128", "mov r11, 256", "mov r12, 512", "mov r13, 1024", "mov r14, 2048", "mov r15, 4096",
            "int 0x42",
            "add rax, rcx", "add rax, rdx", "add rax, rsi", "add rax, rdi", "add rax, r8", "add rax, r9",
            "add rax, r10", "add rax, r11", "add rax, r12", "add rax, r13", "add rax, r14", "add rax, r15",
            out("rax") sum, out("rcx") _, out("rdx") _, out("rsi") _, out("rdi") _, out("r8") _, out("r9") _,
            out("r10") _, out("r11") _, out("r12") _, out("r13") _, out("r14") _, out("r15") _,
        );
    }
    ensure!(sum == 8191, "the registers hold {sum:#x}");
    Ok(())
}

fn a_breakpoint_is_reported_and_passed() -> Outcome {
    // SAFETY: a breakpoint changes nothing.
    unsafe { asm!("int3") };
    Ok(())
}
