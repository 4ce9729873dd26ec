//! The owned packet buffer: a frame of storage and a window on the octets of interest.
//!
//! Key type: [`PacketBuf`]. Runs in any context; no method parks, allocates or logs.
//!
//! Promise to `bus_dma` (its `unsafe impl DmaBuffer for PacketBuf` relies on this paragraph): the handle alone reaches a
//! [`Frame`], and the frame alone a `&'static mut [u8]` (in an `AtLeast`) into the region the pool was given. The storage keeps its address for
//! the whole life of the handle, however often the handle is moved, and nobody else reaches it until the handle is dropped or
//! recycled. The window ([`PacketBuf::window`]) lies within the storage at all times.

use core::{
    fmt,
    ptr::{self, NonNull},
};

use ksync::{AtLeast, Home, Homing};

use crate::{Arrival, BufferSize, HEADROOM, LinkCast, Origin, PacketPool};

/// One frame of a pool: a cache line of what is known about the packet, and the storage it leads to.
///
/// Only the handle that owns it, or the free list it lies on, reaches it.
#[repr(align(64))]
#[derive(Debug)]
pub(crate) struct Frame {
    about: About,
    /// The pool it goes home to; set when it first leaves.
    pool: Option<&'static PacketPool>,
    storage: Storage,
}

/// Octets of the smallest storage there is. Headers lie within the first so many, except in a window that somebody has moved far.
const LEAST_STORAGE: usize = BufferSize::K2.stride();

/// The storage of one frame.
pub(crate) type Storage = AtLeast<LEAST_STORAGE>;

/// What is known about a packet, in one machine word.
#[derive(Clone, Copy, Debug)]
#[repr(align(8))]
struct About {
    /// Start of the window; `offset + len` is no more than the storage has, at all times.
    offset: u16,
    len: u16,
    from: Arrival,
}

const _: () = assert!(size_of::<Frame>() == 64 && size_of::<About>() == 8);

/// What is known about a fresh buffer.
const FRESH: About = About { offset: narrow(HEADROOM), len: 0, from: Arrival::NOWHERE };

impl Frame {
    pub(crate) const fn new(storage: Storage) -> Self {
        Self { about: FRESH, pool: None, storage }
    }

    /// Says to which pool the frame belongs, when it leaves that: each time the same.
    #[inline]
    pub(crate) fn set_home(&mut self, pool: &'static PacketPool) {
        debug_assert!(self.pool.is_none_or(|home| ptr::eq(home, pool)), "a frame has changed pools");
        self.pool = Some(pool);
    }

    /// The storage, for the tripwire: nobody owns the frame.
    pub(crate) fn storage(&mut self) -> &mut [u8] {
        &mut self.storage
    }
}

impl Home for Frame {
    #[inline]
    fn go_home(this: &'static mut Self) {
        if let Some(pool) = this.pool {
            pool.give_back(this);
        }
    }
}

/// An owned packet: the only handle of one frame of a [`PacketPool`], which gets it back on drop (that takes the pool's lock; the
/// hot path recycles into a [`PoolCache`](crate::PoolCache) instead). One machine word.
///
/// The *window* is the part of the storage that holds the packet: [`bytes`](Self::bytes). A fresh buffer has an empty
/// window behind [`HEADROOM`] octets. Octets outside the window are stale: whoever widens the window writes them.
pub struct PacketBuf {
    frame: Homing<Frame>,
}

impl PacketBuf {
    #[inline]
    pub(crate) fn new(frame: &'static mut Frame) -> Self {
        frame.about = FRESH;
        Self { frame: Homing::new(frame) }
    }

    /// Puts the frame, without the handle, into a `place` of a list of `pool`. There is no other way to get at a frame, so that no list
    /// ever has one of another pool.
    ///
    /// # Errors
    /// The buffer, if it belongs to another pool.
    #[inline]
    pub(crate) fn enlist(self, pool: &'static PacketPool, place: &mut Option<&'static mut Frame>) -> Result<(), Self> {
        if self.belongs_to(pool) {
            *place = Some(self.frame.into_inner());
            Ok(())
        } else {
            Err(self)
        }
    }

    /// Returns whether this frame belongs to `pool`.
    #[inline]
    pub(crate) fn belongs_to(&self, pool: &'static PacketPool) -> bool {
        self.frame.pool.map(NonNull::from_ref) == Some(NonNull::from_ref(pool))
    }

    /// Returns the pool this frame belongs to.
    #[inline]
    pub fn pool(&self) -> Option<&'static PacketPool> {
        self.frame.pool
    }

    /// Returns the octets of the window.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        let (start, len) = (usize::from(self.frame.about.offset), usize::from(self.frame.about.len));
        self.frame.storage.get(start..start + len).unwrap_or_default()
    }

    /// Returns the first `N` octets of the window; `None` if it is shorter.
    #[inline]
    pub fn front<const N: usize>(&self) -> Option<&[u8; N]> {
        let About { offset, len, .. } = self.frame.about;
        if usize::from(len) < N {
            return None;
        }
        let Some(near) = self.frame.storage.first().get(usize::from(offset)..).and_then(<[u8]>::first_chunk) else {
            return self.front_far_behind();
        };
        Some(near)
    }

    #[cold]
    fn front_far_behind<const N: usize>(&self) -> Option<&[u8; N]> {
        self.bytes().first_chunk()
    }

    /// Returns the first `N` octets of the window for writing; `None` if it is shorter.
    #[inline]
    pub fn front_mut<const N: usize>(&mut self) -> Option<&mut [u8; N]> {
        let About { offset, len, .. } = self.frame.about;
        if usize::from(len) < N {
            return None;
        }
        // Asked first, since a borrow that is returned cannot be given up again.
        if usize::from(offset) + N > LEAST_STORAGE {
            return self.front_far_behind_mut();
        }
        self.frame.storage.first_mut().get_mut(usize::from(offset)..)?.first_chunk_mut()
    }

    #[cold]
    fn front_far_behind_mut<const N: usize>(&mut self) -> Option<&mut [u8; N]> {
        self.bytes_mut().first_chunk_mut()
    }

    /// Returns the octets of the window for writing.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let (start, len) = (usize::from(self.frame.about.offset), usize::from(self.frame.about.len));
        self.frame.storage.get_mut(start..start + len).unwrap_or_default()
    }

    /// Returns where the window begins and how many octets it has, for a device.
    #[inline]
    pub fn window(&mut self) -> (*mut u8, usize) {
        let About { offset, len, .. } = self.frame.about;
        (self.frame.storage.as_mut_ptr().wrapping_add(usize::from(offset)), usize::from(len))
    }

    /// Returns the octets in the window.
    #[inline]
    pub fn len(&self) -> usize {
        usize::from(self.frame.about.len)
    }

    /// Says whether the window is empty.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.frame.about.len == 0
    }

    /// Returns the octets of storage in front of the window.
    #[inline]
    pub fn headroom(&self) -> usize {
        usize::from(self.frame.about.offset)
    }

    /// Returns the octets of storage behind the window.
    #[inline]
    pub fn tailroom(&self) -> usize {
        self.frame.storage.len() - usize::from(self.frame.about.offset) - usize::from(self.frame.about.len)
    }

    /// Widens the window by `n` octets at the front and returns those, stale: the caller writes all of them.
    /// `None`, and no change, if the headroom is smaller.
    #[inline]
    pub fn prepend(&mut self, n: usize) -> Option<&mut [u8]> {
        let offset = usize::from(self.frame.about.offset).checked_sub(n)?;
        self.frame.about.len += narrow(n);
        self.frame.about.offset = narrow(offset);
        self.frame.storage.get_mut(offset..offset + n)
    }

    /// Widens the window by `n` octets at the end and returns those, zeroed. `None`, and no change, if the tailroom is
    /// smaller.
    #[inline]
    pub fn extend(&mut self, n: usize) -> Option<&mut [u8]> {
        if n > self.tailroom() {
            return None;
        }
        let end = usize::from(self.frame.about.offset) + usize::from(self.frame.about.len);
        self.frame.about.len += narrow(n);
        let added = self.frame.storage.get_mut(end..end + n)?;
        added.fill(0);
        Some(added)
    }

    /// Takes up to `n` octets off the front of the window and returns how many it took (all it had, if fewer).
    #[inline]
    pub fn trim_front(&mut self, n: usize) -> usize {
        let n = n.min(usize::from(self.frame.about.len));
        self.frame.about.offset += narrow(n);
        self.frame.about.len -= narrow(n);
        n
    }

    /// Cuts the window to at most `len` octets from its start; a shorter window stays as it is.
    #[inline]
    pub fn truncate(&mut self, len: usize) {
        // Most are as long as they are to be: a comparison is less than a store of the minimum.
        if len < usize::from(self.frame.about.len) {
            self.frame.about.len = narrow(len);
        }
    }

    /// Returns whether the storage has `octets` octets. Where the compiler knows that the smallest one has, it asks nothing.
    #[inline]
    fn reaches(&self, octets: usize) -> bool {
        octets <= LEAST_STORAGE || octets <= self.frame.storage.len()
    }

    /// Puts the window at `offset` octets into the storage, `len` octets long. The contents are whatever the storage
    /// holds. `None`, and no change, if it does not fit in the storage.
    #[inline]
    pub fn set_window(&mut self, offset: usize, len: usize) -> Option<()> {
        if !self.reaches(offset.checked_add(len)?) {
            return None;
        }
        self.frame.about.offset = narrow(offset);
        self.frame.about.len = narrow(len);
        Some(())
    }

    /// Makes the buffer what a driver hands up: `len` octets behind [`HEADROOM`], come `from` somewhere. `None`, and no change, if so
    /// many do not fit.
    #[inline]
    pub fn set_received(&mut self, len: usize, from: Arrival) -> Option<()> {
        if !self.reaches(HEADROOM.checked_add(len)?) {
            return None;
        }
        self.frame.about = About { offset: narrow(HEADROOM), len: narrow(len), from };
        Some(())
    }

    /// Makes the buffer as it was when fresh: empty window behind [`HEADROOM`], local, of no interface.
    #[inline]
    pub fn reset(&mut self) {
        self.frame.about = FRESH;
    }

    /// Appends a copy of `data` to the window. `None`, and no change, if the tailroom is smaller.
    #[inline]
    pub fn append(&mut self, data: &[u8]) -> Option<()> {
        self.extend(data.len())?.copy_from_slice(data);
        Some(())
    }

    /// Returns where the packet came from, in one word.
    #[inline]
    pub fn arrival(&self) -> Arrival {
        self.frame.about.from
    }

    /// Says anew where the packet came from.
    #[inline]
    pub fn set_arrival(&mut self, from: Arrival) {
        self.frame.about.from = from;
    }

    /// Returns the index of the interface that received the packet, if one did.
    #[inline]
    pub fn rx_if(&self) -> Option<u16> {
        self.frame.about.from.rx_if()
    }

    /// Notes that the interface of index `rx_if` received the packet; the origin becomes [`Origin::Received`].
    #[inline]
    pub fn set_rx_if(&mut self, rx_if: u16) {
        self.frame.about.from = self.frame.about.from.with_interface(rx_if);
    }

    /// Returns the number of the VLAN whose tag was taken off the packet; 0 for none.
    #[inline]
    pub fn vlan(&self) -> u16 {
        self.frame.about.from.vlan()
    }

    /// Notes the number of the VLAN whose tag was taken off the packet, of twelve bits; 0 for none.
    #[inline]
    pub fn set_vlan(&mut self, number: u16) {
        self.frame.about.from = self.frame.about.from.with_vlan(number);
    }

    /// Returns where the packet came from.
    #[inline]
    pub fn origin(&self) -> Origin {
        self.frame.about.from.origin()
    }

    /// Sets where the packet came from.
    #[inline]
    pub fn set_origin(&mut self, origin: Origin) {
        self.frame.about.from = self.frame.about.from.with_origin(origin);
    }

    /// Returns to whom the received frame was addressed.
    #[inline]
    pub fn link_cast(&self) -> LinkCast {
        self.frame.about.from.link_cast()
    }

    /// Sets to whom the received frame was addressed.
    #[inline]
    pub fn set_link_cast(&mut self, link_cast: LinkCast) {
        self.frame.about.from = self.frame.about.from.with_link_cast(link_cast);
    }
}

impl fmt::Debug for PacketBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PacketBuf")
            .field("offset", &self.frame.about.offset)
            .field("len", &self.frame.about.len)
            .field("rx_if", &self.rx_if())
            .field("vlan", &self.vlan())
            .field("origin", &self.origin())
            .field("link_cast", &self.link_cast())
            .finish_non_exhaustive()
    }
}

/// Narrows a number of octets, which is no more than a storage has wherever this is called.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "every storage's length fits in u16, asserted in size.rs")]
const fn narrow(octets: usize) -> u16 {
    debug_assert!(octets <= u16::MAX as usize);
    octets as u16
}
