//! Many lookups at once: [`look_up`], over [`Lanes`]. Any context.
//!
//! A large table is in no cache, and a lookup alone is one long wait for memory. So the lanes go in waves, and the memory is
//! asked for all that a wave will read before the first of it is read.

use core::net::Ipv4Addr;

use ksync::atomic::prefetch;

use crate::{
    Sought,
    cells::{Cells, block_of, read},
};

/// How many lanes a wave has: more lines than this are not on their way from memory at once.
const WAVE: usize = 32;

/// Destinations beside places for their indices.
pub(crate) trait Lanes: Sized {
    fn len(&self) -> usize;

    fn address(&self, lane: usize) -> u32;

    fn set(&mut self, lane: usize, index: u16);

    /// Parts the first `len` lanes, or all if there are fewer, from the rest.
    fn split(self, len: usize) -> (Self, Self);
}

/// Looks up all lanes.
#[inline]
pub(crate) fn look_up<L: Lanes>(cells: &Cells, mut lanes: L) {
    let Some(blocks) = cells.blocks() else {
        // A small table is soon in the cache.
        for lane in 0..lanes.len() {
            let address = lanes.address(lane);
            lanes.set(lane, cells.answer(cells.paged(address), address));
        }
        return;
    };
    while lanes.len() > 0 {
        let (mut wave, rest) = lanes.split(WAVE);
        for lane in 0..wave.len() {
            prefetch(&blocks[block_of(wave.address(lane))]);
        }
        for lane in 0..wave.len() {
            let address = wave.address(lane);
            wave.set(lane, cells.answer(read(&blocks[block_of(address)]), address));
        }
        lanes = rest;
    }
}

impl Lanes for (&[Ipv4Addr], &mut [u16]) {
    #[inline]
    fn len(&self) -> usize {
        self.0.len().min(self.1.len())
    }

    #[inline]
    fn address(&self, lane: usize) -> u32 {
        self.0[lane].to_bits()
    }

    #[inline]
    fn set(&mut self, lane: usize, index: u16) {
        self.1[lane] = index;
    }

    #[inline]
    fn split(self, len: usize) -> (Self, Self) {
        let len = len.min(self.len());
        let ((first, rest), (first_indices, rest_indices)) = (self.0.split_at(len), self.1.split_at_mut(len));
        ((first, first_indices), (rest, rest_indices))
    }
}

impl<T: Sought> Lanes for &mut [T] {
    #[inline]
    fn len(&self) -> usize {
        <[T]>::len(self)
    }

    #[inline]
    fn address(&self, lane: usize) -> u32 {
        self[lane].destination().to_bits()
    }

    #[inline]
    fn set(&mut self, lane: usize, index: u16) {
        self[lane].set_index(index);
    }

    #[inline]
    fn split(self, len: usize) -> (Self, Self) {
        let len = len.min(<[T]>::len(self));
        self.split_at_mut(len)
    }
}
