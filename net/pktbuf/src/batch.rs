//! A bounded queue of packets that travel together, usually to one interface.
//!
//! Key type: [`PacketBatch`], a ring of [`BATCH_CAPACITY`] places inside the value: no allocation. Passed by `&mut`.

use crate::PacketBuf;

/// Packets a batch holds at most. A power of two.
pub const BATCH_CAPACITY: usize = 64;

const _: () = assert!(BATCH_CAPACITY.is_power_of_two());

/// A first-in first-out queue of at most [`BATCH_CAPACITY`] packets.
#[derive(Debug)]
pub struct PacketBatch {
    places: [Option<PacketBuf>; BATCH_CAPACITY],
    /// Place of the oldest packet; always `< BATCH_CAPACITY`.
    head: usize,
    /// Packets in the batch; the places `head .. head + len` (modulo the capacity) are `Some`, the others `None`.
    len: usize,
}

impl PacketBatch {
    /// Makes an empty batch.
    pub const fn new() -> Self {
        Self { places: [const { None }; BATCH_CAPACITY], head: 0, len: 0 }
    }

    /// Appends a packet, or gives it back if the batch is full.
    #[inline]
    pub fn push(&mut self, packet: PacketBuf) -> Result<(), PacketBuf> {
        if self.len == BATCH_CAPACITY {
            return Err(packet);
        }
        let place = (self.head + self.len) % BATCH_CAPACITY;
        self.places[place] = Some(packet);
        self.len += 1;
        Ok(())
    }

    /// Puts a packet in front of all others, as one does with the packet that a ring had no room for; gives it back if
    /// the batch is full.
    #[inline]
    pub fn push_front(&mut self, packet: PacketBuf) -> Result<(), PacketBuf> {
        if self.len == BATCH_CAPACITY {
            return Err(packet);
        }
        self.head = (self.head + BATCH_CAPACITY - 1) % BATCH_CAPACITY;
        self.places[self.head] = Some(packet);
        self.len += 1;
        Ok(())
    }

    /// Takes the oldest packet.
    #[inline]
    pub fn pop(&mut self) -> Option<PacketBuf> {
        if self.len == 0 {
            return None;
        }
        let packet = self.places[self.head % BATCH_CAPACITY].take();
        self.head = (self.head + 1) % BATCH_CAPACITY;
        self.len -= 1;
        packet
    }

    /// Returns the oldest packet without taking it.
    #[inline]
    pub fn front(&self) -> Option<&PacketBuf> {
        self.places[self.head % BATCH_CAPACITY].as_ref()
    }

    /// Walks over the packets, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &PacketBuf> {
        (0..self.len).filter_map(|i| self.places[(self.head + i) % BATCH_CAPACITY].as_ref())
    }

    /// Takes the packets out, oldest first; those the iterator did not reach stay in the batch.
    #[inline]
    pub fn drain(&mut self) -> Drain<'_> {
        Drain { batch: self }
    }

    /// Returns the packets in the batch.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Says whether no packet is in the batch.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Says whether a push would be refused.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.len == BATCH_CAPACITY
    }
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
        (self.batch.len, Some(self.batch.len))
    }
}
