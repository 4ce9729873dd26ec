//! The decision where a packet is processed, and the bookkeeping that keeps a source's packets in order.
//!
//! Key types: [`Netisr`], [`Source`], [`Dispatch`], [`Taken`]. Context: threads; [`Netisr::dispatch`] from the thread that
//! owns the source, [`Netisr::take`] from the thread of the workstream, the rest from anywhere. Nothing blocks.

use alloc::{boxed::Box, vec::Vec};
use core::fmt;

use ksync::{
    CachePadded,
    atomic::{AtomicU8, AtomicU16, AtomicU32, Ordering},
    counter::SharedCounter,
};
use pktbuf::{BATCH_CAPACITY, PacketBuf};

use crate::{
    Policy,
    queue::{Queue, Refusal},
};

/// How many sources can be registered.
pub const MAX_SOURCES: usize = 64;
/// How many packets one [`Netisr::take`] hands out at most: a batch.
pub const TAKE_LIMIT: usize = BATCH_CAPACITY;

/// What to do with a packet.
#[derive(Debug)]
#[must_use = "the packet is inside"]
pub enum Dispatch<T = PacketBuf> {
    /// Process it now.
    Direct(T),
    /// Send what came of the packets processed directly, call [`Netisr::end_pass`], and dispatch this one again.
    FlushFirst(T),
    /// It is queued.
    Queued {
        /// On which workstream.
        workstream: usize,
        /// Whether the thread of that workstream has to be woken (unparked).
        wake: bool,
    },
    /// The queue is full: drop it.
    Full(T),
    /// The queues are closed: drop it.
    Closed(T),
}

/// Why a source cannot be registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetisrError {
    /// There are [`MAX_SOURCES`] already.
    TooManySources,
}

impl fmt::Display for NetisrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("too many packet sources")
    }
}

impl core::error::Error for NetisrError {}

/// A stream of packets whose order is kept: one receive ring. Owned by the one thread that dispatches its packets.
#[derive(Debug)]
pub struct Source {
    id: u16,
    /// The workstream its packets are queued on, now and for ever.
    home: usize,
    /// Whether packets were processed directly since the last `end_pass`.
    unflushed: bool,
    /// Counts not yet added to the workstream's.
    direct: u64,
    hybrid: u64,
}

impl Source {
    /// Returns the workstream on which this source's packets are queued.
    #[must_use]
    pub const fn home(&self) -> usize {
        self.home
    }
}

/// Packets taken from a queue, whose effects have not been sent yet.
#[derive(Debug)]
#[must_use = "the sources stay blocked until `complete` is called"]
pub struct Taken {
    sources: [u16; TAKE_LIMIT],
    count: usize,
}

impl Taken {
    /// Returns how many packets were taken, at least one.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.count
    }
}

/// The counters of a workstream, with the column heads of `netstat -Q`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkstreamStatistics {
    /// `Len`: packets waiting.
    pub len: usize,
    /// `WMark`: the most that ever waited.
    pub watermark: usize,
    /// `Disp'd`: processed directly on this CPU.
    pub dispatched: u64,
    /// `HDisp'd`: of these, under the hybrid policy.
    pub hybrid_dispatched: u64,
    /// `QDrops`: refused because the queue was full.
    pub queue_drops: u64,
    /// `Queued`: queued.
    pub queued: u64,
    /// `Handled`: taken from the queue by its thread.
    pub handled: u64,
}

struct Workstream<T> {
    queue: Queue<T>,
    /// Packets queued here or in the hands of this workstream's thread.
    pending: AtomicU32,
    dispatched: SharedCounter,
    hybrid_dispatched: SharedCounter,
}

/// The workstreams of all CPUs and the policy.
pub struct Netisr<T = PacketBuf> {
    /// A [`Policy`]. Relaxed: any dispatch may see the old or the new one, order is kept either way.
    policy: AtomicU8,
    workstreams: Box<[CachePadded<Workstream<T>>]>,
    /// Per source: its packets queued or in the hands of a netisr thread. Raised only by the source's owner.
    pending: Box<[CachePadded<AtomicU32>]>,
    sources: AtomicU16,
}

impl<T> Netisr<T> {
    /// Creates `workstreams` queues (one per CPU, at least one) of `limit` packets each.
    ///
    /// # Context
    /// Thread; allocates all memory that is needed later, except by [`set_limit`](Self::set_limit).
    #[must_use]
    pub fn new(workstreams: usize, limit: usize) -> Self {
        let workstream = |_| {
            CachePadded::new(Workstream {
                queue: Queue::new(limit),
                pending: AtomicU32::new(0),
                dispatched: SharedCounter::new(),
                hybrid_dispatched: SharedCounter::new(),
            })
        };
        let workstreams: Vec<_> = (0..workstreams.max(1)).map(workstream).collect();
        let pending: Vec<_> = (0..MAX_SOURCES).map(|_| CachePadded::new(AtomicU32::new(0))).collect();
        Self {
            policy: AtomicU8::new(Policy::Direct as u8),
            workstreams: workstreams.into_boxed_slice(),
            pending: pending.into_boxed_slice(),
            sources: AtomicU16::new(0),
        }
    }

    /// Makes a new source; sources are spread over the workstreams in turn.
    ///
    /// # Errors
    /// [`NetisrError::TooManySources`].
    pub fn register_source(&self) -> Result<Source, NetisrError> {
        let next = |id: u16| (usize::from(id) < MAX_SOURCES).then_some(id + 1);
        let id = self.sources.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        let id = id.map_err(|_| NetisrError::TooManySources)?;
        let home = usize::from(id) % self.workstreams.len();
        Ok(Source { id, home, unflushed: false, direct: 0, hybrid: 0 })
    }

    /// Returns the policy.
    #[must_use]
    pub fn policy(&self) -> Policy {
        Policy::from_u8(self.policy.load(Ordering::Relaxed))
    }

    /// Changes the policy, at any time.
    pub fn set_policy(&self, policy: Policy) {
        self.policy.store(policy as u8, Ordering::Relaxed);
    }

    /// Changes how many packets may wait on each workstream (at most [`MAX_LIMIT`](crate::MAX_LIMIT)). Allocates.
    pub fn set_limit(&self, limit: usize) {
        for workstream in &self.workstreams {
            workstream.queue.set_limit(limit);
        }
    }

    /// Decides about a packet of `source`, dispatched on the CPU of workstream `here`.
    ///
    /// # Context
    /// The thread that owns the source. Takes a queue's lock only to queue.
    #[inline]
    pub fn dispatch(&self, source: &mut Source, here: usize, packet: T) -> Dispatch<T> {
        if self.is_direct(source, here) {
            self.note_direct(source, 1);
            return Dispatch::Direct(packet);
        }
        if source.unflushed {
            return Dispatch::FlushFirst(packet);
        }
        self.enqueue(source, packet)
    }

    /// Returns whether packets of `source` are processed by its own thread just now: [`dispatch`](Self::dispatch) would say
    /// [`Dispatch::Direct`] of the next one, and of all that follow in this pass.
    ///
    /// # Context
    /// The thread that owns the source.
    #[inline]
    pub fn is_direct(&self, source: &Source, here: usize) -> bool {
        let policy = self.policy();
        policy != Policy::Deferred && self.may_run_here(policy, source, here)
    }

    /// Counts `packets` packets of `source` that are processed directly, after [`is_direct`](Self::is_direct) has allowed it, as
    /// [`dispatch`](Self::dispatch) counts one.
    ///
    /// # Context
    /// The thread that owns the source.
    #[inline]
    pub fn note_direct(&self, source: &mut Source, packets: usize) {
        source.unflushed = true;
        source.direct += packets as u64;
        source.hybrid += if self.policy() == Policy::Hybrid { packets as u64 } else { 0 };
    }

    /// Says that everything that came of the packets processed directly has been sent. Call it at the end of each pass, with the
    /// workstream of the CPU the pass ran on.
    pub fn end_pass(&self, source: &mut Source, here: usize) {
        source.unflushed = false;
        if let Some(workstream) = self.workstreams.get(here)
            && source.direct != 0
        {
            workstream.dispatched.add(source.direct);
            workstream.hybrid_dispatched.add(source.hybrid);
            (source.direct, source.hybrid) = (0, 0);
        }
    }

    /// Takes packets from a workstream's queue and hands them to `sink` in order. `None` if there are none: then the thread parks,
    /// and the next [`Dispatch::Queued`] will say that it has to be woken.
    ///
    /// # Context
    /// The one thread of this workstream. `sink` runs with the queue's lock held: it only puts the packet somewhere.
    pub fn take(&self, workstream: usize, mut sink: impl FnMut(T)) -> Option<Taken> {
        let mut sources = [0; TAKE_LIMIT];
        let mut places = sources.iter_mut();
        let count = self.workstreams.get(workstream)?.queue.take(TAKE_LIMIT, |source, packet| {
            if let Some(place) = places.next() {
                *place = source;
            }
            sink(packet);
        });
        (count != 0).then_some(Taken { sources, count })
    }

    /// Says that everything that came of the packets `taken` from `workstream` has been sent.
    pub fn complete(&self, workstream: usize, taken: Taken) {
        let sources = taken.sources.get(..taken.count).unwrap_or_default();
        for run in sources.chunk_by(|a, b| a == b) {
            let count = u32::try_from(run.len()).unwrap_or(0);
            if let Some(pending) = run.first().and_then(|source| self.pending.get(usize::from(*source))) {
                // ORDERING: release pairs with the acquire in `is_idle`: whoever sees the source idle sees all it did as done.
                pending.fetch_sub(count, Ordering::Release);
            }
        }
        if let Some(workstream) = self.workstreams.get(workstream) {
            // ORDERING: as above.
            workstream.pending.fetch_sub(u32::try_from(taken.count).unwrap_or(0), Ordering::Release);
        }
    }

    /// Refuses all further queueing, for shutdown. What is queued can still be taken.
    pub fn close(&self) {
        for workstream in &self.workstreams {
            workstream.queue.close();
        }
    }

    /// Returns how many packets wait in all queues: a term of the conservation law.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.workstreams.iter().map(|workstream| workstream.queue.counts().len).sum()
    }

    /// Returns how many packets wait in all queues or are in the hands of netisr threads, which have not yet
    /// [completed](Self::complete) them: what a drain waits for.
    #[must_use]
    pub fn unfinished(&self) -> usize {
        // ORDERING: acquire pairs with the release in `complete`: what the netisr threads sent is in the transmit rings.
        self.workstreams.iter().map(|workstream| workstream.pending.load(Ordering::Acquire) as usize).sum()
    }

    /// Returns how many workstreams there are.
    #[must_use]
    pub const fn workstreams(&self) -> usize {
        self.workstreams.len()
    }

    /// Returns the counters of a workstream.
    #[must_use]
    pub fn statistics(&self, workstream: usize) -> Option<WorkstreamStatistics> {
        let workstream = self.workstreams.get(workstream)?;
        let counts = workstream.queue.counts();
        Some(WorkstreamStatistics {
            len: counts.len,
            watermark: counts.watermark,
            dispatched: workstream.dispatched.get(),
            hybrid_dispatched: workstream.hybrid_dispatched.get(),
            queue_drops: counts.dropped,
            queued: counts.queued,
            handled: counts.handled,
        })
    }

    /// Returns whether policy and order allow processing in the caller.
    #[inline]
    fn may_run_here(&self, policy: Policy, source: &Source, here: usize) -> bool {
        let idle = self.pending.get(usize::from(source.id)).is_some_and(|pending| is_idle(pending));
        let home_idle = || self.workstreams.get(source.home).is_some_and(|w| is_idle(&w.pending));
        idle && (policy == Policy::Direct || (source.home == here && home_idle()))
    }

    #[cold]
    fn enqueue(&self, source: &Source, packet: T) -> Dispatch<T> {
        let slots = (self.workstreams.get(source.home), self.pending.get(usize::from(source.id)));
        let (Some(workstream), Some(pending)) = slots else {
            return Dispatch::Closed(packet);
        };
        // Raised before the packet can be taken, so that `complete` never lowers what was not raised yet. Relaxed: the queue's lock
        // orders this before the taking, and only this thread asks whether the source is idle.
        pending.fetch_add(1, Ordering::Relaxed);
        workstream.pending.fetch_add(1, Ordering::Relaxed);
        let refused = match workstream.queue.push(source.id, packet) {
            Ok(wake) => return Dispatch::Queued { workstream: source.home, wake },
            Err(Refusal::Full(packet)) => Dispatch::Full(packet),
            Err(Refusal::Closed(packet)) => Dispatch::Closed(packet),
        };
        pending.fetch_sub(1, Ordering::Relaxed);
        workstream.pending.fetch_sub(1, Ordering::Relaxed);
        refused
    }
}

/// Returns whether nothing is queued or being processed.
#[inline]
fn is_idle(pending: &AtomicU32) -> bool {
    // ORDERING: acquire pairs with the release in `Netisr::complete`: what the netisr thread sent was sent before we go on.
    pending.load(Ordering::Acquire) == 0
}

impl<T> fmt::Debug for Netisr<T> {
    /// Does not lock.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let workstreams = self.workstreams.len();
        f.debug_struct("Netisr").field("policy", &self.policy()).field("workstreams", &workstreams).finish()
    }
}

#[cfg(test)]
mod tests;
