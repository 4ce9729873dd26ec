//! The machine's memory as a device sees it: what is mapped can be reached, everything else is a violation.
//!
//! Key types: [`Iommu`], [`Violation`]. Accesses happen under one mutex, which `map_closed` takes as well: a device is
//! never in the middle of an access while its buffer goes home.

use std::{alloc::Layout, collections::BTreeMap, ptr::NonNull};

use bus_dma::{BusAddr, DmaError, DmaLayout, DmaPlatform, PhysAddr};
use ksync::{
    atomic::{DeviceU64, Ordering},
    model::{Mutex, MutexGuard},
};

/// Physical addresses are virtual ones plus this, so that using one for the other is found out at once.
const PHYSICAL_OFFSET: u64 = 1 << 47;

/// What buffers lent for receiving are filled with: received octets can be told from stale ones.
const RX_POISON: u8 = 0x5a;
/// What transmitted buffers are filled with when their map is closed: nobody may need them any more.
const TX_POISON: u8 = 0xa5;
/// What freed memory is filled with.
const FREED_POISON: u8 = 0xde;

/// An access that the device was not entitled to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Bus address.
    pub addr: u64,
    /// Octets.
    pub len: usize,
    /// Whether the device wanted to write.
    pub write: bool,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    len: u64,
    write: bool,
}

#[derive(Debug, Default)]
struct State {
    /// By start address; they never overlap.
    windows: BTreeMap<u64, Window>,
    /// Descriptor memory in use: physical start and octets.
    memories: BTreeMap<u64, usize>,
    /// Freed memory, kept to see whether anybody writes there.
    graves: Vec<(usize, usize)>,
    violations: Vec<Violation>,
    overlaps: usize,
    /// Allocations that still succeed; `None`: all.
    allocations_left: Option<usize>,
}

/// A machine whose devices reach only what is mapped.
#[derive(Debug, Default)]
pub struct Iommu {
    state: Mutex<State>,
}

impl Iommu {
    /// Makes a machine and leaks it, as tags want.
    #[must_use]
    pub fn leak() -> &'static Self {
        Box::leak(Box::default())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Returns what devices did that they were not entitled to.
    #[must_use]
    pub fn violations(&self) -> Vec<Violation> {
        self.state().violations.clone()
    }

    /// Returns the windows open to devices.
    #[must_use]
    pub fn open_windows(&self) -> usize {
        self.state().windows.len()
    }

    /// Lets `count` more allocations of descriptor memory succeed, then none.
    pub fn fail_allocations_after(&self, count: usize) {
        self.state().allocations_left = Some(count);
    }

    /// Checks that nobody broke a rule: no violation, no overlapping windows, no write to freed memory.
    ///
    /// # Panics
    /// If somebody did.
    pub fn assert_clean(&self) {
        let state = self.state();
        assert_eq!(state.violations, [], "a device reached memory that was not mapped for it");
        assert_eq!(state.overlaps, 0, "the same memory was mapped twice");
        for &(start, len) in &state.graves {
            // SAFETY: the memory was allocated by `alloc` with this length and is never deallocated.
            let octets = unsafe { std::slice::from_raw_parts(pointer(start), len) };
            assert!(octets.iter().all(|&octet| octet == FREED_POISON), "freed descriptor memory was written");
        }
    }

    /// Checks an access and does it while the mapping cannot go away.
    fn access<T>(&self, addr: u64, len: usize, write: bool, act: impl FnOnce(*mut u8) -> T) -> Option<T> {
        let mut state = self.state();
        let window = state.windows.range(..=addr).next_back().map(|(&start, &window)| (start, window));
        let permitted = window.is_some_and(|(start, window)| {
            addr.checked_add(len as u64).is_some_and(|end| end <= start + window.len) && (window.write || !write)
        });
        if !permitted {
            state.violations.push(Violation { addr, len, write });
            return None;
        }
        let start = usize::try_from(addr - PHYSICAL_OFFSET).ok()?;
        Some(act(pointer(start)))
    }

    /// The device reads memory. `None`, and a violation, if it may not.
    pub fn read(&self, addr: u64, len: usize) -> Option<Vec<u8>> {
        self.access(addr, len, false, |ptr| {
            let mut octets = vec![0; len];
            // SAFETY: the window is open, so a map or a `DmaMem` owns `len` octets there and lends them to the device;
            // it stays open while the mutex is held.
            unsafe { std::ptr::copy_nonoverlapping(ptr, octets.as_mut_ptr(), len) };
            octets
        })
    }

    /// The device writes memory.
    pub fn write(&self, addr: u64, octets: &[u8]) -> Option<()> {
        self.access(addr, octets.len(), true, |ptr| {
            // SAFETY: as in `read`, and the window is open for writing.
            unsafe { std::ptr::copy_nonoverlapping(octets.as_ptr(), ptr, octets.len()) };
        })
    }

    /// The device reads one descriptor word.
    pub(crate) fn read_word(&self, addr: u64) -> Option<u64> {
        self.access(addr, 8, false, |ptr| word(ptr).load(Ordering::Acquire))
    }

    /// The device writes one descriptor word, after everything it wrote before.
    pub(crate) fn write_word(&self, addr: u64, value: u64) -> Option<()> {
        self.access(addr, 8, true, |ptr| word(ptr).store(value, Ordering::Release))
    }
}

fn pointer(address: usize) -> *mut u8 {
    std::ptr::with_exposed_provenance_mut(address)
}

#[expect(clippy::cast_ptr_alignment, reason = "the assertion checks it")]
fn word<'a>(ptr: *mut u8) -> &'a DeviceU64 {
    assert!(ptr.addr().is_multiple_of(8), "descriptor words are aligned");
    // SAFETY: called from `access` only: 8 octets of a window lie there, aligned, and the driver reaches descriptor
    // memory as atomics. The reference is used at once, while the window is kept open.
    unsafe { &*ptr.cast::<DeviceU64>() }
}

fn fill(addr: BusAddr, len: u32, value: u8) {
    let Ok(start) = usize::try_from(addr.as_u64() - PHYSICAL_OFFSET) else { return };
    // SAFETY: called while a map that owns the buffer is being loaded or unloaded: nobody else reaches it.
    unsafe { std::ptr::write_bytes(pointer(start), value, len as usize) };
}

// SAFETY: 1. Addresses are virtual ones plus a constant, which is true of nothing but this machine, whose devices are
// models that subtract it again. 2. Memory comes zeroed from the allocator and is never given back to it.
unsafe impl DmaPlatform for Iommu {
    fn phys_of(&self, ptr: *const u8) -> Option<PhysAddr> {
        Some(PhysAddr::new(ptr.expose_provenance() as u64 + PHYSICAL_OFFSET))
    }

    fn alloc(&self, layout: &DmaLayout) -> Result<(NonNull<u8>, PhysAddr), DmaError> {
        let mut state = self.state();
        match &mut state.allocations_left {
            Some(0) => return Err(DmaError::NoMemory),
            Some(left) => *left -= 1,
            None => {}
        }
        // Aligned to its own size, no piece crosses a boundary that it is not longer than.
        let align = if layout.boundary == 0 { layout.align } else { layout.align.max(layout.size.next_power_of_two()) };
        let request = Layout::from_size_align(layout.size, align).map_err(|_| DmaError::NoMemory)?;
        // SAFETY: a `DmaLayout` has a size of at least 1.
        let ptr = NonNull::new(unsafe { std::alloc::alloc_zeroed(request) }).ok_or(DmaError::NoMemory)?;
        let phys = ptr.as_ptr().expose_provenance() as u64 + PHYSICAL_OFFSET;
        state.memories.insert(phys, layout.size);
        Ok((ptr, PhysAddr::new(phys)))
    }

    unsafe fn free(&self, ptr: NonNull<u8>, layout: &DmaLayout) {
        let mut state = self.state();
        let start = ptr.as_ptr().expose_provenance();
        assert_eq!(state.memories.remove(&(start as u64 + PHYSICAL_OFFSET)), Some(layout.size), "freed twice or never");
        // SAFETY: the caller gives the memory up; it stays allocated for ever, as a grave.
        unsafe { std::ptr::write_bytes(ptr.as_ptr(), FREED_POISON, layout.size) };
        state.graves.push((start, layout.size));
    }

    fn observes_maps(&self) -> bool {
        true
    }

    fn map_opened(&self, addr: BusAddr, len: u32, write: bool) {
        let mut state = self.state();
        let (start, end) = (addr.as_u64(), addr.as_u64() + u64::from(len));
        let overlaps = state.windows.range(..end).next_back().is_some_and(|(&other, w)| other + w.len > start);
        state.overlaps += usize::from(overlaps);
        if write && !state.memories.contains_key(&start) {
            fill(addr, len, RX_POISON);
        }
        state.windows.insert(start, Window { len: u64::from(len), write });
    }

    fn map_closed(&self, addr: BusAddr, len: u32) {
        let mut state = self.state();
        let window = state.windows.remove(&addr.as_u64()).expect("closed a window that is not open");
        assert_eq!(window.len, u64::from(len));
        if !window.write {
            fill(addr, len, TX_POISON);
        }
    }
}
