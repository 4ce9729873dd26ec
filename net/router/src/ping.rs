//! Echo requests of this router's own and their replies: what the console's `ping` asks for. Thread context.

use core::{fmt, net::Ipv4Addr, time::Duration};

use ksync::{SpinLock, time::Instant};

/// Requests that can be under way at once; a further one takes the oldest one's place.
const PLACES: usize = 32;

/// The longest body of a request, so that it fits a packet buffer's frame of 1500 octets.
pub const MAX_PING_BODY: usize = 1472;

/// One echo request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PingRequest {
    /// Whom to ask.
    pub destination: Ipv4Addr,
    /// Names the asker.
    pub ident: u16,
    /// Names the question.
    pub sequence: u16,
    /// Octets of data, at most [`MAX_PING_BODY`].
    pub body_len: usize,
}

/// One echo reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PingReply {
    /// Who answered.
    pub from: Ipv4Addr,
    /// Names the question.
    pub sequence: u16,
    /// Octets of the ICMP message.
    pub len: usize,
    /// Time to live on arrival.
    pub ttl: u8,
    /// Time from sending to arrival.
    pub round_trip: Duration,
}

/// Why an echo request was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PingError {
    /// No route to the destination, or one that does not lead to a host.
    NoRoute,
    /// This router has no address to ask from.
    NoAddress,
    /// No packet buffer.
    NoBuffer,
    /// More data than [`MAX_PING_BODY`].
    TooLong,
}

impl fmt::Display for PingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoRoute => "no route to host",
            Self::NoAddress => "no address to ask from",
            Self::NoBuffer => "no packet buffer",
            Self::TooLong => "too much data",
        })
    }
}

impl core::error::Error for PingError {}

#[derive(Clone, Copy, Debug)]
struct Place {
    request: PingRequest,
    sent: Instant,
    reply: Option<PingReply>,
}

/// The requests under way.
#[derive(Debug)]
pub(crate) struct PingTable {
    /// Protects the places; held for one look at them.
    places: SpinLock<[Option<Place>; PLACES]>,
}

impl PingTable {
    pub(crate) const fn new() -> Self {
        Self { places: SpinLock::new([None; PLACES]) }
    }

    /// Notes a request that is about to be sent.
    pub(crate) fn sent(&self, now: Instant, request: PingRequest) {
        let mut places = self.places.lock();
        let oldest = |(_, place): &(usize, &Option<Place>)| place.as_ref().map(|place| place.sent);
        let Some(at) = places.iter().enumerate().min_by_key(oldest).map(|(at, _)| at) else { return };
        if let Some(place) = places.get_mut(at) {
            *place = Some(Place { request, sent: now, reply: None });
        }
    }

    /// Notes a reply; returns whether somebody waits for it. A second reply to one request is none.
    pub(crate) fn answered(&self, now: Instant, ident: u16, reply: PingReply) -> bool {
        let mut places = self.places.lock();
        let asked = |place: &&mut Place| {
            let request = &place.request;
            place.reply.is_none() && (request.ident, request.sequence) == (ident, reply.sequence)
        };
        let Some(place) = places.iter_mut().flatten().find(asked) else { return false };
        // Who was asked at a broadcast address answers from another one; those are not asked here.
        if place.request.destination != reply.from {
            return false;
        }
        place.reply = Some(PingReply { round_trip: now.saturating_duration_since(place.sent), ..reply });
        true
    }

    /// Takes out a reply for the asker `ident`.
    pub(crate) fn take(&self, ident: u16) -> Option<PingReply> {
        let mut places = self.places.lock();
        let place = places.iter_mut().find(|p| p.is_some_and(|p| p.request.ident == ident && p.reply.is_some()))?;
        place.take()?.reply
    }
}
