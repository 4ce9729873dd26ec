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
    /// Octets of one segment, at most; not more than the window has.
    longest: usize,
    /// The same for a device that wants segments neither aligned nor within a boundary; 0 for one that does, so that one comparison
    /// sends all its pieces to the second look.
    longest_anywhere: usize,
}

impl FastPath {
    /// A window that holds nothing.
    pub(crate) const NONE: Self =
        Self { virt: 0, len: 0, phys: 0, unaligned: 0, boundary: 0, longest: 0, longest_anywhere: 0 };

    pub(crate) fn new(window: &LinearWindow, constraints: &Constraints) -> Self {
        let phys = window.phys.as_u64();
        let reachable = constraints.lowaddr.checked_sub(phys).map_or(0, |most| most.saturating_add(1));
        let len = window.len.min(usize::try_from(reachable).unwrap_or(usize::MAX));
        let longest = usize::try_from(constraints.maxsegsz).unwrap_or(usize::MAX).min(constraints.maxsize);
        let longest = longest.min(len).min(u32::MAX as usize);
        let is_particular = constraints.alignment != 1 || constraints.boundary != 0;
        Self {
            virt: window.virt,
            len,
            phys,
            unaligned: constraints.alignment - 1,
            boundary: if constraints.boundary == 0 { 0 } else { !(constraints.boundary - 1) },
            longest,
            longest_anywhere: if is_particular { 0 } else { longest },
        }
    }

    /// Returns the bus address and length of a piece if it makes one segment and needs no bounce.
    #[inline]
    pub(crate) fn translate(&self, ptr: *const u8, len: usize) -> Option<(BusAddr, u32)> {
        // One comparison refuses what is empty and what is too long.
        if len.wrapping_sub(1) < self.longest_anywhere {
            self.place(ptr, len)
        } else {
            self.translate_particular(ptr, len)
        }
    }

    /// The same for a device that is particular.
    fn translate_particular(&self, ptr: *const u8, len: usize) -> Option<(BusAddr, u32)> {
        if len.wrapping_sub(1) >= self.longest {
            return None;
        }
        self.place(ptr, len).filter(|(first, _)| self.suits(first.as_u64(), len))
    }

    /// Returns where a piece of at most `longest` octets lies, if that is in the window.
    #[inline]
    fn place(&self, ptr: *const u8, len: usize) -> Option<(BusAddr, u32)> {
        let offset = ptr.addr().wrapping_sub(self.virt);
        // One comparison refuses what starts before the window and what ends behind it.
        if offset > self.len.wrapping_sub(len) {
            return None;
        }
        let first = self.phys + offset as u64;
        #[expect(clippy::cast_possible_truncation, reason = "`longest` fits")]
        Some((BusAddr::from_raw(first), len as u32))
    }

    /// Returns whether a segment lies as the device wants it.
    #[inline]
    fn suits(&self, first: u64, len: usize) -> bool {
        let last = first + len as u64 - 1;
        ((first ^ last) & self.boundary) | (first & self.unaligned) == 0
    }
}
