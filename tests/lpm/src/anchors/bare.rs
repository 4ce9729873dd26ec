//! What a lookup cannot be faster than: [`BareRead`], which reads a word and finds nothing.

use std::net::Ipv4Addr;

use crate::Contender;

/// How many bits of an address choose the word: as many as our own table's.
const BITS: u32 = 20;

/// One read for each lookup, of an array as large as the one that our own table reads in each lookup. It has no routes: what it takes is what
/// the memory takes.
#[derive(Debug)]
pub struct BareRead(Vec<u64>);

impl BareRead {
    /// Makes the array.
    #[must_use]
    pub fn new() -> Self {
        Self((0..1 << BITS).map(|_| 1).collect())
    }

    /// Returns how much memory it takes.
    #[must_use]
    pub fn octets(&self) -> usize {
        self.0.len() * size_of::<u64>()
    }
}

impl Default for BareRead {
    fn default() -> Self {
        Self::new()
    }
}

impl Contender for BareRead {
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "it is the same number")]
    fn look_up(&self, address: Ipv4Addr) -> u16 {
        self.0[(address.to_bits() >> (u32::BITS - BITS)) as usize] as u16
    }
}
