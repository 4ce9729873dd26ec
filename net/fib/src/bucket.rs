//! The routes of one part of the address space, sorted and packed: [`Bucket`]. Thread context; allocates.

use alloc::{collections::TryReserveError, vec::Vec};

use crate::{RouteSource, cells::Leaf};

/// Prefixes of fewer bits than this cover several blocks of a bucket.
const BLOCK_LENGTH: u8 = 20;

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
pub(crate) struct Bucket {
    routes: Vec<Packed>,
    /// Which prefixes of 16 to 19 bits there are, a bit for each: see [`wide_place`].
    wide: u16,
}

/// Returns which bit says that there is a prefix of 16 to 19 bits: they are numbered as the nodes of a binary tree, from 1.
const fn wide_place(bits: u16, length: u8) -> Option<u32> {
    match length {
        16..BLOCK_LENGTH => Some((0x1_0000 | bits as u32) >> (32 - length)),
        _ => None,
    }
}

impl Bucket {
    pub(crate) const fn new() -> Self {
        Self { routes: Vec::new(), wide: 0 }
    }

    /// Enters a route and returns the hop of the one that had its key.
    pub(crate) fn insert(&mut self, key: Key, hop: Leaf) -> Result<Option<Leaf>, TryReserveError> {
        match self.place(key) {
            Ok(place) => Ok(Some(core::mem::replace(&mut self.routes[place].hop, hop))),
            Err(place) => {
                if self.routes.len() == self.routes.capacity() {
                    // A half more: most buckets are small, and there are many.
                    self.routes.try_reserve_exact(self.routes.len() / 2 + 4)?;
                }
                self.routes.insert(place, Packed { key, hop });
                if let Some(place) = wide_place(key.bits(), key.length()) {
                    self.wide |= 1 << place;
                }
                Ok(None)
            }
        }
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<Leaf> {
        let place = self.place(key).ok()?;
        let removed = self.routes.remove(place);
        if let Some(place) = wide_place(key.bits(), key.length())
            && self.of_prefix(key.bits(), key.length()).is_empty()
        {
            self.wide &= !(1 << place);
        }
        Some(removed.hop)
    }

    pub(crate) fn get(&self, key: Key) -> Option<Leaf> {
        self.routes.get(self.place(key).ok()?).map(|route| route.hop)
    }

    pub(crate) fn retain(&mut self, keep: impl FnMut(&Packed) -> bool) {
        self.routes.retain(keep);
        let places = self.routes.iter().filter_map(|route| wide_place(route.key.bits(), route.key.length()));
        self.wide = places.fold(0, |wide, place| wide | 1 << place);
    }

    pub(crate) fn all(&self) -> &[Packed] {
        &self.routes
    }

    /// Returns the routes whose 16 bits are `bits` or more, and how many are before them.
    pub(crate) fn from(&self, bits: u16) -> (&[Packed], usize) {
        let first = self.routes.partition_point(|route| route.key.bits() < bits);
        (self.routes.get(first..).unwrap_or_default(), first)
    }

    /// Returns the routes for the prefix of `length` bits, 16 to 19, that contains `bits`, the best source's first.
    #[inline]
    pub(crate) fn of_wide_prefix(&self, bits: u16, length: u8) -> &[Packed] {
        let is_there = wide_place(bits, length).is_some_and(|place| self.wide & 1 << place != 0);
        if is_there { self.of_prefix(bits & !(u16::MAX >> (length - 16)), length) } else { &[] }
    }

    /// Returns the routes of exactly this prefix, the best source's first.
    pub(crate) fn of_prefix(&self, bits: u16, length: u8) -> &[Packed] {
        let first = Key::new(bits, length, RouteSource::Local);
        let start = self.routes.partition_point(|route| route.key < first);
        let rest = self.routes.get(start..).unwrap_or_default();
        let end = rest.iter().take_while(|route| route.key.same_prefix(first)).count();
        rest.get(..end).unwrap_or_default()
    }

    fn place(&self, key: Key) -> Result<usize, usize> {
        self.routes.binary_search_by_key(&key, |route| route.key)
    }
}
