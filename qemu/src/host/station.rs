//! One host at its link: what it does with each frame, and how its packets leave. [`Station`].

use std::{
    collections::{BTreeMap, VecDeque},
    net::Ipv4Addr,
    time::Instant,
};

use etherparse::{ArpOperation, EtherType, IpNumber, Ipv4HeaderSlice};
use wire::MacAddr;

use super::{
    HostId, HostSpec,
    capture::Tap,
    flow::Flow,
    link::Link,
    neighbour::Neighbours,
    packet::{self, IcmpError},
    payload as flow_payload,
    ping::PingState,
    reassembly::{self, Reassembly},
};

/// How many ICMP errors are kept for whoever asks.
const KEPT_ERRORS: usize = 4096;

/// What a host has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StationCounters {
    /// Frames received.
    pub received: u64,
    /// Frames sent.
    pub sent: u64,
    /// Frames that were to be sent while nobody was at the other end, or faster than it reads.
    pub unsent: u64,
    /// ARP requests for our address.
    pub arp_requests: u64,
    /// ARP replies to us.
    pub arp_replies: u64,
    /// Echo requests to us.
    pub echo_requests: u64,
    /// Fragments received.
    pub fragments: u64,
    /// Frames to another station, which no router should send to our port.
    pub misdirected: u64,
    /// Packets with a wrong checksum or length.
    pub damaged: u64,
    /// Intact packets that nobody here waits for.
    pub unexpected: u64,
}

/// What the hosts of a lab share: received packets go to the flows and pings they belong to.
#[derive(Debug, Default)]
pub(super) struct Receivers {
    pub(super) flows: Vec<Flow>,
    pub(super) pings: BTreeMap<usize, PingState>,
}

/// A host.
#[derive(Debug)]
pub(super) struct Station {
    pub(super) id: HostId,
    pub(super) spec: HostSpec,
    pub(super) link: Link,
    pub(super) neighbours: Neighbours,
    pub(super) counters: StationCounters,
    pub(super) taps: Vec<Tap>,
    pub(super) errors: VecDeque<IcmpError>,
    /// Frames to be sent as they are, and how many in a millisecond.
    pub(super) injected: (VecDeque<Vec<u8>>, usize),
    reassembly: Reassembly,
}

impl Station {
    pub(super) fn new(id: HostId, spec: HostSpec, link: Link) -> Self {
        Self {
            id,
            spec,
            link,
            neighbours: Neighbours::default(),
            counters: StationCounters::default(),
            taps: Vec::new(),
            errors: VecDeque::new(),
            injected: (VecDeque::new(), 0),
            reassembly: Reassembly::default(),
        }
    }

    fn address(&self) -> Ipv4Addr {
        self.spec.address.address()
    }

    /// Returns the neighbour that packets to `destination` go through.
    pub(super) fn next_hop(&self, destination: Ipv4Addr) -> Ipv4Addr {
        if self.spec.address.prefix().contains(destination) { destination } else { self.spec.gateway }
    }

    /// Queues a frame that `write` appends.
    pub(super) fn send_frame(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if self.link.queue(write) {
            self.counters.sent += 1;
        } else {
            self.counters.unsent += 1;
        }
    }

    /// Sends an IP packet, in fragments if need be, or holds it until its next hop has answered.
    pub(super) fn send_packet(&mut self, destination: Ipv4Addr, packet: &[u8], now: Instant) {
        let next_hop = self.next_hop(destination);
        for fragment in reassembly::fragments(packet, usize::from(self.spec.mtu)) {
            match self.neighbours.get(next_hop) {
                Some(mac) => self.send_to(mac, &fragment),
                None => drop(self.neighbours.resolve(next_hop, Some(fragment), now)),
            }
        }
    }

    fn send_to(&mut self, mac: MacAddr, packet: &[u8]) {
        let source = self.spec.mac;
        self.send_frame(|out| {
            packet::ethernet(out, mac, source, EtherType::IPV4);
            out.extend_from_slice(packet);
        });
    }

    /// Sends the ARP requests that are due.
    pub(super) fn ask_neighbours(&mut self, now: Instant) {
        if !self.link.is_up() {
            return;
        }
        for address in self.neighbours.due(now) {
            let ours = (self.spec.mac, self.address());
            let request = packet::arp_packet(ArpOperation::REQUEST, ours, (MacAddr::ZERO, address));
            self.send_frame(|out| packet::arp(out, MacAddr::BROADCAST, &request));
        }
    }

    /// Sends what is due of the injected frames, given the time since the last call.
    pub(super) fn inject(&mut self, milliseconds: usize) {
        let (frames, rate) = &mut self.injected;
        let count = frames.len().min(rate.saturating_mul(milliseconds));
        let due: Vec<Vec<u8>> = frames.drain(..count).collect();
        for frame in due {
            self.send_frame(|out| out.extend_from_slice(&frame));
        }
    }

    /// Takes a received frame.
    pub(super) fn receive(&mut self, frame: &[u8], receivers: &mut Receivers, now: Instant) {
        self.counters.received += 1;
        self.taps.retain(|tap| tap.take(frame, now));
        let Some((destination, _, ether_type, payload)) = packet::split_frame(frame) else {
            self.counters.damaged += 1;
            return;
        };
        if destination != self.spec.mac && !destination.is_group() {
            self.counters.misdirected += 1;
            return;
        }
        match ether_type {
            EtherType::ARP => self.receive_arp(payload),
            EtherType::IPV4 => self.receive_ipv4(payload, receivers, now),
            _ => self.counters.unexpected += 1,
        }
    }

    /// Answers requests for our address; learns from whoever speaks to us (RFC 826).
    fn receive_arp(&mut self, payload: &[u8]) {
        let Some(arp) = packet::read_arp(payload) else {
            self.counters.damaged += 1;
            return;
        };
        let (sender, sender_mac) = (arp.sender_ipv4_addr(), MacAddr(arp.sender_mac));
        let is_to_us = arp.target_ipv4_addr() == self.address();
        let is_announced = sender == arp.target_ipv4_addr() && self.neighbours.get(sender).is_some();
        if is_to_us || is_announced {
            for packet in self.neighbours.learn(sender, sender_mac) {
                self.send_to(sender_mac, &packet);
            }
        }
        match arp.operation {
            ArpOperation::REQUEST if is_to_us => {
                self.counters.arp_requests += 1;
                if self.spec.answers_arp {
                    let ours = (self.spec.mac, self.address());
                    let reply = packet::arp_packet(ArpOperation::REPLY, ours, (sender_mac, sender));
                    self.send_frame(|out| packet::arp(out, sender_mac, &reply));
                }
            }
            ArpOperation::REPLY if is_to_us => self.counters.arp_replies += 1,
            _ => {}
        }
    }

    fn receive_ipv4(&mut self, payload: &[u8], receivers: &mut Receivers, now: Instant) {
        let Some((header, packet)) = packet::read_ipv4(payload) else {
            self.counters.damaged += 1;
            return;
        };
        if header.destination_addr() != self.address() {
            self.counters.misdirected += 1;
            return;
        }
        if !header.is_fragmenting_payload() {
            self.receive_packet(&header, packet, receivers, now);
            return;
        }
        self.counters.fragments += 1;
        let whole = self.reassembly.take(&header, packet::ipv4_payload(&header, packet), now);
        if let Some(whole) = &whole
            && let Some((header, packet)) = packet::read_ipv4(whole)
        {
            self.receive_packet(&header, packet, receivers, now);
        }
    }

    /// Takes a whole packet to us.
    fn receive_packet(&mut self, header: &Ipv4HeaderSlice<'_>, packet: &[u8], receivers: &mut Receivers, now: Instant) {
        let payload = packet::ipv4_payload(header, packet);
        match header.protocol() {
            IpNumber::ICMP => self.receive_icmp(header, payload, receivers, now),
            IpNumber::UDP => {
                let named = payload.get(8..).and_then(flow_payload::read);
                let found = named.and_then(|(id, sequence)| Some((receivers.flows.get_mut(id.0)?, sequence)));
                match found.filter(|(flow, _)| flow.spec.to == self.id) {
                    Some((flow, sequence)) => flow.receive(packet, sequence, now),
                    None => self.counters.unexpected += 1,
                }
            }
            _ => self.counters.unexpected += 1,
        }
    }

    fn receive_icmp(&mut self, header: &Ipv4HeaderSlice<'_>, payload: &[u8], receivers: &mut Receivers, now: Instant) {
        let Some(message) = packet::read_icmp(payload) else {
            self.counters.damaged += 1;
            return;
        };
        let (from, rest) = (header.source_addr(), message.bytes5to8());
        let data = payload.get(8..).unwrap_or_default();
        let ours = receivers.pings.values_mut().filter(|ping| ping.host == self.id);
        if message.type_u8() == packet::ECHO_REPLY {
            ours.for_each(|ping| ping.take_reply(from, header.ttl(), rest, data, now));
        } else if message.type_u8() == packet::ECHO_REQUEST {
            self.counters.echo_requests += 1;
            if self.spec.answers_ping {
                self.answer_ping(from, header.identification(), rest, data, now);
            }
        } else if let Some(error) = IcmpError::read(from, &message) {
            ours.for_each(|ping| ping.take_error(&error));
            let flows = receivers.flows.iter_mut().filter(|flow| flow.spec.from == self.id);
            flows.filter(|flow| flow.is_quoted(&error.quote)).for_each(Flow::count_error);
            if self.errors.len() == KEPT_ERRORS {
                self.errors.pop_front();
            }
            self.errors.push_back(error);
        } else {
            self.counters.unexpected += 1;
        }
    }

    fn answer_ping(&mut self, to: Ipv4Addr, identification: u16, rest: [u8; 4], data: &[u8], now: Instant) {
        let mut ip = packet::ipv4_header(self.address(), to, IpNumber::ICMP, 64, 8 + data.len());
        ip.identification = identification;
        ip.header_checksum = ip.calc_header_checksum();
        let mut reply = ip.to_bytes().to_vec();
        packet::icmp(&mut reply, packet::ECHO_REPLY, 0, rest, data);
        self.send_packet(to, &reply, now);
    }
}
