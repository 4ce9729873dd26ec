//! Lookups that are too simple to be wrong: [`linear_lookup`] and [`ByLength`].

use std::collections::HashMap;

use crate::routes::{PlainRoute, mask};

/// Looks an address up by trying every route: the definition of longest match.
#[must_use]
pub fn linear_lookup(table: &[PlainRoute], address: u32) -> Option<u16> {
    let matching = table.iter().filter(|((network, length), _)| address & mask(*length) == *network);
    matching.max_by_key(|((_, length), _)| *length).map(|&(_, number)| number)
}

/// One exact-match table per length, tried from the longest: slower than a trie and too simple to be wrong.
#[derive(Debug)]
pub struct ByLength([HashMap<u32, u16>; 33]);

impl ByLength {
    /// Enters all routes.
    #[must_use]
    pub fn new(table: &[PlainRoute]) -> Self {
        let mut lengths = std::array::from_fn(|_| HashMap::new());
        for &((network, length), number) in table {
            lengths[usize::from(length)].insert(network, number);
        }
        Self(lengths)
    }

    /// Returns the number of the longest match.
    #[must_use]
    pub fn lookup(&self, address: u32) -> Option<u16> {
        self.covering(address).next()
    }

    /// Returns the numbers of all routes that contain `address`, the longest first.
    pub fn covering(&self, address: u32) -> impl Iterator<Item = u16> + '_ {
        let lengths = (0..=32_u8).rev().filter(|length| !self.0[usize::from(*length)].is_empty());
        lengths.filter_map(move |length| self.0[usize::from(length)].get(&(address & mask(length))).copied())
    }
}
