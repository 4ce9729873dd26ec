//! The piece of output between queue and device, where a stopped world can find it. Pure, host-tested.
//!
//! The sender takes a piece out of the queue and sends it burst by burst. If its CPU is stopped in between, whoever writes next
//! finishes the piece first, so that no line is torn. Only the sender and, with the sender stopped, the owner of the world write.

use core::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use super::ring::Queue;

/// Octets that are taken at once.
pub(super) const SIZE: usize = 64;

#[derive(Debug)]
pub(super) struct Flight {
    octets: [AtomicU8; SIZE],
    /// Octets taken; at most `SIZE`.
    len: AtomicUsize,
    /// Octets of those that were sent; more than `len` if a stopped sender's piece was finished for it.
    sent: AtomicUsize,
}

// ORDERING: relaxed throughout: one writer at a time, ordered by the sender's flag or by the stop of its CPU.
impl Flight {
    pub(super) const fn new() -> Self {
        Self { octets: [const { AtomicU8::new(0) }; SIZE], len: AtomicUsize::new(0), sent: AtomicUsize::new(0) }
    }

    /// Takes the next piece from the queue, with a copy in `out`; returns its length.
    pub(super) fn take_from<const N: usize>(&self, queue: &mut Queue<N>, out: &mut [u8; SIZE]) -> usize {
        self.len.store(0, Ordering::Relaxed);
        let count = queue.pop(out);
        for (slot, octet) in self.octets.iter().zip(out.iter()) {
            slot.store(*octet, Ordering::Relaxed);
        }
        self.sent.store(0, Ordering::Relaxed);
        self.len.store(count, Ordering::Relaxed);
        count
    }

    /// How many octets of the piece are sent.
    pub(super) fn sent(&self) -> usize {
        self.sent.load(Ordering::Relaxed)
    }

    pub(super) fn note_sent(&self, count: usize) {
        self.sent.fetch_add(count, Ordering::Relaxed);
    }

    /// Gives the rest up; returns how much that was.
    pub(super) fn abandon(&self) -> usize {
        self.len.load(Ordering::Relaxed).saturating_sub(self.sent.swap(SIZE, Ordering::Relaxed))
    }

    /// Takes the rest away from the stopped sender: it will find its piece sent.
    pub(super) fn take_rest(&self, out: &mut [u8; SIZE]) -> usize {
        let (from, len) = (self.sent(), self.len.load(Ordering::Relaxed).min(SIZE));
        self.sent.store(SIZE, Ordering::Relaxed);
        let rest = self.octets.get(from..len).unwrap_or_default();
        for (slot, octet) in out.iter_mut().zip(rest) {
            *slot = octet.load(Ordering::Relaxed);
        }
        rest.len()
    }
}

#[cfg(test)]
mod tests {
    use super::{Flight, Queue, SIZE};

    #[test]
    fn the_rest_of_a_piece_is_sent_by_whoever_stopped_its_sender_and_not_again() {
        let (flight, mut queue) = (Flight::new(), Queue::<256>::new());
        assert!(queue.push(b"em0: link up\n"));
        let mut copy = [0; SIZE];
        assert_eq!(flight.take_from(&mut queue, &mut copy), 13);
        flight.note_sent(4);
        let mut rest = [0; SIZE];
        let len = flight.take_rest(&mut rest);
        assert_eq!(&rest[..len], b" link up\n");
        assert_eq!(flight.take_rest(&mut rest), 0);
        // The sender goes on: the burst it was in is counted late, and nothing is left to send.
        flight.note_sent(3);
        assert!(copy.get(flight.sent()..).unwrap_or_default().is_empty());
    }

    #[test]
    fn a_new_piece_starts_from_nothing_sent() {
        let (flight, mut queue) = (Flight::new(), Queue::<256>::new());
        let mut copy = [0; SIZE];
        assert!(queue.push(b"one\n"));
        flight.take_from(&mut queue, &mut copy);
        assert_eq!(flight.abandon(), 4);
        assert!(queue.push(b"two\n"));
        flight.take_from(&mut queue, &mut copy);
        assert_eq!(flight.sent(), 0);
        assert_eq!(flight.take_rest(&mut copy), 4);
    }
}
