//! The pool: all frames of the router, carved from one region at boot.
//!
//! Key types: [`PacketPool`], [`Census`]. Any context; the free list is behind a spin lock that is held for one
//! transfer (one frame, or one bulk of a cache) and for nothing else.

use alloc::{boxed::Box, vec, vec::Vec};

use ksync::{
    SpinLock,
    atomic::{AtomicBool, AtomicUsize, Ordering},
    counter::SharedCounter,
};

use crate::{
    BufferSize, PacketBuf,
    buffer::{Frame, Storage},
};

/// Caches that can be known to the census at the same time. A cache beyond that holds nothing and passes through.
pub const MAX_CACHES: usize = 128;

/// Where every frame of a pool is. Exact when no thread is using the pool; else a snapshot that may be off by the
/// frames that moved while it was taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Frames the pool was made with.
    pub total: usize,
    /// Frames on the pool's free list.
    pub free: usize,
    /// Frames lying in the caches of threads.
    pub cached: usize,
    /// Frames in the hands of somebody: `total - free - cached`.
    pub owned: usize,
    /// The fewest frames that were ever on the free list.
    pub low_water: usize,
    /// Requests that found no frame.
    pub exhausted: u64,
}

/// The free list.
#[derive(Debug)]
pub(crate) struct FreeList {
    /// LIFO: the frame given back last is the warmest. Capacity is `total`, so that a push never allocates.
    pub(crate) frames: Vec<&'static mut Frame>,
    low_water: usize,
    /// Frames that ever left the list: tells the tripwire that somebody used a frame meanwhile.
    pub(crate) departures: u64,
}

/// One cache's line in the census: written by its owner only.
#[derive(Debug)]
pub(crate) struct CacheSlot {
    taken: AtomicBool,
    pub(crate) held: AtomicUsize,
}

/// The preallocated frames of the router. Lives for ever (`&'static`), as its frames do.
#[derive(Debug)]
pub struct PacketPool {
    total: usize,
    size: BufferSize,
    /// Protects: the list of free frames; held across: one transfer.
    pub(crate) free: SpinLock<FreeList>,
    slots: Vec<ksync::CachePadded<CacheSlot>>,
    exhausted: SharedCounter,
}

impl PacketPool {
    /// Carves `region` into frames for buffers of `size`; what is left over at either end stays unused.
    ///
    /// Frames start at cache lines. The pool wants `'static` life: the caller leaks it or puts it in a `static`.
    ///
    /// # Context
    /// Boot: allocates the lists, and a cache line for each frame, for ever.
    pub fn new(region: &'static mut [u8], size: BufferSize) -> Self {
        let skip = region.as_ptr().align_offset(64).min(region.len());
        let (_, aligned) = region.split_at_mut(skip);
        let frames = aligned.chunks_exact_mut(size.stride());
        let about: &'static mut [Frame] = Vec::leak(frames.filter_map(Storage::new).map(Frame::new).collect());
        let mut list = Vec::with_capacity(about.len());
        // Reversed, so that the first frame handed out is the first of the region.
        list.extend(about.iter_mut().rev());
        let slot = || ksync::CachePadded::new(CacheSlot { taken: AtomicBool::new(false), held: AtomicUsize::new(0) });
        let total = list.len();
        Self {
            total,
            size,
            free: SpinLock::new(FreeList { frames: list, low_water: total, departures: 0 }),
            slots: (0..MAX_CACHES).map(|_| slot()).collect(),
            exhausted: SharedCounter::new(),
        }
    }

    /// Makes a pool of `frames` frames of the usual size on the heap and leaks it. For hosts and tests.
    pub fn leak_for_tests(frames: usize) -> &'static Self {
        Self::leak_sized_for_tests(frames, BufferSize::default())
    }

    /// Makes a pool of `frames` frames for buffers of `size` on the heap and leaks it. For hosts and tests.
    pub fn leak_sized_for_tests(frames: usize, size: BufferSize) -> &'static Self {
        let octets = frames * size.stride();
        let region = Box::leak(vec![0_u8; octets + 63].into_boxed_slice());
        let skip = region.as_ptr().align_offset(64);
        Box::leak(Box::new(Self::new(&mut region[skip..skip + octets], size)))
    }

    /// Takes one frame as a fresh buffer, or `None` (counted) if all are in use.
    ///
    /// # Context
    /// Any; takes the pool's lock. Threads with traffic use a [`PoolCache`](crate::PoolCache).
    pub fn alloc(&'static self) -> Option<PacketBuf> {
        let frame = {
            let mut free = self.free.lock();
            let frame = free.frames.pop();
            free.note_departures(usize::from(frame.is_some()));
            frame
        };
        if frame.is_none() {
            self.exhausted.bump();
        }
        let frame = frame?;
        frame.set_home(self);
        Some(PacketBuf::new(frame))
    }

    /// Returns the frames this pool was made with.
    #[inline]
    pub fn total(&self) -> usize {
        self.total
    }

    /// Returns how much a device may receive into each buffer.
    #[inline]
    pub fn buffer_size(&self) -> BufferSize {
        self.size
    }

    /// Returns the frames on the free list (without those in caches).
    ///
    /// # Context
    /// Any; takes the pool's lock.
    pub fn free(&self) -> usize {
        self.free.lock().frames.len()
    }

    /// Returns whether somebody holds the lock of the free list. Any context.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.free.is_held()
    }

    /// Counts where every frame is.
    ///
    /// # Context
    /// Any; takes the pool's lock for the count of the free list.
    pub fn census(&self) -> Census {
        let (free, low_water) = {
            let free = self.free.lock();
            (free.frames.len(), free.low_water)
        };
        // Statistics: each slot is a single-writer count, nothing is published through it.
        let cached = self.slots.iter().map(|slot| slot.held.load(Ordering::Relaxed)).sum();
        Census {
            total: self.total,
            free,
            cached,
            owned: self.total.saturating_sub(free).saturating_sub(cached),
            low_water,
            exhausted: self.exhausted.get(),
        }
    }

    /// Puts one frame on the free list.
    pub(crate) fn give_back(&self, frame: &'static mut Frame) {
        self.free.lock().frames.push(frame);
    }

    /// Gives up to `wanted` frames of the free list to `into`, which puts them somewhere.
    #[cold]
    pub(crate) fn refill(&'static self, wanted: usize, mut into: impl FnMut(&'static mut Frame)) {
        let mut free = self.free.lock();
        let from = free.frames.len().saturating_sub(wanted);
        let moved = free.frames.len() - from;
        for frame in free.frames.drain(from..) {
            frame.set_home(self);
            into(frame);
        }
        free.note_departures(moved);
        drop(free);
        if moved == 0 {
            self.exhausted.bump();
        }
    }

    /// Puts frames on the free list.
    #[cold]
    pub(crate) fn take_back(&self, frames: impl Iterator<Item = &'static mut Frame>) {
        self.free.lock().frames.extend(frames);
    }

    /// Reserves a line of the census for a cache.
    pub(crate) fn claim_slot(&'static self) -> Option<&'static CacheSlot> {
        self.slots.iter().map(|slot| &**slot).find(|slot| {
            // ORDERING: the acquire pairs with the release in `CacheSlot::release`: the previous owner's last count
            // (zero) comes before ours.
            slot.taken.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok()
        })
    }
}

impl FreeList {
    fn note_departures(&mut self, count: usize) {
        self.departures = self.departures.wrapping_add(count as u64);
        self.low_water = self.low_water.min(self.frames.len());
    }
}

impl CacheSlot {
    /// Gives the line back.
    pub(crate) fn release(&self) {
        self.held.store(0, Ordering::Relaxed);
        // ORDERING: pairs with the acquire in `PacketPool::claim_slot`.
        self.taken.store(false, Ordering::Release);
    }
}
