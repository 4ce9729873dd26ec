//! Which of a stream's frames have arrived: [`Ledger`].

/// How many numbers a word of the bitmap has.
const WORD: u32 = u64::BITS;

/// Account of the sequence numbers of one stream: sent from 0 on, and arrived once, or not at all.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    sent: u32,
    received: u32,
    reordered: u32,
    /// One more than the highest number that has arrived; 0 for none.
    top: u32,
    /// Below this, what has not arrived is not waited for any more.
    given_up: u32,
    arrived: Vec<u64>,
}

/// A frame that must not have arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unaccountable {
    /// It has arrived before.
    Duplicate,
    /// It was never sent.
    NeverSent,
}

impl Ledger {
    /// Takes note that `count` frames more are sent. Returns the number of the first.
    pub(super) fn send(&mut self, count: u32) -> u32 {
        let first = self.sent;
        self.sent += count;
        // Words come in lumps, so that this allocates rarely.
        let words = (self.sent / WORD) as usize + 1;
        if self.arrived.len() < words {
            self.arrived.resize(words + 16 * 1024, 0);
        }
        first
    }

    /// Takes note of a frame that has arrived.
    pub(super) fn arrive(&mut self, sequence: u32) -> Result<(), Unaccountable> {
        if sequence >= self.sent {
            return Err(Unaccountable::NeverSent);
        }
        let Some(word) = self.arrived.get_mut((sequence / WORD) as usize) else { return Err(Unaccountable::NeverSent) };
        let bit = 1 << (sequence % WORD);
        if *word & bit != 0 {
            return Err(Unaccountable::Duplicate);
        }
        *word |= bit;
        self.received += 1;
        if sequence < self.top {
            self.reordered += 1;
        } else {
            self.top = sequence + 1;
        }
        Ok(())
    }

    /// Returns how many frames may still be on their way: those sent after the newest that has arrived. What is older went
    /// before it and is late or lost.
    pub(super) fn in_flight(&self) -> u32 {
        self.sent - self.top.max(self.given_up)
    }

    /// Waits for nothing any more that is on its way.
    pub(super) fn give_up(&mut self) {
        self.given_up = self.sent;
    }

    /// Returns how many were sent.
    pub(super) fn sent(&self) -> u32 {
        self.sent
    }

    /// Returns how many have arrived.
    pub(super) fn received(&self) -> u32 {
        self.received
    }

    /// Returns how many have not arrived.
    pub(super) fn missing(&self) -> u32 {
        self.sent - self.received
    }

    /// Returns how many arrived after one that was sent later.
    pub(super) fn reordered(&self) -> u32 {
        self.reordered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_arrives_once() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.send(200), 0);
        assert_eq!(ledger.send(100), 200);
        for sequence in (0..300).filter(|sequence| sequence % 7 != 3) {
            assert_eq!(ledger.arrive(sequence), Ok(()));
        }
        assert_eq!(ledger.arrive(64), Err(Unaccountable::Duplicate));
        assert_eq!(ledger.arrive(299), Err(Unaccountable::Duplicate));
        assert_eq!(ledger.arrive(300), Err(Unaccountable::NeverSent));
        assert_eq!(ledger.arrive(u32::MAX), Err(Unaccountable::NeverSent));
        assert_eq!((ledger.sent(), ledger.received(), ledger.missing(), ledger.reordered()), (300, 257, 43, 0));
        assert_eq!(ledger.arrive(3), Ok(()), "late is not lost");
        assert_eq!((ledger.missing(), ledger.reordered()), (42, 1));
    }

    #[test]
    fn what_is_lost_is_not_in_flight() {
        let mut ledger = Ledger::default();
        ledger.send(10);
        assert_eq!(ledger.in_flight(), 10);
        ledger.arrive(0).unwrap();
        ledger.arrive(4).unwrap();
        assert_eq!(ledger.in_flight(), 5);
        ledger.give_up();
        assert_eq!(ledger.in_flight(), 0);
        ledger.send(2);
        assert_eq!(ledger.in_flight(), 2);
        ledger.arrive(11).unwrap();
        assert_eq!((ledger.in_flight(), ledger.missing()), (0, 9));
    }
}
