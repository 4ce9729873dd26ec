//! Tags: named constraint sets in a tree, and the count of everything that lives under them.
//!
//! Key types: [`DmaTag`], [`Live`]. Tags are made and destroyed by threads (they allocate); counting is done wherever a map
//! or a memory dies.
//!
//! A `DmaTag` is not `Clone`, and `destroy` takes it by value: nobody can create a map on a tag while it is being
//! destroyed, so the answer of `destroy` cannot be overtaken by a new map, only by the end of an old one.

use alloc::{
    boxed::Box,
    sync::{Arc, Weak},
    vec::Vec,
};
use core::fmt;

use ksync::{
    SpinLock,
    atomic::{AtomicU8, AtomicU32, Ordering},
    counter::SharedCounter,
};

use crate::{
    BouncePool, BusAddr, Busy, Constraints, Direction, DmaBuffer, DmaError, DmaMap, DmaMem, DmaPlatform,
    deferred::Deferral,
    fast_path::FastPath,
    tripwire::{Damage, Tripwire},
};

/// Segments that a map describes at most, whatever its tag allows.
const MAX_SEGMENTS: usize = 64;

/// What lives under a tag, for `show dma` and the shutdown report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Live {
    /// Maps, and which of them are loaded or wait for bounce pages.
    pub maps: u32,
    /// Maps that are loaded.
    pub loaded: u32,
    /// Maps that wait for bounce pages.
    pub waiting: u32,
    /// Pieces of DMA memory.
    pub memories: u32,
    /// Child tags.
    pub children: u32,
    /// Buffers and memories leaked because a device could own them.
    pub quarantined: u32,
    /// Loads that were bounced, ever.
    pub bounced: u64,
    /// Loads that had to wait for bounce pages, ever.
    pub deferred: u64,
}

impl Live {
    /// Returns what keeps the tag from being destroyed, if anything does.
    pub fn busy(&self) -> Option<Busy> {
        let busy = Busy {
            maps: self.maps,
            loaded: self.loaded,
            waiting: self.waiting,
            memories: self.memories,
            children: self.children,
            quarantined: self.quarantined,
        };
        (busy != Busy::default()).then_some(busy)
    }
}

/// A set of constraints under which maps and memory are made. See the crate's documentation.
#[derive(Debug)]
pub struct DmaTag {
    inner: Arc<TagInner>,
}

impl DmaTag {
    /// Makes a tag without a parent and without constraints: the bus that `platform` describes.
    ///
    /// # Context
    /// Thread (allocates), as for all constructors here.
    pub fn root(name: &str, platform: &'static dyn DmaPlatform) -> Self {
        Self { inner: Arc::new(TagInner::new(name, platform, Constraints::ANY, None, None)) }
    }

    /// The same, with pages through which loads under this tag and its children may be bounced.
    pub fn root_with_bounce(name: &str, platform: &'static dyn DmaPlatform, pool: Arc<BouncePool>) -> Self {
        Self { inner: Arc::new(TagInner::new(name, platform, Constraints::ANY, Some(pool), None)) }
    }

    /// Makes a child: its constraints are the intersection of `constraints` and this tag's, and it holds a reference on
    /// this tag.
    ///
    /// # Errors
    /// [`DmaError::InvalidConstraints`] if the intersection cannot be satisfied.
    pub fn child(&self, name: &str, constraints: Constraints) -> Result<Self, DmaError> {
        constraints.validate()?;
        let constraints = self.inner.constraints.intersect(&constraints);
        constraints.validate()?;
        let parent = &self.inner;
        let bounce = parent.bounce.clone();
        let inner = Arc::new(TagInner::new(name, parent.platform, constraints, bounce, Some(Arc::clone(parent))));
        parent.children.fetch_add(1, Ordering::Relaxed);
        remember(&parent.kin, Arc::downgrade(&inner));
        Ok(Self { inner })
    }

    /// Makes an empty map.
    ///
    /// # Errors
    /// None today; a platform with limited mappings will refuse here.
    pub fn create_map<D: Direction, B: DmaBuffer>(&self) -> Result<DmaMap<D, B>, DmaError> {
        Ok(DmaMap::new(Arc::clone(&self.inner)))
    }

    /// Allocates zeroed memory of `size` octets (rounded up to whole cells of 8) that satisfies the constraints.
    ///
    /// # Errors
    /// [`DmaError::TooLarge`], [`DmaError::NoMemory`], [`DmaError::BrokenPlatform`].
    pub fn alloc_mem(&self, size: usize) -> Result<DmaMem, DmaError> {
        DmaMem::new(Arc::clone(&self.inner), size)
    }

    /// Watches over memory that is given back below this root from now on: see [`Damage`].
    ///
    /// # Context
    /// Thread. Memory freed afterwards is kept for ever, so this is for the end of a run.
    pub fn arm_tripwire(&self) {
        if let Some(tripwire) = &self.inner.tripwire {
            tripwire.arm();
        }
    }

    /// Looks at all memory given back since [`arm_tripwire`](Self::arm_tripwire), tells what has changed, and returns how many
    /// octets it has looked at.
    ///
    /// # Context
    /// Thread; holds a lock all the while, so that nothing else may be freeing.
    pub fn check_tripwire(&self, tell: &mut dyn FnMut(Damage)) -> usize {
        self.inner.tripwire.as_ref().map_or(0, |tripwire| tripwire.check(tell))
    }

    /// Returns the bus address of `ptr`, and under which tag the buffer was lent that it lies in, if it was given back since
    /// [`arm_tripwire`](Self::arm_tripwire); `None` if no device can reach it.
    ///
    /// # Context
    /// Thread.
    pub fn lender(&self, ptr: *const u8) -> Option<(BusAddr, Option<Arc<str>>)> {
        let address = BusAddr::from_phys(self.inner.platform.phys_of(ptr)?);
        Some((address, self.inner.tripwire.as_ref().and_then(|tripwire| tripwire.lender(address))))
    }

    pub(crate) fn inner(&self) -> &TagInner {
        &self.inner
    }

    /// Returns the tag's name.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Returns the effective constraints: the tag's own and all its ancestors'.
    pub fn constraints(&self) -> &Constraints {
        &self.inner.constraints
    }

    /// Counts what lives under the tag.
    ///
    /// # Context
    /// Thread: looks at every map.
    pub fn live(&self) -> Live {
        self.inner.live()
    }

    /// Visits this tag and all its descendants, parents first, with their depth below this one.
    ///
    /// # Context
    /// Any, also the debugger in a world that stands still: waits for nobody who does not run, allocates nothing. Tags made or
    /// destroyed meanwhile may or may not be visited, and while they are, so may their sisters.
    pub fn walk(&self, visit: &mut dyn FnMut(usize, &str, Live)) {
        self.inner.walk(0, visit);
    }

    /// Ends the tag, and gives back its reference on the parent.
    ///
    /// # Errors
    /// The tag itself, usable as before, and what is live under it. Buffers in quarantine keep it for ever: what a device
    /// may still own is not gone because its owner lost interest.
    pub fn destroy(self) -> Result<(), (Self, Busy)> {
        match self.live().busy() {
            Some(busy) => Err((self, busy)),
            None => Ok(()),
        }
    }
}

/// A tag as its maps, memories and children hold it.
pub(crate) struct TagInner {
    pub(crate) name: Arc<str>,
    pub(crate) platform: &'static dyn DmaPlatform,
    pub(crate) constraints: Constraints,
    pub(crate) bounce: Option<Arc<BouncePool>>,
    pub(crate) fast: FastPath,
    /// The platform's `observes_maps`, asked once.
    pub(crate) observed: bool,
    parent: Option<Arc<TagInner>>,
    /// Of the root only.
    tripwire: Option<Box<Tripwire>>,
    pub(crate) maps: AtomicU32,
    pub(crate) memories: AtomicU32,
    children: AtomicU32,
    pub(crate) quarantined: AtomicU32,
    pub(crate) bounced: SharedCounter,
    pub(crate) deferred: SharedCounter,
    /// Protects: the list of maps; held across: one push, or one count.
    registry: SpinLock<Vec<Weak<MapShared>>>,
    /// Protects: the list of children; held across: one push, or one copy.
    kin: SpinLock<Vec<Weak<TagInner>>>,
}

/// The part of a map that others look at.
pub(crate) struct MapShared {
    /// A `Phase`, for the census only: the map itself keeps its own.
    pub(crate) phase: AtomicU8,
    /// Protects: the request for bounce pages; held across: one transition and the `load_ready` call.
    pub(crate) deferral: SpinLock<Deferral>,
}

/// What a map is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    Idle,
    Loaded,
    Waiting,
}

impl TagInner {
    fn new(
        name: &str,
        platform: &'static dyn DmaPlatform,
        mut constraints: Constraints,
        bounce: Option<Arc<BouncePool>>,
        parent: Option<Arc<TagInner>>,
    ) -> Self {
        constraints.nsegments = constraints.nsegments.min(MAX_SEGMENTS);
        let observed = platform.observes_maps();
        let window = platform.linear_window().filter(|_| !observed);
        Self {
            name: name.into(),
            platform,
            fast: window.map_or(FastPath::NONE, |window| FastPath::new(&window, &constraints)),
            constraints,
            bounce,
            observed,
            tripwire: parent.is_none().then(|| Box::new(Tripwire::new())),
            parent,
            maps: AtomicU32::new(0),
            memories: AtomicU32::new(0),
            children: AtomicU32::new(0),
            quarantined: AtomicU32::new(0),
            bounced: SharedCounter::new(),
            deferred: SharedCounter::new(),
            registry: SpinLock::new(Vec::new()),
            kin: SpinLock::new(Vec::new()),
        }
    }

    /// Visits this tag and those above it, the root last.
    pub(crate) fn line(&self) -> impl Iterator<Item = &Self> {
        core::iter::successors(Some(self), |tag| tag.parent.as_deref())
    }

    /// Returns the bus's tripwire once it is armed.
    pub(crate) fn tripwire(&self) -> Option<&Tripwire> {
        let root = self.line().last()?;
        root.tripwire.as_deref().filter(|tripwire| tripwire.is_armed())
    }

    /// Counts a new map and makes its shared part.
    pub(crate) fn register(&self) -> Arc<MapShared> {
        let shared =
            Arc::new(MapShared { phase: AtomicU8::new(Phase::Idle as u8), deferral: SpinLock::new(Deferral::None) });
        self.maps.fetch_add(1, Ordering::Relaxed);
        remember(&self.registry, Arc::downgrade(&shared));
        shared
    }

    fn live(&self) -> Live {
        let (mut loaded, mut waiting) = (0, 0);
        // Locked by a CPU that has been stopped, the maps' phases stay unknown; only a debugger comes here then.
        if let Ok(registry) = self.registry.look() {
            for shared in registry.iter().filter_map(Weak::upgrade) {
                // A statistic: the map's owner may be changing it right now.
                let phase = shared.phase.load(Ordering::Relaxed);
                loaded += u32::from(phase == Phase::Loaded as u8);
                waiting += u32::from(phase == Phase::Waiting as u8);
            }
        }
        Live {
            loaded,
            waiting,
            // ORDERING: each acquire pairs with the release with which the map, memory or child that ended counted itself
            // out: whoever sees zero sees all they did before.
            maps: self.maps.load(Ordering::Acquire),
            memories: self.memories.load(Ordering::Acquire),
            children: self.children.load(Ordering::Acquire),
            quarantined: self.quarantined.load(Ordering::Acquire),
            bounced: self.bounced.get(),
            deferred: self.deferred.get(),
        }
    }

    fn walk(&self, depth: usize, visit: &mut dyn FnMut(usize, &str, Live)) {
        visit(depth, &self.name, self.live());
        let child = |place: usize| Some(self.kin.look().ok()?.get(place)?.clone());
        for child in (0..).map_while(child).filter_map(|child| child.upgrade()) {
            child.walk(depth + 1, visit);
        }
    }

    /// Counts out one map, memory or child, as its very last act.
    pub(crate) fn count_out(count: &AtomicU32) {
        // ORDERING: pairs with the acquire in `live`.
        count.fetch_sub(1, Ordering::Release);
    }

    /// Counts one leaked buffer or memory.
    pub(crate) fn quarantine(&self) {
        // ORDERING: before the map or memory counts itself out, so that the tag is never seen idle in between.
        self.quarantined.fetch_add(1, Ordering::Release);
    }
}

impl Drop for TagInner {
    fn drop(&mut self) {
        if let Some(parent) = &self.parent {
            Self::count_out(&parent.children);
        }
    }
}

impl fmt::Debug for TagInner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DmaTag")
            .field("name", &self.name)
            .field("constraints", &self.constraints)
            .field("live", &self.live())
            .finish_non_exhaustive()
    }
}

/// Adds to a list of weak references and drops the dead ones whenever the list would have to grow.
fn remember<T: Send + Sync>(list: &SpinLock<Vec<Weak<T>>>, item: Weak<T>) {
    let mut list = list.lock();
    if list.len() == list.capacity() {
        list.retain(|item| item.strong_count() != 0);
    }
    list.push(item);
}
