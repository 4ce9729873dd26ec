//! Who the packets of a batch came from, so that those an interface accepted can be counted where they belong.
//!
//! `transmit` takes packets away and tells how many, not which. A [`Tally`] is kept beside each batch: one small count per
//! source, and a bit for each source that occurs, so that the usual case (all of one source) costs one step.

use ifnet::Fate;
use pktbuf::{Origin, PacketBatch, PacketBuf};

use crate::{MAX_INTERFACES, WorkerCounters, counters};

/// The sources: each interface, frames of none, packets of our own.
const SOURCES: usize = MAX_INTERFACES + 2;
/// The place of packets of our own.
const LOCAL: usize = MAX_INTERFACES + 1;

const _: () = assert!(SOURCES <= u64::BITS as usize && pktbuf::BATCH_CAPACITY <= u8::MAX as usize);

/// Returns the source of a packet as a place in a tally.
#[inline]
pub(crate) fn source(packet: &PacketBuf) -> usize {
    match packet.origin() {
        Origin::Local => LOCAL,
        Origin::Received => counters::place(packet.rx_if()),
    }
}

/// Returns the source of packets that interface `rx` received.
#[inline]
pub(crate) fn received(rx: u16) -> usize {
    counters::place(Some(rx))
}

/// How many packets there are of each source.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    counts: [u8; SOURCES],
    /// Bit n is set while `counts[n]` may not be 0.
    present: u64,
}

impl Tally {
    pub(crate) const fn new() -> Self {
        Self { counts: [0; SOURCES], present: 0 }
    }

    /// A tally of `packets` packets (no more than a batch holds) of one source.
    pub(crate) fn uniform(source: usize, packets: usize) -> Self {
        let mut tally = Self::new();
        if let Some(count) = tally.counts.get_mut(source) {
            *count = u8::try_from(packets).unwrap_or(u8::MAX);
            tally.present = 1 << source;
        }
        tally
    }

    /// Counts what is in a batch, by looking.
    pub(crate) fn of(batch: &PacketBatch) -> Self {
        let mut tally = Self::new();
        if !batch.is_empty() {
            batch.iter().for_each(|packet| tally.add(source(packet)));
        }
        tally
    }

    /// Counts one packet in.
    #[inline]
    pub(crate) fn add(&mut self, source: usize) {
        if let Some(count) = self.counts.get_mut(source) {
            *count += 1;
            self.present |= 1 << source;
        }
    }

    /// Counts one packet out.
    pub(crate) fn remove(&mut self, source: usize) {
        if let Some(count) = self.counts.get_mut(source) {
            *count = count.saturating_sub(1);
        }
    }

    /// Records all packets as sent that are in this tally and not in `left`.
    #[inline]
    pub(crate) fn record_sent(&self, left: &Self, counters: &WorkerCounters) {
        let mut present = self.present;
        while present != 0 {
            let source = present.trailing_zeros() as usize;
            present &= present - 1;
            let count = |tally: &Self| tally.counts.get(source).copied().unwrap_or(0);
            let sent = u64::from(count(self).saturating_sub(count(left)));
            match source {
                LOCAL => counters.local_fates.record_many(Fate::Forwarded, sent),
                place => counters.count_received(place, Fate::Forwarded, sent),
            }
        }
    }
}
