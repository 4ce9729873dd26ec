//! Conservation: every frame ends in exactly one named counter, and [`Audit`] prints the difference.
//!
//! Each worker counts into its own [`WorkerCounters`] (single writer, no shared cache line); the router keeps a reference to all of
//! them and adds up on demand. Packets that this router makes itself (ARP, ICMP, fragments, pings) have books of their own, so that
//! the numbers of received frames are about received frames only.

use alloc::{boxed::Box, string::String};
use core::fmt;

use ifnet::{Fate, FateCounters, FateSnapshot, IfIndex};
use ksync::counter::Counter;
use pktbuf::{Origin, PacketBuf};

use crate::MAX_INTERFACES;

/// One book for each interface, and one for frames of none of them.
const BOOKS: usize = MAX_INTERFACES + 1;

/// Returns the place of an interface's book.
pub(crate) fn place(rx_if: Option<u16>) -> usize {
    rx_if.map_or(MAX_INTERFACES, |index| usize::from(index).min(MAX_INTERFACES))
}

/// The frames of one receiving interface, as one worker has counted them.
#[derive(Debug, Default)]
struct Book {
    /// Handed up by the driver.
    received: Counter,
    /// How they ended, if they ended here.
    fates: FateCounters,
}

/// What one worker has counted.
///
/// # Context
/// Written by the worker's thread only, read by any.
#[derive(Debug)]
pub struct WorkerCounters {
    name: String,
    /// By receiving interface; [`BOOKS`] of them.
    books: Box<[Book]>,
    /// Packets made here.
    pub(crate) originated: Counter,
    /// How packets made here ended: `forwarded` means sent.
    pub(crate) local_fates: FateCounters,
}

impl WorkerCounters {
    pub(crate) fn new(name: String) -> Self {
        let books = (0..BOOKS).map(|_| Book::default()).collect();
        Self { name, books, originated: Counter::new(), local_fates: FateCounters::new() }
    }

    /// Returns the worker's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns how many frames drivers have handed to this worker.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.books.iter().map(|book| book.received.get()).sum()
    }

    /// Returns how many packets this worker has made.
    #[must_use]
    pub fn originated(&self) -> u64 {
        self.originated.get()
    }

    /// Returns how many packets that makes.
    pub(crate) fn packets(&self) -> u64 {
        self.received().wrapping_add(self.originated())
    }

    /// Returns how the received frames ended that ended here.
    #[must_use]
    pub fn fates(&self) -> FateSnapshot {
        self.books.iter().map(|book| book.fates.snapshot()).sum()
    }

    /// Returns how many frames of one interface came to this worker, and how those ended that ended here.
    pub(crate) fn of_interface(&self, interface: IfIndex) -> (u64, FateSnapshot) {
        match self.books.get(interface.as_usize()) {
            Some(book) => (book.received.get(), book.fates.snapshot()),
            None => (0, FateSnapshot::ZERO),
        }
    }

    /// Returns how the packets made by this router ended that ended here; `forwarded` means sent.
    #[must_use]
    pub fn local_fates(&self) -> FateSnapshot {
        self.local_fates.snapshot()
    }

    /// Counts a frame that a driver has handed up.
    #[inline]
    pub(crate) fn receive(&self, packet: &PacketBuf) {
        if let Some(book) = self.books.get(place(packet.rx_if())) {
            book.received.bump();
        }
    }

    /// Counts `frames` frames that a driver has handed up, of the interface whose book is at `place`.
    #[inline]
    pub(crate) fn receive_run(&self, place: usize, frames: u64) {
        if let Some(book) = self.books.get(place) {
            book.received.add(frames);
        }
    }

    /// Counts how a packet ended, in the book in which it is entered.
    #[inline]
    pub(crate) fn count(&self, packet: &PacketBuf, fate: Fate) {
        match packet.origin() {
            Origin::Local => self.local_fates.record(fate),
            Origin::Received => self.count_received(place(packet.rx_if()), fate, 1),
        }
    }

    /// Counts how `frames` frames ended that belong into the book at `place`.
    #[inline]
    pub(crate) fn count_received(&self, place: usize, fate: Fate, frames: u64) {
        if let Some(book) = self.books.get(place) {
            book.fates.record_many(fate, frames);
        }
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

/// Where the frames went that one interface received.
///
/// Exact when the router is quiet; else what waits somewhere or is on its way is unexplained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceAudit {
    /// Frames handed up by its driver.
    pub received: u64,
    /// How they ended.
    pub fates: FateSnapshot,
}

impl InterfaceAudit {
    /// Returns how many frames came minus how many ended.
    #[must_use]
    pub fn unexplained(&self) -> i64 {
        self.received.wrapping_sub(self.fates.total()).cast_signed()
    }
}

/// Writes the equation: `received 12 = forwarded 9 + delivered 1 + no-route 2; unexplained 0`.
impl fmt::Display for InterfaceAudit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_equation(f, self.received, &self.fates, 0)?;
        write!(f, "; unexplained {}", self.unexplained())
    }
}

/// The books of the whole router as one equation, made by [`Audit::equation`].
#[derive(Debug)]
pub struct Equation<'a>(&'a Audit);

impl Audit {
    /// Returns the one line in which every frame is accounted for, each drop under its name.
    #[must_use]
    pub const fn equation(&self) -> Equation<'_> {
        Equation(self)
    }
}

impl fmt::Display for Equation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let audit = self.0;
        write_equation(f, audit.received, &audit.fates, audit.held())?;
        let own = &audit.local_fates;
        write!(f, "; own {} = sent {} + delivered {}", audit.originated, own.forwarded, own.delivered)?;
        own.drops().try_for_each(|(reason, count)| write!(f, " + {reason} {count}"))?;
        write!(f, "; unexplained {}", audit.unexplained())
    }
}

fn write_equation(f: &mut fmt::Formatter<'_>, received: u64, fates: &FateSnapshot, held: u64) -> fmt::Result {
    write!(f, "received {received} = forwarded {} + delivered {}", fates.forwarded, fates.delivered)?;
    fates.drops().try_for_each(|(reason, count)| write!(f, " + {reason} {count}"))?;
    if held > 0 { write!(f, " + held {held}") } else { Ok(()) }
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
