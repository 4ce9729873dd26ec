//! The pure data path, without a device: [`DataPath`] takes batches of frames from Ethernet header to rewritten headers.
//!
//! Each frame is parsed, its destination looked up (a batch at a time), and time to live, checksum and both addresses rewritten; a frame that
//! is not plain takes the long way. What is measured is the public way through `forward` that the router takes as well.

use std::net::Ipv4Addr;

use fib::{NextHop, Rib, Route, RouteSource};
use forward::{ForwardConfig, IfConfig, Judged, Plain, PortAddress, Tables, Verdict, input};
use ifnet::IfIndex;
use pktbuf::{Arrival, LinkCast, PacketBuf, PacketPool};
use wire::{EtherType, EthernetHeader, Ipv4Cidr, Ipv4Header, MacAddr};

use crate::{PlainRoute, Stream, prefix, race::BATCH};

const OURS: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const THEIRS: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);
/// The shortest frame, without its check sequence.
const FRAME: usize = 60;

/// Frames, and the tables they are forwarded by.
#[derive(Debug)]
pub struct DataPath {
    tables: Tables,
    packets: Vec<PacketBuf>,
    /// The frames as they arrived.
    frames: Vec<[u8; FRAME]>,
}

impl DataPath {
    /// Makes a router of `routes`, and `batches` batches of frames to addresses inside its prefixes.
    ///
    /// # Panics
    /// If there is not enough memory.
    #[must_use]
    pub fn new(routes: &[PlainRoute], batches: usize, seed: u64) -> Self {
        let mut rib = Rib::new();
        for &(plain, number) in routes {
            let gateway = Ipv4Addr::from_bits(0xc633_0000 + u32::from(number));
            let next_hop = NextHop::gateway(1, gateway);
            let route = Route { prefix: prefix(plain), source: RouteSource::Static, next_hop };
            rib.insert(route).expect("the table has room");
        }
        let interface = |n: u8, address: &str| IfConfig {
            index: IfIndex(n.into()),
            mtu: 1500,
            mac: MacAddr([2, 0, 0, 0, 0, 1 + n]),
            addresses: vec![address.parse::<Ipv4Cidr>().expect("an address")],
            up: true,
        };
        let interfaces = vec![interface(0, "192.0.2.1/24"), interface(1, "198.51.100.1/24")];
        let tables = Tables::new(rib.build().expect("memory"), interfaces, ForwardConfig::default());
        let mut destinations = Stream::Inside.addresses(routes, 4 * batches * BATCH, seed);
        // Blocks that are not plain unicast are not forwarded.
        destinations.retain(|destination| !matches!(destination.octets()[0], 0 | 127 | 224..));
        destinations.truncate(batches * BATCH);
        let frames: Vec<_> = destinations.into_iter().map(frame).collect();
        let pool = PacketPool::leak_for_tests(frames.len());
        let packets = frames.iter().map(|_| pool.alloc().expect("a buffer for each frame")).collect();
        let mut made = Self { tables, packets, frames };
        made.receive();
        made
    }

    /// Puts all frames into the buffers as they arrived.
    pub fn receive(&mut self) {
        for (packet, frame) in self.packets.iter_mut().zip(&self.frames) {
            packet.reset();
            packet.append(frame).expect("a frame fits its buffer");
            packet.set_received(FRAME, Arrival::interface(0, LinkCast::Unicast)).expect("the window is that long");
        }
    }

    /// Returns how many frames there are.
    #[must_use]
    pub fn frames(&self) -> usize {
        self.frames.len()
    }

    /// Forwards all frames, a batch at a time, and returns how many are ready to be sent.
    #[inline(never)]
    pub fn forward(&mut self) -> usize {
        let mut sent = 0;
        for packets in self.packets.as_chunks_mut::<BATCH>().0 {
            sent += forward_batch(packets, &self.tables);
        }
        sent
    }
}

/// Forwards a batch in runs, as the router does: plain packets up to the first that is not, which then takes the long way.
#[inline]
fn forward_batch(mut packets: &mut [PacketBuf], tables: &Tables) -> usize {
    const PORT: PortAddress = PortAddress::new(OURS);
    let mut plains = [Plain::NONE; BATCH];
    let mut sent = 0;
    while !packets.is_empty() {
        let (mut judged, mut run) = (Judged::new(), 0);
        for (packet, place) in packets.iter().zip(&mut plains) {
            let Some(plain) = Plain::of::<false>(packet, PORT, tables, &mut judged) else { break };
            *place = plain;
            run += 1;
        }
        let plains = plains.get_mut(..run).unwrap_or_default();
        tables.fib().lookup_all(plains);
        let (first, rest) = packets.split_at_mut(run);
        for (packet, &mut plain) in first.iter_mut().zip(plains) {
            let adjacency = tables.adjacency(plain.hop);
            if u32::from(plain.total_len) <= adjacency.longest() {
                adjacency.rewrite(THEIRS).apply(packet, plain);
                sent += 1;
            } else {
                sent += the_long_way(packet, tables);
            }
        }
        packets = rest;
        if let Some((odd, rest)) = core::mem::take(&mut packets).split_first_mut() {
            sent += the_long_way(odd, tables);
            packets = rest;
        }
    }
    sent
}

#[cold]
fn the_long_way(packet: &mut PacketBuf, tables: &Tables) -> usize {
    usize::from(matches!(input(packet, IfIndex(0), tables), Verdict::Transmit { .. }))
}

/// Makes the shortest frame to `destination`.
fn frame(destination: Ipv4Addr) -> [u8; FRAME] {
    let mut frame = [0; FRAME];
    let header = Ipv4Header {
        tos: 0,
        total_len: 46,
        ident: 1,
        dont_fragment: false,
        more_fragments: false,
        fragment_offset: 0,
        ttl: 64,
        protocol: 17,
        source: Ipv4Addr::new(192, 0, 2, 2),
        destination,
    };
    let ethernet = EthernetHeader { destination: OURS, source: THEIRS, ether_type: EtherType::IPV4 };
    frame[..14].copy_from_slice(&ethernet.to_bytes());
    let mut bytes = [0; 20];
    header.emit(&mut bytes);
    frame[14..34].copy_from_slice(&bytes);
    frame
}
