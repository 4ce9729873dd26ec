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
    known: Mutex<Known>,
}

/// The blocks in the order of their first translation, and where each of them is in that.
#[derive(Debug, Default)]
struct Known {
    all: Vec<&'static Block>,
    places: HashMap<(u64, Vec<u8>), usize>,
}

/// How often each block had been entered at some moment.
#[derive(Debug)]
pub(crate) struct Counts {
    blocks: Vec<&'static Block>,
    vcpus: usize,
    entered: Vec<u64>,
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
        let Known { all, places } = &mut *known;
        let next = all.len();
        let place = *places.entry((start, lengths.to_vec())).or_insert(next);
        if let Some(block) = all.get(place) {
            return block;
        }
        let entered = (0..self.vcpus).map(|_| Count::default()).collect();
        let block = Box::leak(Box::new(Block { start, lengths: lengths.to_vec(), entered }));
        all.push(block);
        block
    }

    /// Returns how often each block has been entered. The numbers are taken one after the other, as fast as possible, while the
    /// vCPUs run on.
    pub(crate) fn counts(&self) -> Counts {
        let blocks = self.known.lock().unwrap_or_else(PoisonError::into_inner).all.clone();
        let mut entered = Vec::with_capacity(blocks.len() * self.vcpus);
        // ORDERING: each is a number of its own; what else a vCPU has done is not looked at.
        let numbers = blocks.iter().flat_map(|block| &block.entered).map(|count| count.0.load(Ordering::Relaxed));
        entered.extend(numbers);
        Counts { blocks, vcpus: self.vcpus, entered }
    }
}

impl Counts {
    /// Goes through the blocks that had been entered, with how often by each vCPU.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static Block, &[u64])> {
        let numbers = self.entered.chunks(self.vcpus.max(1));
        let all = self.blocks.iter().copied().zip(numbers);
        all.filter(|(_, numbers)| numbers.iter().any(|number| *number > 0))
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
        let counts: Vec<&[u64]> = counts.iter().map(|(_, numbers)| numbers).collect();
        assert_eq!(counts, [[2, 1]]);
    }

    #[test]
    fn other_code_at_the_same_place_is_another_block() {
        let blocks = Blocks::new(1);
        blocks.at(0x1000, &[1, 2]).enter(0);
        blocks.at(0x1000, &[3]).enter(0);
        blocks.at(0x2000, &[3]);
        assert_eq!(blocks.counts().iter().count(), 2, "what was never entered is not told");
    }

    #[test]
    fn a_vcpu_that_was_not_announced_is_not_counted_anywhere() {
        let blocks = Blocks::new(1);
        blocks.at(0, &[1]).enter(1);
        assert_eq!(blocks.counts().iter().count(), 0);
    }
}
