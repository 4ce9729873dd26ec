//! A value alone on its cache line.

use core::ops::{Deref, DerefMut};

/// Keeps `T` from sharing a 64-octet cache line with anything else.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
pub struct CachePadded<T>(pub T);

const _: () = assert!(align_of::<CachePadded<u8>>() == 64 && size_of::<CachePadded<u8>>() == 64);

impl<T> CachePadded<T> {
    /// Wraps `value`.
    pub const fn new(value: T) -> Self {
        Self(value)
    }
}

impl<T> Deref for CachePadded<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for CachePadded<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}
