//! The router of the requirement table: A (192.0.2.2) and B (198.51.100.2) on two interfaces, and a way to make packets.

use std::net::Ipv4Addr;

use fib::{NextHop, Rib, Route, RouteSource};
use forward::{ForwardConfig, IfConfig, Tables, Verdict, decide};
use ifnet::IfIndex;
use pktbuf::{LinkCast, PacketBuf, PacketPool};
use wire::{EtherType, EthernetHeader, Ipv4Cidr, Ipv4Header, MacAddr, checksum};

pub(crate) const A: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
pub(crate) const B: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
pub(crate) const R0: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub(crate) const R1: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
pub(crate) const EM0: IfIndex = IfIndex(0);
pub(crate) const EM1: IfIndex = IfIndex(1);
/// A point-to-point link of RFC 3021, with a small MTU.
pub(crate) const EM2: IfIndex = IfIndex(2);

pub(crate) fn ip(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

pub(crate) fn rib() -> Rib {
    let mut rib = Rib::new();
    let mut add = |prefix: &str, source, next_hop| {
        rib.insert(Route { prefix: prefix.parse().unwrap(), source, next_hop }).unwrap();
    };
    for (n, own, net, last) in
        [(0, "192.0.2.1", "192.0.2.0", "192.0.2.255"), (1, "198.51.100.1", "198.51.100.0", "198.51.100.255")]
    {
        add(&format!("{own}/32"), RouteSource::Local, NextHop::local(n));
        add(&format!("{net}/24"), RouteSource::Connected, NextHop::connected(n));
        add(&format!("{net}/32"), RouteSource::Local, NextHop::broadcast(n));
        add(&format!("{last}/32"), RouteSource::Local, NextHop::broadcast(n));
    }
    add("203.0.113.0/32", RouteSource::Local, NextHop::local(2));
    add("203.0.113.0/31", RouteSource::Connected, NextHop::connected(2));
    add("10.0.0.0/8", RouteSource::Static, NextHop::gateway(1, ip("198.51.100.9")));
    add("10.1.0.0/16", RouteSource::Static, NextHop::gateway(2, ip("203.0.113.1")));
    add("10.1.2.3/32", RouteSource::Static, NextHop::gateway(1, ip("198.51.100.8")));
    add("10.66.0.0/16", RouteSource::Static, NextHop::BLACKHOLE);
    add("10.67.0.0/16", RouteSource::Static, NextHop::UNREACHABLE);
    rib
}

pub(crate) fn interfaces() -> Vec<IfConfig> {
    let interface = |n: u16, mtu, address: &str| IfConfig {
        index: IfIndex(n),
        mtu,
        mac: MacAddr([2, 0, 0, 0, 0, 1 + u8::try_from(n).unwrap()]),
        addresses: vec![address.parse::<Ipv4Cidr>().unwrap()],
        up: true,
    };
    vec![interface(0, 1500, "192.0.2.1/24"), interface(1, 1400, "198.51.100.1/24"), interface(2, 576, "203.0.113.0/31")]
}

pub(crate) fn tables_with(config: ForwardConfig) -> Tables {
    Tables::new(rib().build().unwrap(), interfaces(), config)
}

pub(crate) fn tables() -> Tables {
    tables_with(ForwardConfig::default())
}

/// A UDP-like packet from A to B that nothing is wrong with.
pub(crate) fn good() -> Ipv4Header {
    Ipv4Header {
        tos: 0,
        total_len: 128,
        ident: 7,
        dont_fragment: false,
        more_fragments: false,
        fragment_offset: 0,
        ttl: 64,
        protocol: 17,
        source: A,
        destination: B,
    }
}

/// Makes a frame around an IP header, its options and a payload that fills the total length.
pub(crate) fn frame_with_options(header: &Ipv4Header, options: &[u8]) -> Vec<u8> {
    let ethernet = EthernetHeader {
        destination: MacAddr([2, 0, 0, 0, 0, 1]),
        source: MacAddr([2, 0, 0, 0, 0, 0xa]),
        ether_type: EtherType::IPV4,
    };
    let mut frame = ethernet.to_bytes().to_vec();
    let mut ip = [0; 20];
    header.emit_with_options(&mut ip, options);
    frame.extend(ip);
    frame.extend(options);
    let end = 14 + usize::from(header.total_len);
    while frame.len() < end {
        frame.push(u8::try_from(frame.len() % 251).unwrap());
    }
    frame
}

pub(crate) fn frame(header: &Ipv4Header) -> Vec<u8> {
    frame_with_options(header, &[])
}

/// Recomputes the header checksum of a frame whose header was changed.
pub(crate) fn repair(frame: &mut [u8]) {
    let header_len = usize::from(frame[14] & 15) * 4;
    frame[24..26].fill(0);
    let sum = checksum::of(&frame[14..14 + header_len]);
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
}

/// Has the frame judged as received by em0, sent to us alone.
pub(crate) fn judge(frame: &mut [u8], tables: &Tables) -> Verdict {
    decide(frame, LinkCast::Unicast, EM0, tables).0
}

pub(crate) fn judge_header(header: &Ipv4Header, tables: &Tables) -> Verdict {
    judge(&mut frame(header), tables)
}

pub(crate) fn buffer(pool: &'static PacketPool, frame: &[u8]) -> PacketBuf {
    let mut buffer = pool.alloc().unwrap();
    buffer.append(frame).unwrap();
    buffer
}
