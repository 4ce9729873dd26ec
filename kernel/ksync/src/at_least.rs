//! Borrows for ever of memory that is known to be long enough: the storage of packet buffers.
//!
//! Key type: [`AtLeast`]. It is a `&'static mut [u8]` of which the compiler knows a least length, so that the front of it is reached
//! as the front of an array is, whatever the whole length may be. Any context; nothing here blocks.

use core::ops::{Deref, DerefMut};

/// A unique borrow of `N` octets or more.
#[derive(Debug)]
pub struct AtLeast<const N: usize> {
    /// `N` octets or more: `new` has looked, and nothing puts another slice here.
    octets: &'static mut [u8],
}

impl<const N: usize> AtLeast<N> {
    /// Takes the borrow over; `None` if these are fewer than `N`.
    #[must_use]
    pub fn new(octets: &'static mut [u8]) -> Option<Self> {
        (octets.len() >= N).then_some(Self { octets })
    }

    /// Returns the first `N` octets.
    #[inline]
    #[must_use]
    pub const fn first(&self) -> &[u8; N] {
        // SAFETY: the slice has at least `N` octets (see the field), and the borrow ends with that of `self`.
        unsafe { &*self.octets.as_ptr().cast() }
    }

    /// Returns the first `N` octets for writing.
    #[inline]
    #[must_use]
    pub const fn first_mut(&mut self) -> &mut [u8; N] {
        // SAFETY: as in `first`, and `&mut self` excludes every other borrow of the slice.
        unsafe { &mut *self.octets.as_mut_ptr().cast() }
    }
}

impl<const N: usize> Deref for AtLeast<N> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.octets
    }
}

impl<const N: usize> DerefMut for AtLeast<N> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        self.octets
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn what_is_too_short_is_refused() {
        for len in 0..9 {
            assert_eq!(AtLeast::<4>::new(vec![0; len].leak()).is_some(), len >= 4, "{len}");
        }
    }

    #[test]
    fn the_front_is_the_same_memory_as_the_whole() {
        let mut piece = AtLeast::<4>::new(vec![1, 2, 3, 4, 5, 6].leak()).unwrap();
        assert_eq!((piece.first(), piece.len()), (&[1, 2, 3, 4], 6));
        piece.first_mut()[3] = 40;
        piece[4] = 50;
        assert_eq!((&piece[..], piece.first().as_ptr()), (&[1, 2, 3, 40, 50, 6][..], piece.as_ptr()));
    }
}
