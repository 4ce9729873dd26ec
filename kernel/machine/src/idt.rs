//! The interrupt descriptor table: one for all CPUs, 256 interrupt gates onto the stubs of [`crate::trap`].
//!
//! The entries are atomics, so the table is an ordinary static and gaining an interrupt stack is one store. A gate is written
//! high half first and its low half (with the present bit) last. Source: Intel SDM volume 3, 6.14.1.

use core::sync::atomic::{AtomicU64, Ordering};

use x86_64::{
    VirtAddr,
    instructions::{
        segmentation::{CS, Segment},
        tables::lidt,
    },
    structures::DescriptorTablePointer,
};

use crate::{
    gdt::InterruptStack,
    trap::{self, vector},
};

const VECTORS: usize = 256;

#[repr(C, align(16))]
struct Table([[AtomicU64; 2]; VECTORS]);

static TABLE: Table = Table([const { [const { AtomicU64::new(0) }; 2] }; VECTORS]);

/// Returns the two words of a present ring 0 interrupt gate.
const fn gate(handler: u64, selector: u16, stack: u8) -> [u64; 2] {
    const PRESENT_INTERRUPT_GATE: u64 = 0x8E00;
    let attributes = PRESENT_INTERRUPT_GATE | (stack as u64 & 7);
    let low = (handler & 0xFFFF) | (selector as u64) << 16 | attributes << 32 | (handler & 0xFFFF_0000) << 32;
    [low, handler >> 32]
}

/// Points `vector` at its stub, on interrupt stack `stack` (0: the current stack).
fn set(vector: u8, stack: u8) {
    let [low, high] = gate(trap::stub_address(vector), CS::get_reg().0, stack);
    if let Some([low_word, high_word]) = TABLE.0.get(usize::from(vector)) {
        high_word.store(high, Ordering::Relaxed);
        // ORDERING: release; the processor reads the gate in one piece after it has seen the present bit.
        low_word.store(low, Ordering::Release);
    }
}

/// Fills the table and loads it on the boot CPU; nothing uses an interrupt stack yet.
pub(crate) fn init() {
    for vector in 0..=u8::MAX {
        set(vector, 0);
    }
    load();
}

/// Moves NMI, double fault and machine check to their own stacks; every CPU that loaded the table must have a task segment.
pub(crate) fn use_interrupt_stacks() {
    set(vector::NMI, InterruptStack::Nmi as u8);
    set(vector::DOUBLE_FAULT, InterruptStack::DoubleFault as u8);
    set(vector::MACHINE_CHECK, InterruptStack::MachineCheck as u8);
    // The code segment may have changed with the descriptor table: write all gates again, keeping their stacks.
    for other in (0..=u8::MAX).filter(|v| ![vector::NMI, vector::DOUBLE_FAULT, vector::MACHINE_CHECK].contains(v)) {
        set(other, 0);
    }
}

/// Loads the table on the executing CPU.
///
/// # Context
/// Once on each CPU during its start, after [`crate::gdt::init_cpu`].
pub fn load() {
    let pointer =
        DescriptorTablePointer { limit: (size_of::<Table>() - 1) as u16, base: VirtAddr::from_ptr(&raw const TABLE) };
    // SAFETY: the table is static, and each present gate names one of our stubs.
    unsafe { lidt(&pointer) };
}

#[cfg(test)]
mod tests {
    use super::gate;

    #[test]
    fn a_gate_scatters_the_handler_as_the_manual_draws_it() {
        let [low, high] = gate(0x1122_3344_5566_7788, 0x08, 2);
        assert_eq!(low, 0x5566_8E02_0008_7788);
        assert_eq!(high, 0x1122_3344);
    }
}
