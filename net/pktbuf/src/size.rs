//! How large the buffers of a pool are: one size for all of them, chosen when the pool is made.
//!
//! Key type: [`BufferSize`]. Plain values.

use crate::HEADROOM;

/// Octets behind the place for a received frame: room for padding.
const PADDING: usize = 128;

/// How many octets a device may receive into one buffer. The sizes are those of the e1000 family (RCTL.BSIZE and RCTL.BSEX, 8254x manual
/// 13.4.22) that hold a whole Ethernet frame of the usual length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum BufferSize {
    /// 2048 octets: every frame of an MTU of 1500.
    #[default]
    K2 = 2048,
    /// 4096 octets.
    K4 = 4096,
    /// 8192 octets.
    K8 = 8192,
    /// 16,384 octets: every jumbo frame.
    K16 = 16_384,
}

impl BufferSize {
    /// All of them, the smallest first.
    pub const ALL: [Self; 4] = [Self::K2, Self::K4, Self::K8, Self::K16];

    /// Returns the smallest size that takes a frame of `octets` whole; `None` if none does.
    #[must_use]
    pub fn holding(octets: usize) -> Option<Self> {
        Self::ALL.into_iter().find(|size| size.octets() >= octets)
    }

    /// Returns the octets a device may receive into a buffer.
    #[inline]
    #[must_use]
    pub const fn octets(self) -> usize {
        self as usize
    }

    /// Returns the octets of storage of one buffer, headroom and padding included: whole cache lines, so that the frames of an aligned
    /// region never share one.
    #[inline]
    #[must_use]
    pub const fn stride(self) -> usize {
        HEADROOM + self.octets() + PADDING
    }
}

const _: () = {
    let mut at = 0;
    while at < BufferSize::ALL.len() {
        let stride = BufferSize::ALL[at].stride();
        assert!(stride.is_multiple_of(64) && stride <= u16::MAX as usize && stride >= BufferSize::K2.stride());
        at += 1;
    }
};
