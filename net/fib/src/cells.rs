//! What a lookup reads: [`Fib`], a handle to arrays of words that one writer may change while any number of threads read.
//!
//! The upper 20 bits of an address choose an *[entry](Entry)*, the next four bits one of its 16 slots. Most entries have the answers of all
//! slots in themselves; of the others the answer is among the *values*. For prefixes longer than /24 the value leads to a *group*: 16 more
//! entries for the 256 addresses.
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
    atomic::{AtomicU64, AtomicUsize, Ordering, TableU16, TableU32, TableU64, prefetch},
};

use crate::{NextHop, NextHopId, batch, entry::Entry, shape::SLOTS};

/// An answer: 0 is "no route", else a next hop's number; or, with [`LONG`], where in its block the number of a group is.
pub(crate) type Leaf = u16;

/// Set in a value that leads to a group.
pub(crate) const LONG: Leaf = 0x8000;
/// How many blocks there are.
pub(crate) const BLOCKS: usize = 1 << 20;
/// How many entries a page has.
pub(crate) const PAGE: usize = 256;
/// How many pages cover all addresses.
pub(crate) const PAGES: usize = BLOCKS / PAGE;

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
    pub(crate) entries: Vec<TableU64>,
    /// What far entries lead to.
    pub(crate) values: Vec<TableU16>,
    /// By number, less one. Written once.
    pub(crate) hops: Vec<Once<NextHop>>,
    /// For the operator only.
    pub(crate) routes: AtomicUsize,
    /// Counts the changes of routes.
    pub(crate) changes: AtomicU64,
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

    /// Returns how many changes of routes this table has followed. What was looked up since the number was read may be kept while it stays.
    ///
    /// # Context
    /// As a lookup.
    #[inline]
    #[must_use]
    pub fn changes(&self) -> u64 {
        // ORDERING: acquire pairs with the release in `Cells::note_change`: who sees the number finds the change it counts.
        self.cells.changes.load(Ordering::Acquire)
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

    /// Looks up all `destinations`, many at a time, and writes their indices (see [`lookup_index`](Self::lookup_index)) to the places of
    /// `indices`. The shorter of the two slices counts.
    #[inline]
    pub fn lookup_batch(&self, destinations: &[Ipv4Addr], indices: &mut [u16]) {
        batch::look_up(&self.cells, (destinations, indices));
    }

    /// As [`lookup_batch`](Self::lookup_batch), for destinations that lie in `items` beside the places for their indices.
    #[inline]
    pub fn lookup_all<T: Sought>(&self, items: &mut [T]) {
        batch::look_up(&self.cells, items);
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
        let octets = cells.pages.capacity() * size_of::<TableU32>()
            + cells.entries.capacity() * size_of::<TableU64>()
            + cells.values.capacity() * size_of::<TableU16>()
            + cells.hops.capacity() * size_of::<Once<NextHop>>();
        let next_hops = cells.hops.iter().filter(|hop| hop.get().is_some()).count();
        FibSize { routes: cells.routes.load(Ordering::Relaxed), next_hops, octets }
    }
}

impl Cells {
    /// Counts a change of a route that has been entered. Only by the one who changes the table.
    pub(crate) fn note_change(&self) {
        let changes = self.changes.load(Ordering::Relaxed);
        // ORDERING: release, behind the change: pairs with the acquire in `Fib::changes`.
        self.changes.store(changes + 1, Ordering::Release);
    }

    /// Returns the entry of the block of `address`. Every index was checked when the table was made: an empty one would mean a broken table.
    #[inline]
    pub(crate) fn entry(&self, address: u32) -> Entry {
        self.blocks().map_or_else(|| self.paged(address), |blocks| read(&blocks[block_of(address)]))
    }

    /// Returns the entries of all blocks, if the table has one for each.
    #[inline]
    pub(crate) fn blocks(&self) -> Option<&[TableU64; BLOCKS]> {
        self.entries.first_chunk().filter(|_| self.pages.is_empty())
    }

    /// As [`entry`](Self::entry), in a table that has pages.
    #[inline]
    pub(crate) fn paged(&self, address: u32) -> Entry {
        entry_in(&self.entries, self.place_in_page(address >> 12) as usize)
    }

    /// Returns where the entry of a block is, in a table that has pages.
    #[inline]
    pub(crate) fn place_in_page(&self, block: u32) -> u32 {
        // ORDERING: acquire pairs with the release of the store that puts a new page in its place: we see the page as it was filled.
        let page = self.pages.get((block >> 8) as usize).map_or(0, |page| page.load(Ordering::Acquire));
        page + (block & 255)
    }

    /// Asks the memory for the first of the values that an entry leads to, if it leads anywhere.
    #[inline]
    pub(crate) fn ask(&self, entry: Entry) {
        if entry.is_far()
            && let Some(value) = self.values.get(entry.base() as usize)
        {
            prefetch(value);
        }
    }

    /// Returns the answer of the entry for `address`.
    #[inline]
    pub(crate) fn answer(&self, entry: Entry, address: u32) -> Leaf {
        if !entry.is_far() {
            return entry.value(address);
        }
        let value = value_in(&self.values, u64::from(entry.base()) + u64::from(entry.rank(address)));
        if value & LONG == 0 { value } else { self.in_group(entry, value, address) }
    }

    /// Returns the answer for an address in whose /24 there are longer prefixes.
    #[cold]
    fn in_group(&self, entry: Entry, value: Leaf, address: u32) -> Leaf {
        let group = self.group(entry, value);
        // The next four bits choose an entry, the last four a slot. Nothing in a group leads to another.
        let entry = entry_in(&self.entries, group as usize + (address >> 4) as usize % SLOTS);
        let address = address << 8;
        if entry.is_far() {
            value_in(&self.values, u64::from(entry.base()) + u64::from(entry.rank(address)))
        } else {
            entry.value(address)
        }
    }

    /// Returns the first entry of the group that a value leads to.
    pub(crate) fn group(&self, entry: Entry, value: Leaf) -> u32 {
        let place = u64::from(entry.base()) + u64::from(value & !LONG);
        u32::from(value_in(&self.values, place)) | u32::from(value_in(&self.values, place + 1)) << 16
    }
}

/// Returns the number of the block of `address`.
#[inline]
pub(crate) const fn block_of(address: u32) -> usize {
    (address >> 12) as usize
}

/// Reads an entry.
#[inline]
pub(crate) fn read(entry: &TableU64) -> Entry {
    // ORDERING: acquire pairs with the release of the store that replaces an entry: we see values and groups as they were written.
    Entry::from_bits(entry.load(Ordering::Acquire))
}

#[inline]
fn entry_in(entries: &[TableU64], place: usize) -> Entry {
    entries.get(place).map_or(Entry::of(0), read)
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "a place has little more than 32 bits")]
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
