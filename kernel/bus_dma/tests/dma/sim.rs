//! A machine for the tests: memory whose pages lie at any physical address the test likes, and the device's view of it.

use std::{
    alloc::{Layout, alloc_zeroed, dealloc},
    collections::HashSet,
    ptr::NonNull,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use bus_dma::{BusAddr, DmaError, DmaLayout, DmaPlatform, LinearWindow, PAGE_SIZE, PhysAddr, Segment};

/// First physical address that `alloc` hands out.
pub(crate) const ALLOC_BASE: u64 = 0x10_0000;
/// First physical address the arena's frames should use: everything below is for `alloc`.
pub(crate) const ARENA_BASE: u64 = 0x1000_0000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Allocation {
    virt: usize,
    phys: u64,
    layout: DmaLayout,
}

/// What the platform was told about maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Opened(u64, u32, bool),
    Closed(u64, u32),
}

#[derive(Debug, Default)]
pub(crate) struct Sim {
    arena: usize,
    /// Physical page number of each page of the arena.
    frames: Vec<u64>,
    pub(crate) window: Option<LinearWindow>,
    pub(crate) observes: bool,
    /// Hands out memory this many octets away from where it should be.
    pub(crate) skew: u64,
    pub(crate) allocations: Mutex<Vec<Allocation>>,
    pub(crate) events: Mutex<Vec<Event>>,
    pub(crate) walks: AtomicUsize,
}

impl Sim {
    /// A machine whose arena has one page per frame number.
    pub(crate) fn new(frames: &[u64]) -> (Self, &'static mut [u8]) {
        assert_eq!(frames.iter().collect::<HashSet<_>>().len(), frames.len(), "frames are distinct");
        let layout = Layout::from_size_align(frames.len() * PAGE_SIZE, PAGE_SIZE).unwrap();
        // SAFETY: the layout has a size.
        let memory = unsafe { alloc_zeroed(layout) };
        assert!(!memory.is_null());
        // SAFETY: zeroed memory of that size, leaked, so that the unique borrow of it may last for ever.
        let arena = unsafe { std::slice::from_raw_parts_mut(memory, layout.size()) };
        let sim = Self { arena: arena.as_ptr().expose_provenance(), frames: frames.to_vec(), ..Self::default() };
        (sim, arena)
    }

    /// A machine whose arena is in one physical piece, and says so.
    pub(crate) fn linear(first: u64, pages: u64) -> (Self, &'static mut [u8]) {
        let (mut sim, arena) = Self::new(&(first..first + pages).collect::<Vec<_>>());
        let phys = PhysAddr::new(first * PAGE_SIZE as u64);
        sim.window = Some(LinearWindow { virt: sim.arena, len: arena.len(), phys });
        (sim, arena)
    }

    pub(crate) fn leak(self) -> &'static Self {
        Box::leak(Box::new(self))
    }

    pub(crate) fn phys_at(&self, ptr: *const u8) -> Option<u64> {
        let offset = ptr.addr().wrapping_sub(self.arena);
        let frame = self.frames.get(offset / PAGE_SIZE)?;
        Some(frame * PAGE_SIZE as u64 + (offset % PAGE_SIZE) as u64)
    }

    /// Where a device access to `bus` ends up.
    fn device(&self, bus: u64) -> *mut u8 {
        let page = bus / PAGE_SIZE as u64;
        let within = |start: u64| usize::try_from(bus - start).unwrap();
        if let Some(index) = self.frames.iter().position(|&frame| frame == page) {
            return std::ptr::with_exposed_provenance_mut(
                self.arena + index * PAGE_SIZE + within(page * PAGE_SIZE as u64),
            );
        }
        let allocations = self.allocations.lock().unwrap();
        let of = |a: &&Allocation| (a.phys..a.phys + a.layout.size as u64).contains(&bus);
        let hit = allocations.iter().find(of).unwrap_or_else(|| panic!("device access to nowhere: {bus:#x}"));
        std::ptr::with_exposed_provenance_mut(hit.virt + within(hit.phys))
    }

    fn addresses(segments: &[Segment]) -> impl Iterator<Item = u64> {
        segments.iter().flat_map(|s| s.addr.as_u64()..s.addr.as_u64() + u64::from(s.len))
    }

    /// The device reads the segments.
    pub(crate) fn dma_read(&self, segments: &[Segment]) -> Vec<u8> {
        // SAFETY: `device` answers with addresses of live memory only; the maps own it, so that no borrow is in use.
        Self::addresses(segments).map(|bus| unsafe { self.device(bus).read() }).collect()
    }

    /// The device writes `data` over the segments, as far as both go.
    pub(crate) fn dma_write(&self, segments: &[Segment], data: &[u8]) {
        for (bus, &octet) in Self::addresses(segments).zip(data) {
            // SAFETY: as in `dma_read`.
            unsafe { self.device(bus).write(octet) };
        }
    }

    pub(crate) fn open_regions(&self) -> usize {
        let mut open = HashSet::new();
        for event in self.events.lock().unwrap().iter() {
            match *event {
                Event::Opened(addr, len, _) => assert!(open.insert((addr, len)), "opened twice"),
                Event::Closed(addr, len) => assert!(open.remove(&(addr, len)), "closed without being open"),
            }
        }
        open.len()
    }
}

fn host_layout(layout: &DmaLayout) -> Layout {
    Layout::from_size_align(layout.size, layout.align).unwrap()
}

// SAFETY: the arena's frames never change and its memory is leaked; `alloc` is the host's allocator, zeroed.
unsafe impl DmaPlatform for Sim {
    fn phys_of(&self, ptr: *const u8) -> Option<PhysAddr> {
        self.walks.fetch_add(1, Ordering::Relaxed);
        self.phys_at(ptr).map(PhysAddr::new)
    }

    fn linear_window(&self) -> Option<LinearWindow> {
        self.window
    }

    fn alloc(&self, layout: &DmaLayout) -> Result<(NonNull<u8>, PhysAddr), DmaError> {
        let mut allocations = self.allocations.lock().unwrap();
        let size = layout.size as u64;
        let mut phys = allocations.iter().map(|a| a.phys + a.layout.size as u64).max().unwrap_or(ALLOC_BASE);
        // Room for a skew, and not always adjacent.
        phys = (phys + 8).next_multiple_of(layout.align as u64);
        if layout.boundary != 0 && phys / layout.boundary != (phys + size - 1) / layout.boundary {
            phys = phys.next_multiple_of(layout.boundary);
        }
        if phys + size - 1 > layout.max_addr || phys + size > ARENA_BASE {
            return Err(DmaError::NoMemory);
        }
        phys += self.skew;
        // SAFETY: the size is not zero, says the contract of `alloc`.
        let virt = NonNull::new(unsafe { alloc_zeroed(host_layout(layout)) }).ok_or(DmaError::NoMemory)?;
        allocations.push(Allocation { virt: virt.as_ptr().expose_provenance(), phys, layout: *layout });
        Ok((virt, PhysAddr::new(phys)))
    }

    unsafe fn free(&self, ptr: NonNull<u8>, layout: &DmaLayout) {
        let mut allocations = self.allocations.lock().unwrap();
        let index = allocations.iter().position(|a| a.virt == ptr.as_ptr().addr());
        let freed = allocations.swap_remove(index.expect("freed memory was allocated"));
        assert_eq!(freed.layout, *layout);
        // SAFETY: it was allocated with this layout and is on the list no more.
        unsafe { dealloc(ptr.as_ptr(), host_layout(layout)) };
    }

    fn observes_maps(&self) -> bool {
        self.observes
    }

    fn map_opened(&self, addr: BusAddr, len: u32, write: bool) {
        self.events.lock().unwrap().push(Event::Opened(addr.as_u64(), len, write));
    }

    fn map_closed(&self, addr: BusAddr, len: u32) {
        self.events.lock().unwrap().push(Event::Closed(addr.as_u64(), len));
    }
}
