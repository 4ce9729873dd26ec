//! Conservation: every frame ends in exactly one named counter, and [`Audit`] prints the difference.
//!
//! Each worker counts into its own [`WorkerCounters`] (single writer, no shared cache line); the router keeps a reference to all of
//! them and adds up on demand. Packets that this router makes itself (ARP, ICMP, fragments, pings) have books of their own, so that
//! the numbers of received frames are about received frames only.

use alloc::string::String;
use core::fmt;

use ifnet::{Fate, FateCounters, FateSnapshot};
use ksync::counter::Counter;
use pktbuf::Origin;

/// What one worker has counted.
///
/// # Context
/// Written by the worker's thread only, read by any.
#[derive(Debug)]
pub struct WorkerCounters {
    name: String,
    /// Frames handed up by drivers.
    pub(crate) received: Counter,
    /// Packets made here.
    pub(crate) originated: Counter,
    /// How received frames ended.
    pub(crate) fates: FateCounters,
    /// How packets made here ended: `forwarded` means sent.
    pub(crate) local_fates: FateCounters,
}

impl WorkerCounters {
    pub(crate) fn new(name: String) -> Self {
        let (received, originated) = (Counter::new(), Counter::new());
        Self { name, received, originated, fates: FateCounters::new(), local_fates: FateCounters::new() }
    }

    /// Returns the worker's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns how many frames drivers have handed to this worker.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received.get()
    }

    /// Returns how many packets this worker has made.
    #[must_use]
    pub fn originated(&self) -> u64 {
        self.originated.get()
    }

    /// Returns how the received frames ended that ended here.
    #[must_use]
    pub fn fates(&self) -> FateSnapshot {
        self.fates.snapshot()
    }

    /// Returns how the packets made by this router ended that ended here; `forwarded` means sent.
    #[must_use]
    pub fn local_fates(&self) -> FateSnapshot {
        self.local_fates.snapshot()
    }

    /// Returns the book in which packets of this origin are entered.
    #[inline]
    pub(crate) const fn book(&self, origin: Origin) -> &FateCounters {
        match origin {
            Origin::Received => &self.fates,
            Origin::Local => &self.local_fates,
        }
    }

    /// Counts how a packet of this origin ended.
    #[inline]
    pub(crate) fn count(&self, origin: Origin, fate: Fate) {
        self.book(origin).record(fate);
    }
}

/// The books of the whole router.
///
/// Exact when the router is quiet; while packets are on their way, up to that many are unexplained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Audit {
    /// Frames handed up by drivers.
    pub received: u64,
    /// Packets this router made.
    pub originated: u64,
    /// How received frames ended.
    pub fates: FateSnapshot,
    /// How packets made here ended; `forwarded` means sent.
    pub local_fates: FateSnapshot,
    /// Packets waiting for an answer to ARP, as counted in the table.
    pub held_arp: u64,
    /// Frames waiting in protocol queues, as counted in the queues.
    pub held_netisr: u64,
    /// Fragments for this router waiting for the others, as counted in the table.
    pub held_reassembly: u64,
}

impl Audit {
    /// Returns how many packets came in or were made, minus how many ended or wait: 0 when quiet, or a bug.
    #[must_use]
    pub fn unexplained(&self) -> i64 {
        let came = self.received.wrapping_add(self.originated);
        let ended = self.fates.total().wrapping_add(self.local_fates.total());
        came.wrapping_sub(ended).wrapping_sub(self.held()).cast_signed()
    }

    /// Returns how many packets wait somewhere.
    #[must_use]
    pub const fn held(&self) -> u64 {
        self.held_arp + self.held_netisr + self.held_reassembly
    }
}

/// Writes the table of `netstat --audit`.
impl fmt::Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let books = [("received", self.received, &self.fates), ("originated", self.originated, &self.local_fates)];
        for (name, came, fates) in books {
            writeln!(f, "{name:<32} {came:>12}")?;
            writeln!(f, "  {:<30} {:>12}", "forwarded", fates.forwarded)?;
            writeln!(f, "  {:<30} {:>12}", "delivered", fates.delivered)?;
            for (reason, count) in fates.drops() {
                writeln!(f, "  {:<30} {count:>12}", reason.as_str())?;
            }
        }
        writeln!(f, "{:<32} {:>12}", "held for arp", self.held_arp)?;
        writeln!(f, "{:<32} {:>12}", "held in netisr queues", self.held_netisr)?;
        writeln!(f, "{:<32} {:>12}", "held for other fragments", self.held_reassembly)?;
        writeln!(f, "{:<32} {:>12}", "unexplained", self.unexplained())
    }
}
