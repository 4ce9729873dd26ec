//! Guarded accesses: touch an address that may fault and learn whether it did.
//!
//! The backtrace and the debugger read memory with them, and the boot tests prove with them that code cannot be written and data
//! cannot be executed. A fault at one of the instructions below resumes behind it with an error. Context: any.

use super::TrapFrame;

/// The access faulted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faulted;

core::arch::global_asm!(
    ".pushsection .text.sluice_probe, \"ax\", @progbits",
    // rdi: address, rsi: where to put the value; returns 1 if read.
    ".global sluice_probe_read",
    "sluice_probe_read:",
    "xor eax, eax",
    ".global sluice_probe_read_at",
    "sluice_probe_read_at:",
    "mov rcx, [rdi]",
    "mov [rsi], rcx",
    "inc eax",
    "ret",
    // rdi: address, rsi: where to put the octet; returns 1 if read.
    ".global sluice_probe_read_octet",
    "sluice_probe_read_octet:",
    "xor eax, eax",
    ".global sluice_probe_read_octet_at",
    "sluice_probe_read_octet_at:",
    "mov cl, [rdi]",
    "mov [rsi], cl",
    "inc eax",
    "ret",
    // rdi: address, sil: value; returns 1 if written.
    ".global sluice_probe_write",
    "sluice_probe_write:",
    "xor eax, eax",
    ".global sluice_probe_write_at",
    "sluice_probe_write_at:",
    "mov [rdi], sil",
    "inc eax",
    "ret",
    // rdi: address of a function to call; returns 1 if it could be called.
    ".global sluice_probe_call",
    "sluice_probe_call:",
    "push rbp",
    "mov rbp, rsp",
    "call rdi",
    "mov eax, 1",
    "pop rbp",
    "ret",
    ".global sluice_probe_call_fault",
    "sluice_probe_call_fault:",
    "xor eax, eax",
    "pop rbp",
    "ret",
    ".global sluice_probe_fault",
    "sluice_probe_fault:",
    "ret",
    ".popsection",
);

unsafe extern "C" {
    fn sluice_probe_read(address: u64, out: *mut u64) -> u32;
    fn sluice_probe_read_octet(address: u64, out: *mut u8) -> u32;
    fn sluice_probe_write(address: u64, value: u8) -> u32;
    fn sluice_probe_call(address: u64) -> u32;
    static sluice_probe_read_at: u8;
    static sluice_probe_read_octet_at: u8;
    static sluice_probe_write_at: u8;
    static sluice_probe_call_fault: u8;
    static sluice_probe_fault: u8;
}

/// Reads the 64-bit word at `address` (which need not be aligned).
///
/// # Errors
/// [`Faulted`] if the address is not readable.
pub fn read(address: u64) -> Result<u64, Faulted> {
    let mut value = 0;
    // SAFETY: the read either happens or resumes with 0; any readable word may be read, its value is only data. Device registers
    // are mapped in a range of their own, which callers have no reason to probe.
    let done = unsafe { sluice_probe_read(address, &raw mut value) };
    if done == 1 { Ok(value) } else { Err(Faulted) }
}

/// Reads `out.len()` octets from `address` on.
///
/// # Errors
/// [`Faulted`] at the first octet that is not readable; those before it are in `out`.
pub fn read_octets(address: u64, out: &mut [u8]) -> Result<(), Faulted> {
    for (offset, slot) in (0..).zip(out) {
        let at = address.checked_add(offset).ok_or(Faulted)?;
        // SAFETY: as in `read`.
        if unsafe { sluice_probe_read_octet(at, slot) } != 1 {
            return Err(Faulted);
        }
    }
    Ok(())
}

/// Writes the octet at `address`.
///
/// # Errors
/// [`Faulted`] if the address is not writable.
///
/// # Safety
/// If the write succeeds, the octet belongs to the caller.
pub unsafe fn write(address: u64, value: u8) -> Result<(), Faulted> {
    // SAFETY: the caller's contract.
    if unsafe { sluice_probe_write(address, value) } == 1 { Ok(()) } else { Err(Faulted) }
}

/// Calls the code at `address`.
///
/// # Errors
/// [`Faulted`] if the address is not executable.
///
/// # Safety
/// If the address is executable, it holds a function without arguments that may be called now.
pub unsafe fn call(address: u64) -> Result<(), Faulted> {
    // SAFETY: the caller's contract.
    if unsafe { sluice_probe_call(address) } == 1 { Ok(()) } else { Err(Faulted) }
}

/// Resumes a guarded access that faulted; answers whether this fault was one.
pub(super) fn recover(frame: &mut TrapFrame) -> bool {
    let at = |label: *const u8| label.addr() as u64;
    let accesses =
        [&raw const sluice_probe_read_at, &raw const sluice_probe_read_octet_at, &raw const sluice_probe_write_at];
    if accesses.iter().any(|access| frame.rip == at(*access)) {
        frame.rip = at(&raw const sluice_probe_fault);
        return true;
    }
    // A call that could not be made: the fault is at the target, with the return address into the probe on top of the stack.
    const INSTRUCTION_FETCH: u64 = 1 << 4;
    let fetched = frame.vector == u64::from(super::vector::PAGE_FAULT) && frame.error_code & INSTRUCTION_FETCH != 0;
    let from_probe = fetched && {
        // SAFETY: the faulting fetch left the stack of a running thread, so its top word is readable.
        let back = unsafe { core::ptr::with_exposed_provenance::<u64>(frame.rsp as usize).read() };
        let probe = sluice_probe_call as unsafe extern "C" fn(u64) -> u32 as usize as u64;
        (probe..at(&raw const sluice_probe_call_fault)).contains(&back)
    };
    if from_probe {
        frame.rip = at(&raw const sluice_probe_call_fault);
        frame.rsp += 8;
    }
    from_probe
}
