//! A thread's part of the data path: [`Worker`], and one [`Pass`] of it over a bounded number of frames.
//!
//! A worker owns everything that forwarding changes: its buffer cache, one batch per outgoing interface, its counters, its allowance
//! for ICMP errors. Per packet it takes no lock and writes no cache line that another CPU writes. A pass pins the RCU reader once, reads
//! the [`Snapshot`] once, and ends by sending each batch with one call of `transmit`.

use alloc::{boxed::Box, string::ToString, sync::Arc, vec::Vec};
use core::fmt;

use forward::RateLimiter;
use ifnet::{DropReason, Fate};
use ksync::{
    rcu::{Guard, Reader},
    time::Instant,
};
use netisr::{Dispatch, Source};
use pktbuf::{Origin, PacketBatch, PacketBuf, PacketPool, PoolCache};

use crate::{
    MAX_INTERFACES, Router, RouterError, WorkerCounters,
    egress::Egress,
    express::Run,
    profile::{Sampler, Stage},
    snapshot::Snapshot,
    tick::Lull,
    ways::Ways,
};

/// Frames a worker's cache holds: two batches, so that a burst does not go to the pool's lock. A model checker builds thousands of
/// machines, and has smaller ones.
const CACHE_FRAMES: usize = if cfg!(any(loom, shuttle)) { 16 } else { 128 };

/// What kind of worker is wanted.
#[derive(Clone, Copy, Debug)]
pub struct WorkerConfig<'a> {
    /// Its name in the audit, such as the thread's.
    pub name: &'a str,
    /// The workstream of the CPU it runs on.
    pub workstream: usize,
    /// Whether it hands in received frames (an interrupt thread), which makes it a source for netisr.
    pub ingress: bool,
}

/// One thread's data path.
///
/// # Context
/// Owned by one thread; thread context. Nothing blocks; the transmit locks of interfaces are taken one at a time.
pub struct Worker {
    router: &'static Router,
    reader: Reader,
    core: Core,
    /// For the one that [ticks](Worker::tick).
    pub(crate) lull: Lull,
}

/// What a pass changes.
pub(crate) struct Core {
    pub(crate) cache: PoolCache,
    pub(crate) egress: Vec<Egress>,
    /// Bit n is set while the batch of interface n is not empty.
    pub(crate) waiting: u64,
    /// More is about to be sent in this pass.
    pub(crate) more: bool,
    /// Bit n is set while interface n may have left its device untold of something sent; 0 between passes.
    pub(crate) untold: u64,
    pub(crate) counters: Arc<WorkerCounters>,
    pub(crate) limiter: RateLimiter,
    /// For packets coming out of a hold queue or a protocol queue; empty between calls.
    pub(crate) scratch: PacketBatch,
    /// For the run that is being forwarded; `None` while it is.
    pub(crate) run: Option<Box<Run>>,
    pub(crate) ways: Ways,
    pub(crate) sampler: Option<Sampler>,
    pub(crate) source: Option<Source>,
    pub(crate) workstream: usize,
}

const _: () = assert!(MAX_INTERFACES <= u64::BITS as usize);

impl Worker {
    /// Makes a worker of `router` with buffers from `pool`.
    ///
    /// # Errors
    /// [`RouterError::TooManyWorkers`] if the RCU domain or netisr has no place for it.
    ///
    /// # Context
    /// Thread; allocates.
    pub fn new(
        router: &'static Router,
        pool: &'static PacketPool,
        config: &WorkerConfig<'_>,
    ) -> Result<Self, RouterError> {
        let reader = router.domain().register().ok_or(RouterError::TooManyWorkers)?;
        let source = if config.ingress { Some(router.register_source()?) } else { None };
        let counters = Arc::new(WorkerCounters::new(config.name.to_string()));
        router.enrol(Arc::clone(&counters))?;
        let mut cache = PoolCache::new(pool, CACHE_FRAMES);
        cache.set_lane(config.workstream);
        let core = Core {
            cache,
            egress: (0..MAX_INTERFACES).map(|_| Egress::new()).collect(),
            waiting: 0,
            more: false,
            untold: 0,
            counters,
            limiter: RateLimiter::new(0),
            scratch: PacketBatch::new(),
            run: Some(Box::default()),
            ways: Ways::new(),
            sampler: None,
            source,
            workstream: config.workstream,
        };
        Ok(Self { router, reader, core, lull: Lull::default() })
    }

    /// Returns the router.
    #[must_use]
    pub fn router(&self) -> &'static Router {
        self.router
    }

    /// Has `sampler` measure the worker's passes from now on, as far as it is told of their beginnings and ends.
    pub fn set_sampler(&mut self, sampler: Sampler) {
        self.core.sampler = Some(sampler);
    }

    /// Returns what measures the worker's passes, to tell it that one begins or ends.
    #[inline]
    pub fn sampler(&mut self) -> Option<&mut Sampler> {
        self.core.sampler.as_mut()
    }

    /// Returns the counters, which the router keeps after the worker is gone.
    #[must_use]
    pub fn counters(&self) -> &WorkerCounters {
        &self.core.counters
    }

    /// Does one pass: `work` hands frames in, and what came of them is sent before this returns.
    ///
    /// `now` is the time for the whole pass. Keep it bounded (64 frames or so): writers of the routing table wait for its end.
    #[inline]
    pub fn pass<R>(&mut self, now: Instant, work: impl FnOnce(&mut Pass<'_>) -> R) -> R {
        let guard = self.reader.pin();
        let mut pass = Pass::begin(self.router, &guard, &mut self.core, now);
        let result = work(&mut pass);
        pass.finish();
        result
    }

    /// Processes up to `budget` frames of the protocol queue of `workstream`; returns how many. With fewer than `budget` the
    /// queue was empty, and the next frame queued will wake (see [`Router::set_waker`]).
    ///
    /// # Context
    /// The one netisr thread of this workstream.
    pub fn run_netisr(&mut self, now: Instant, workstream: usize, budget: usize) -> usize {
        let mut done = 0;
        while done < budget {
            let netisr = self.router.netisr();
            let core = &mut self.core;
            let Some(taken) = netisr.take(workstream, |packet| drop(core.scratch.push(packet))) else { break };
            done += taken.count();
            let mut packets = core::mem::take(&mut core.scratch);
            self.pass(now, |pass| packets.drain().for_each(|packet| pass.process(packet)));
            netisr.complete(workstream, taken);
        }
        done
    }
}

impl Drop for Worker {
    /// Gives back what is in hand; the frames are counted, so that the books stay right.
    fn drop(&mut self) {
        let core = &mut self.core;
        for egress in &mut core.egress {
            while let Some(packet) = egress.batch.pop() {
                core.counters.count(&packet, Fate::Dropped(DropReason::ShuttingDown));
            }
        }
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("name", &self.core.counters.name()).finish_non_exhaustive()
    }
}

/// One pass of a worker: the snapshot stays the same, the time stands still.
pub struct Pass<'p> {
    pub(crate) router: &'static Router,
    pub(crate) snapshot: &'p Snapshot,
    pub(crate) core: &'p mut Core,
    pub(crate) now: Instant,
}

impl<'p> Pass<'p> {
    #[inline]
    fn begin(router: &'static Router, guard: &'p Guard<'_>, core: &'p mut Core, now: Instant) -> Self {
        let snapshot = router.snapshot(guard);
        if core.limiter.rate() != u64::from(snapshot.icmp_limit) {
            core.limiter = RateLimiter::new(snapshot.icmp_limit);
        }
        Self { router, snapshot, core, now }
    }

    /// Returns the worker's buffer cache, for the driver to refill its ring from between two batches.
    #[inline]
    pub fn cache(&mut self) -> &mut PoolCache {
        &mut self.core.cache
    }

    /// What has been done since the last boundary belongs to `stage`.
    #[inline]
    pub fn mark(&mut self, stage: Stage) {
        if let Some(sampler) = &mut self.core.sampler {
            sampler.mark(stage);
        }
    }

    /// Returns the time of the pass.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Takes in a frame that an interface received: complete from the destination address on, without FCS, with
    /// [`rx_if`](PacketBuf::rx_if) set, and [`vlan`](PacketBuf::vlan) if a tag was taken off.
    #[inline]
    pub fn receive(&mut self, packet: PacketBuf) {
        let Some(mut packet) = self.admit(packet) else { return };
        packet.set_origin(Origin::Received);
        self.core.counters.receive(&packet);
        let here = self.core.workstream;
        loop {
            let Some(source) = &mut self.core.source else { return self.process(packet) };
            match self.router.netisr().dispatch(source, here, packet) {
                Dispatch::Direct(packet) => return self.process(packet),
                Dispatch::FlushFirst(again) => {
                    packet = again;
                    self.finish();
                }
                Dispatch::Queued { workstream, wake } => {
                    if wake {
                        self.router.wake(workstream);
                    }
                    return;
                }
                Dispatch::Full(packet) => return self.discard(packet, DropReason::NetisrFull),
                Dispatch::Closed(packet) => return self.discard(packet, DropReason::ShuttingDown),
            }
        }
    }

    /// Sends what has been decided so far. The end of a pass does so by itself.
    #[inline]
    pub fn finish(&mut self) {
        self.send_all(false);
    }

    /// The same when more frames are about to be handed in, in this pass: devices may learn of it all at its end, since telling them
    /// costs as much for one frame as for hundreds.
    #[inline]
    pub fn finish_batch(&mut self) {
        self.send_all(true);
    }

    #[inline]
    fn send_all(&mut self, more: bool) {
        self.flush_all(more);
        let here = self.core.workstream;
        if let Some(source) = &mut self.core.source {
            self.router.netisr().end_pass(source, here);
        }
    }

    /// Ends a packet's way, counted, and takes its buffer back.
    pub(crate) fn discard(&mut self, packet: PacketBuf, reason: DropReason) {
        self.core.counters.count(&packet, Fate::Dropped(reason));
        self.core.cache.recycle(packet);
    }
}

impl fmt::Debug for Pass<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pass").field("now", &self.now).finish_non_exhaustive()
    }
}
