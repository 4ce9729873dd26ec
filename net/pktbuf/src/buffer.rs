//! The owned packet buffer: a frame of storage and a window on the octets of interest.
//!
//! Key type: [`PacketBuf`]. Runs in any context; no method parks, allocates or logs.
//!
//! Promise to `bus_dma` (its `unsafe impl DmaBuffer for PacketBuf` relies on this paragraph): the storage is a
//! `&'static mut [u8; N]` into the region the pool was given. It keeps its address for the whole life of the handle,
//! however often the handle is moved, and nobody else reaches it until the handle is dropped or recycled.

use core::fmt;

use crate::{FRAME_STRIDE, HEADROOM, PacketPool, Storage};

/// Where a packet came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// An interface received it.
    Received,
    /// This router made it.
    Local,
}

/// To whom the link-layer destination address of a received frame was addressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkCast {
    /// To the receiving interface alone.
    Unicast,
    /// To a group.
    Multicast,
    /// To everybody on the link.
    Broadcast,
    /// To another station: seen in promiscuous mode only.
    OtherHost,
}

/// `rx_if` of a packet that no interface received.
const NO_INTERFACE: u16 = u16::MAX;

/// An owned packet: the only handle of one frame of a [`PacketPool`], which gets it back on drop.
///
/// The *window* is the part of the storage that holds the packet: [`bytes`](Self::bytes). A fresh buffer has an empty
/// window behind [`HEADROOM`] octets. Octets outside the window are stale: whoever widens the window writes them.
pub struct PacketBuf {
    /// `Some` until `take_storage`, which only `Drop` and the cache call, as the handle's last act.
    storage: Option<&'static mut Storage>,
    pool: &'static PacketPool,
    /// Start of the window; `offset + len <= FRAME_STRIDE` at all times.
    offset: u16,
    len: u16,
    rx_if: u16,
    origin: Origin,
    link_cast: LinkCast,
}

impl PacketBuf {
    #[inline]
    pub(crate) fn new(storage: &'static mut Storage, pool: &'static PacketPool) -> Self {
        Self {
            storage: Some(storage),
            pool,
            offset: narrow(HEADROOM),
            len: 0,
            rx_if: NO_INTERFACE,
            origin: Origin::Local,
            link_cast: LinkCast::Unicast,
        }
    }

    /// Separates the storage from the handle, whose drop then does nothing.
    #[inline]
    pub(crate) fn take_storage(mut self) -> Option<&'static mut Storage> {
        self.storage.take()
    }

    /// Returns the pool this frame belongs to.
    #[inline]
    pub fn pool(&self) -> &'static PacketPool {
        self.pool
    }

    /// Returns the octets of the window.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        let (start, len) = (usize::from(self.offset), usize::from(self.len));
        let storage = self.storage.as_deref().map(|storage| storage.get(start..start + len));
        storage.flatten().unwrap_or_default()
    }

    /// Returns the octets of the window for writing.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let (start, len) = (usize::from(self.offset), usize::from(self.len));
        let storage = self.storage.as_deref_mut().map(|storage| storage.get_mut(start..start + len));
        storage.flatten().unwrap_or_default()
    }

    /// Returns the octets in the window.
    #[inline]
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// Says whether the window is empty.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the octets of storage in front of the window.
    #[inline]
    pub fn headroom(&self) -> usize {
        usize::from(self.offset)
    }

    /// Returns the octets of storage behind the window.
    #[inline]
    pub fn tailroom(&self) -> usize {
        FRAME_STRIDE - usize::from(self.offset) - usize::from(self.len)
    }

    /// Widens the window by `n` octets at the front and returns those, stale: the caller writes all of them.
    /// `None`, and no change, if the headroom is smaller.
    #[inline]
    pub fn prepend(&mut self, n: usize) -> Option<&mut [u8]> {
        let offset = usize::from(self.offset).checked_sub(n)?;
        self.len += narrow(n);
        self.offset = narrow(offset);
        self.storage.as_deref_mut()?.get_mut(offset..offset + n)
    }

    /// Widens the window by `n` octets at the end and returns those, zeroed. `None`, and no change, if the tailroom is
    /// smaller.
    #[inline]
    pub fn extend(&mut self, n: usize) -> Option<&mut [u8]> {
        if n > self.tailroom() {
            return None;
        }
        let end = usize::from(self.offset) + usize::from(self.len);
        self.len += narrow(n);
        let added = self.storage.as_deref_mut()?.get_mut(end..end + n)?;
        added.fill(0);
        Some(added)
    }

    /// Takes up to `n` octets off the front of the window and returns how many it took (all it had, if fewer).
    #[inline]
    pub fn trim_front(&mut self, n: usize) -> usize {
        let n = n.min(usize::from(self.len));
        self.offset += narrow(n);
        self.len -= narrow(n);
        n
    }

    /// Cuts the window to at most `len` octets from its start; a shorter window stays as it is.
    #[inline]
    pub fn truncate(&mut self, len: usize) {
        self.len = narrow(len.min(usize::from(self.len)));
    }

    /// Puts the window at `offset` octets into the storage, `len` octets long. The contents are whatever the storage
    /// holds. `None`, and no change, if it does not fit in [`FRAME_STRIDE`].
    #[inline]
    pub fn set_window(&mut self, offset: usize, len: usize) -> Option<()> {
        if offset.checked_add(len)? > FRAME_STRIDE {
            return None;
        }
        self.offset = narrow(offset);
        self.len = narrow(len);
        Some(())
    }

    /// Makes the buffer as it was when fresh: empty window behind [`HEADROOM`], local, of no interface.
    #[inline]
    pub fn reset(&mut self) {
        self.offset = narrow(HEADROOM);
        self.len = 0;
        self.rx_if = NO_INTERFACE;
        self.origin = Origin::Local;
        self.link_cast = LinkCast::Unicast;
    }

    /// Appends a copy of `data` to the window. `None`, and no change, if the tailroom is smaller.
    #[inline]
    pub fn append(&mut self, data: &[u8]) -> Option<()> {
        self.extend(data.len())?.copy_from_slice(data);
        Some(())
    }

    /// Returns the index of the interface that received the packet, if one did.
    #[inline]
    pub fn rx_if(&self) -> Option<u16> {
        (self.rx_if != NO_INTERFACE).then_some(self.rx_if)
    }

    /// Notes that the interface of index `rx_if` received the packet; the origin becomes [`Origin::Received`].
    #[inline]
    pub fn set_rx_if(&mut self, rx_if: u16) {
        self.rx_if = rx_if;
        self.origin = Origin::Received;
    }

    /// Returns where the packet came from.
    #[inline]
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// Sets where the packet came from.
    #[inline]
    pub fn set_origin(&mut self, origin: Origin) {
        self.origin = origin;
    }

    /// Returns to whom the received frame was addressed.
    #[inline]
    pub fn link_cast(&self) -> LinkCast {
        self.link_cast
    }

    /// Sets to whom the received frame was addressed.
    #[inline]
    pub fn set_link_cast(&mut self, link_cast: LinkCast) {
        self.link_cast = link_cast;
    }
}

impl Drop for PacketBuf {
    /// Gives the frame back to the pool (takes the pool's lock; the hot path recycles into a cache instead).
    #[inline]
    fn drop(&mut self) {
        if let Some(storage) = self.storage.take() {
            self.pool.give_back(storage);
        }
    }
}

impl fmt::Debug for PacketBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PacketBuf")
            .field("offset", &self.offset)
            .field("len", &self.len)
            .field("rx_if", &self.rx_if())
            .field("origin", &self.origin)
            .field("link_cast", &self.link_cast)
            .finish_non_exhaustive()
    }
}

/// Narrows a number of octets, which is at most `FRAME_STRIDE` wherever this is called.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "FRAME_STRIDE fits in u16, asserted in lib.rs")]
const fn narrow(octets: usize) -> u16 {
    debug_assert!(octets <= FRAME_STRIDE);
    octets as u16
}
