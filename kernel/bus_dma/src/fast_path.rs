//! The load of a buffer in one physical piece: what has to be checked, in a few comparisons. Pure.

use crate::{BusAddr, Constraints, LinearWindow};

/// All that the load of a buffer in one physical piece has to check, computed once per tag.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FastPath {
    /// First virtual address of the window.
    virt: usize,
    /// Octets of the window that the device can reach.
    len: usize,
    phys: u64,
    /// Bits that are zero in an aligned address.
    unaligned: u64,
    /// Bits in which the first and last address of a segment agree if no boundary lies between; 0 for no boundary.
    boundary: u64,
    /// Octets of one segment, at most.
    longest: u32,
}

impl FastPath {
    /// A window that holds nothing.
    pub(crate) const NONE: Self = Self { virt: 0, len: 0, phys: 0, unaligned: 0, boundary: 0, longest: 0 };

    pub(crate) fn new(window: &LinearWindow, constraints: &Constraints) -> Self {
        let phys = window.phys.as_u64();
        let reachable = constraints.lowaddr.checked_sub(phys).map_or(0, |most| most.saturating_add(1));
        Self {
            virt: window.virt,
            len: window.len.min(usize::try_from(reachable).unwrap_or(usize::MAX)),
            phys,
            unaligned: constraints.alignment - 1,
            boundary: if constraints.boundary == 0 { 0 } else { !(constraints.boundary - 1) },
            longest: constraints.maxsegsz.min(u32::try_from(constraints.maxsize).unwrap_or(u32::MAX)),
        }
    }

    /// Returns the bus address and length of a piece if it makes one segment and needs no bounce.
    #[inline]
    pub(crate) fn translate(&self, ptr: *const u8, len: usize) -> Option<(BusAddr, u32)> {
        let short = u32::try_from(len).ok().filter(|&len| len != 0 && len <= self.longest)?;
        let offset = ptr.addr().wrapping_sub(self.virt);
        // One comparison refuses what starts before the window, ends behind it, and what is longer than it.
        if offset > self.len.checked_sub(len)? {
            return None;
        }
        let first = self.phys + offset as u64;
        let last = first + u64::from(short) - 1;
        let whole = (first ^ last) & self.boundary == 0;
        (whole && first & self.unaligned == 0).then_some((BusAddr::from_raw(first), short))
    }
}
