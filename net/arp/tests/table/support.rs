//! What the tests share: a router with one interface, and neighbours that talk to it.

use std::{net::Ipv4Addr, time::Duration};

use arp::{ArpAction, ArpConfig, ArpInput, ArpInterface, ArpTable, Request, Resolution};
use ifnet::{DropReason, IfIndex};
use ksync::time::Instant;
use pktbuf::{PacketBatch, PacketBuf, PacketPool};
use wire::{ArpOperation, ArpPacket, Ipv4Cidr, MacAddr};

pub(crate) const IF0: IfIndex = IfIndex(0);
pub(crate) const OUR_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
pub(crate) const OUR_IP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

/// A router whose time the test moves.
pub(crate) struct Bench {
    pub(crate) table: ArpTable,
    pub(crate) now: Instant,
    pub(crate) pool: &'static PacketPool,
    addresses: Vec<Ipv4Cidr>,
}

impl Bench {
    pub(crate) fn new(config: ArpConfig) -> Self {
        Self::with_buffers(config, 1024)
    }

    /// For properties, which make many of these: the pool is never freed.
    pub(crate) fn with_buffers(config: ArpConfig, buffers: usize) -> Self {
        let addresses = vec!["10.0.0.1/16".parse().expect("an address")];
        let pool = PacketPool::leak_for_tests(buffers);
        Self { table: ArpTable::new(config), now: Instant::from_secs(100), pool, addresses }
    }

    pub(crate) fn without_address() -> Self {
        Self { addresses: Vec::new(), ..Self::new(ArpConfig::default()) }
    }

    pub(crate) fn interface(&self) -> ArpInterface<'_> {
        ArpInterface { index: IF0, mac: OUR_MAC, addresses: &self.addresses }
    }

    pub(crate) fn advance(&mut self, seconds: u64) {
        self.now = self.now + Duration::from_secs(seconds);
    }

    /// A packet that can be told from others by its number.
    pub(crate) fn packet(&self, number: u32) -> PacketBuf {
        let mut packet = self.pool.alloc().expect("a buffer");
        packet.append(&number.to_be_bytes()).expect("room");
        packet
    }

    pub(crate) fn resolve(&self, ip: Ipv4Addr, number: u32) -> Resolution {
        self.table.resolve(self.now, IF0, ip, self.packet(number))
    }

    pub(crate) fn input(&self, packet: &ArpPacket) -> ArpInput {
        self.input_bytes(&packet.to_bytes())
    }

    pub(crate) fn input_bytes(&self, bytes: &[u8]) -> ArpInput {
        self.table.input(self.now, &self.interface(), bytes)
    }

    /// Neighbour number `n` answers a request of ours.
    pub(crate) fn answer(&self, n: u8) -> ArpInput {
        self.input(&reply(ip(n), mac(n)))
    }

    /// Fetches what is held for a neighbour that has answered, to the end.
    pub(crate) fn release_all(&self, ip: Ipv4Addr) -> Vec<u32> {
        let mut numbers = Vec::new();
        let mut batch = PacketBatch::new();
        while self.table.release(self.now, IF0, ip, &mut batch).is_some() {
            numbers.extend(batch.drain().map(|packet| number_of(&packet)));
        }
        numbers
    }

    pub(crate) fn poll_all(&self) -> Vec<ArpAction> {
        std::iter::from_fn(|| self.table.poll(self.now)).collect()
    }

    /// Requests that are due now.
    pub(crate) fn requests(&self) -> Vec<Request> {
        let request = |action| if let ArpAction::Request(request) = action { Some(request) } else { None };
        self.poll_all().into_iter().filter_map(request).collect()
    }
}

pub(crate) fn number_of(packet: &PacketBuf) -> u32 {
    u32::from_be_bytes(packet.bytes().try_into().expect("four octets"))
}

pub(crate) fn ip(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 1, n)
}

pub(crate) fn mac(n: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 1, n])
}

/// A reply to us.
pub(crate) fn reply(sender_ip: Ipv4Addr, sender_mac: MacAddr) -> ArpPacket {
    ArpPacket { operation: ArpOperation::Reply, sender_mac, sender_ip, target_mac: OUR_MAC, target_ip: OUR_IP }
}

/// A request of a neighbour for `target_ip`.
pub(crate) fn request(sender_ip: Ipv4Addr, sender_mac: MacAddr, target_ip: Ipv4Addr) -> ArpPacket {
    ArpPacket { operation: ArpOperation::Request, sender_mac, sender_ip, target_mac: MacAddr::ZERO, target_ip }
}

/// Asserts that the packet is held without pushing out another, and returns the request to send.
#[track_caller]
pub(crate) fn held(resolution: Resolution) -> Option<Request> {
    match resolution {
        Resolution::Held { request, dropped: None } => request,
        other => panic!("expected the packet to be held: {other:?}"),
    }
}

#[track_caller]
pub(crate) fn refused(resolution: Resolution) -> DropReason {
    match resolution {
        Resolution::Refused(_, reason) => reason,
        other => panic!("expected the packet to be refused: {other:?}"),
    }
}
