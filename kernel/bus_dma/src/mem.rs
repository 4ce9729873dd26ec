//! Memory shared with a device for long: descriptor rings.
//!
//! Key type: [`DmaMem`], seen as cells of 8 octets that are atomics, because two parties write them without asking. Any
//! context, but that it is allocated and freed by threads.

use alloc::sync::Arc;
use core::{fmt, ptr::NonNull, slice};

use ksync::atomic::{DeviceU64, Ordering};

use crate::{BusAddr, DmaError, DmaLayout, DmaStopped, PhysAddr, fence, tag::TagInner};

/// Octets of a cell.
const CELL: usize = size_of::<DeviceU64>();

/// Zeroed, physically contiguous memory within its tag's constraints.
///
/// Dropped instead of [freed](Self::free), it is leaked and its tag counts one more in quarantine.
pub struct DmaMem {
    tag: Arc<TagInner>,
    ptr: NonNull<u8>,
    layout: DmaLayout,
    bus: BusAddr,
    freed: bool,
}

// SAFETY: the memory is owned, and reached through atomics only.
unsafe impl Send for DmaMem {}
// SAFETY: shared access is `&[DeviceU64]`, which is `Sync`.
unsafe impl Sync for DmaMem {}

impl DmaMem {
    pub(crate) fn new(tag: Arc<TagInner>, size: usize) -> Result<Self, DmaError> {
        let limits = &tag.constraints;
        let size = size.max(1).checked_next_multiple_of(CELL).ok_or(DmaError::TooLarge)?;
        let octets = u64::try_from(size).map_err(|_| DmaError::TooLarge)?;
        let bounded = limits.boundary != 0 && octets > limits.boundary;
        if size > limits.maxsize || octets > u64::from(limits.maxsegsz) || bounded {
            return Err(DmaError::TooLarge);
        }
        let align = usize::try_from(limits.alignment).map_err(|_| DmaError::InvalidConstraints)?.max(CELL);
        let layout = DmaLayout { size, align, boundary: limits.boundary, max_addr: limits.lowaddr };
        let (ptr, phys) = tag.platform.alloc(&layout)?;
        if !satisfies(&layout, ptr, phys) {
            // SAFETY: it came from `alloc` with this layout just now, and nobody has seen it.
            unsafe { tag.platform.free(ptr, &layout) };
            return Err(DmaError::BrokenPlatform);
        }
        fence::expose(ptr.as_ptr());
        let bus = BusAddr::from_phys(phys);
        tag.memories.fetch_add(1, Ordering::Relaxed);
        let memory = Self { tag, ptr, layout, bus, freed: false };
        memory.observe(|len| memory.tag.platform.map_opened(bus, len, true));
        Ok(memory)
    }

    /// Returns the memory as cells. Device and processor may write at any time: every access states its ordering.
    #[inline]
    pub fn cells(&self) -> &[DeviceU64] {
        // SAFETY: 1. `ptr` is valid for `layout.size` octets (a multiple of 8) until `free` or for ever, and aligned to 8,
        // which `new` has checked. 2. It is zeroed, hence initialised. 3. Only this type reaches it, as atomics.
        unsafe { slice::from_raw_parts(self.ptr.cast::<DeviceU64>().as_ptr(), self.layout.size / CELL) }
    }

    /// Returns the address of the first octet for the device.
    #[inline]
    pub fn bus_addr(&self) -> BusAddr {
        self.bus
    }

    /// Returns the address of an octet within, for the device; `None` if it lies outside.
    pub fn bus_addr_at(&self, octet: usize) -> Option<BusAddr> {
        (octet < self.layout.size).then(|| BusAddr::from_raw(self.bus.as_u64() + octet as u64))
    }

    /// Returns the octets.
    #[inline]
    pub fn size(&self) -> usize {
        self.layout.size
    }

    /// Orders the processor's accesses to the cells with the device's: before a doorbell, and after a descriptor was seen
    /// done. A barrier for the compiler on x86.
    #[inline]
    pub fn sync(&self) {
        fence::device_barrier();
    }

    /// Frees the memory: the device does no DMA any more. With the proof of another device it is put in quarantine instead.
    pub fn free(mut self, stopped: &DmaStopped<'_>) {
        if !stopped.covers(&self.tag) {
            return;
        }
        self.observe(|len| self.tag.platform.map_closed(self.bus, len));
        self.freed = true;
        if let Some(tripwire) = self.tag.tripwire() {
            // SAFETY: the memory came from `alloc` with this size and is never given back; `self` is consumed, cells borrow
            // `self`, the device has stopped.
            return unsafe { tripwire.take(&self.tag.name, self.ptr, self.bus, self.layout.size) };
        }
        // SAFETY: it came from `alloc` with this layout; `self` is consumed and `freed` keeps this from happening twice;
        // cells borrow `self`; the device has stopped.
        unsafe { self.tag.platform.free(self.ptr, &self.layout) };
    }

    fn observe(&self, tell: impl Fn(u32)) {
        if self.tag.observed {
            // `maxsegsz` bounds the size, so that the conversion holds.
            tell(u32::try_from(self.layout.size).unwrap_or(u32::MAX));
        }
    }
}

/// Checks what the platform handed out against what it was asked for.
fn satisfies(layout: &DmaLayout, ptr: NonNull<u8>, phys: PhysAddr) -> bool {
    let first = phys.as_u64();
    let Some(last) = first.checked_add(layout.size as u64 - 1) else { return false };
    let whole = layout.boundary == 0 || first / layout.boundary == last / layout.boundary;
    let aligned = first.is_multiple_of(layout.align as u64) && ptr.addr().get().is_multiple_of(CELL);
    whole && aligned && last <= layout.max_addr
}

impl Drop for DmaMem {
    fn drop(&mut self) {
        if !self.freed {
            self.tag.quarantine();
        }
        TagInner::count_out(&self.tag.memories);
    }
}

impl fmt::Debug for DmaMem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DmaMem").field("bus", &self.bus).field("size", &self.layout.size).finish_non_exhaustive()
    }
}
