//! The name of a CPU.
//!
//! A dense number given by the kernel in order of start, not the APIC id; the boot CPU is 0.

use core::fmt;

/// The largest number of CPUs the kernel starts; tables per CPU have this length.
pub const MAX_CPUS: usize = 64;

/// A CPU's dense number, always below [`MAX_CPUS`] once it has been given out by the machine layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CpuId(pub u16);

impl CpuId {
    /// The CPU that booted the machine.
    pub const BOOT: Self = Self(0);

    /// Returns the number as an index into a table per CPU.
    #[inline]
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for CpuId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
