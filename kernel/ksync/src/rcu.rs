//! Read-copy-update: immutable snapshots that the data path reads without a lock.
//!
//! A [`Domain`] knows its readers. A [`Reader`] pins itself once per pass (one store and one fence), reads any number of
//! [`Rcu`] values through the [`Guard`], and unpins. A writer publishes a new value and gets the old one back as [`Retired`], which
//! opens only with a [`GracePeriod`]: the proof that every reader that was pinned has unpinned since. Types carry the whole
//! argument; users need no `unsafe`.
//!
//! The core is the store-then-load gate: a reader stores "pinned" and then loads the pointer, a writer swaps the pointer and
//! then loads "pinned". No combination of acquire and release orders a store before a later load, therefore both sides
//! have a sequentially consistent fence in between.

use alloc::boxed::Box;
use core::{cell::Cell, fmt, marker::PhantomData, ptr::NonNull};

use crate::{
    CachePadded,
    atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering, fence},
};

/// How many readers a domain can have at once.
#[cfg(not(any(loom, shuttle)))]
pub const MAX_READERS: usize = 128;
/// How many readers a domain can have at once; a writer looks at each slot, and each look is a choice of shuttle's.
#[cfg(shuttle)]
pub const MAX_READERS: usize = 8;
/// How many readers a domain can have at once; loom explores each slot.
#[cfg(loom)]
pub const MAX_READERS: usize = 2;

/// One reader's place in the domain.
struct Slot {
    claimed: AtomicBool,
    /// Odd while the reader is pinned; only ever grows, so a writer can tell "still" from "again". Written by the reader only.
    sequence: AtomicU64,
}

impl Slot {
    #[cfg(not(loom))]
    const fn new() -> Self {
        Self { claimed: AtomicBool::new(false), sequence: AtomicU64::new(0) }
    }

    #[cfg(loom)]
    fn new() -> Self {
        Self { claimed: AtomicBool::new(false), sequence: AtomicU64::new(0) }
    }
}

/// The set of readers that a writer waits for. Lives in a `static` (or is leaked, in tests).
pub struct Domain {
    slots: [CachePadded<Slot>; MAX_READERS],
    /// Orders retirements against grace periods: each takes a ticket.
    tickets: AtomicU64,
}

/// A reader of the domain did not unpin within the caller's patience.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StuckReader {
    /// The reader's slot, as [`Reader::slot`] shows it.
    pub slot: usize,
}

/// Proof that every reader pinned when it began has unpinned since.
#[derive(Debug)]
pub struct GracePeriod {
    domain: &'static Domain,
    ticket: u64,
}

impl Domain {
    /// Returns a domain without readers.
    #[cfg(not(loom))]
    #[must_use]
    pub const fn new() -> Self {
        Self { slots: [const { CachePadded::new(Slot::new()) }; MAX_READERS], tickets: AtomicU64::new(0) }
    }

    /// Returns a domain without readers.
    #[cfg(loom)]
    #[must_use]
    pub fn new() -> Self {
        Self { slots: core::array::from_fn(|_| CachePadded::new(Slot::new())), tickets: AtomicU64::new(0) }
    }

    /// Gives the calling thread a place among the readers; `None` when all [`MAX_READERS`] are taken.
    ///
    /// # Context
    /// Any; does not block.
    pub fn register(&'static self) -> Option<Reader> {
        let free = |slot: &CachePadded<Slot>| {
            // ORDERING: acquire pairs with the release in `Reader::drop`, so that we continue the sequence where it ended.
            slot.claimed.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok()
        };
        let slot = self.slots.iter().position(free)?;
        Some(Reader { domain: self, slot, depth: Cell::new(0) })
    }

    /// Waits until every reader that is pinned now has unpinned, calling `relax` (yield, sleep) between looks.
    ///
    /// # Context
    /// Thread context; blocks as long as the slowest reader's pass. The caller must not be pinned itself.
    pub fn synchronize(&'static self, mut relax: impl FnMut()) -> GracePeriod {
        loop {
            let patient = self.try_synchronize(|| {
                relax();
                true
            });
            if let Ok(grace) = patient {
                return grace;
            }
        }
    }

    /// As [`Domain::synchronize`], but gives up once `relax` answers false.
    ///
    /// # Errors
    /// [`StuckReader`] names the reader that was still pinned.
    ///
    /// # Context
    /// Thread context; blocks while `relax` says so.
    pub fn try_synchronize(&'static self, mut relax: impl FnMut() -> bool) -> Result<GracePeriod, StuckReader> {
        // ORDERING: the read-modify-write order of the tickets puts every retirement with a smaller ticket, and the pointer swap before
        // it, before this point (acquire pairs with the release in `Rcu::publish`).
        let ticket = self.tickets.fetch_add(1, Ordering::AcqRel);
        // ORDERING: pairs with the fence in `Reader::pin`; see the head of this file.
        fence(Ordering::SeqCst);
        for (index, slot) in self.slots.iter().enumerate() {
            // ORDERING: acquire pairs with the release stores of `Reader::pin` and `Guard::drop`: what the reader did with the old value
            // happens before whatever we do with it.
            let seen = slot.sequence.load(Ordering::Acquire);
            while seen % 2 == 1 && slot.sequence.load(Ordering::Acquire) == seen {
                if !relax() {
                    return Err(StuckReader { slot: index });
                }
            }
        }
        Ok(GracePeriod { domain: self, ticket })
    }
}

impl Default for Domain {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("rcu::Domain")
    }
}

/// One thread's right to read; freed on drop. May move to another thread, but serves one at a time.
#[derive(Debug)]
pub struct Reader {
    domain: &'static Domain,
    slot: usize,
    /// Guards alive; the slot is pinned while it is not zero.
    depth: Cell<u32>,
}

impl Reader {
    /// Pins: values read through the guard stay until it is dropped. Nests.
    ///
    /// Costs one store and one full fence: do it once per pass, not once per packet.
    ///
    /// # Context
    /// Thread context; does not block. The thread may be preempted while pinned, but should not park: writers wait for it.
    #[inline]
    pub fn pin(&self) -> Guard<'_> {
        let depth = self.depth.get();
        self.depth.set(depth + 1);
        if depth == 0 {
            let slot = self.place();
            let sequence = slot.sequence.load(Ordering::Relaxed);
            // ORDERING: release, because a writer may read this store instead of the unpin before it and must still see everything
            // that pass did.
            slot.sequence.store(sequence.wrapping_add(1), Ordering::Release);
            // ORDERING: pairs with the fence in `Domain::try_synchronize`; see the head of this file.
            fence(Ordering::SeqCst);
        }
        Guard { reader: self }
    }

    /// Returns this reader's slot number, as [`StuckReader`] names it.
    #[must_use]
    pub fn slot(&self) -> usize {
        self.slot
    }

    #[inline]
    fn place(&self) -> &'static Slot {
        &self.domain.slots[self.slot]
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let slot = self.place();
        let sequence = slot.sequence.load(Ordering::Relaxed);
        if sequence % 2 == 1 {
            // A guard was forgotten instead of dropped; no reference made with it can outlive the reader.
            slot.sequence.store(sequence.wrapping_add(1), Ordering::Release);
        }
        // ORDERING: release pairs with the acquire in `Domain::register`.
        slot.claimed.store(false, Ordering::Release);
    }
}

/// The reader is pinned while this value lives.
#[derive(Debug)]
#[must_use = "the reader unpins as soon as the guard is dropped"]
pub struct Guard<'r> {
    reader: &'r Reader,
}

impl Drop for Guard<'_> {
    #[inline]
    fn drop(&mut self) {
        let depth = self.reader.depth.get() - 1;
        self.reader.depth.set(depth);
        if depth == 0 {
            let slot = self.reader.place();
            let sequence = slot.sequence.load(Ordering::Relaxed);
            // ORDERING: release pairs with the acquire in `Domain::try_synchronize`: all our reads are before the reclaim.
            slot.sequence.store(sequence.wrapping_add(1), Ordering::Release);
        }
    }
}

/// A shared immutable value that can be replaced while it is read.
pub struct Rcu<T> {
    /// Always a live `Box<T>` made by `new` or `publish`; the swap hands each old one to exactly one writer.
    current: AtomicPtr<T>,
    domain: &'static Domain,
    owns: PhantomData<Box<T>>,
}

impl<T> Rcu<T> {
    /// Returns a cell with `value`, read by the readers of `domain`.
    pub fn new(domain: &'static Domain, value: T) -> Self {
        Self { current: AtomicPtr::new(Box::into_raw(Box::new(value))), domain, owns: PhantomData }
    }

    /// Returns the domain whose readers may read this value.
    #[must_use]
    pub fn domain(&self) -> &'static Domain {
        self.domain
    }

    /// Returns the current value, which stays as it is while `guard` lives.
    ///
    /// # Context
    /// Thread context; wait-free.
    ///
    /// # Panics
    /// If the guard belongs to another domain, a bug that would let the value be freed while it is read.
    #[inline]
    pub fn read<'g>(&'g self, guard: &'g Guard<'_>) -> &'g T {
        assert!(core::ptr::eq(guard.reader.domain, self.domain), "guard of another RCU domain");
        // ORDERING: acquire pairs with the release of the swap in `publish`: we see the value as its writer built it.
        let current = self.current.load(Ordering::Acquire);
        // SAFETY: the pointer came from `Box::into_raw` and has not been freed: `publish` hands old values out as `Retired`, which
        // needs a grace period of our domain begun after the swap, and such a period cannot end while this guard is pinned (the two
        // fences); `Drop` has `&mut self`, which the returned lifetime excludes.
        unsafe { &*current }
    }

    /// Replaces the value; readers that pin from now on see the new one.
    ///
    /// Two writers at once both succeed, in some order; who builds the new value from the old must hold a lock of their own.
    ///
    /// # Context
    /// Thread context; allocates, does not block.
    pub fn publish(&self, value: T) -> Retired<T> {
        let new = Box::into_raw(Box::new(value));
        // ORDERING: release publishes the new value to `read`; acquire takes over the old one from the writer before us.
        let old = self.current.swap(new, Ordering::AcqRel);
        // ORDERING: release puts the swap before our ticket; pairs with the acquire in `Domain::try_synchronize`.
        let ticket = self.domain.tickets.fetch_add(1, Ordering::AcqRel);
        // SAFETY: `old` came from `Box::into_raw`, which is never null.
        let value = unsafe { NonNull::new_unchecked(old) };
        Retired { value, ticket, domain: self.domain }
    }

    /// Returns the current value, for the owner alone.
    pub fn get_mut(&mut self) -> &mut T {
        let current = self.current.load(Ordering::Relaxed);
        // SAFETY: the pointer is a live box (see the field), and `&mut self` excludes every reader and writer.
        unsafe { &mut *current }
    }
}

// SAFETY: an `Rcu<T>` owns a `T` (moved to whoever reclaims it: `Send`) and gives `&T` to many threads (`Sync`).
unsafe impl<T: Send + Sync> Send for Rcu<T> {}
// SAFETY: as above; `publish` through `&Rcu<T>` also moves values between threads, hence `Send` again.
unsafe impl<T: Send + Sync> Sync for Rcu<T> {}

impl<T> Drop for Rcu<T> {
    fn drop(&mut self) {
        let current = self.current.load(Ordering::Relaxed);
        // SAFETY: the pointer is a live box (see the field), and nobody can hold a reference from `read`, which borrows `self`.
        drop(unsafe { Box::from_raw(current) });
    }
}

impl<T> fmt::Debug for Rcu<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rcu")
    }
}

/// A replaced value, which readers may still be looking at.
///
/// Dropping it without a grace period leaks the value: safe, but memory is lost.
#[must_use = "reclaim the old value after a grace period, or its memory is lost"]
pub struct Retired<T> {
    value: NonNull<T>,
    ticket: u64,
    domain: &'static Domain,
}

// SAFETY: a `Retired<T>` is a `Box<T>` that opens later; other threads may still hold `&T`, hence `Sync` as well.
unsafe impl<T: Send + Sync> Send for Retired<T> {}

impl<T> Retired<T> {
    /// Opens the value with a grace period that began after it was retired; with an older one, gives it back unopened.
    ///
    /// # Errors
    /// `Err(self)` if `grace` began before the value was retired, or belongs to another domain.
    pub fn reclaim(self, grace: &GracePeriod) -> Result<Box<T>, Self> {
        if !core::ptr::eq(self.domain, grace.domain) || self.ticket >= grace.ticket {
            return Err(self);
        }
        // SAFETY: the pointer is a box that `publish` took out of its `Rcu`. The grace period took its ticket after us, so its scan
        // came after the swap and no reader that could have loaded this pointer is still pinned.
        Ok(unsafe { Box::from_raw(self.value.as_ptr()) })
    }

    /// Waits for a grace period and returns the value.
    ///
    /// # Context
    /// As [`Domain::synchronize`]: thread context, blocks, must not be pinned.
    pub fn wait(self, relax: impl FnMut()) -> Box<T> {
        let domain = self.domain;
        let grace = domain.synchronize(relax);
        match self.reclaim(&grace) {
            Ok(value) => value,
            Err(_) => unreachable!("this grace period began after the retirement"),
        }
    }
}

impl<T> fmt::Debug for Retired<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retired").field("ticket", &self.ticket).finish_non_exhaustive()
    }
}
