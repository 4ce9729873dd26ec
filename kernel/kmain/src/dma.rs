//! bus_dma's view of this machine: physical memory through the direct map.
//!
//! [`MachineDma`] implements [`DmaPlatform`]. There is no IOMMU in use, so bus addresses are physical addresses, and the
//! direct map makes both translations a subtraction. Context: thread (allocation), any (translation).

use core::ptr::NonNull;

use bus_dma::{DmaError, DmaLayout, DmaPlatform, LinearWindow, PhysAddr};
use machine::{frame::RunRequest, memory::PhysMemory, paging};

/// The machine as bus_dma sees it.
#[derive(Debug)]
pub(crate) struct MachineDma;

const FRAME: usize = 4096;

// SAFETY: 1. `translate` answers from the live page tables, of which the direct map is a fixed part, and the kernel neither
// pages nor moves memory. 2. `PhysMemory`
// hands out contiguous, zeroed, mapped frames that it gives to nobody else before they are freed.
unsafe impl DmaPlatform for MachineDma {
    #[inline]
    fn phys_of(&self, ptr: *const u8) -> Option<PhysAddr> {
        paging::translate(ptr).map(|address| PhysAddr::new(address.as_u64()))
    }

    fn linear_window(&self) -> Option<LinearWindow> {
        let len = paging::physical_len();
        let whole = LinearWindow {
            virt: usize::try_from(paging::PHYSICAL_BASE).ok()?,
            len: usize::try_from(len).ok()?,
            phys: PhysAddr::new(0),
        };
        (len > 0).then_some(whole)
    }

    fn alloc(&self, layout: &DmaLayout) -> Result<(NonNull<u8>, PhysAddr), DmaError> {
        let request = RunRequest {
            frames: layout.size.div_ceil(FRAME),
            alignment: (layout.align as u64).max(FRAME as u64),
            boundary: layout.boundary,
            max_addr: layout.max_addr,
        };
        let memory = PhysMemory::allocate(&request).map_err(|_| DmaError::NoMemory)?;
        let (start, pointer, _) = memory.into_raw();
        Ok((pointer, PhysAddr::new(start.as_u64())))
    }

    unsafe fn free(&self, ptr: NonNull<u8>, layout: &DmaLayout) {
        let Some(start) = paging::translate(ptr.as_ptr()) else { return };
        // SAFETY: by the caller's contract the memory came from `alloc` with this layout, and nobody uses it any more.
        drop(unsafe { PhysMemory::from_raw(start, layout.size.div_ceil(FRAME)) });
    }
}
