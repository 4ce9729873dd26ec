//! A bounded queue of packets that travel together, usually to one interface.
//!
//! Key type: [`PacketBatch`], [`BATCH_CAPACITY`] places inside the value: no allocation. Passed by `&mut`.

use core::mem;

use crate::PacketBuf;

/// Packets a batch holds at most.
pub const BATCH_CAPACITY: usize = 64;

/// A first-in first-out queue of at most [`BATCH_CAPACITY`] packets.
///
/// It is filled and then emptied, as a rule, so the places are not a ring: what comes to lie at the end is moved to the front when
/// there is no place left behind it.
#[derive(Debug)]
pub struct PacketBatch {
    /// The places `head .. tail` are `Some`, the others `None`.
    places: [Option<PacketBuf>; BATCH_CAPACITY],
    /// Place of the oldest packet; `<= tail`, and 0 in an empty batch.
    head: usize,
    /// Place behind the latest packet; `<= BATCH_CAPACITY`.
    tail: usize,
}

impl PacketBatch {
    /// Makes an empty batch.
    pub const fn new() -> Self {
        Self { places: [const { None }; BATCH_CAPACITY], head: 0, tail: 0 }
    }

    /// Appends a packet, or gives it back if the batch is full.
    #[inline]
    pub fn push(&mut self, packet: PacketBuf) -> Result<(), PacketBuf> {
        match self.places.get_mut(self.tail) {
            Some(place) => {
                fill(place, packet);
                self.tail += 1;
                Ok(())
            }
            None => self.push_behind_the_end(packet),
        }
    }

    #[cold]
    fn push_behind_the_end(&mut self, packet: PacketBuf) -> Result<(), PacketBuf> {
        if self.head == 0 {
            return Err(packet);
        }
        self.places.rotate_left(self.head);
        (self.head, self.tail) = (0, self.tail - self.head);
        self.push(packet)
    }

    /// Puts a packet in front of all others, as one does with the packet that a ring had no room for; gives it back if
    /// the batch is full.
    pub fn push_front(&mut self, packet: PacketBuf) -> Result<(), PacketBuf> {
        if self.is_full() {
            return Err(packet);
        }
        if self.head == 0 {
            // The last place is free, or the batch would be full.
            self.places.rotate_right(1);
            (self.head, self.tail) = (1, self.tail + 1);
        }
        self.head -= 1;
        if let Some(place) = self.places.get_mut(self.head) {
            fill(place, packet);
        }
        Ok(())
    }

    /// Takes the oldest packet.
    #[inline]
    pub fn pop(&mut self) -> Option<PacketBuf> {
        if self.head >= self.tail {
            return None;
        }
        let packet = self.places.get_mut(self.head)?.take();
        self.head += 1;
        if self.head == self.tail {
            (self.head, self.tail) = (0, 0);
        }
        packet
    }

    /// Hands packets to `taker` from the front, each with its companion from `with`, until there are no more of either or it gives a
    /// packet back, which stays at the front. Returns how many it has kept.
    #[inline]
    pub fn consume<I>(&mut self, with: I, mut taker: impl FnMut(PacketBuf, I::Item) -> Result<(), PacketBuf>) -> usize
    where
        I: IntoIterator,
    {
        let mut kept = 0;
        let places = self.places.get_mut(self.head..self.tail).unwrap_or_default();
        for (place, companion) in places.iter_mut().zip(with) {
            let Some(packet) = place.take() else { break };
            if let Err(packet) = taker(packet, companion) {
                fill(place, packet);
                break;
            }
            kept += 1;
        }
        self.head += kept;
        if self.head == self.tail {
            (self.head, self.tail) = (0, 0);
        }
        kept
    }

    /// Returns the oldest packet without taking it.
    #[inline]
    pub fn front(&self) -> Option<&PacketBuf> {
        self.places.get(self.head)?.as_ref()
    }

    /// Walks over the packets, oldest first.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = &PacketBuf> {
        // No place in between is `None`, so that ending there is as good as passing it by, and cheaper.
        self.places.get(self.head..self.tail).unwrap_or_default().iter().map_while(Option::as_ref)
    }

    /// Walks over the packets, oldest first, for changing them.
    #[inline]
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut PacketBuf> {
        self.places.get_mut(self.head..self.tail).unwrap_or_default().iter_mut().map_while(Option::as_mut)
    }

    /// Walks over the packets, oldest first, each with its companion from `with`, until there are no more of either.
    #[inline]
    pub fn iter_with<I: IntoIterator>(&self, with: I) -> impl Iterator<Item = (&PacketBuf, I::Item)> {
        let places = self.places.get(self.head..self.tail).unwrap_or_default();
        places.iter().zip(with).map_while(|(place, companion)| Some((place.as_ref()?, companion)))
    }

    /// Takes the packets out, oldest first; those the iterator did not reach stay in the batch.
    #[inline]
    pub fn drain(&mut self) -> Drain<'_> {
        Drain { batch: self }
    }

    /// Returns the packets in the batch.
    #[inline]
    pub fn len(&self) -> usize {
        self.tail - self.head
    }

    /// Says whether no packet is in the batch.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.tail == 0
    }

    /// Says whether a push would be refused.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.len() == BATCH_CAPACITY
    }
}

/// Puts a packet into a place that is `None`, without asking whether something has to be dropped there.
#[inline]
fn fill(place: &mut Option<PacketBuf>, packet: PacketBuf) {
    let nothing = place.replace(packet);
    debug_assert!(nothing.is_none());
    mem::forget(nothing);
}

impl Default for PacketBatch {
    fn default() -> Self {
        Self::new()
    }
}

/// The iterator of [`PacketBatch::drain`].
#[derive(Debug)]
pub struct Drain<'a> {
    batch: &'a mut PacketBatch,
}

impl Iterator for Drain<'_> {
    type Item = PacketBuf;

    #[inline]
    fn next(&mut self) -> Option<PacketBuf> {
        self.batch.pop()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.batch.len(), Some(self.batch.len()))
    }
}
