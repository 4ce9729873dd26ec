//! Memory that is shared with the controller: [`Memory`], which takes pieces and gives all of them back at once.

use alloc::vec::Vec;

use bus_dma::{Busy, Constraints, DmaMem, DmaStopped, DmaTag};
use ksync::atomic::Ordering;

use crate::{Error, ring::PAGE};

/// Nothing that the controller is told of crosses a multiple of this (xHCI 1.2, table 6-1).
const BOUNDARY: u64 = 0x1_0000;

/// A controller's tag, and what is under it without a use.
#[derive(Debug)]
pub(crate) struct Memory {
    pub(crate) tag: DmaTag,
    pub(crate) idle: Vec<DmaMem>,
}

impl Memory {
    /// Makes the tag. Everything lies in whole pages of the controller's size, which is more than any structure asks for.
    pub(crate) fn new(root: &DmaTag, name: &str, page: u64, wide: bool) -> Result<Self, Error> {
        let lowaddr = if wide { u64::MAX } else { u64::from(u32::MAX) };
        let alignment = page.max(PAGE as u64);
        let limits = Constraints { alignment, boundary: BOUNDARY.max(alignment), lowaddr, ..Constraints::ANY };
        Ok(Self { tag: root.child(name, limits)?, idle: Vec::new() })
    }

    /// Takes pieces of so many octets: all or none. What was taken before one failed is kept, unused, until the end.
    pub(crate) fn take<const N: usize>(&mut self, sizes: [usize; N]) -> Result<[DmaMem; N], Error> {
        let start = self.idle.len();
        for size in sizes {
            self.idle.push(self.tag.alloc_mem(size)?);
        }
        let taken: Vec<DmaMem> = self.idle.drain(start..).collect();
        taken.try_into().map_err(|_| Error::Dma(bus_dma::DmaError::NoMemory))
    }

    /// Gives everything back: the controller has stopped, or was never told of any of it.
    pub(crate) fn release(self, device: &str, used: impl IntoIterator<Item = DmaMem>) -> Result<(), Busy> {
        let Self { tag, idle } = self;
        let stopped = DmaStopped::attest(device, &tag);
        used.into_iter().chain(idle).for_each(|memory| memory.free(&stopped));
        tag.destroy().map_err(|(_, busy)| busy)
    }
}

/// Writes words from the beginning of a piece.
pub(crate) fn store_words(memory: &DmaMem, words: &[u32]) {
    for (cell, pair) in memory.cells().iter().zip(words.chunks(2)) {
        let [low, high] = [0, 1].map(|index| u64::from(pair.get(index).copied().unwrap_or(0)));
        cell.store(high << 32 | low, Ordering::Relaxed);
    }
    memory.sync();
}

/// Copies octets to the beginning of a piece; what does not fit is left out.
pub(crate) fn store(memory: &DmaMem, octets: &[u8]) {
    for (cell, chunk) in memory.cells().iter().zip(octets.chunks(8)) {
        let mut word = [0; 8];
        word.iter_mut().zip(chunk).for_each(|(to, from)| *to = *from);
        cell.store(u64::from_le_bytes(word), Ordering::Relaxed);
    }
    memory.sync();
}

/// Copies octets from the beginning of a piece.
pub(crate) fn load(memory: &DmaMem, octets: &mut [u8]) {
    memory.sync();
    for (cell, chunk) in memory.cells().iter().zip(octets.chunks_mut(8)) {
        let word = cell.load(Ordering::Relaxed).to_le_bytes();
        chunk.iter_mut().zip(word).for_each(|(to, from)| *to = from);
    }
}
