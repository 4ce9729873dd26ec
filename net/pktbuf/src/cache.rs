//! A thread's own stock of frames, so that a packet costs no lock and no read-modify-write.
//!
//! Key type: [`PoolCache`], a LIFO array. Owned by one thread; the pool's lock is taken once per half a capacity of
//! frames in one direction.

use alloc::boxed::Box;
use core::fmt;

use ksync::atomic::Ordering;

use crate::{PacketBatch, PacketBuf, PacketPool, buffer::Frame, home, pool::CacheSlot};

/// One thread's stock of free frames of one pool. Dropping it gives them all back.
pub struct PoolCache {
    pool: &'static PacketPool,
    /// A stack: the first `len` places are `Some`, the others `None`. As many places as the capacity.
    frames: Box<[Option<&'static mut Frame>]>,
    len: usize,
    /// See [`lane`](Self::lane).
    lane: usize,
    /// Buffers of other pools on their way home; empty once [published](Self::publish).
    foreign: Box<PacketBatch>,
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
        Self { pool, frames: (0..capacity).map(|_| None).collect(), len: 0, lane: 0, foreign: Box::default(), slot }
    }

    /// Returns the lane of the thread that owns the cache: a number that it shares with few others, best with none that runs on another
    /// CPU. An interface with several transmit queues lets each lane send through its own.
    #[inline]
    pub fn lane(&self) -> usize {
        self.lane
    }

    /// Gives the owning thread its lane; 0 before.
    pub fn set_lane(&mut self, lane: usize) {
        self.lane = lane;
    }

    /// Takes one frame as a fresh buffer; refills from the pool when empty. `None` (counted by the pool) if the pool
    /// is exhausted as well.
    #[inline]
    pub fn alloc(&mut self) -> Option<PacketBuf> {
        let buf = self.take();
        self.publish();
        buf
    }

    /// As [`alloc`](Self::alloc), for one of many: the census learns of it when [`publish`](Self::publish) is called.
    #[inline]
    pub fn take(&mut self) -> Option<PacketBuf> {
        match self.pop() {
            Some(frame) => Some(PacketBuf::new(frame)),
            None => self.refill(),
        }
    }

    /// Takes back a buffer that is done with; spills half of the stock to the pool when full. A buffer of another pool
    /// goes home to that one.
    #[inline]
    pub fn recycle(&mut self, buf: PacketBuf) {
        self.recycle_later(buf);
        self.publish();
    }

    /// As [`recycle`](Self::recycle), for one of many: buffers of other pools go home together, under one lock for each run of one pool,
    /// when [`publish`](Self::publish) is called. A transmit ring has whole batches of what other threads received, on another node
    /// perhaps, so that a run is about as long as a batch.
    #[inline]
    pub fn recycle_later(&mut self, buf: PacketBuf) {
        if let Err(buf) = self.try_recycle(buf) {
            self.recycle_slowly(buf);
        }
    }

    #[cold]
    fn recycle_slowly(&mut self, buf: PacketBuf) {
        if !buf.belongs_to(self.pool) {
            if let Err(buf) = self.foreign.push(buf) {
                self.send_foreign_home();
                // There is room now; without, it would go home as every buffer that is dropped.
                drop(self.foreign.push(buf));
            }
            return;
        }
        self.spill_down_to(self.frames.len() / 2);
        // Into the room just made; else (no capacity) home.
        drop(self.try_recycle(buf));
    }

    #[cold]
    fn send_foreign_home(&mut self) {
        home::send(self.foreign.drain());
    }

    /// Takes back a buffer that is done with, if that is possible without the pool's lock: there is room, and it is of this pool. The
    /// census learns of it when [`publish`](Self::publish) is called.
    ///
    /// # Errors
    /// The buffer, for [`recycle`](Self::recycle) at a better moment.
    #[inline]
    pub fn try_recycle(&mut self, buf: PacketBuf) -> Result<(), PacketBuf> {
        let Some(place) = self.frames.get_mut(self.len) else { return Err(buf) };
        buf.enlist(self.pool, place)?;
        self.len += 1;
        Ok(())
    }

    /// Sees to it that `frames` buffers (or as many as the capacity allows) can be taken back without the pool's lock.
    #[inline]
    pub fn reserve_room(&mut self, frames: usize) {
        if self.frames.len() - self.len < frames {
            self.spill_down_to(self.frames.len().saturating_sub(frames));
        }
    }

    /// Returns the frames in stock.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Says whether the stock is empty.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the pool this cache draws from.
    #[inline]
    pub fn pool(&self) -> &'static PacketPool {
        self.pool
    }

    /// Gives the whole stock back to the pool, as a thread does before it sleeps for long or exits.
    pub fn flush(&mut self) {
        self.spill_down_to(0);
    }

    /// Tells the census how many frames lie here: one plain store; and sends home what is of other pools. For those who call
    /// [`take`](Self::take), [`try_recycle`](Self::try_recycle) or [`recycle_later`](Self::recycle_later), when they have done with it.
    #[inline]
    pub fn publish(&mut self) {
        if !self.foreign.is_empty() {
            self.send_foreign_home();
        }
        self.count_held();
    }

    #[inline]
    fn count_held(&self) {
        if let Some(slot) = self.slot {
            slot.held.store(self.len, Ordering::Relaxed);
        }
    }

    #[inline]
    fn pop(&mut self) -> Option<&'static mut Frame> {
        let place = self.len.wrapping_sub(1);
        let frame = self.frames.get_mut(place)?.take();
        self.len = place;
        frame
    }

    /// Draws half a capacity from the pool and returns one frame of it.
    #[cold]
    fn refill(&mut self) -> Option<PacketBuf> {
        if self.frames.is_empty() {
            return self.pool.alloc();
        }
        let Self { pool, frames, len, .. } = self;
        let wanted = frames.len().div_ceil(2);
        let mut places = frames.get_mut(*len..).unwrap_or_default().iter_mut();
        pool.refill(wanted, |frame| {
            if let Some(place) = places.next() {
                *place = Some(frame);
                *len += 1;
            }
        });
        self.count_held();
        self.pop().map(PacketBuf::new)
    }

    /// Gives the oldest frames back until `kept` are left.
    #[cold]
    fn spill_down_to(&mut self, kept: usize) {
        let spilled = self.len.saturating_sub(kept);
        let held = self.frames.get_mut(..self.len).unwrap_or_default();
        self.pool.take_back(held.iter_mut().take(spilled).filter_map(Option::take));
        held.rotate_left(spilled);
        self.len -= spilled;
        self.count_held();
    }
}

impl Drop for PoolCache {
    fn drop(&mut self) {
        self.flush();
        self.send_foreign_home();
        if let Some(slot) = self.slot {
            slot.release();
        }
    }
}

impl fmt::Debug for PoolCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolCache")
            .field("len", &self.len)
            .field("capacity", &self.frames.len())
            .finish_non_exhaustive()
    }
}
