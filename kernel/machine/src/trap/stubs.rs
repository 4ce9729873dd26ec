//! The assembly that saves and restores registers around [`super::dispatch`].
//!
//! Each stub is 16 octets: a dummy error code where the processor pushes none (so that every frame has one shape), the vector, a
//! jump to the common part. The processor aligned the stack before pushing its five words; with ours that makes 22, so the call
//! is made with the alignment the ABI wants.

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
    "jmp sluice_trap_common",
    ".set vector, vector + 1",
    ".endr",
    ".popsection",
    options(att_syntax)
);

core::arch::global_asm!(
    ".pushsection .text.sluice_trap_stubs, \"ax\", @progbits",
    ".balign 16",
    ".global sluice_trap_common",
    "sluice_trap_common:",
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
    "call {dispatch}",
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
    ".popsection",
    dispatch = sym super::trap_from_stub,
);

unsafe extern "C" {
    /// The first stub; a label, not a function to call.
    static sluice_trap_stubs: u8;
}

const STUB_SIZE: u64 = 16;

/// Returns the address of the stub of `vector`.
pub(crate) fn stub_address(vector: u8) -> u64 {
    (&raw const sluice_trap_stubs).addr() as u64 + u64::from(vector) * STUB_SIZE
}
