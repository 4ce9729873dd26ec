//! Many lookups at once: [`look_up`], over [`Lanes`]. Any context.
//!
//! A large table is in no cache, and a lookup alone is one long wait for memory. So the lanes go in waves, and the memory is
//! asked for all that the next wave will read before the first lane of this one is answered. A few of them find their values
//! elsewhere: those are asked for as well, and such lanes answered last.

use core::net::Ipv4Addr;

use ksync::atomic::{TableU64, prefetch};

use crate::{
    Sought,
    cells::{BLOCKS, Cells, block_of, read},
};

/// How many lanes a wave has: more lines than this are not on their way from memory at once. As many as a `u32` has bits.
const WAVE: usize = u32::BITS as usize;

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
    let (mut wave, mut rest) = lanes.split(WAVE);
    ask(blocks, &wave);
    while wave.len() > 0 {
        let (next, after) = rest.split(WAVE);
        ask(blocks, &next);
        answer(cells, blocks, &mut wave);
        (wave, rest) = (next, after);
    }
}

/// Asks the memory for the entries of a wave.
#[inline]
fn ask<L: Lanes>(blocks: &[TableU64; BLOCKS], wave: &L) {
    for lane in 0..wave.len() {
        prefetch(&blocks[block_of(wave.address(lane))]);
    }
}

/// Answers a wave.
#[inline]
fn answer<L: Lanes>(cells: &Cells, blocks: &[TableU64; BLOCKS], wave: &mut L) {
    let mut far = 0_u32;
    for lane in 0..wave.len() {
        let address = wave.address(lane);
        let entry = read(&blocks[block_of(address)]);
        if entry.is_far() {
            cells.ask(entry);
            far |= 1 << lane;
        } else {
            wave.set(lane, entry.value(address));
        }
    }
    while far != 0 {
        let lane = far.trailing_zeros() as usize;
        far &= far - 1;
        let address = wave.address(lane);
        wave.set(lane, cells.answer(read(&blocks[block_of(address)]), address));
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
