//! Bounce pages: memory that every device reaches, standing in for buffers that one cannot.
//!
//! Key types: [`BouncePool`], [`BounceStatistics`]. The pool's lock may be taken in any context and is held for one
//! transfer; waiting loads are served by [`BouncePool::run_deferred`], from a thread.

use alloc::{collections::VecDeque, sync::Arc, vec::Vec};
use core::{fmt, ptr::NonNull};

use ksync::{SpinLock, counter::SharedCounter};

use crate::{
    DmaError, DmaLayout, DmaPlatform, PAGE_SIZE, PhysAddr,
    deferred::{self, Waiter},
};

/// One page. No `Drop`: a page that is dropped is leaked, which is what quarantine wants.
#[derive(Debug)]
pub(crate) struct BouncePage {
    pub(crate) virt: NonNull<u8>,
    pub(crate) phys: PhysAddr,
}

// SAFETY: a page is owned memory from the platform's allocator; the pointer is its only handle.
unsafe impl Send for BouncePage {}
// SAFETY: a shared page gives away its addresses only.
unsafe impl Sync for BouncePage {}

/// What a pool has and has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BounceStatistics {
    /// Pages the pool was made with.
    pub total: usize,
    /// Pages free now.
    pub free: usize,
    /// Loads waiting now.
    pub waiting: usize,
    /// Pages handed out, ever.
    pub pages_used: u64,
    /// Loads that had to wait, ever.
    pub deferred: u64,
}

/// A fixed number of pages below an address, shared by all tags that were given the pool.
pub struct BouncePool {
    platform: &'static dyn DmaPlatform,
    layout: DmaLayout,
    total: usize,
    /// Protects: free pages and the queue; held across: one reservation or return.
    pub(crate) state: SpinLock<PoolState>,
    pages_used: SharedCounter,
    pub(crate) deferred: SharedCounter,
}

pub(crate) struct PoolState {
    /// Capacity is the pool's total, so that a return never allocates.
    pub(crate) free: Vec<BouncePage>,
    /// Oldest first. While anybody waits, loads that do not wait get nothing, or they would starve those that do.
    pub(crate) queue: VecDeque<Waiter>,
    /// Number of the next waiter.
    pub(crate) next_ticket: u64,
}

impl BouncePool {
    /// Makes a pool of `pages` pages at physical addresses up to `max_addr`.
    ///
    /// # Context
    /// Thread, at attach: allocates everything it will ever have.
    ///
    /// # Errors
    /// [`DmaError::NoMemory`], and [`DmaError::BrokenPlatform`] if a page is not where it was asked for.
    pub fn new(platform: &'static dyn DmaPlatform, pages: usize, max_addr: u64) -> Result<Arc<Self>, DmaError> {
        let layout = DmaLayout { size: PAGE_SIZE, align: PAGE_SIZE, boundary: 0, max_addr };
        let mut pool = Self {
            platform,
            layout,
            total: pages,
            state: SpinLock::new(PoolState { free: Vec::with_capacity(pages), queue: VecDeque::new(), next_ticket: 0 }),
            pages_used: SharedCounter::new(),
            deferred: SharedCounter::new(),
        };
        for _ in 0..pages {
            // On an error, the pool's drop frees what it has so far.
            let (virt, phys) = platform.alloc(&layout)?;
            pool.adopt(BouncePage { virt, phys })?;
        }
        Ok(Arc::new(pool))
    }

    fn adopt(&mut self, page: BouncePage) -> Result<(), DmaError> {
        let start = page.phys.as_u64();
        let last = start.checked_add(PAGE_SIZE as u64 - 1);
        let kept = last.is_some_and(|last| last <= self.layout.max_addr) && start.is_multiple_of(PAGE_SIZE as u64);
        self.state.lock().free.push(page);
        if kept { Ok(()) } else { Err(DmaError::BrokenPlatform) }
    }

    /// Returns the last address a page may have.
    pub fn max_addr(&self) -> u64 {
        self.layout.max_addr
    }

    /// Returns the pages the pool was made with.
    pub fn total(&self) -> usize {
        self.total
    }

    /// Returns what the pool has and has done.
    pub fn statistics(&self) -> BounceStatistics {
        let state = self.state.lock();
        BounceStatistics {
            total: self.total,
            free: state.free.len(),
            waiting: state.queue.len(),
            pages_used: self.pages_used.get(),
            deferred: self.deferred.get(),
        }
    }

    /// Gives free pages to waiting loads, oldest first, and calls their `load_ready`. Returns how many it served.
    ///
    /// # Context
    /// Thread; call it after unloads, as often as you like. Takes one lock at a time.
    pub fn run_deferred(&self) -> usize {
        let mut served = 0;
        // Bounded by the waiters there are now: a `load_ready` that queues again must not keep this thread here.
        let most = self.state.lock().queue.len();
        for _ in 0..most {
            let Some((waiter, pages)) = self.next_waiter() else { break };
            match deferred::grant(&waiter, pages) {
                Ok(()) => served += 1,
                Err(pages) => self.give_back(pages.into_iter()),
            }
        }
        served
    }

    /// Takes `count` pages, all or none.
    pub(crate) fn reserve(&self, count: usize) -> Option<Vec<BouncePage>> {
        let mut state = self.state.lock();
        if state.queue.is_empty() { self.take(&mut state, count) } else { None }
    }

    /// Takes `count` pages off the free list, all or none, whoever waits.
    pub(crate) fn take(&self, state: &mut PoolState, count: usize) -> Option<Vec<BouncePage>> {
        let from = state.free.len().checked_sub(count)?;
        self.pages_used.add(count as u64);
        Some(state.free.split_off(from))
    }

    /// Puts pages back.
    pub(crate) fn give_back(&self, pages: impl Iterator<Item = BouncePage>) {
        self.state.lock().free.extend(pages);
    }

    fn next_waiter(&self) -> Option<(Waiter, Vec<BouncePage>)> {
        let mut state = self.state.lock();
        let wanted = state.queue.front()?.pages;
        let pages = self.take(&mut state, wanted)?;
        let waiter = state.queue.pop_front()?;
        Some((waiter, pages))
    }
}

impl Drop for BouncePool {
    /// Frees the pages that are home. One that a quarantined map took along stays leaked.
    fn drop(&mut self) {
        for page in self.state.lock().free.drain(..) {
            // SAFETY: the page came from `alloc` with this layout, and being on the free list means that no map has it.
            unsafe { self.platform.free(page.virt, &self.layout) };
        }
    }
}

impl fmt::Debug for BouncePool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BouncePool").field("statistics", &self.statistics()).finish_non_exhaustive()
    }
}
