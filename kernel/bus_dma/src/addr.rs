//! Addresses as the memory and as the bus know them.
//!
//! Key types: [`PhysAddr`], [`BusAddr`], [`Segment`]. Plain values, any context.

use core::fmt;

/// A physical address, as the processor's page tables hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PhysAddr(u64);

impl PhysAddr {
    /// Wraps a physical address.
    #[inline]
    pub const fn new(address: u64) -> Self {
        Self(address)
    }

    /// Returns the address as a number.
    #[inline]
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

/// An address that a device may use. Only this crate makes them, from memory that a map or a `DmaMem` holds.
///
/// On the machines supported, bus and physical addresses are the same numbers (an IOMMU, where present, is used with
/// identity mappings: see [`DmaPlatform::map_opened`](crate::DmaPlatform::map_opened)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BusAddr(u64);

impl BusAddr {
    #[inline]
    pub(crate) const fn from_phys(address: PhysAddr) -> Self {
        Self(address.0)
    }

    #[inline]
    pub(crate) const fn from_raw(address: u64) -> Self {
        Self(address)
    }

    /// Returns the address as the number that goes into a register or descriptor.
    #[inline]
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for BusAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// One contiguous stretch of a loaded buffer, as a descriptor describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where it starts.
    pub addr: BusAddr,
    /// Octets; at least 1.
    pub len: u32,
}

impl Segment {
    /// What an unloaded map holds in place of its first segment.
    pub(crate) const NONE: Self = Self { addr: BusAddr(0), len: 0 };
}
