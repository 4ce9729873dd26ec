//! Maps: lend one buffer at a time to a device.
//!
//! Key type: [`DmaMap`]. One owner at a time (`&mut self`); any context, but that a load which bounces allocates. The fast
//! path (a buffer in one physical piece, in reach, inside the platform's linear window) is inline: a few comparisons, no
//! lock, no read-modify-write, no allocation.

use alloc::{boxed::Box, sync::Arc};
use core::{fmt, marker::PhantomData, mem::MaybeUninit, slice};

use ksync::atomic::Ordering;
use pktbuf::PacketBuf;

use crate::{
    Busy, Direction, DmaBuffer, DmaError, DmaStopped, DmaSync, LoadReady, Segment, SyncOperation,
    bounce::BouncePage,
    deferred, fence,
    scatter::{self, Scatter, Supply},
    tag::{MapShared, Phase, TagInner},
};

/// The two good answers of a load that may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadOutcome {
    /// The segments are there.
    Loaded,
    /// The load waits for bounce pages; `load_ready` will be called when [`DmaMap::finish_load`] can go on.
    InProgress,
}

/// A map of direction `D` for buffers of type `B`.
///
/// While loaded it owns its buffer. Dropped while loaded, it leaks the buffer (and its bounce pages) on purpose and its tag
/// counts one more in quarantine.
pub struct DmaMap<D: Direction, B: DmaBuffer = PacketBuf> {
    pub(crate) tag: Arc<TagInner>,
    pub(crate) shared: Arc<MapShared>,
    /// Initialised if and only if `phase` is not `Idle`. Not a plain `B`: while a device writes into the memory, the
    /// compiler must not be told that this is a valid, exclusive borrow of it; and dropping the map must not drop it.
    pub(crate) buffer: MaybeUninit<B>,
    /// The first segment, valid if `count` is not 0.
    pub(crate) first: Segment,
    /// Segments of the load; if more than one, all are in `slow`.
    pub(crate) count: usize,
    pub(crate) phase: Phase,
    /// The load has bounce pages, or the platform observes: `sync` and `unload` have more to do than nothing.
    pub(crate) involved: bool,
    /// Loaded, and not involved: the one thing that the steps of a ring ask.
    pub(crate) quick: bool,
    pub(crate) slow: Option<Box<Scatter>>,
    /// The segments of the load that follows this one in `exchange`; idle otherwise.
    pub(crate) next: Option<Box<Scatter>>,
    direction: PhantomData<D>,
}

impl<D: Direction, B: DmaBuffer> DmaMap<D, B> {
    pub(crate) fn new(tag: Arc<TagInner>) -> Self {
        let shared = tag.register();
        let slow = (tag.constraints.nsegments > 1).then(|| Box::new(Scatter::with_capacity(tag.constraints.nsegments)));
        Self {
            tag,
            shared,
            buffer: MaybeUninit::uninit(),
            first: Segment::NONE,
            count: 0,
            phase: Phase::Idle,
            involved: false,
            quick: false,
            slow,
            next: None,
            direction: PhantomData,
        }
    }

    /// Loads `buf`: takes it over and finds its segments. Never waits (BUS_DMA_NOWAIT).
    ///
    /// # Errors
    /// The buffer, and why: see [`DmaError`]. [`DmaError::NoMemory`] means that it would have to be bounced and no pages
    /// are free just now.
    #[inline]
    pub fn load(&mut self, mut buf: B) -> Result<(), (B, DmaError)> {
        if let Some(refusal) = self.refusal() {
            return Err((buf, refusal));
        }
        if buf.pieces() == 1 {
            let (ptr, len) = buf.piece(0);
            if let Some((addr, len)) = self.tag.fast.translate(ptr, len) {
                fence::expose(ptr);
                self.first = Segment { addr, len };
                self.count = 1;
                self.own(buf, Phase::Loaded);
                return Ok(());
            }
        }
        self.load_slowly(buf, Supply::Now).map(drop)
    }

    /// Loads `buf`, and waits in the bounce pool's queue if there are not enough pages: `ready` is then called, once, when
    /// [`finish_load`](Self::finish_load) can go on.
    ///
    /// # Context
    /// Thread: may allocate. Does not park.
    ///
    /// # Errors
    /// As [`load`](Self::load), except `NoMemory`.
    pub fn load_or_wait(&mut self, buf: B, ready: Arc<dyn LoadReady>) -> Result<LoadOutcome, (B, DmaError)> {
        match self.refusal() {
            Some(refusal) => Err((buf, refusal)),
            None => self.load_slowly(buf, Supply::Wait(ready)),
        }
    }

    /// Goes on with a load that waited: loaded now, or still in progress (then `load_ready` is still to come).
    ///
    /// # Errors
    /// The buffer, and why it cannot be loaded after all. On a map that is not waiting: [`LoadOutcome::Loaded`] if it is
    /// loaded; an idle map has no buffer to give back and answers `Err((None, DmaError::Empty))`.
    pub fn finish_load(&mut self) -> Result<LoadOutcome, (Option<B>, DmaError)> {
        match self.phase {
            Phase::Loaded => Ok(LoadOutcome::Loaded),
            Phase::Idle => Err((None, DmaError::Empty)),
            Phase::Waiting => match deferred::take_grant(&self.shared) {
                None => Ok(LoadOutcome::InProgress),
                Some(pages) => {
                    let buf = self.disown();
                    self.load_slowly(buf, Supply::Granted(pages)).map_err(|(buf, error)| (Some(buf), error))
                }
            },
        }
    }

    /// Gives up a load that waits and returns its buffer; `None` if the map is not waiting.
    ///
    /// When this returns, `load_ready` is neither running nor ever called for that load.
    pub fn cancel_load(&mut self) -> Option<B> {
        if self.phase != Phase::Waiting {
            return None;
        }
        deferred::cancel(&self.shared, self.tag.bounce.as_deref());
        Some(self.disown())
    }

    /// Returns the segments to tell the device; empty if the map is not loaded.
    #[inline]
    pub fn segments(&self) -> &[Segment] {
        match (self.count, &self.slow) {
            (0, _) => &[],
            (1, _) | (_, None) => slice::from_ref(&self.first),
            (_, Some(slow)) => &slow.segments,
        }
    }

    /// Says whether the map is loaded.
    #[inline]
    pub fn is_loaded(&self) -> bool {
        self.phase == Phase::Loaded
    }

    /// Synchronises the processor's and the device's view of the loaded buffer. The map's direction decides which
    /// operations exist. On a map that is not loaded: nothing.
    ///
    /// On x86 this is a barrier for the compiler, and the copy to or from bounce pages where the load has any.
    #[inline]
    pub fn sync<S: DmaSync<D>>(&mut self, _operation: S) {
        fence::device_barrier();
        if self.involved {
            self.copy(S::OPERATION);
            fence::device_barrier();
        }
    }

    /// Takes the buffer back because the device has said to be done with it (DD seen, `PostRead` or `PostWrite` done).
    /// `None` if the map is not loaded.
    #[inline]
    pub fn unload(&mut self) -> Option<B> {
        if self.phase != Phase::Loaded {
            return None;
        }
        fence::device_barrier();
        if self.involved {
            self.close();
        }
        Some(self.disown())
    }

    /// Ends the map whatever its state and returns the buffer if there is one: the device does no DMA any more. With the proof of
    /// another device, a loaded map is put in quarantine instead.
    pub fn reclaim(mut self, stopped: &DmaStopped<'_>) -> Option<B> {
        if !stopped.covers(&self.tag) {
            return None;
        }
        if let Some(tripwire) = self.tag.tripwire() {
            self.segments().iter().for_each(|segment| tripwire.note(&self.tag.name, segment.addr, segment.len));
        }
        match self.phase {
            Phase::Waiting => self.cancel_load(),
            Phase::Loaded | Phase::Idle => self.unload(),
        }
    }

    /// Ends the map.
    ///
    /// # Errors
    /// The map, if it is loaded or waits for bounce pages.
    pub fn destroy(self) -> Result<(), (Self, Busy)> {
        let busy = match self.phase {
            Phase::Idle => return Ok(()),
            Phase::Loaded => Busy { maps: 1, loaded: 1, ..Busy::default() },
            Phase::Waiting => Busy { maps: 1, waiting: 1, ..Busy::default() },
        };
        Err((self, busy))
    }

    #[inline]
    fn refusal(&self) -> Option<DmaError> {
        match self.phase {
            Phase::Idle => None,
            Phase::Loaded => Some(DmaError::AlreadyLoaded),
            Phase::Waiting => Some(DmaError::InProgress),
        }
    }

    /// Takes the buffer over.
    #[inline]
    pub(crate) fn own(&mut self, buf: B, phase: Phase) {
        debug_assert!(self.phase == Phase::Idle && phase != Phase::Idle);
        self.buffer.write(buf);
        self.set_phase(phase);
    }

    /// Takes over a buffer in one segment, with nothing involved. The map is idle.
    #[inline]
    pub(crate) fn own_quickly(&mut self, buf: B, segment: Segment) {
        debug_assert!(self.phase == Phase::Idle && !self.involved);
        self.first = segment;
        self.count = 1;
        self.buffer.write(buf);
        self.phase = Phase::Loaded;
        self.quick = true;
        self.shared.phase.store(Phase::Loaded as u8, Ordering::Relaxed);
    }

    /// Gives the buffer up. The map is `quick`.
    #[inline]
    pub(crate) fn disown_quickly(&mut self) -> B {
        assert!(self.quick, "only a loaded map gives its buffer up");
        self.phase = Phase::Idle;
        self.quick = false;
        self.count = 0;
        self.shared.phase.store(Phase::Idle as u8, Ordering::Relaxed);
        // SAFETY: the map was `quick`, hence its phase `Loaded`, so the buffer has been written; the phase is `Idle` now, so this is
        // the only read of that value.
        unsafe { self.buffer.assume_init_read() }
    }

    /// Gives the buffer up. Called with a phase other than `Idle` only.
    #[inline]
    pub(crate) fn disown(&mut self) -> B {
        assert!(self.phase != Phase::Idle, "an idle map owns no buffer");
        self.set_phase(Phase::Idle);
        self.count = 0;
        // SAFETY: the phase was not `Idle`, so `own` has written the buffer; the phase is `Idle` now, so this is the only
        // read of that value.
        unsafe { self.buffer.assume_init_read() }
    }

    #[inline]
    fn set_phase(&mut self, phase: Phase) {
        self.phase = phase;
        self.quick = phase == Phase::Loaded && !self.involved;
        // A statistic for `TagInner::live`.
        self.shared.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// Loads what the fast path could not: scattered, to be bounced, outside the window, observed, or wrong.
    #[cold]
    fn load_slowly(&mut self, mut buf: B, supply: Supply) -> Result<LoadOutcome, (B, DmaError)> {
        let nsegments = self.tag.constraints.nsegments;
        let slow = self.slow.get_or_insert_with(|| Box::new(Scatter::with_capacity(nsegments)));
        match scatter::load(&self.tag, &self.shared, &mut buf, supply, slow) {
            Ok(LoadOutcome::InProgress) => {
                self.own(buf, Phase::Waiting);
                Ok(LoadOutcome::InProgress)
            }
            Ok(LoadOutcome::Loaded) => {
                self.settle();
                self.own(buf, Phase::Loaded);
                Ok(LoadOutcome::Loaded)
            }
            Err(error) => Err((buf, error)),
        }
    }

    /// Takes over what a load of the slow half has found.
    pub(crate) fn settle(&mut self) {
        let Some(slow) = &self.slow else { return };
        self.first = slow.segments.first().copied().unwrap_or(Segment::NONE);
        self.count = slow.segments.len();
        self.involved = self.tag.observed || !slow.bounced.is_empty();
        if self.tag.observed {
            for segment in self.segments() {
                self.tag.platform.map_opened(segment.addr, segment.len, D::DEVICE_WRITES);
            }
        }
    }

    #[cold]
    fn copy(&mut self, operation: SyncOperation) {
        for bounced in self.slow.iter().flat_map(|slow| &slow.bounced) {
            match operation {
                // A device may write less than the whole buffer: the octets it leaves alone must come back unchanged, and
                // not as what the page held for another packet.
                SyncOperation::PreRead | SyncOperation::PreWrite => bounced.copy_in(),
                SyncOperation::PostRead => bounced.copy_out(),
                SyncOperation::PostWrite => {}
            }
        }
    }

    /// Ends what a load has beyond its buffer: the platform's observation and the bounce pages.
    #[cold]
    pub(crate) fn close(&mut self) {
        self.involved = false;
        if self.tag.observed {
            for segment in self.segments() {
                self.tag.platform.map_closed(segment.addr, segment.len);
            }
        }
        if let Some(mut slow) = self.slow.take() {
            self.give_back_pages(&mut slow);
            self.slow = Some(slow);
        }
    }

    /// Gives the bounce pages of a load back to the pool.
    pub(crate) fn give_back_pages(&self, scatter: &mut Scatter) {
        if let Some(pool) = &self.tag.bounce {
            pool.give_back(scatter.bounced.drain(..).map(|bounced| -> BouncePage { bounced.page }));
        }
    }
}

impl<D: Direction, B: DmaBuffer> Drop for DmaMap<D, B> {
    fn drop(&mut self) {
        match self.phase {
            Phase::Idle => {}
            // The device was never told of it: the buffer can go.
            Phase::Waiting => drop(self.cancel_load()),
            // `buffer` is not dropped by itself, and neither are bounce pages: both are leaked.
            Phase::Loaded => self.tag.quarantine(),
        }
        TagInner::count_out(&self.tag.maps);
    }
}

impl<D: Direction, B: DmaBuffer> fmt::Debug for DmaMap<D, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DmaMap")
            .field("phase", &self.phase)
            .field("segments", &self.segments())
            .field("involved", &self.involved)
            .finish_non_exhaustive()
    }
}
