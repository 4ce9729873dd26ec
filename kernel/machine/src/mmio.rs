//! A window onto device registers: bounds-checked volatile access.
//!
//! Made only by [`crate::paging::map_mmio`]. The checks are two compares per access, nothing beside the cost of the access itself
//! (hundreds of cycles over PCI Express). Context: any.

use core::ptr::NonNull;

use volatile::VolatilePtr;
use x86_64::PhysAddr;

/// Mapped device registers. Shared access is fine: each read or write is one bus transaction.
#[derive(Debug)]
pub struct MmioWindow {
    base: NonNull<u8>,
    len: usize,
    phys: PhysAddr,
}

// SAFETY: the window is plain addresses; device registers may be accessed from any CPU.
unsafe impl Send for MmioWindow {}
// SAFETY: as above; every access is a single volatile transaction, no reference into the window is ever made.
unsafe impl Sync for MmioWindow {}

impl MmioWindow {
    /// Wraps `len` octets at `base`.
    ///
    /// # Safety
    /// The range is mapped uncached to device registers for the life of the kernel.
    pub(crate) unsafe fn new(base: NonNull<u8>, len: usize, phys: PhysAddr) -> Self {
        Self { base, len, phys }
    }

    /// Octets in the window.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// A window is never empty; clippy asks.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Physical address of the first register.
    #[must_use]
    pub fn phys(&self) -> PhysAddr {
        self.phys
    }

    /// Returns the register at `offset`.
    ///
    /// # Panics
    /// If the register is not wholly inside the window, or misaligned: a driver bug.
    #[inline]
    #[track_caller]
    fn register<T: Copy>(&self, offset: usize) -> VolatilePtr<'_, T> {
        let fits = offset.checked_add(size_of::<T>()).is_some_and(|end| end <= self.len);
        assert!(fits, "register {offset:#x} is outside the window of {:#x} octets", self.len);
        // SAFETY: inside the window by the check above.
        let pointer = unsafe { self.base.add(offset) }.cast::<T>();
        assert!(pointer.is_aligned(), "register {offset:#x} is misaligned");
        // SAFETY: mapped for the life of the kernel by the constructor's contract; aligned and inside by the checks.
        unsafe { VolatilePtr::new(pointer) }
    }

    /// Reads an 8-bit register.
    #[inline]
    #[track_caller]
    #[must_use]
    pub fn read8(&self, offset: usize) -> u8 {
        self.register(offset).read()
    }

    /// Reads a 16-bit register.
    #[inline]
    #[track_caller]
    #[must_use]
    pub fn read16(&self, offset: usize) -> u16 {
        self.register(offset).read()
    }

    /// Reads a 32-bit register.
    #[inline]
    #[track_caller]
    #[must_use]
    pub fn read32(&self, offset: usize) -> u32 {
        self.register(offset).read()
    }

    /// Reads a 64-bit register.
    #[inline]
    #[track_caller]
    #[must_use]
    pub fn read64(&self, offset: usize) -> u64 {
        self.register(offset).read()
    }

    /// Writes an 8-bit register.
    #[inline]
    #[track_caller]
    pub fn write8(&self, offset: usize, value: u8) {
        self.register(offset).write(value);
    }

    /// Writes a 16-bit register.
    #[inline]
    #[track_caller]
    pub fn write16(&self, offset: usize, value: u16) {
        self.register(offset).write(value);
    }

    /// Writes a 32-bit register.
    #[inline]
    #[track_caller]
    pub fn write32(&self, offset: usize, value: u32) {
        self.register(offset).write(value);
    }

    /// Writes a 64-bit register.
    #[inline]
    #[track_caller]
    pub fn write64(&self, offset: usize, value: u64) {
        self.register(offset).write(value);
    }
}

#[cfg(test)]
mod tests {
    use core::ptr::NonNull;

    use x86_64::PhysAddr;

    use super::MmioWindow;

    fn window(words: &mut [u64; 2]) -> MmioWindow {
        // SAFETY: plain memory that outlives the window in each test, accessed by nobody else meanwhile.
        unsafe { MmioWindow::new(NonNull::from(words).cast(), 16, PhysAddr::new(0x1000)) }
    }

    #[test]
    fn accesses_inside_the_window_reach_the_register() {
        let mut words = [0; 2];
        let window = window(&mut words);
        window.write32(12, 0xDEAD_BEEF);
        assert_eq!(window.read32(12), 0xDEAD_BEEF);
        assert_eq!(window.read16(14), 0xDEAD);
    }

    #[test]
    #[should_panic(expected = "outside the window")]
    fn an_access_across_the_end_panics() {
        let mut words = [0; 2];
        let _ = window(&mut words).read32(13);
    }

    #[test]
    #[should_panic(expected = "misaligned")]
    fn a_misaligned_access_panics() {
        let mut words = [0; 2];
        let _ = window(&mut words).read32(2);
    }
}
