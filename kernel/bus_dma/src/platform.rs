//! What this crate needs from the machine below: physical addresses and memory at chosen ones.
//!
//! Key types: [`DmaPlatform`] (implemented by the kernel over `machine`, and by tests), [`DmaLayout`], [`LinearWindow`].

use core::ptr::NonNull;

use crate::{BusAddr, DmaError, PhysAddr};

/// Octets of the pages in which memory may be scattered, and of a bounce page.
pub const PAGE_SIZE: usize = 4096;

/// A request for physically contiguous memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DmaLayout {
    /// Octets; at least 1.
    pub size: usize,
    /// Alignment of the physical and the virtual address; a power of two, at least 8.
    pub align: usize,
    /// The memory must not cross a multiple of this physical address; a power of two `>= size`, or 0 for no limit.
    pub boundary: u64,
    /// The last physical address that the memory may use.
    pub max_addr: u64,
}

/// A range of virtual addresses behind which physical memory lies in one piece.
///
/// A platform that has one (a direct map, or the region of the packet pool) spares every load the page-wise walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinearWindow {
    /// First virtual address.
    pub virt: usize,
    /// Octets.
    pub len: usize,
    /// Physical address of the first octet.
    pub phys: PhysAddr,
}

/// The machine, as far as DMA is concerned.
///
/// # Safety
/// Safe code below hands the addresses to devices, so the implementer promises:
/// 1. [`phys_of`](Self::phys_of) and [`linear_window`](Self::linear_window) tell the truth about every address that is
///    mapped, and the answer holds for as long as the memory is owned by whoever owns it (no paging, no moving).
/// 2. [`alloc`](Self::alloc) returns memory that is mapped, physically contiguous, zeroed, valid for reads and writes,
///    and that belongs to nobody else until `free`.
pub unsafe trait DmaPlatform: Send + Sync {
    /// Returns the physical address behind a virtual one, or `None` if it is not mapped. Translations hold up to the end
    /// of the [`PAGE_SIZE`] page.
    fn phys_of(&self, ptr: *const u8) -> Option<PhysAddr>;

    /// Returns the window in which `phys_of` is an addition, if there is one. Asked once per tag.
    fn linear_window(&self) -> Option<LinearWindow> {
        None
    }

    /// Allocates zeroed, physically contiguous memory.
    ///
    /// # Errors
    /// [`DmaError::NoMemory`].
    fn alloc(&self, layout: &DmaLayout) -> Result<(NonNull<u8>, PhysAddr), DmaError>;

    /// Gives memory back.
    ///
    /// # Safety
    /// `ptr` came from [`alloc`](Self::alloc) of this platform with this very layout, is freed once, and nobody, device
    /// or processor, uses it any more.
    unsafe fn free(&self, ptr: NonNull<u8>, layout: &DmaLayout);

    /// Says whether [`map_opened`](Self::map_opened) and [`map_closed`](Self::map_closed) want to be called: by an IOMMU
    /// with identity mappings, or by a test that plays one. Asked once per tag; costs the fast path if so.
    fn observes_maps(&self) -> bool {
        false
    }

    /// Learns that a device may now access `len` octets at `addr` (`write`: the device may write there).
    fn map_opened(&self, addr: BusAddr, len: u32, write: bool) {
        let _ = (addr, len, write);
    }

    /// Learns that the access opened before has ended.
    fn map_closed(&self, addr: BusAddr, len: u32) {
        let _ = (addr, len);
    }
}
