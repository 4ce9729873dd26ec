//! The block each processor finds through its GS base: who it is, what it runs, how deep in interrupts.
//!
//! [`current_cpu`] is one load relative to GS. Blocks are static, one cache line each, and live for ever; only the owning
//! processor writes its own (other processors read `apic_id` and `parked`). Context: any, after [`install`] on that processor;
//! on hosts every thread is processor 0.

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use ksync::cpu::{CpuId, MAX_CPUS};

/// One processor's block. The first three fields are used by offset from assembly.
#[derive(Debug)]
#[repr(C, align(128))]
pub struct CpuBlock {
    /// Dense number; offset 0.
    number: AtomicU32,
    /// Local APIC id; offset 4.
    apic_id: AtomicU32,
    /// Exception handlers this processor is inside of, NMI included; offset 8. The stubs count.
    exceptions: AtomicU32,
    /// A word for the scheduler: the running thread, in whatever form it likes.
    pub thread: AtomicUsize,
    /// Interrupt handlers on this processor's stack right now.
    pub nesting: AtomicU32,
    /// The processor runs the kernel.
    pub online: AtomicBool,
    /// The processor has stopped for good, by request.
    pub parked: AtomicBool,
    /// Interrupts delivered here, by kind, for `show interrupts`.
    pub interrupts: AtomicU64,
    /// Timer interrupts delivered here.
    pub timer_ticks: AtomicU64,
    /// Interprocessor interrupts delivered here.
    pub ipis: AtomicU64,
}

/// An APIC id no processor has.
pub const NO_APIC_ID: u32 = u32::MAX;

static BLOCKS: [CpuBlock; MAX_CPUS] = [const { CpuBlock::new() }; MAX_CPUS];

impl CpuBlock {
    const fn new() -> Self {
        Self {
            number: AtomicU32::new(0),
            apic_id: AtomicU32::new(NO_APIC_ID),
            exceptions: AtomicU32::new(0),
            thread: AtomicUsize::new(0),
            nesting: AtomicU32::new(0),
            online: AtomicBool::new(false),
            parked: AtomicBool::new(false),
            interrupts: AtomicU64::new(0),
            timer_ticks: AtomicU64::new(0),
            ipis: AtomicU64::new(0),
        }
    }

    /// Local APIC id, [`NO_APIC_ID`] before the processor is known.
    #[must_use]
    pub fn apic_id(&self) -> u32 {
        self.apic_id.load(Ordering::Relaxed)
    }

    /// Adds one to a counter only this processor writes: load and store, no locked instruction.
    #[inline]
    pub fn bump(counter: &AtomicU64) {
        counter.store(counter.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// Notes that an interrupt handler begins on this processor; returns what [`CpuBlock::leave_interrupt`] wants back.
    #[inline]
    pub(crate) fn enter_interrupt(&self) -> u32 {
        // ORDERING: relaxed; only this processor reads and writes it.
        let outer = self.nesting.load(Ordering::Relaxed);
        self.nesting.store(outer + 1, Ordering::Relaxed);
        outer
    }

    /// Exception handlers this processor is inside of, NMI included.
    #[inline]
    pub(crate) fn exceptions(&self) -> u32 {
        // ORDERING: relaxed, here and below; only this processor reads and writes it.
        self.exceptions.load(Ordering::Relaxed)
    }

    /// Corrects the depth of exceptions: after a jump out of some, or for a panic, which counts as one.
    #[inline]
    pub(crate) fn set_exceptions(&self, depth: u32) {
        self.exceptions.store(depth, Ordering::Relaxed);
    }

    /// Notes that the handler has ended.
    #[inline]
    pub(crate) fn leave_interrupt(&self, outer: u32) {
        self.nesting.store(outer, Ordering::Relaxed);
    }
}

/// The block of a processor.
#[must_use]
pub fn block(cpu: CpuId) -> &'static CpuBlock {
    &BLOCKS[cpu.index() % MAX_CPUS]
}

/// The block of the executing processor.
#[inline]
#[must_use]
pub fn this_block() -> &'static CpuBlock {
    block(current_cpu())
}

/// Processors that run the kernel, in order of number.
pub fn online() -> impl Iterator<Item = CpuId> {
    let on = |cpu: &CpuId| block(*cpu).online.load(Ordering::Acquire);
    (0..MAX_CPUS).filter_map(|number| u16::try_from(number).ok().map(CpuId)).filter(on)
}

/// The processor with an APIC id.
#[must_use]
pub fn by_apic_id(apic_id: u32) -> Option<CpuId> {
    online().find(|&cpu| block(cpu).apic_id() == apic_id)
}

/// Writes a processor's identity; before it starts (or, for the bootstrap processor, before [`install`]).
pub fn name(cpu: CpuId, apic_id: u32) {
    let block = block(cpu);
    block.number.store(u32::from(cpu.0), Ordering::Relaxed);
    block.apic_id.store(apic_id, Ordering::Release);
}

/// Points the executing processor's GS base at its block. After its GDT is loaded (loading a selector clears the base).
#[cfg(target_os = "none")]
pub fn install(cpu: CpuId) {
    const IA32_GS_BASE: u32 = 0xC000_0101;
    let address = core::ptr::from_ref(block(cpu)) as u64;
    block(cpu).number.store(u32::from(cpu.0), Ordering::Relaxed);
    // SAFETY: the register exists in long mode, nothing else uses GS, and the block is static.
    unsafe { crate::msr::write(IA32_GS_BASE, address) };
}

/// On hosts there is nothing to point.
#[cfg(not(target_os = "none"))]
pub fn install(_cpu: CpuId) {}

/// The executing processor. Any context after [`install`].
#[cfg(target_os = "none")]
#[inline]
#[must_use]
pub fn current_cpu() -> CpuId {
    let number: u32;
    // SAFETY: GS base points at this processor's static block, whose first field is the number. Not `pure`: a thread may move
    // to another processor between two calls.
    unsafe {
        core::arch::asm!("mov {0:e}, gs:[0]", out(reg) number, options(nostack, preserves_flags, readonly));
    }
    CpuId(number as u16)
}

/// On hosts every thread is the boot processor.
#[cfg(not(target_os = "none"))]
#[must_use]
pub fn current_cpu() -> CpuId {
    CpuId::BOOT
}

/// Whether the caller is an interrupt handler. With interrupts off, or the answer may be about another processor.
#[inline]
#[must_use]
pub fn in_interrupt() -> bool {
    this_block().nesting.load(Ordering::Relaxed) != 0
}

const _: () = assert!(core::mem::offset_of!(CpuBlock, number) == 0);
const _: () = assert!(core::mem::offset_of!(CpuBlock, exceptions) == 8);

#[cfg(test)]
mod tests {
    use super::{CpuId, block, by_apic_id, name, online};
    use core::sync::atomic::Ordering;

    #[test]
    fn a_processor_is_found_by_its_sparse_apic_id_once_online() {
        name(CpuId(5), 300);
        assert_eq!(by_apic_id(300), None);
        block(CpuId(5)).online.store(true, Ordering::Release);
        assert_eq!(by_apic_id(300), Some(CpuId(5)));
        assert!(online().any(|cpu| cpu == CpuId(5)));
        block(CpuId(5)).online.store(false, Ordering::Release);
    }
}
