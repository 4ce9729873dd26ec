//! Received ARP packets: validation, learning, answering.
//!
//! Source: RFC 826 "Packet Reception" in its order, except that the opcode is checked first; RFC 5227 2.4 for conflicts.
//! Context: the thread that received the frame; takes the table's lock once, after all checks.

use core::net::Ipv4Addr;

use ifnet::{DropReason, Fate, IfIndex};
use ksync::time::Instant;
use wire::{Arp, ArpOperation, ArpPacket, ETHERNET_HEADER_LEN, EtherType, EthernetHeader, Ipv4Cidr, MacAddr};

use crate::{
    ArpTable, Release, Request,
    entry::State,
    index::{Index, Key},
    table::Inner,
};

/// An interface of this router as ARP sees it.
#[derive(Clone, Copy, Debug)]
pub struct ArpInterface<'a> {
    /// Its number.
    pub index: IfIndex,
    /// Its station address.
    pub mac: MacAddr,
    /// Its IP addresses.
    pub addresses: &'a [Ipv4Cidr],
}

/// An ARP packet that should be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArpTransmission {
    /// Where.
    pub out: IfIndex,
    /// To whom.
    pub destination: MacAddr,
    /// What.
    pub packet: ArpPacket,
}

impl ArpTransmission {
    /// Octets of the whole frame, without padding.
    pub const FRAME_LEN: usize = ETHERNET_HEADER_LEN + ArpPacket::LEN;

    /// Returns the whole Ethernet frame, without padding.
    #[must_use]
    pub fn frame(&self) -> [u8; Self::FRAME_LEN] {
        let ether_type = EtherType::ARP;
        let header = EthernetHeader { destination: self.destination, source: self.packet.sender_mac, ether_type };
        let mut frame = [0; Self::FRAME_LEN];
        let (front, rest) = frame.split_at_mut(ETHERNET_HEADER_LEN);
        front.copy_from_slice(&header.to_bytes());
        rest.copy_from_slice(&self.packet.to_bytes());
        frame
    }
}

/// What a received ARP packet led to.
#[derive(Debug)]
#[must_use = "replies and held packets are inside"]
pub struct ArpInput {
    /// How the received frame ends: [`Fate::Delivered`] if it taught or asked us something, else dropped with a reason.
    pub fate: Fate,
    /// An answer to send, or the defence of our address.
    pub reply: Option<ArpTransmission>,
    /// Packets that were waiting for this.
    pub release: Option<Release>,
}

impl From<DropReason> for ArpInput {
    fn from(reason: DropReason) -> Self {
        Self { fate: Fate::Dropped(reason), reply: None, release: None }
    }
}

impl ArpInterface<'_> {
    /// Makes the packet for a [`Request`], from the address of ours that shares a network with the target (else the first).
    /// `None` if the interface has no address.
    #[must_use]
    pub fn request(&self, request: &Request) -> Option<ArpTransmission> {
        let on_link = self.addresses.iter().find(|cidr| cidr.prefix().contains(request.target));
        let sender_ip = on_link.or(self.addresses.first())?.address();
        let packet = self.packet(ArpOperation::Request, sender_ip, MacAddr::ZERO, request.target);
        Some(ArpTransmission { out: self.index, destination: request.to, packet })
    }

    /// Makes the announcement of one of our addresses: a gratuitous request (RFC 5227 2.3, RFC 5944 4.6). Sent for
    /// each address when a link comes up.
    #[must_use]
    pub fn announcement(&self, address: Ipv4Addr) -> ArpTransmission {
        let packet = self.packet(ArpOperation::Request, address, MacAddr::ZERO, address);
        ArpTransmission { out: self.index, destination: MacAddr::BROADCAST, packet }
    }

    fn packet(&self, operation: ArpOperation, sender_ip: Ipv4Addr, to: MacAddr, target_ip: Ipv4Addr) -> ArpPacket {
        ArpPacket { operation, sender_mac: self.mac, sender_ip, target_mac: to, target_ip }
    }

    fn has(&self, address: Ipv4Addr) -> bool {
        self.addresses.iter().any(|cidr| cidr.address() == address)
    }

    /// Looks at everything that can be judged without the table.
    fn validate(&self, arp: &Arp<'_>) -> Result<ArpOperation, DropReason> {
        if !arp.is_ipv4_over_ethernet() {
            return Err(DropReason::ArpBadHeader);
        }
        let operation = arp.operation().ok_or(DropReason::ArpBadOpcode)?;
        if arp.sender_mac() == self.mac {
            return Err(DropReason::ArpOwnFrame);
        }
        if !arp.sender_mac().is_station() {
            return Err(DropReason::ArpBadSenderMac);
        }
        if self.addresses.is_empty() {
            return Err(DropReason::ArpNoAddress);
        }
        let sender = arp.sender_ip();
        // RFC 5227 2.1.1: the sender of a probe has no address yet.
        if sender.is_unspecified() && operation == ArpOperation::Request {
            return Ok(operation);
        }
        let is_edge = |cidr: &Ipv4Cidr| cidr.broadcast() == Some(sender) || cidr.network() == Some(sender);
        let [first, ..] = sender.octets();
        if first == 0 || first == 127 || first >= 224 || self.addresses.iter().any(is_edge) {
            return Err(DropReason::ArpBadSenderIp);
        }
        if !self.addresses.iter().any(|cidr| cidr.prefix().contains(sender)) {
            return Err(DropReason::ArpForeignSender);
        }
        Ok(operation)
    }
}

impl ArpTable {
    /// Takes in an ARP packet (what follows the Ethernet header) received on `interface`.
    pub fn input(&self, now: Instant, interface: &ArpInterface<'_>, packet: &[u8]) -> ArpInput {
        let Ok(arp) = Arp::new_checked(packet) else {
            return DropReason::ArpTooShort.into();
        };
        let operation = match interface.validate(&arp) {
            Ok(operation) => operation,
            Err(reason) => return reason.into(),
        };
        let mut inner = self.inner.lock();
        match operation {
            ArpOperation::Request => inner.statistics.requests_received += 1,
            ArpOperation::Reply => inner.statistics.replies_received += 1,
        }
        if interface.has(arp.sender_ip()) {
            return self.conflict(&mut inner, now, interface, arp.sender_ip());
        }
        let for_us = interface.has(arp.target_ip());
        let (learned, release) = match arp.sender_ip() {
            Ipv4Addr::UNSPECIFIED => (false, None),
            sender => inner.learn(now, (interface.index, sender), arp.sender_mac(), for_us, &self.index),
        };
        if !for_us && !learned {
            return DropReason::ArpNotForUs.into();
        }
        let reply = (for_us && operation == ArpOperation::Request).then(|| {
            inner.statistics.replies_sent += 1;
            let sender_ip = arp.target_ip();
            let packet = interface.packet(ArpOperation::Reply, sender_ip, arp.sender_mac(), arp.sender_ip());
            ArpTransmission { out: interface.index, destination: arp.sender_mac(), packet }
        });
        ArpInput { fate: Fate::Delivered, reply, release }
    }

    /// Defends an address of ours, but not more often than allowed (RFC 5227 2.4 (c): a router keeps its address).
    fn conflict(&self, inner: &mut Inner, now: Instant, interface: &ArpInterface<'_>, address: Ipv4Addr) -> ArpInput {
        inner.statistics.conflicts += 1;
        let mine =
            |d: &Option<(IfIndex, Ipv4Addr, Instant)>| d.is_some_and(|d| (d.0, d.1) == (interface.index, address));
        let place = inner.defences.iter().position(mine);
        // Without a place of its own the address takes the one not used for longest.
        let oldest = || inner.defences.iter().enumerate().min_by_key(|(_, d)| d.map(|d| d.2)).map(|(at, _)| at);
        let due =
            place.and_then(|at| *inner.defences.get(at)?).is_none_or(|(_, _, then)| now >= then + self.config.defend);
        let reply = due.then(|| interface.announcement(address));
        if due && let Some(slot) = place.or_else(oldest).and_then(|at| inner.defences.get_mut(at)) {
            *slot = Some((interface.index, address, now));
        }
        ArpInput { fate: Fate::Dropped(DropReason::ArpConflict), reply, release: None }
    }
}

impl Inner {
    /// Notes where a neighbour is, if it is known or asked for already or `add` says so. Returns whether it is noted, and the
    /// packets that waited for it.
    fn learn(
        &mut self,
        now: Instant,
        name: (IfIndex, Ipv4Addr),
        mac: MacAddr,
        add: bool,
        index: &Index,
    ) -> (bool, Option<Release>) {
        let key = Key::new(name.0.0, name.1);
        let known = State::Known { mac, confirmed: now };
        let Some(at) = self.store.find(key) else {
            if !add {
                return (false, None);
            }
            if self.insert(name, known, now, index).is_none() {
                self.statistics.table_full += 1;
                return (false, None);
            }
            self.statistics.learned += 1;
            index.publish(key, mac);
            return (true, None);
        };
        match self.store.get(at).map_or(State::Free, |entry| entry.state) {
            State::Asking { .. } | State::Silent { .. } => {
                self.statistics.learned += 1;
                self.store.set_state(at, State::Releasing { mac, confirmed: now, since: now });
                let release = Release { out: name.0, neighbour: name.1 };
                (true, (!self.publish_if_released(at, index)).then_some(release))
            }
            State::Releasing { mac: before, since, .. } => {
                self.statistics.moved += u64::from(before != mac);
                self.store.set_state(at, State::Releasing { mac, confirmed: now, since });
                (true, None)
            }
            State::Known { mac: before, .. } | State::Probing { mac: before, .. } => {
                self.statistics.moved += u64::from(before != mac);
                self.store.set_state(at, known);
                index.publish(key, mac);
                (true, None)
            }
            State::Free => (false, None),
        }
    }
}
