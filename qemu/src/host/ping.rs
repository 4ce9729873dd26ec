//! Echo requests and what comes of them: [`Ping`] and [`PingOutcome`] (RFC 792).

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use etherparse::IpNumber;

use super::{
    HostId,
    packet::{self, IcmpError},
};

/// An echo request.
#[derive(Clone, Copy, Debug)]
pub struct Ping {
    /// The length of its payload in octets.
    pub payload: usize,
    /// Its time to live.
    pub ttl: u8,
    /// Whether routers may not fragment it.
    pub dont_fragment: bool,
    /// How long to wait for an answer.
    pub limit: Duration,
}

impl Default for Ping {
    fn default() -> Self {
        Self { payload: 56, ttl: 64, dont_fragment: false, limit: Duration::from_secs(5) }
    }
}

/// What came of an echo request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PingOutcome {
    /// A reply.
    Reply(Echo),
    /// An ICMP error about it.
    Error(IcmpError),
    /// The next hop does not answer ARP.
    NoNeighbour,
    /// Nothing.
    Silence,
}

impl PingOutcome {
    /// Returns the reply, if there is one with the payload that was sent.
    #[must_use]
    pub fn reply(&self) -> Option<&Echo> {
        match self {
            Self::Reply(echo) if echo.is_intact => Some(echo),
            _ => None,
        }
    }
}

/// A reply to an echo request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echo {
    /// Who replied.
    pub from: Ipv4Addr,
    /// The time to live that was left.
    pub ttl: u8,
    /// Time between request and reply.
    pub round_trip: Duration,
    /// Whether the payload is what was sent.
    pub is_intact: bool,
}

/// A request under way.
#[derive(Debug)]
pub(super) struct PingState {
    pub(super) host: HostId,
    identifier: u16,
    payload: Vec<u8>,
    sent: Instant,
    pub(super) next_hop: Ipv4Addr,
    pub(super) outcome: Option<PingOutcome>,
}

impl PingState {
    /// Makes the request with the given number.
    pub(super) fn new(host: HostId, number: usize, ping: &Ping, next_hop: Ipv4Addr, now: Instant) -> Self {
        let [.., high, low] = number.to_be_bytes();
        // The period is prime, so that octets that change places show.
        let payload = (0..251_u8).cycle().take(ping.payload).collect();
        let identifier = u16::from_be_bytes([high, low]);
        Self { host, identifier, payload, sent: now, next_hop, outcome: None }
    }

    /// Returns the IP packet.
    pub(super) fn packet(&self, source: Ipv4Addr, target: Ipv4Addr, ping: &Ping) -> Vec<u8> {
        let length = 8 + self.payload.len();
        let mut ip = packet::ipv4_header(source, target, IpNumber::ICMP, ping.ttl, length);
        ip.identification = self.identifier;
        ip.dont_fragment = ping.dont_fragment;
        ip.header_checksum = ip.calc_header_checksum();
        let mut out = ip.to_bytes().to_vec();
        packet::icmp(&mut out, packet::ECHO_REQUEST, 0, self.rest(), &self.payload);
        out
    }

    /// Takes a reply if it is to this request.
    pub(super) fn take_reply(&mut self, from: Ipv4Addr, ttl: u8, rest: [u8; 4], payload: &[u8], now: Instant) {
        if rest == self.rest() && self.outcome.is_none() {
            let is_intact = payload == self.payload;
            self.outcome = Some(PingOutcome::Reply(Echo { from, ttl, round_trip: now - self.sent, is_intact }));
        }
    }

    /// Takes an error if it is about this request.
    pub(super) fn take_error(&mut self, error: &IcmpError) {
        let quoted = error.quote.payload();
        let is_ours = quoted.first() == Some(&packet::ECHO_REQUEST) && quoted.get(4..8) == Some(&self.rest());
        if is_ours && self.outcome.is_none() {
            self.outcome = Some(PingOutcome::Error(error.clone()));
        }
    }

    /// Identifier and sequence number.
    fn rest(&self) -> [u8; 4] {
        let [high, low] = self.identifier.to_be_bytes();
        [high, low, 0, 1]
    }
}
