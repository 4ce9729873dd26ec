//! Routes that change while packets are looked up: [`Table`].
//!
//! A change of a route makes the few blocks it touches anew, in free parts of the arrays, and replaces their entries one by one. What the
//! old entries led to waits for [`Table::collect`]. A change for which there is no room (or that touches every page of a small table)
//! makes the whole table *stale*: [`Table::commit`] then makes a larger one, which the caller publishes. See [`Fib`] for what readers see.

use alloc::{collections::BTreeSet, vec::Vec};
use core::fmt;

use ksync::{
    atomic::Ordering,
    rcu::{Domain, GracePeriod, StuckReader},
};
use wire::Ipv4Prefix;

use crate::{
    Fib, FibError, NextHop, Rib, Route, RouteSource,
    bucket::Bucket,
    build::{self, Built, Spare},
    cells::{Cells, Leaf, PAGE, block_of, read},
    entry::Entry,
    paint::{NoSpace, Painter, discard},
    rib::{LONG_LENGTH, place_of},
    shape::SLOTS,
    space::Limbo,
};

/// The room for growth: a few networks for small tables, and for large ones what a rebuild should be worth.
const SPARE: Spare = Spare { pages: 8, groups: 64, hops: 64, values: 1024 };

/// A routing table and the forwarding table that follows it.
///
/// # Context
/// Thread; allocates. One thread changes it at a time, while any number look up through handles from [`Table::fib`].
pub struct Table {
    rib: Rib,
    /// Interfaces whose routes are not used.
    down: BTreeSet<u16>,
    /// By hop: its number, or 0 if its interface is down.
    leaves: Vec<Leaf>,
    built: Built,
    limbo: Limbo,
    /// As the hops counted it when the table was made.
    renamed: u64,
    /// Set when the forwarding table no longer follows the routes.
    stale: bool,
    /// Set when it has hops that the one committed last had not.
    has_new_hops: bool,
}

impl Table {
    /// Makes a table of the routes in `rib`, with all interfaces up.
    ///
    /// # Errors
    /// [`FibError::NoMemory`], [`FibError::TooScattered`].
    pub fn new(rib: Rib) -> Result<Self, FibError> {
        let leaves = rib.leaves(|_| true)?;
        let built = build::build(&rib, &leaves, SPARE)?;
        let renamed = rib.hops.renamed;
        let (down, limbo) = (BTreeSet::new(), Limbo::default());
        Ok(Self { rib, down, leaves, built, limbo, renamed, stale: false, has_new_hops: false })
    }

    /// Returns the routes.
    #[must_use]
    pub const fn rib(&self) -> &Rib {
        &self.rib
    }

    /// Returns the forwarding table, of which readers need a clone.
    #[must_use]
    pub const fn fib(&self) -> &Fib {
        &self.built.fib
    }

    /// Adds a route, or replaces the next hop of the one with the same prefix and source, which is returned. Readers see it at once, unless
    /// the table is stale.
    ///
    /// # Errors
    /// As [`Rib::insert`]; nothing is changed then.
    pub fn insert(&mut self, route: Route) -> Result<Option<NextHop>, FibError> {
        self.fetch(route.prefix);
        let before = self.rib.insert(route)?;
        self.follow(route.prefix);
        Ok(before)
    }

    /// Removes the route for exactly this prefix from this source and returns where it led. Readers see it at once, unless the table is stale.
    pub fn remove(&mut self, prefix: Ipv4Prefix, source: RouteSource) -> Option<NextHop> {
        self.fetch(prefix);
        let before = self.rib.remove(prefix, source)?;
        self.follow(prefix);
        Some(before)
    }

    /// Replaces all routes, and returns those there were. The table is stale then.
    pub fn replace(&mut self, rib: Rib) -> Rib {
        self.stale = true;
        core::mem::replace(&mut self.rib, rib)
    }

    /// Says which interfaces are down: routes that lead through them are not used (RFC 1812 5.3.12.3), and the next best source's are. The table
    /// is stale if that is news.
    pub fn set_down(&mut self, interfaces: impl IntoIterator<Item = u16>) {
        let down = interfaces.into_iter().collect();
        if self.down != down {
            self.down = down;
            self.stale = true;
        }
    }

    /// Makes the forwarding table anew if it is stale. Returns whether [`fib`](Self::fib) is to be published: because it is another one, or
    /// because it has new next hops, of which users may want to know before packets go there.
    ///
    /// # Errors
    /// [`FibError::NoMemory`], [`FibError::TooScattered`]; then the one in use stays as it is, and the table stale.
    pub fn commit(&mut self) -> Result<bool, FibError> {
        if !self.stale {
            return Ok(core::mem::take(&mut self.has_new_hops));
        }
        let leaves = self.rib.leaves(|hop| is_usable(&self.down, hop))?;
        self.built = build::build(&self.rib, &leaves, SPARE)?;
        self.leaves = leaves;
        self.limbo = Limbo::default();
        self.renamed = self.rib.hops.renamed;
        (self.stale, self.has_new_hops) = (false, false);
        Ok(true)
    }

    /// Returns how many replaced pieces wait for a [`collect`](Self::collect).
    #[must_use]
    pub fn uncollected(&self) -> usize {
        self.limbo.len()
    }

    /// Waits until all readers that are pinned in `domain` now have unpinned, calling `relax` between looks while it answers true, and makes what
    /// has been replaced until now free for new changes.
    ///
    /// # Errors
    /// [`StuckReader`] if `relax` lost patience; nothing is freed then.
    ///
    /// # Context
    /// As [`Domain::try_synchronize`]: the caller is not pinned.
    pub fn collect(
        &mut self,
        domain: &'static Domain,
        relax: impl FnMut() -> bool,
    ) -> Result<GracePeriod, StuckReader> {
        // All that is in limbo was unlinked by stores of this thread (or one it took the table over from), so before this grace period.
        let grace = domain.try_synchronize(relax)?;
        self.built.space.reuse(&mut self.limbo);
        Ok(grace)
    }

    /// Asks the memory for what a change of `prefix` is about to replace: in a large table it is in no cache, and comes while the route is
    /// looked for.
    #[inline]
    fn fetch(&self, prefix: Ipv4Prefix) {
        let cells: &Cells = &self.built.fib.cells;
        if let Some(blocks) = cells.blocks() {
            cells.ask(read(&blocks[block_of(prefix.addr().to_bits())]));
        }
    }

    /// Enters a change of the routes for `prefix` into the forwarding table.
    fn follow(&mut self, prefix: Ipv4Prefix) {
        if self.stale {
            return;
        }
        let followed = self.follow_hops().and_then(|()| {
            if prefix.len() < LONG_LENGTH { self.follow_short(prefix) } else { self.follow_long(prefix) }
        });
        self.stale = followed.is_err();
        self.built.fib.cells.routes.store(self.rib.len(), Ordering::Relaxed);
        self.built.fib.cells.note_change();
    }

    /// Enters hops that are new.
    fn follow_hops(&mut self) -> Result<(), NoSpace> {
        if self.renamed != self.rib.hops.renamed {
            return Err(NoSpace);
        }
        for hop in self.rib.hops.above(self.leaves.len() - 1) {
            let leaf = Leaf::try_from(self.leaves.len()).map_err(|_| NoSpace)?;
            self.leaves.try_reserve(1).map_err(|_| NoSpace)?;
            self.built.fib.cells.hops.get(usize::from(leaf) - 1).ok_or(NoSpace)?.call_once(|| *hop);
            self.leaves.push(if is_usable(&self.down, hop) { leaf } else { 0 });
            self.has_new_hops = true;
        }
        Ok(())
    }

    /// Makes the blocks anew that a prefix of 16 bits or more touches.
    fn follow_long(&mut self, prefix: Ipv4Prefix) -> Result<(), NoSpace> {
        let (index, key) = place_of(prefix, RouteSource::Local);
        let index = index.ok_or(NoSpace)?;
        let first = self.place(index)?;
        let block = key.bits() >> 12;
        let blocks = 1 << (20 - prefix.len().min(20));
        let cover = self.built.covers.get(index).copied().unwrap_or(0);
        self.blocks(index, block..block + blocks, first, cover)
    }

    /// Makes the /16s anew whose answer, apart from longer prefixes, a prefix of less than 16 bits changes.
    fn follow_short(&mut self, prefix: Ipv4Prefix) -> Result<(), NoSpace> {
        if !self.built.fib.cells.pages.is_empty() {
            // There are few buckets in a small table, and many pages to look at: it is made anew as fast.
            return Err(NoSpace);
        }
        let covers = build::covers_within(&self.rib.short, &self.leaves, prefix).map_err(|_| NoSpace)?;
        let first = usize::from(place_of(prefix, RouteSource::Local).1.bits());
        for (index, cover) in (first..).zip(covers) {
            let before = self.built.covers.get_mut(index).ok_or(NoSpace)?;
            if *before != cover {
                *before = cover;
                self.blocks(index, 0..16, index * SLOTS, cover)?;
            }
        }
        Ok(())
    }

    /// Makes blocks of the /16 number `index` anew, whose first block's entry is number `first`.
    fn blocks(
        &mut self,
        index: usize,
        blocks: core::ops::Range<u16>,
        first: usize,
        cover: Leaf,
    ) -> Result<(), NoSpace> {
        const NONE: &Bucket = &Bucket::new();
        let bucket = self.rib.bucket(Some(index)).unwrap_or(NONE);
        let cells: &Cells = &self.built.fib.cells;
        let painter = Painter { values: &cells.values, entries: &cells.entries, leaves: &self.leaves };
        for block in blocks {
            let entry = painter.block(bucket, block, cover, &mut self.built.space)?;
            let cell = cells.entries.get(first + usize::from(block)).ok_or(NoSpace)?;
            let before = cell.load(Ordering::Relaxed);
            // ORDERING: release pairs with the acquire of the lookup: who finds the new entry sees what it leads to.
            cell.store(entry.bits(), Ordering::Release);
            discard(cells, Entry::from_bits(before), &mut self.limbo);
        }
        Ok(())
    }

    /// Returns where the entries of the /16 number `index` are, in a page of their own.
    fn place(&mut self, index: usize) -> Result<usize, NoSpace> {
        let cells: &Cells = &self.built.fib.cells;
        let Some(page) = cells.pages.get(index / (PAGE / SLOTS)) else { return Ok(index * SLOTS) };
        let mut first = page.load(Ordering::Relaxed) as usize;
        if first < self.built.shared_pages {
            let own = self.built.next_page;
            if own + PAGE > self.built.first_group {
                return Err(NoSpace);
            }
            let shared = cells.entries.get(first..first + PAGE).ok_or(NoSpace)?;
            for (entry, shared) in cells.entries.get(own..own + PAGE).ok_or(NoSpace)?.iter().zip(shared) {
                entry.store(shared.load(Ordering::Relaxed), Ordering::Relaxed);
            }
            // ORDERING: release pairs with the acquire of the lookup: who finds the page sees it filled.
            page.store(u32::try_from(own).map_err(|_| NoSpace)?, Ordering::Release);
            self.built.next_page = own + PAGE;
            first = own;
        }
        Ok(first + index % (PAGE / SLOTS) * SLOTS)
    }
}

/// Returns whether routes that lead to `hop` are used.
fn is_usable(down: &BTreeSet<u16>, hop: &NextHop) -> bool {
    down.is_empty() || !hop.uses_interface() || !down.contains(&hop.out)
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rib, built, stale, .. } = self;
        f.debug_struct("Table").field("rib", rib).field("fib", &built.fib).field("stale", stale).finish_non_exhaustive()
    }
}
