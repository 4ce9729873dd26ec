//! The assembly that saves and restores registers around [`super::dispatch`].
//!
//! Each stub is 16 octets: a dummy error code where the processor pushes none (so that every frame has one shape), the vector, a
//! jump to the common part. The processor aligned the stack before pushing its five words; with ours that makes 22, so the call
//! is made with the alignment the ABI wants.

use super::TrapFrame;

core::arch::global_asm!(
    ".pushsection .text.sluice_trap_stubs, \"ax\", @progbits",
    ".balign 16",
    ".global sluice_trap_stubs",
    "sluice_trap_stubs:",
    ".set vector, 0",
    ".rept 256",
    ".balign 16",
    // The processor pushes an error code for 8, 10-14, 17, 21, 29 and 30.
    ".if (vector != 8) && (vector < 10 || vector > 14) && (vector != 17) && (vector != 21) && (vector != 29) && (vector != 30)",
    "pushq $0",
    ".endif",
    "pushq $vector",
    ".if vector < 32",
    "jmp sluice_exception_common",
    ".else",
    "jmp sluice_trap_common",
    ".endif",
    ".set vector, vector + 1",
    ".endr",
    ".popsection",
    options(att_syntax)
);

core::arch::global_asm!(
    ".pushsection .text.sluice_trap_stubs, \"ax\", @progbits",
    ".macro sluice_save_registers",
    "push rax",
    "push rbx",
    "push rcx",
    "push rdx",
    "push rsi",
    "push rdi",
    "push rbp",
    "push r8",
    "push r9",
    "push r10",
    "push r11",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "cld",
    "mov rdi, rsp",
    ".endm",
    ".balign 16",
    ".global sluice_trap_common",
    "sluice_trap_common:",
    "sluice_save_registers",
    "call {interrupt}",
    // Also where a saved frame is loaded from: rsp points at it.
    "sluice_trap_return:",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop r11",
    "pop r10",
    "pop r9",
    "pop r8",
    "pop rbp",
    "pop rdi",
    "pop rsi",
    "pop rdx",
    "pop rcx",
    "pop rbx",
    "pop rax",
    "add rsp, 16",
    "iretq",
    // Exceptions count in this processor's block (offset 8), before anything else: an NMI that arrives from here on leaves the
    // handler alone.
    ".balign 16",
    ".global sluice_exception_common",
    "sluice_exception_common:",
    "inc dword ptr gs:[8]",
    ".global sluice_exception_counted",
    "sluice_exception_counted:",
    "sluice_save_registers",
    "call {exception}",
    "dec dword ptr gs:[8]",
    "jmp sluice_trap_return",
    // rdi: a saved frame to go on with.
    ".global sluice_trap_resume",
    "sluice_trap_resume:",
    "mov rsp, rdi",
    "jmp sluice_trap_return",
    // rdi: where to save the caller's registers, as they are when this returns.
    ".global sluice_trap_capture",
    "sluice_trap_capture:",
    "mov [rdi], r15",
    "mov [rdi + 8], r14",
    "mov [rdi + 16], r13",
    "mov [rdi + 24], r12",
    "mov [rdi + 64], rbp",
    "mov [rdi + 104], rbx",
    "mov rax, [rsp]",
    "mov [rdi + 136], rax",
    "mov [rdi + 144], cs",
    "pushfq",
    "pop rax",
    "mov [rdi + 152], rax",
    "lea rax, [rsp + 8]",
    "mov [rdi + 160], rax",
    "mov [rdi + 168], ss",
    "ret",
    ".global sluice_trap_end",
    "sluice_trap_end:",
    ".popsection",
    interrupt = sym super::trap_from_stub,
    exception = sym super::exception_from_stub,
);

unsafe extern "C" {
    /// The first stub; a label, not a function to call.
    static sluice_trap_stubs: u8;
    static sluice_trap_common: u8;
    static sluice_trap_end: u8;
    static sluice_exception_common: u8;
    static sluice_exception_counted: u8;
    fn sluice_trap_resume(frame: *const TrapFrame) -> !;
    fn sluice_trap_capture(frame: *mut TrapFrame);
}

const STUB_SIZE: u64 = 16;

/// Returns the address of the stub of `vector`.
pub(crate) fn stub_address(vector: u8) -> u64 {
    (&raw const sluice_trap_stubs).addr() as u64 + u64::from(vector) * STUB_SIZE
}

fn at(label: *const u8) -> u64 {
    label.addr() as u64
}

/// Whether `address` lies in the stubs, through which the debugger is entered.
pub(crate) fn is_stub(address: u64) -> bool {
    let stubs = at(&raw const sluice_trap_stubs);
    let common = at(&raw const sluice_trap_common)..at(&raw const sluice_trap_end);
    (stubs..stubs + 256 * STUB_SIZE).contains(&address) || common.contains(&address)
}

/// Whether the instruction at `rip` belongs to an exception that has been taken and not yet counted.
pub(crate) fn is_entering_exception(rip: u64) -> bool {
    let stubs = at(&raw const sluice_trap_stubs);
    (stubs..stubs + u64::from(super::vector::FIRST_INTERRUPT) * STUB_SIZE).contains(&rip)
        || (at(&raw const sluice_exception_common)..at(&raw const sluice_exception_counted)).contains(&rip)
}

/// Goes on with saved registers.
///
/// # Safety
/// The frame describes a context of this CPU that may go on, and nothing of the stack below the frame is needed any more.
pub(crate) unsafe fn resume(frame: &TrapFrame) -> ! {
    // SAFETY: the caller's contract.
    unsafe { sluice_trap_resume(frame) }
}

/// The caller's own registers: those a call preserves, the stack pointer, the flags, and the instruction behind the call.
#[inline(always)]
pub(crate) fn capture(frame: &mut TrapFrame) {
    // SAFETY: writes the fields of the frame and nothing else.
    unsafe { sluice_trap_capture(frame) }
}
