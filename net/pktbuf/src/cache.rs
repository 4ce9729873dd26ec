//! A thread's own stock of frames, so that a packet costs no lock and no read-modify-write.
//!
//! Key type: [`PoolCache`], a LIFO array. Owned by one thread; the pool's lock is taken once per half a capacity of
//! frames in one direction.

use alloc::vec::Vec;
use core::fmt;

use ksync::atomic::Ordering;

use crate::{PacketBuf, PacketPool, buffer::Frame, pool::CacheSlot};

/// One thread's stock of free frames of one pool. Dropping it gives them all back.
pub struct PoolCache {
    pool: &'static PacketPool,
    /// LIFO; length `<= capacity`, and its own capacity is at least that, so a push never allocates.
    frames: Vec<&'static mut Frame>,
    capacity: usize,
    /// This cache's line in the census; `None` makes the cache a pass-through (its capacity is then 0).
    slot: Option<&'static CacheSlot>,
}

impl PoolCache {
    /// Makes an empty cache that keeps at most `capacity` frames. It fills on first use.
    ///
    /// If [`MAX_CACHES`](crate::MAX_CACHES) caches exist already, this one keeps none and every call goes to the pool.
    ///
    /// # Context
    /// Thread: allocates the list.
    pub fn new(pool: &'static PacketPool, capacity: usize) -> Self {
        let slot = pool.claim_slot();
        let capacity = if slot.is_some() { capacity } else { 0 };
        Self { pool, frames: Vec::with_capacity(capacity), capacity, slot }
    }

    /// Takes one frame as a fresh buffer; refills from the pool when empty. `None` (counted by the pool) if the pool
    /// is exhausted as well.
    #[inline]
    pub fn alloc(&mut self) -> Option<PacketBuf> {
        let frame = match self.frames.pop() {
            Some(frame) => frame,
            None => self.refill()?,
        };
        self.publish();
        Some(PacketBuf::new(frame, self.pool))
    }

    /// Takes back a buffer that is done with; spills half of the stock to the pool when full. A buffer of another pool
    /// goes home to that one.
    #[inline]
    pub fn recycle(&mut self, buf: PacketBuf) {
        if !buf.belongs_to(self.pool) {
            drop(buf);
            return;
        }
        if self.frames.len() >= self.capacity {
            self.make_room();
            if self.capacity == 0 {
                drop(buf);
                return;
            }
        }
        self.frames.push(buf.into_frame());
        self.publish();
    }

    /// Takes back a buffer that is done with, if that is possible without the pool's lock: there is room, and it is of this pool.
    ///
    /// # Errors
    /// The buffer, for [`recycle`](Self::recycle) at a better moment.
    #[inline]
    pub fn try_recycle(&mut self, buf: PacketBuf) -> Result<(), PacketBuf> {
        if self.frames.len() >= self.capacity || !buf.belongs_to(self.pool) {
            return Err(buf);
        }
        self.frames.push(buf.into_frame());
        self.publish();
        Ok(())
    }

    /// Sees to it that `frames` buffers (or as many as the capacity allows) can be taken back without the pool's lock.
    #[inline]
    pub fn reserve_room(&mut self, frames: usize) {
        if self.capacity - self.frames.len() < frames {
            self.spill_down_to(self.capacity.saturating_sub(frames));
        }
    }

    #[cold]
    fn spill_down_to(&mut self, kept: usize) {
        let spilled = self.frames.len().saturating_sub(kept);
        self.pool.spill(&mut self.frames, spilled);
        self.publish();
    }

    /// Returns the frames in stock.
    #[inline]
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Says whether the stock is empty.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Returns the pool this cache draws from.
    #[inline]
    pub fn pool(&self) -> &'static PacketPool {
        self.pool
    }

    /// Gives the whole stock back to the pool, as a thread does before it sleeps for long or exits.
    pub fn flush(&mut self) {
        let all = self.frames.len();
        self.pool.spill(&mut self.frames, all);
        self.publish();
    }

    /// Draws half a capacity from the pool and returns one frame of it.
    #[cold]
    fn refill(&mut self) -> Option<&'static mut Frame> {
        if self.capacity == 0 {
            // The pool's own path makes a handle; it is only its frame that is wanted here.
            return self.pool.alloc().map(PacketBuf::into_frame);
        }
        self.pool.refill(&mut self.frames, self.capacity.div_ceil(2));
        self.frames.pop()
    }

    #[cold]
    fn make_room(&mut self) {
        self.pool.spill(&mut self.frames, self.capacity.div_ceil(2));
    }

    /// Tells the census how many frames lie here: one plain store.
    #[inline]
    fn publish(&self) {
        if let Some(slot) = self.slot {
            slot.held.store(self.frames.len(), Ordering::Relaxed);
        }
    }
}

impl Drop for PoolCache {
    fn drop(&mut self) {
        self.flush();
        if let Some(slot) = self.slot {
            slot.release();
        }
    }
}

impl fmt::Debug for PoolCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolCache")
            .field("len", &self.frames.len())
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}
