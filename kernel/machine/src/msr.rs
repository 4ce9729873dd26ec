//! Model-specific registers by number.
//!
//! Context: any; a number the processor lacks raises #GP, so callers check CPUID first.

/// Reads an MSR.
#[inline]
#[must_use]
pub fn read(msr: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: reading changes nothing; an unknown number traps and is a caller's bug, not memory corruption.
    unsafe {
        core::arch::asm!("rdmsr", in("ecx") msr, out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags));
    };
    (u64::from(high) << 32) | u64::from(low)
}

/// Writes an MSR.
///
/// # Safety
/// The register must exist and the value must not break what the compiler assumes of memory and control flow.
#[inline]
pub unsafe fn write(msr: u32, value: u64) {
    let low = value as u32;
    let high = (value >> 32) as u32;
    // SAFETY: the caller's contract; not `nomem`, so that earlier stores stay before a command that wakes another processor.
    unsafe {
        core::arch::asm!("wrmsr", in("ecx") msr, in("eax") low, in("edx") high, options(nostack, preserves_flags));
    }
}
