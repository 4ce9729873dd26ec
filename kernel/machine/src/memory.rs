//! Owned physical memory, contiguous and mapped: what DMA buffers and the packet pool are made of.
//!
//! [`PhysMemory`] is a run of frames seen through the physical mapping; dropping it gives the frames back. Context: thread.

use core::ptr::NonNull;

use x86_64::PhysAddr;

use crate::{
    frame::{
        self, FRAME_SIZE, FrameError, RunRequest,
        census::{self, Use},
    },
    paging,
};

/// A word of memory that does not keep what is written to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadWord {
    /// Where it is.
    pub address: PhysAddr,
    /// The bits that changed.
    pub bits: u64,
}

/// A contiguous run of frames that belongs to the holder.
#[derive(Debug)]
pub struct PhysMemory {
    start: PhysAddr,
    pointer: NonNull<u8>,
    frames: usize,
}

// SAFETY: the value owns its memory; nothing in it is bound to a CPU.
unsafe impl Send for PhysMemory {}

impl PhysMemory {
    /// Allocates a zeroed run.
    ///
    /// # Errors
    /// As [`frame::allocate_run`].
    pub fn allocate(request: &RunRequest) -> Result<Self, FrameError> {
        let memory = Self::allocate_uncleared(request)?;
        // SAFETY: the frames are ours and lie inside the physical mapping, which covers all RAM.
        unsafe { memory.pointer.write_bytes(0, memory.len()) };
        Ok(memory)
    }

    /// Allocates a run with whatever is in it: for memory of which every octet is written before it is used. To clear megabytes
    /// nobody may ever use takes a good part of the boot.
    ///
    /// # Errors
    /// As [`frame::allocate_run`].
    pub fn allocate_uncleared(request: &RunRequest) -> Result<Self, FrameError> {
        let start = frame::allocate_run(request)?;
        census::taken(Use::Dma, request.frames);
        let Some(pointer) = paging::phys_to_virt(start) else {
            // SAFETY: allocated above, never used; freeing what was just allocated cannot fail.
            let _ = unsafe { frame::free(start, request.frames) };
            census::returned(Use::Dma, request.frames);
            return Err(FrameError::NotReady);
        };
        Ok(Self { start, pointer, frames: request.frames })
    }

    /// Physical address of the first octet.
    #[must_use]
    pub fn phys(&self) -> PhysAddr {
        self.start
    }

    /// Address of the first octet.
    #[must_use]
    pub fn as_ptr(&self) -> NonNull<u8> {
        self.pointer
    }

    /// Octets.
    #[must_use]
    pub fn len(&self) -> usize {
        self.frames * FRAME_SIZE as usize
    }

    /// Never true: empty runs cannot be allocated.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frames == 0
    }

    /// Writes a word that depends on its place and on `seed` into every eight octets: for a memory test, before [`check`](Self::check).
    pub fn fill(&mut self, seed: u64) {
        for at in 0..self.len() / size_of::<u64>() {
            // SAFETY: the frames are ours, exclusively, and inside the physical mapping; the place is in bounds and aligned, since a run
            // starts at a whole frame. Volatile, so that every word is written.
            unsafe { self.place(at).write_volatile(self.word(at, seed)) };
        }
    }

    /// Reads back what [`fill`](Self::fill) has written with the same seed.
    ///
    /// # Errors
    /// The address of the first word that differs, and the bits that do.
    pub fn check(&self, seed: u64) -> Result<(), BadWord> {
        for at in 0..self.len() / size_of::<u64>() {
            // SAFETY: as in `fill`; the frames have some value, whether written by `fill` or not.
            let found = unsafe { self.place(at).read_volatile() };
            let bits = found ^ self.word(at, seed);
            if bits != 0 {
                return Err(BadWord { address: self.start + 8 * at as u64, bits });
            }
        }
        Ok(())
    }

    /// Where the word is.
    fn place(&self, at: usize) -> *mut u64 {
        self.pointer.cast::<u64>().as_ptr().wrapping_add(at)
    }

    /// What [`fill`](Self::fill) writes: another word at each address, so that crossed address lines show.
    fn word(&self, at: usize, seed: u64) -> u64 {
        (self.start.as_u64() / 8 + at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ seed
    }

    /// Makes the memory permanent and returns it as a slice (the packet pool).
    #[must_use]
    pub fn into_static(self) -> &'static mut [u8] {
        let (pointer, len) = (self.pointer, self.len());
        census::returned(Use::Dma, self.frames);
        census::taken(Use::Packets, self.frames);
        core::mem::forget(self);
        // SAFETY: the frames are ours and by the line above never freed. Each octet of RAM has some value, which came from outside
        // the program (firmware, the loader, an earlier run) or was written by it.
        unsafe { core::slice::from_raw_parts_mut(pointer.as_ptr(), len) }
    }

    /// Gives up ownership without freeing: for interfaces that speak in addresses. [`PhysMemory::from_raw`] takes it back.
    #[must_use]
    pub fn into_raw(self) -> (PhysAddr, NonNull<u8>, usize) {
        let parts = (self.start, self.pointer, self.frames);
        core::mem::forget(self);
        parts
    }

    /// Takes back what [`PhysMemory::into_raw`] gave up; `None` if the address is not mapped physical memory.
    ///
    /// # Safety
    /// `start` and `frames` come from one `into_raw`, are taken back once, and nobody else uses the memory.
    #[must_use]
    pub unsafe fn from_raw(start: PhysAddr, frames: usize) -> Option<Self> {
        paging::phys_to_virt(start).map(|pointer| Self { start, pointer, frames })
    }
}

impl Drop for PhysMemory {
    fn drop(&mut self) {
        // SAFETY: the value owned the frames, and it is going away.
        let freed = unsafe { frame::free(self.start, self.frames) };
        census::returned(Use::Dma, self.frames);
        debug_assert!(freed.is_ok(), "frames of a live PhysMemory were not allocated");
    }
}
