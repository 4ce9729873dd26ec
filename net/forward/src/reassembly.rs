//! Collecting the fragments of a datagram for this router: RFC 791 3.2, RFC 1122 3.3.2, RFC 1812 5.2.6.
//!
//! Nothing is copied: the pieces of a complete datagram come out as the packets they came in, in order. A router puts together only
//! what it answers itself, so there is room for few datagrams, and the memory is all taken at the start. Owned by whoever
//! calls; the time is an argument.

use alloc::vec::Vec;
use core::{net::Ipv4Addr, time::Duration};

use ksync::time::Instant;
use pktbuf::{BATCH_CAPACITY, PacketBatch, PacketBuf};
use wire::{ETHERNET_HEADER_LEN, IPV4_HEADER_LEN, Ipv4};

/// Pieces that a datagram may come in: enough for 65,535 octets over a link of 1500.
pub const MAX_PIECES: usize = BATCH_CAPACITY;
/// Datagrams that can be under way at once.
const MAX_DATAGRAMS: usize = 8;
/// How long the pieces may take, from the first one that came (RFC 1122 3.3.2: 60 to 120 seconds).
const TIMEOUT: Duration = Duration::from_secs(60);
/// The longest payload of a datagram.
const MAX_PAYLOAD: usize = 65_535 - IPV4_HEADER_LEN;

/// What became of a piece.
#[derive(Debug)]
#[must_use = "a refused packet is inside"]
pub enum Insertion {
    /// It is kept until the others are there.
    Held,
    /// It was the last one missing: all pieces are in the batch, in order.
    Complete,
    /// It cannot be part of any datagram here (drop reason: `LocalFragment`).
    Refused(PacketBuf),
}

/// What all pieces of a datagram have in common (RFC 791 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Name {
    source: Ipv4Addr,
    destination: Ipv4Addr,
    ident: u16,
    protocol: u8,
}

/// Where a piece belongs.
#[derive(Clone, Copy, Debug)]
struct Place {
    start: usize,
    end: usize,
    is_last: bool,
}

/// A datagram under way. The place is free while `pieces` is empty.
#[derive(Debug)]
struct Datagram {
    name: Name,
    since: Instant,
    /// Sorted by place; they never overlap.
    pieces: Vec<(Place, PacketBuf)>,
}

/// The datagrams under way.
#[derive(Debug)]
pub struct Reassembler {
    datagrams: Vec<Datagram>,
}

impl Reassembler {
    /// Makes an empty one, with all the memory it will need.
    #[must_use]
    pub fn new() -> Self {
        let (source, destination) = (Ipv4Addr::UNSPECIFIED, Ipv4Addr::UNSPECIFIED);
        let name = Name { source, destination, ident: 0, protocol: 0 };
        let free = |_| Datagram { name, since: Instant::ZERO, pieces: Vec::with_capacity(MAX_PIECES) };
        Self { datagrams: (0..MAX_DATAGRAMS).map(free).collect() }
    }

    /// Takes a fragment in. `out` is an empty batch, for the pieces of a complete datagram.
    ///
    /// Call [`make_room`](Self::make_room) before, so that a new datagram finds a place.
    pub fn insert(&mut self, now: Instant, packet: PacketBuf, out: &mut PacketBatch) -> Insertion {
        let Some((name, place)) = look(&packet) else { return Insertion::Refused(packet) };
        let known = self.datagrams.iter().position(|d| !d.pieces.is_empty() && d.name == name);
        let Some(at) = known.or_else(|| self.datagrams.iter().position(|d| d.pieces.is_empty())) else {
            return Insertion::Refused(packet);
        };
        let Some(datagram) = self.datagrams.get_mut(at) else { return Insertion::Refused(packet) };
        if known.is_none() {
            (datagram.name, datagram.since) = (name, now);
        }
        if let Err(packet) = datagram.add(place, packet) {
            return Insertion::Refused(packet);
        }
        if !datagram.is_complete() {
            return Insertion::Held;
        }
        datagram.give_out(out);
        Insertion::Complete
    }

    /// If `packet` begins a new datagram and there is no place for one, gives out the pieces of the one that has waited longest
    /// (drop reason: `LocalReassemblyTimeout`) into the empty batch `out`.
    pub fn make_room(&mut self, packet: &PacketBuf, out: &mut PacketBatch) {
        let fits = |d: &Datagram| d.pieces.is_empty() || look(packet).is_none_or(|(name, _)| name == d.name);
        if !self.datagrams.iter().any(fits)
            && let Some(oldest) = self.datagrams.iter_mut().min_by_key(|d| d.since)
        {
            oldest.give_out(out);
        }
    }

    /// Gives out the pieces of a datagram whose time is up, in order, into the empty batch `out`; returns whether there was one.
    pub fn expire(&mut self, now: Instant, out: &mut PacketBatch) -> bool {
        let is_late = |d: &&mut Datagram| !d.pieces.is_empty() && now >= d.since + TIMEOUT;
        self.datagrams.iter_mut().find(is_late).is_some_and(|late| {
            late.give_out(out);
            true
        })
    }

    /// Gives out the pieces of any datagram, for shutdown; returns whether there was one.
    pub fn flush(&mut self, out: &mut PacketBatch) -> bool {
        self.expire(Instant::MAX, out)
    }

    /// Returns how many pieces are held: a term of the conservation law.
    #[must_use]
    pub fn held(&self) -> usize {
        self.datagrams.iter().map(|d| d.pieces.len()).sum()
    }
}

impl Default for Reassembler {
    fn default() -> Self {
        Self::new()
    }
}

impl Datagram {
    /// Puts a piece where it belongs, or gives it back if it contradicts the others or there are too many.
    fn add(&mut self, place: Place, packet: PacketBuf) -> Result<(), PacketBuf> {
        let at = self.pieces.partition_point(|(other, _)| other.start < place.start);
        let before = at.checked_sub(1).and_then(|at| self.pieces.get(at)).map(|(p, _)| p);
        let after = self.pieces.get(at).map(|(p, _)| p);
        // Overlaps are for attackers: what came first stays.
        let overlaps = before.is_some_and(|p| p.end > place.start) || after.is_some_and(|p| p.start < place.end);
        let beyond_end = before.is_some_and(|p| p.is_last) || (place.is_last && after.is_some());
        if overlaps || beyond_end || self.pieces.len() >= MAX_PIECES {
            return Err(packet);
        }
        self.pieces.insert(at, (place, packet));
        Ok(())
    }

    fn is_complete(&self) -> bool {
        let mut next = 0;
        for (place, _) in &self.pieces {
            if place.start != next {
                return false;
            }
            next = place.end;
        }
        self.pieces.last().is_some_and(|(place, _)| place.is_last)
    }

    fn give_out(&mut self, out: &mut PacketBatch) {
        for (_, packet) in self.pieces.drain(..) {
            // An empty batch has room for all pieces; the pool takes what a caller's full one has not.
            drop(out.push(packet));
        }
    }
}

/// Reads where a fragment belongs. `None` if there can be no such fragment.
fn look(packet: &PacketBuf) -> Option<(Name, Place)> {
    let ip = Ipv4::new_checked(packet.bytes().get(ETHERNET_HEADER_LEN..)?).ok()?;
    let (start, len) = (usize::from(ip.fragment_offset()), ip.payload().len());
    let is_last = !ip.more_fragments();
    // All pieces but the last are whole eights (RFC 791 3.2), and none is empty.
    let is_possible = len != 0 && (is_last || len.is_multiple_of(8)) && start + len <= MAX_PAYLOAD;
    let (source, destination) = (ip.source(), ip.destination());
    let name = Name { source, destination, ident: ip.ident(), protocol: ip.protocol() };
    is_possible.then_some((name, Place { start, end: start + len, is_last }))
}
