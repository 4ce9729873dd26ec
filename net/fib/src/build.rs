//! Makes all of a table from its routes: [`build`]. Thread context; allocates, with failure as an error.

use alloc::{sync::Arc, vec::Vec};

use ksync::{
    Once,
    atomic::{AtomicU64, AtomicUsize, TableU16, TableU32, TableU64},
};
use wire::Ipv4Prefix;

use crate::{
    Fib, FibError, NextHop, Rib, RouteSource,
    bucket::Bucket,
    cells::{BLOCKS, Cells, Leaf, PAGE, PAGES},
    entry::{Entry, LARGE},
    paint::{NoSpace, Painter},
    rib::{LONG_LENGTH, place_of},
    shape::SLOTS,
    space::{LONGEST, Space},
};

/// How many answers of short prefixes there are: one for each upper 16 bits.
const COVERS: usize = 1 << LONG_LENGTH;
/// From this many pages on, a table has an entry for each block instead.
const MAX_PAGES: usize = PAGES / 4;
/// How many pages' worth of /16s share a page.
const BUCKETS_PER_PAGE: usize = COVERS / PAGES;

/// How much room a table has to grow in place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spare {
    pub(crate) pages: usize,
    pub(crate) groups: usize,
    pub(crate) hops: usize,
    /// As of groups, there are as many again as an eighth of those in use.
    pub(crate) values: usize,
}

impl Spare {
    /// For a table that never changes.
    pub(crate) const NONE: Self = Self { pages: 0, groups: 0, hops: 0, values: 0 };
}

/// A new table, and what its writer has to know.
pub(crate) struct Built {
    pub(crate) fib: Fib,
    /// By upper 16 bits: the answer of the prefixes shorter than that.
    pub(crate) covers: Vec<Leaf>,
    pub(crate) space: Space,
    /// How many entries are in use by pages.
    pub(crate) next_page: usize,
    /// Pages that several places share begin below this entry, and are of one answer.
    pub(crate) shared_pages: usize,
    /// The first entry that belongs to groups.
    pub(crate) first_group: usize,
}

/// Makes the table of all routes whose hop has an answer in `leaves`.
pub(crate) fn build(rib: &Rib, leaves: &[Leaf], spare: Spare) -> Result<Built, FibError> {
    let covers = covers(rib, leaves)?;
    let plan = Plan::new(rib, &covers, spare)?;
    let hops = hops(rib, spare.hops)?;
    let mut making = Making::new(leaves, &plan, hops.len())?;
    making.covers(&plan, &covers);
    for (index, bucket) in rib.buckets().filter(|(_, bucket)| !bucket.all().is_empty()) {
        let cover = covers.get(index).copied().unwrap_or(0);
        let first = match plan.pages.get(index / BUCKETS_PER_PAGE) {
            None => index * SLOTS,
            Some(&page) => page as usize + index % BUCKETS_PER_PAGE * SLOTS,
        };
        making.bucket(bucket, cover, first)?;
    }
    making.finish(plan, hops, covers, spare, rib.len())
}

/// Returns for each upper 16 bits the answer of the longest usable prefix shorter than that.
fn covers(rib: &Rib, leaves: &[Leaf]) -> Result<Vec<Leaf>, FibError> {
    covers_within(&rib.short, leaves, Ipv4Prefix::DEFAULT)
}

/// As all covers, for the upper 16 bits of the addresses in `prefix`, which is one of the short ones.
pub(crate) fn covers_within(short: &Bucket, leaves: &[Leaf], prefix: Ipv4Prefix) -> Result<Vec<Leaf>, FibError> {
    let (_, key) = place_of(prefix, RouteSource::Local);
    let len = 1 << (LONG_LENGTH - prefix.len().min(LONG_LENGTH));
    let first = usize::from(key.bits());
    let leaf = |hop: Leaf| leaves.get(usize::from(hop)).copied().filter(|&leaf| leaf != 0);
    let outer = (0..prefix.len()).rev().map(|length| Ipv4Prefix::containing(prefix.addr(), length));
    let mut outer = outer.map(|outer| place_of(outer, RouteSource::Local).1);
    let cover =
        outer.find_map(|key| short.of_prefix(key.bits(), key.length()).iter().find_map(|route| leaf(route.hop)));
    let mut covers: Vec<Leaf> = Vec::new();
    covers.try_reserve_exact(len).map_err(|_| FibError::NoMemory)?;
    covers.resize(len, cover.unwrap_or(0));
    let last = u16::try_from(first + len - 1).unwrap_or(u16::MAX);
    let mut done = None;
    for route in short.from(key.bits()).0.iter().take_while(|route| route.key.bits() <= last) {
        let is_done = done.is_some_and(|done| route.key.same_prefix(done));
        if let Some(leaf) = leaf(route.hop).filter(|_| !is_done && route.key.length() >= prefix.len()) {
            let start = usize::from(route.key.bits()) - first;
            let covered = 1 << (LONG_LENGTH - route.key.length());
            covers.get_mut(start..start + covered).unwrap_or_default().fill(leaf);
            done = Some(route.key);
        }
    }
    Ok(covers)
}

/// Returns the cells of the next hops, with room for `spare` more.
fn hops(rib: &Rib, spare: usize) -> Result<Vec<Once<NextHop>>, FibError> {
    let hops = rib.hops.iter();
    let len = (hops.len() + spare).min(crate::hops::MAX_HOPS);
    let mut cells = Vec::new();
    cells.try_reserve_exact(len).map_err(|_| FibError::NoMemory)?;
    cells.resize_with(len, Once::new);
    for (cell, hop) in cells.iter().zip(hops) {
        cell.call_once(|| *hop);
    }
    Ok(cells)
}

/// Where each page is.
struct Plan {
    /// By the upper 12 bits of an address: the page's first entry. Empty if there are to be entries for all blocks.
    pages: Vec<u32>,
    /// The answers of the pages that are of one answer; they come first.
    shared: Vec<Leaf>,
    /// How many entries the pages take.
    used: usize,
    /// With room to grow.
    entries: usize,
}

impl Plan {
    fn new(rib: &Rib, covers: &[Leaf], spare: Spare) -> Result<Self, FibError> {
        let flat = Self { pages: Vec::new(), shared: Vec::new(), used: BLOCKS, entries: BLOCKS };
        let mut mixed = [false; PAGES];
        for (index, _) in rib.buckets().filter(|(_, bucket)| !bucket.all().is_empty()) {
            mixed[index / BUCKETS_PER_PAGE] = true;
        }
        let mut shared: Vec<Leaf> = Vec::new();
        for (mixed, covers) in mixed.iter_mut().zip(covers.chunks(BUCKETS_PER_PAGE)) {
            *mixed |= covers.iter().any(|&cover| Some(&cover) != covers.first());
            if let Some(&cover) = covers.first().filter(|cover| !*mixed && !shared.contains(cover)) {
                if shared.len() >= MAX_PAGES {
                    return Ok(flat);
                }
                shared.try_reserve(1).map_err(|_| FibError::NoMemory)?;
                shared.push(cover);
            }
        }
        let own = mixed.iter().filter(|&&mixed| mixed).count();
        if own + shared.len() > MAX_PAGES {
            return Ok(flat);
        }
        let mut pages = Vec::new();
        pages.try_reserve_exact(PAGES).map_err(|_| FibError::NoMemory)?;
        let mut next = shared.len();
        for (&mixed, covers) in mixed.iter().zip(covers.chunks(BUCKETS_PER_PAGE)) {
            let same = shared.iter().position(|cover| Some(cover) == covers.first());
            let page = if mixed { next } else { same.unwrap_or(0) };
            next += usize::from(mixed);
            pages.push(u32::try_from(page * PAGE).unwrap_or(0));
        }
        Ok(Self { pages, shared, used: next * PAGE, entries: (next + spare.pages) * PAGE })
    }
}

/// A table in the making.
struct Making<'a> {
    leaves: &'a [Leaf],
    entries: Vec<TableU64>,
    values: Vec<TableU16>,
    space: Space,
}

impl<'a> Making<'a> {
    fn new(leaves: &'a [Leaf], plan: &Plan, hops: usize) -> Result<Self, FibError> {
        let entries = exactly(Vec::new(), plan.entries, || TableU64::new(0))?;
        let mut next = 0;
        // The answers that have no room in an entry lie at the places of their own numbers.
        let answers = if hops < usize::from(LARGE) { 0 } else { hops + 1 };
        let values = exactly(Vec::new(), answers, || {
            next += 1;
            TableU16::new(next - 1)
        })?;
        let space = Space::new(values.len(), plan.entries);
        Ok(Self { leaves, entries, values, space })
    }

    /// Gives each block the answer of the prefixes that are shorter than a bucket's.
    fn covers(&mut self, plan: &Plan, covers: &[Leaf]) {
        for (page, &cover) in plan.shared.iter().enumerate() {
            self.fill(page * PAGE, PAGE, cover);
        }
        for (index, &cover) in covers.iter().enumerate() {
            match plan.pages.get(index / BUCKETS_PER_PAGE) {
                None => self.fill(index * SLOTS, SLOTS, cover),
                Some(&page) if page as usize >= plan.shared.len() * PAGE => {
                    self.fill(page as usize + index % BUCKETS_PER_PAGE * SLOTS, SLOTS, cover);
                }
                Some(_) => {}
            }
        }
    }

    fn fill(&mut self, first: usize, len: usize, leaf: Leaf) {
        for entry in self.entries.get_mut(first..first + len).unwrap_or_default() {
            *entry = TableU64::new(Entry::of(leaf).bits());
        }
    }

    /// Makes the 16 blocks of a bucket, from entry `first` on.
    fn bucket(&mut self, bucket: &Bucket, cover: Leaf, first: usize) -> Result<(), FibError> {
        for (place, block) in (first..).zip(0..16) {
            let entry = self.block(bucket, block, cover)?;
            if let Some(cell) = self.entries.get_mut(place) {
                *cell = TableU64::new(entry.bits());
            }
        }
        Ok(())
    }

    /// Makes one block, with as much more memory as it takes.
    fn block(&mut self, bucket: &Bucket, block: u16, cover: Leaf) -> Result<Entry, FibError> {
        loop {
            let mark = (self.space.next_value, self.space.next_group);
            let painter = Painter { values: &self.values, entries: &self.entries, leaves: self.leaves };
            match painter.block(bucket, block, cover, &mut self.space) {
                Ok(entry) => return Ok(entry),
                // What was made of the block so far is made again.
                Err(NoSpace) => {
                    (self.space.next_value, self.space.next_group) = mark;
                    self.grow()?;
                }
            }
        }
    }

    /// Makes room for any block.
    fn grow(&mut self) -> Result<(), FibError> {
        const GROUPS: usize = SLOTS;
        const VALUES: usize = LONGEST + GROUPS * SLOTS * SLOTS;
        if self.values.len().max(self.entries.len()) > u32::MAX as usize {
            return Err(FibError::TooScattered);
        }
        self.values.try_reserve(VALUES).map_err(|_| FibError::NoMemory)?;
        self.values.resize_with(self.space.next_value + VALUES, || TableU16::new(0));
        self.space.end_of_values = self.values.len();
        if self.space.end_of_entries - self.space.next_group < GROUPS * SLOTS {
            self.entries.try_reserve(GROUPS * SLOTS).map_err(|_| FibError::NoMemory)?;
            self.entries.resize_with(self.space.next_group + GROUPS * SLOTS, || TableU64::new(0));
            self.space.end_of_entries = self.entries.len();
        }
        Ok(())
    }

    /// Puts the table together, with room to grow.
    fn finish(
        mut self,
        plan: Plan,
        hops: Vec<Once<NextHop>>,
        covers: Vec<Leaf>,
        spare: Spare,
        routes: usize,
    ) -> Result<Built, FibError> {
        let values = self.space.next_value;
        let eighth = if spare.values == 0 { 0 } else { values / 8 };
        let values = exactly(self.values, values + spare.values + eighth, || TableU16::new(0))?;
        let groups = (self.space.next_group - plan.entries) / SLOTS;
        let more_groups = if spare.groups == 0 { 0 } else { spare.groups + groups / 8 };
        let entries = self.space.next_group + more_groups * SLOTS;
        let entries = exactly(self.entries, entries, || TableU64::new(0))?;
        (self.space.end_of_values, self.space.end_of_entries) = (values.len(), entries.len());
        let mut pages = Vec::new();
        pages.try_reserve_exact(plan.pages.len()).map_err(|_| FibError::NoMemory)?;
        pages.extend(plan.pages.into_iter().map(TableU32::new));
        let cells =
            Cells { pages, entries, values, hops, routes: AtomicUsize::new(routes), changes: AtomicU64::new(0) };
        Ok(Built {
            fib: Fib { cells: Arc::new(cells) },
            covers,
            space: self.space,
            next_page: plan.used,
            shared_pages: plan.shared.len() * PAGE,
            first_group: plan.entries,
        })
    }
}

/// Returns the first `len` elements, with new ones if there are not so many, in memory of just that size.
fn exactly<T>(mut elements: Vec<T>, len: usize, new: impl FnMut() -> T) -> Result<Vec<T>, FibError> {
    elements.truncate(len);
    if elements.capacity() == len {
        elements.resize_with(len, new);
        return Ok(elements);
    }
    let mut exact = Vec::new();
    exact.try_reserve_exact(len).map_err(|_| FibError::NoMemory)?;
    exact.append(&mut elements);
    exact.resize_with(len, new);
    Ok(exact)
}
