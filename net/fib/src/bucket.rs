//! The routes of one part of the address space, sorted and packed: [`Bucket`]. Thread context; allocates.

use alloc::{collections::TryReserveError, vec::Vec};
use core::ops::RangeInclusive;

use crate::{RouteSource, cells::Leaf};

/// Where a route is in its bucket: 16 bits of its address, its length, its source, in this order of weight. So a prefix comes before
/// everything inside it, and the best source of a prefix first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key(u32);

impl Key {
    pub(crate) fn new(bits: u16, length: u8, source: RouteSource) -> Self {
        Self(u32::from(bits) << 16 | u32::from(length) << 8 | u32::from(source.number()))
    }

    /// Returns the 16 bits of the address.
    pub(crate) const fn bits(self) -> u16 {
        let [.., low, high] = self.0.to_le_bytes();
        u16::from_le_bytes([low, high])
    }

    pub(crate) const fn length(self) -> u8 {
        self.0.to_le_bytes()[1]
    }

    pub(crate) fn source(self) -> RouteSource {
        RouteSource::of_number(self.0.to_le_bytes()[0])
    }

    /// Returns whether the two are of one prefix.
    pub(crate) const fn same_prefix(self, other: Self) -> bool {
        self.0 >> 8 == other.0 >> 8
    }
}

/// A route as a bucket keeps it, in eight octets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packed {
    pub(crate) key: Key,
    pub(crate) hop: Leaf,
}

/// Routes whose addresses share 16 bits (or that are shorter than that), sorted by [`Key`].
#[derive(Debug, Default)]
pub(crate) struct Bucket(Vec<Packed>);

impl Bucket {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    /// Enters a route and returns the hop of the one that had its key.
    pub(crate) fn insert(&mut self, key: Key, hop: Leaf) -> Result<Option<Leaf>, TryReserveError> {
        match self.place(key) {
            Ok(place) => Ok(Some(core::mem::replace(&mut self.0[place].hop, hop))),
            Err(place) => {
                if self.0.len() == self.0.capacity() {
                    // A half more: most buckets are small, and there are many.
                    self.0.try_reserve_exact(self.0.len() / 2 + 4)?;
                }
                self.0.insert(place, Packed { key, hop });
                Ok(None)
            }
        }
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<Leaf> {
        let place = self.place(key).ok()?;
        Some(self.0.remove(place).hop)
    }

    pub(crate) fn get(&self, key: Key) -> Option<Leaf> {
        self.0.get(self.place(key).ok()?).map(|route| route.hop)
    }

    pub(crate) fn retain(&mut self, keep: impl FnMut(&Packed) -> bool) {
        self.0.retain(keep);
    }

    pub(crate) fn all(&self) -> &[Packed] {
        &self.0
    }

    /// Returns the routes whose 16 bits are in `bits`, and how many are before them.
    pub(crate) fn within(&self, bits: RangeInclusive<u16>) -> (&[Packed], usize) {
        let first = self.0.partition_point(|route| route.key.bits() < *bits.start());
        let inside = self.0.get(first..).unwrap_or_default();
        let end = inside.partition_point(|route| route.key.bits() <= *bits.end());
        (inside.get(..end).unwrap_or_default(), first)
    }

    /// Returns the routes of exactly this prefix, the best source's first.
    pub(crate) fn of_prefix(&self, bits: u16, length: u8) -> &[Packed] {
        let first = Key::new(bits, length, RouteSource::Local);
        let start = self.0.partition_point(|route| route.key < first);
        let rest = self.0.get(start..).unwrap_or_default();
        let end = rest.iter().take_while(|route| route.key.same_prefix(first)).count();
        rest.get(..end).unwrap_or_default()
    }

    fn place(&self, key: Key) -> Result<usize, usize> {
        self.0.binary_search_by_key(&key, |route| route.key)
    }
}
