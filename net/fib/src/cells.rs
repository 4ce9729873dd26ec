//! What a lookup reads: [`Fib`], a handle to arrays of words that one writer may change while any number of threads read.
//!
//! The upper 20 bits of an address choose an *entry*: ten bits of shape, 22 bits of base. The next four bits choose a slot; the
//! [shape](crate::shape) says which of the block's few values the slot has; that value, at base + rank, is the answer. A block that has one
//! answer only has shape 0, and for base the answer itself: the first values are the numbers from 0 up, so that it takes the same way. For
//! prefixes longer than /24 the value leads to a *group*: 16 more entries for the 256 addresses.
//!
//! Large tables have an entry for each of the 2^20 blocks. Small ones have *pages* of 256 entries, found through an array of 4096 pages,
//! most of them one and the same.
//!
//! # Consistency
//! A lookup takes its answer from one entry, which is replaced by one store; what an entry leads to is complete before that store and is not
//! used again before all readers of the time have unpinned ([`Table::collect`](crate::Table::collect)). So each lookup gives, for each change of a route, the answer from
//! before or from after it, and never another one. Addresses of one /20 change at once; a route shorter than that changes its /20s one after another.

use alloc::{sync::Arc, vec::Vec};
use core::{fmt, mem::size_of, net::Ipv4Addr};

use ksync::{
    Once,
    atomic::{AtomicUsize, Ordering, TableU16, TableU32},
};

use crate::{
    NextHop, NextHopId,
    shape::{RANKS, SLOTS},
};

/// An answer: 0 is "no route", else a next hop's number; or, with [`LONG`], where in its block the number of a group is.
pub(crate) type Leaf = u16;

/// Set in a value that leads to a group.
pub(crate) const LONG: Leaf = 0x8000;
/// How many bits of an entry are its base.
pub(crate) const BASE_BITS: u32 = 22;
/// The base of an entry.
pub(crate) const BASE_MASK: u32 = (1 << BASE_BITS) - 1;
/// How many blocks there are.
pub(crate) const BLOCKS: usize = 1 << 20;
/// How many entries a page has.
pub(crate) const PAGE: usize = 256;
/// How many pages cover all addresses.
pub(crate) const PAGES: usize = BLOCKS / PAGE;
/// How many lookups of a batch are under way at once.
const WAVE: usize = 32;

/// A destination with a place for the index that a lookup answers, for [`Fib::lookup_all`].
pub trait Sought {
    /// Returns the destination.
    fn destination(&self) -> Ipv4Addr;

    /// Takes the index: 0 if no prefix matches, else for [`Fib::at_index`].
    fn set_index(&mut self, index: u16);
}

/// The arrays. Their sizes never change; their words do.
pub(crate) struct Cells {
    /// For each 2^20 addresses the first entry of their page; empty if there is an entry for each block.
    pub(crate) pages: Vec<TableU32>,
    /// Blocks or pages, then groups.
    pub(crate) entries: Vec<TableU32>,
    /// The numbers from 0 to that of the last possible hop; then what entries lead to.
    pub(crate) values: Vec<TableU16>,
    /// By number, less one. Written once.
    pub(crate) hops: Vec<Once<NextHop>>,
    /// For the operator only.
    pub(crate) routes: AtomicUsize,
}

/// A forwarding table.
///
/// A clone is another handle to the same table. If a [`Table`](crate::Table) made it, the table's changes show in it; see this module's head for
/// what a reader sees of them.
///
/// # Context
/// Lookups anywhere, by any number of threads at once; they never block or allocate. Readers of a table that changes are pinned in the
/// domain that is given to [`Table::collect`](crate::Table::collect). The last handle frees the memory (thread context).
#[derive(Clone)]
pub struct Fib {
    pub(crate) cells: Arc<Cells>,
}

/// How large a table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FibSize {
    /// Routes of all sources, usable or not.
    pub routes: usize,
    /// Different next hops.
    pub next_hops: usize,
    /// Octets of memory in use.
    pub octets: usize,
}

impl Fib {
    /// Returns the next hop of the longest prefix that contains `destination`, or `None` if no prefix does.
    #[inline]
    #[must_use]
    pub fn lookup(&self, destination: Ipv4Addr) -> Option<&NextHop> {
        self.at_index(self.lookup_index(destination))
    }

    /// Returns the number of the next hop of the longest prefix that contains `destination`.
    #[inline]
    #[must_use]
    pub fn lookup_id(&self, destination: Ipv4Addr) -> Option<NextHopId> {
        self.lookup_index(destination).checked_sub(1).map(NextHopId)
    }

    /// Returns the next hop with this number.
    #[inline]
    #[must_use]
    pub fn next_hop(&self, id: NextHopId) -> Option<&NextHop> {
        self.cells.hops.get(usize::from(id.0))?.get()
    }

    /// As [`lookup`](Self::lookup), but returns an index: 0 if no prefix matches, else for [`at_index`](Self::at_index).
    ///
    /// An index is less than [`index_limit`](Self::index_limit) and keeps its meaning as long as this table.
    #[inline]
    #[must_use]
    pub fn lookup_index(&self, destination: Ipv4Addr) -> u16 {
        let (cells, address) = (&*self.cells, destination.to_bits());
        cells.answer(cells.entry(address), address)
    }

    /// Returns the next hop with this index, `None` for 0.
    #[inline]
    #[must_use]
    pub fn at_index(&self, index: u16) -> Option<&NextHop> {
        self.cells.hops.get(usize::from(index).wrapping_sub(1))?.get()
    }

    /// Returns a number that is larger than each index this table can answer.
    #[must_use]
    pub fn index_limit(&self) -> usize {
        self.cells.hops.len() + 1
    }

    /// Looks up all `destinations`, with up to 32 lookups under way at once, and writes their indices (see
    /// [`lookup_index`](Self::lookup_index)) to the places of `indices`. The shorter of the two slices counts.
    #[inline]
    pub fn lookup_batch(&self, destinations: &[Ipv4Addr], indices: &mut [u16]) {
        let cells = &*self.cells;
        for (destinations, indices) in destinations.chunks(WAVE).zip(indices.chunks_mut(WAVE)) {
            cells.wave(destinations, indices);
        }
    }

    /// As [`lookup_batch`](Self::lookup_batch), for destinations that lie in `items` beside the places for their indices.
    #[inline]
    pub fn lookup_all<T: Sought>(&self, items: &mut [T]) {
        items.chunks_mut(WAVE).for_each(|items| self.cells.wave_in(items));
    }

    /// Returns whether the two are handles to one table.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.cells, &other.cells)
    }

    /// Returns the sizes, for the operator.
    #[must_use]
    pub fn size(&self) -> FibSize {
        let cells = &*self.cells;
        let octets = (cells.pages.capacity() + cells.entries.capacity()) * size_of::<TableU32>()
            + cells.values.capacity() * size_of::<TableU16>()
            + cells.hops.capacity() * size_of::<Once<NextHop>>();
        let next_hops = cells.hops.iter().filter(|hop| hop.get().is_some()).count();
        FibSize { routes: cells.routes.load(Ordering::Relaxed), next_hops, octets }
    }
}

impl Cells {
    /// Returns the entry of the block of `address`. Every index was checked when the table was made: 0 would mean a broken one.
    #[inline]
    fn entry(&self, address: u32) -> u32 {
        let block = address >> 12;
        let place = if self.pages.is_empty() { block } else { self.place_in_page(block) };
        self.entry_at(place as usize)
    }

    /// Returns where the entry of a block is, in a table that has pages.
    #[inline]
    pub(crate) fn place_in_page(&self, block: u32) -> u32 {
        // ORDERING: acquire pairs with the release of the store that puts a new page in its place: we see the page as it was filled.
        let page = self.pages.get((block >> 8) as usize).map_or(0, |page| page.load(Ordering::Acquire));
        page + (block & 255)
    }

    #[inline]
    fn entry_at(&self, place: usize) -> u32 {
        entry_in(&self.entries, place)
    }

    #[inline]
    fn value(&self, entry: u32, address: u32) -> Leaf {
        value_of(&self.values, entry, address)
    }

    /// Returns the first value of an entry.
    #[inline]
    pub(crate) fn first_value(&self, entry: usize) -> Leaf {
        value_in(&self.values, u64::from(self.entry_at(entry) & BASE_MASK))
    }

    #[inline]
    fn answer(&self, entry: u32, address: u32) -> Leaf {
        let value = self.value(entry, address);
        if value & LONG == 0 { value } else { self.in_group(entry, value, address) }
    }

    /// Returns the answer for an address in whose /24 there are longer prefixes.
    #[cold]
    fn in_group(&self, entry: u32, value: Leaf, address: u32) -> Leaf {
        let group = self.group(entry, value);
        // The next four bits choose an entry, the last four a slot.
        let entry = self.entry_at(group as usize + (address >> 4) as usize % SLOTS);
        self.value(entry, address << 8)
    }

    /// Returns the first entry of the group that a value leads to.
    pub(crate) fn group(&self, entry: u32, value: Leaf) -> u32 {
        let place = u64::from(entry & BASE_MASK) + u64::from(value & !LONG);
        u32::from(value_in(&self.values, place)) | u32::from(value_in(&self.values, place + 1)) << 16
    }

    /// Looks up at most [`WAVE`] addresses, step by step for all, so that the memory works on all at once.
    #[inline]
    fn wave(&self, destinations: &[Ipv4Addr], indices: &mut [u16]) {
        let mut entries = [0; WAVE];
        self.load_entries(destinations.iter().copied(), &mut entries);
        let (values, mut seen) = (&*self.values, 0);
        for ((destination, entry), index) in destinations.iter().zip(&entries).zip(indices.iter_mut()) {
            *index = value_of(values, *entry, destination.to_bits());
            seen |= *index;
        }
        if seen & LONG != 0 {
            self.finish(destinations, &entries, indices);
        }
    }

    /// The same for destinations that lie beside the places for their indices.
    #[inline]
    fn wave_in<T: Sought>(&self, items: &mut [T]) {
        let mut entries = [0; WAVE];
        self.load_entries(items.iter().map(T::destination), &mut entries);
        let values = &*self.values;
        for (item, entry) in items.iter_mut().zip(&entries) {
            let address = item.destination().to_bits();
            let value = value_of(values, *entry, address);
            item.set_index(if value & LONG == 0 { value } else { self.in_group(*entry, value, address) });
        }
    }

    /// Loads the entries of the blocks of so many destinations.
    #[inline]
    fn load_entries(&self, destinations: impl Iterator<Item = Ipv4Addr>, entries: &mut [u32; WAVE]) {
        // Asked once for all, not for each.
        let all = &*self.entries;
        if self.pages.is_empty() {
            for (destination, entry) in destinations.zip(entries) {
                *entry = entry_in(all, (destination.to_bits() >> 12) as usize);
            }
        } else {
            for (destination, entry) in destinations.zip(entries) {
                *entry = entry_in(all, self.place_in_page(destination.to_bits() >> 12) as usize);
            }
        }
    }

    /// Takes the last step for those of a wave that lead to groups.
    #[cold]
    fn finish(&self, destinations: &[Ipv4Addr], entries: &[u32; WAVE], indices: &mut [u16]) {
        for ((destination, entry), index) in destinations.iter().zip(entries).zip(indices.iter_mut()) {
            if *index & LONG != 0 {
                *index = self.in_group(*entry, *index, destination.to_bits());
            }
        }
    }
}

#[inline]
fn entry_in(entries: &[TableU32], place: usize) -> u32 {
    // ORDERING: acquire pairs with the release of the store that replaces an entry: we see values and groups as they were written.
    entries.get(place).map_or(0, |entry| entry.load(Ordering::Acquire))
}

/// Returns the value of the slot of `address` in the block of `entry`; the slot is in bits 8 to 11.
#[inline]
fn value_of(values: &[TableU16], entry: u32, address: u32) -> Leaf {
    let rank = RANKS[(entry >> BASE_BITS) as usize] >> ((address >> 6) & 0x3c) & 15;
    value_in(values, u64::from(entry & BASE_MASK) + rank)
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "a base has 22 bits")]
fn value_in(values: &[TableU16], place: u64) -> Leaf {
    // ORDERING: relaxed, because values are written before the entry that leads to them is stored.
    values.get(place as usize).map_or(0, |value| value.load(Ordering::Relaxed))
}

impl fmt::Debug for Fib {
    /// Sizes only: a table may have a million routes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Fib").field(&self.size()).finish()
    }
}
