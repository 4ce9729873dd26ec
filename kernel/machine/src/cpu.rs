//! The executing processor: halting, the interrupt flag, identification and the test exit port.
//!
//! Context: any, unless a function says otherwise. Source: Intel SDM volumes 2 and 3.

use alloc::string::String;
use core::arch::asm;

use raw_cpuid::CpuId;
use x86_64::{
    instructions::{hlt, interrupts},
    registers::control::{Cr0, Cr0Flags, Cr4, Cr4Flags},
};

/// The processor's name as its maker writes it (CPUID 8000_0002h and following), if it has one.
///
/// # Context
/// Thread; allocates.
#[must_use]
pub fn brand() -> Option<String> {
    CpuId::new().get_processor_brand_string().map(|brand| brand.as_str().into())
}

/// Waits for the next interrupt. Returns at once when one is pending; with interrupts off, only an NMI ends the wait.
#[inline]
pub fn halt() {
    hlt();
}

/// Enables interrupts and halts with no window between the two in which a wake-up could be lost.
///
/// # Context
/// Thread (the idle thread), interrupts off on entry, on at return.
#[inline]
pub fn enable_interrupts_and_halt() {
    interrupts::enable_and_hlt();
}

/// Enables interrupts on this CPU.
#[inline]
pub fn enable_interrupts() {
    interrupts::enable();
}

/// Disables interrupts on this CPU.
#[inline]
pub fn disable_interrupts() {
    interrupts::disable();
}

/// Stops this CPU for good: interrupts off, halted; an NMI wakes it only to halt again.
pub fn halt_forever() -> ! {
    loop {
        interrupts::disable();
        hlt();
    }
}

/// Returns the processor's identification leaves.
#[must_use]
pub fn cpuid() -> CpuId<raw_cpuid::CpuIdReaderNative> {
    CpuId::new()
}

/// Returns the APIC id of the executing processor: the x2APIC id where CPUID leaf 11 has it, else the 8-bit initial id.
#[must_use]
pub fn apic_id() -> u32 {
    let cpuid = cpuid();
    let extended =
        cpuid.get_extended_topology_info().and_then(|mut levels| levels.next()).map(|level| level.x2apic_id());
    extended.or_else(|| cpuid.get_feature_info().map(|info| u32::from(info.initial_local_apic_id()))).unwrap_or(0)
}

/// Sets the control bits this kernel relies on, on the executing CPU: write protection in ring 0, and SMEP where there is one.
///
/// # Context
/// Thread, once per CPU during its start, with NX already enabled (both loaders and the processor start code do that).
pub fn enable_protections() {
    // SAFETY: WP only takes rights away; the kernel's own writable data is mapped writable.
    unsafe { Cr0::update(|flags| flags.insert(Cr0Flags::WRITE_PROTECT)) };
    let smep = cpuid().get_extended_feature_info().is_some_and(|features| features.has_smep());
    if smep {
        // SAFETY: the processor has the bit, and no page of ours has the user flag.
        unsafe { Cr4::update(|flags| flags.insert(Cr4Flags::SUPERVISOR_MODE_EXECUTION_PROTECTION)) };
    }
}

/// Runs `act` with this CPU allowed to write read-only pages; for one store of a debugger.
///
/// # Context
/// The world is stopped and interrupts are off, so that nothing else runs under it.
pub(crate) fn without_write_protection<R>(act: impl FnOnce() -> R) -> R {
    // SAFETY: WP keeps ring 0 from writing pages it mapped read-only; `act` is the one store that means to, and the bit is back
    // before anything else runs.
    unsafe { Cr0::update(|flags| flags.remove(Cr0Flags::WRITE_PROTECT)) };
    let result = act();
    // SAFETY: as above: it only takes the right away again.
    unsafe { Cr0::update(|flags| flags.insert(Cr0Flags::WRITE_PROTECT)) };
    result
}

/// Returns the frame pointer of the caller, the start of its backtrace.
#[inline(always)]
#[must_use]
pub fn frame_pointer() -> u64 {
    let value: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, rbp", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Writes `len` octets from `start` on back from the caches to memory, and waits for it.
///
/// # Context
/// Any. Source: Intel SDM volume 2, CLFLUSH: harmless for any mapped address; every processor in 64-bit mode has it.
pub(crate) fn flush_cache(start: *const u8, len: usize) {
    /// The smallest cache line of any such processor.
    const LINE: usize = 64;
    let first = start.addr() / LINE * LINE;
    for line in (first..start.addr() + len).step_by(LINE) {
        // SAFETY: changes no memory; a caller with a bad address faults, as it would with a read.
        unsafe { asm!("clflush [{}]", in(reg) line, options(nostack, preserves_flags)) };
    }
    // SAFETY: a barrier.
    unsafe { asm!("mfence", options(nostack, preserves_flags)) };
}

/// Writes everything in this processor's caches back to memory; takes milliseconds. Before a reset.
pub(crate) fn write_back_caches() {
    // SAFETY: changes nothing that a program can see but time.
    unsafe { asm!("wbinvd", options(nostack, preserves_flags)) };
}

/// Ends QEMU with exit status `(code << 1) | 1` if it has the `isa-debug-exit` device at port 0xf4; elsewhere does nothing.
pub fn debug_exit(code: u32) {
    // SAFETY: port 0xf4 belongs to no device of a PC except the test exit.
    unsafe { asm!("out dx, eax", in("dx") 0xf4_u16, in("eax") code, options(nomem, nostack, preserves_flags)) };
}
