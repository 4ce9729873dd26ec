//! Packets waiting for an address: a fixed set of places shared by all neighbours.
//!
//! [`HoldPlaces`] owns the packets; a [`HoldQueue`] is one neighbour's list through it. Context: under the table's lock only.

use alloc::{boxed::Box, vec::Vec};

use pktbuf::PacketBuf;

/// No place.
const NONE: u16 = u16::MAX;

/// One neighbour's packets, oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HoldQueue {
    head: u16,
    tail: u16,
    len: u16,
}

impl HoldQueue {
    pub(crate) const EMPTY: Self = Self { head: NONE, tail: NONE, len: 0 };

    pub(crate) const fn len(&self) -> usize {
        self.len as usize
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

struct Place {
    /// `Some` exactly while the place is in a queue.
    packet: Option<PacketBuf>,
    /// The next place of the same queue, or of the free list.
    next: u16,
}

/// All places for held packets.
pub(crate) struct HoldPlaces {
    places: Box<[Place]>,
    free: u16,
    used: usize,
}

impl HoldPlaces {
    /// Allocates `count` places, at most 32,768.
    pub(crate) fn new(count: usize) -> Self {
        let count = u16::try_from(count.min(0x8000)).unwrap_or(0);
        let next = |i| if i + 1 < count { i + 1 } else { NONE };
        let places: Vec<Place> = (0..count).map(|i| Place { packet: None, next: next(i) }).collect();
        Self { places: places.into_boxed_slice(), free: if count == 0 { NONE } else { 0 }, used: 0 }
    }

    /// Returns how many packets are held.
    pub(crate) const fn used(&self) -> usize {
        self.used
    }

    /// Appends a packet, or gives it back if all places are taken.
    pub(crate) fn push(&mut self, queue: &mut HoldQueue, packet: PacketBuf) -> Result<(), PacketBuf> {
        let at = self.free;
        let Some(place) = self.places.get_mut(usize::from(at)) else {
            return Err(packet);
        };
        self.free = place.next;
        *place = Place { packet: Some(packet), next: NONE };
        match self.places.get_mut(usize::from(queue.tail)) {
            Some(last) => last.next = at,
            None => queue.head = at,
        }
        queue.tail = at;
        queue.len += 1;
        self.used += 1;
        Ok(())
    }

    /// Takes the oldest packet.
    pub(crate) fn pop(&mut self, queue: &mut HoldQueue) -> Option<PacketBuf> {
        let at = queue.head;
        let place = self.places.get_mut(usize::from(at))?;
        let packet = place.packet.take()?;
        queue.head = place.next;
        place.next = self.free;
        self.free = at;
        queue.len -= 1;
        self.used -= 1;
        if queue.is_empty() {
            *queue = HoldQueue::EMPTY;
        }
        Some(packet)
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use pktbuf::PacketPool;

    #[test]
    fn queues_share_the_places_and_keep_their_own_order() {
        let pool = PacketPool::leak_for_tests(8);
        let packet = |n: u8| {
            let mut packet = pool.alloc().expect("a buffer");
            packet.append(&[n]).expect("room");
            packet
        };
        let mut places = HoldPlaces::new(3);
        let (mut a, mut b) = (HoldQueue::EMPTY, HoldQueue::EMPTY);
        places.push(&mut a, packet(1)).expect("a place");
        places.push(&mut b, packet(2)).expect("a place");
        places.push(&mut a, packet(3)).expect("a place");
        let refused = places.push(&mut b, packet(4)).expect_err("no place is left");
        assert_eq!(refused.bytes(), [4]);
        drop(refused);
        assert_eq!((a.len(), b.len(), places.used()), (2, 1, 3));
        assert_eq!(places.pop(&mut a).expect("held").bytes(), [1]);
        places.push(&mut b, packet(5)).expect("the place just freed");
        assert_eq!(places.pop(&mut b).expect("held").bytes(), [2]);
        assert_eq!(places.pop(&mut b).expect("held").bytes(), [5]);
        assert_eq!(places.pop(&mut a).expect("held").bytes(), [3]);
        assert!(places.pop(&mut a).is_none() && places.pop(&mut b).is_none());
        assert_eq!((places.used(), pool.free()), (0, pool.total()));
    }
}
