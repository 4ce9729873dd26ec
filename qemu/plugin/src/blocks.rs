//! The guest's code as TCG translates it, and how often each piece was entered: [`Blocks`].

use std::{
    collections::HashMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// A counter that shares its cache line with none of another vCPU's.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Count(pub(crate) AtomicU64);

/// Some instructions that follow each other in memory and are executed from the first on.
#[derive(Debug)]
pub(crate) struct Block {
    /// The virtual address of the first instruction.
    pub(crate) start: u64,
    /// The instructions' lengths in octets.
    pub(crate) lengths: Vec<u8>,
    /// How often each vCPU has entered it. Only the vCPU itself writes its own.
    pub(crate) entered: Vec<Count>,
}

impl Block {
    /// Counts that `vcpu` enters the block.
    pub(crate) fn enter(&self, vcpu: usize) {
        if let Some(count) = self.entered.get(vcpu) {
            // ORDERING: only this vCPU's thread writes here, so nothing is lost between the two, and a reader takes the number for
            // itself alone.
            count.0.store(count.0.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
    }
}

/// All blocks ever translated. They live as long as QEMU, because translated code refers to them.
#[derive(Debug)]
pub(crate) struct Blocks {
    vcpus: usize,
    known: Mutex<HashMap<(u64, Vec<u8>), &'static Block>>,
}

impl Blocks {
    /// Makes none, for a machine with so many vCPUs.
    pub(crate) fn new(vcpus: usize) -> Self {
        Self { vcpus, known: Mutex::default() }
    }

    /// Returns the number of vCPUs that are told apart.
    pub(crate) const fn vcpus(&self) -> usize {
        self.vcpus
    }

    /// Returns the block at `start` of instructions of these lengths; the same for the same, however often TCG translates it.
    pub(crate) fn at(&self, start: u64, lengths: &[u8]) -> &'static Block {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry((start, lengths.to_vec())).or_insert_with(|| {
            let entered = (0..self.vcpus).map(|_| Count::default()).collect();
            Box::leak(Box::new(Block { start, lengths: lengths.to_vec(), entered }))
        })
    }

    /// Returns all blocks that were entered, each with how often by each vCPU. The numbers are taken as fast as possible one after
    /// the other, while the vCPUs run on.
    pub(crate) fn counts(&self) -> Vec<(&'static Block, Vec<u64>)> {
        let blocks: Vec<&'static Block> = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.values().copied().collect()
        };
        // ORDERING: each is a number of its own; what else a vCPU has done is not looked at.
        let numbers = |block: &Block| block.entered.iter().map(|count| count.0.load(Ordering::Relaxed)).collect();
        let counted = blocks.into_iter().map(|block| (block, numbers(block)));
        counted.filter(|(_, numbers): &(_, Vec<u64>)| numbers.iter().any(|number| *number > 0)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_translated_again_goes_on_counting() {
        let blocks = Blocks::new(2);
        blocks.at(0x1000, &[1, 2]).enter(0);
        blocks.at(0x1000, &[1, 2]).enter(0);
        blocks.at(0x1000, &[1, 2]).enter(1);
        let counts = blocks.counts();
        assert_eq!(counts.len(), 1);
        assert_eq!(counts[0].1, [2, 1]);
    }

    #[test]
    fn other_code_at_the_same_place_is_another_block() {
        let blocks = Blocks::new(1);
        blocks.at(0x1000, &[1, 2]).enter(0);
        blocks.at(0x1000, &[3]).enter(0);
        blocks.at(0x2000, &[3]);
        assert_eq!(blocks.counts().len(), 2, "what was never entered is not told");
    }

    #[test]
    fn a_vcpu_that_was_not_announced_is_not_counted_anywhere() {
        let blocks = Blocks::new(1);
        blocks.at(0, &[1]).enter(1);
        assert!(blocks.counts().is_empty());
    }
}
