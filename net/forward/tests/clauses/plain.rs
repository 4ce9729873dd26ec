//! The plain way is the long way: whatever it takes, `decide` would send alike, and what it rewrites is the same octet for octet.

use forward::{ForwardConfig, Judged, Plain, PortAddress, Tables, Verdict, decide};
use ifnet::IfIndex;
use pktbuf::{LinkCast, PacketPool};
use proptest::prelude::*;
use wire::{Ipv4Header, MacAddr};

use crate::support::{EM1, frame, frame_with_options, good, interfaces, ip, repair, tables, tables_with};

const NEIGHBOUR: MacAddr = MacAddr([2, 9, 8, 7, 6, 5]);

/// Sends a frame to em0 the plain way. Returns through which interface, to whom, and as what; `None` if it is not taken.
fn send(frame: &[u8], tables: &Tables) -> Option<(IfIndex, std::net::Ipv4Addr, Vec<u8>)> {
    let port = PortAddress::new(interfaces()[0].mac);
    let mut packet = PacketPool::leak_for_tests(1).alloc()?;
    packet.append(frame)?;
    let plain = Plain::of::<false>(&packet, port, tables, &mut Judged::new())?;
    let adjacency = tables.adjacency(tables.fib().lookup_index(plain.destination));
    if u32::from(plain.total_len) > adjacency.longest() {
        return None;
    }
    assert_eq!(packet.bytes(), frame, "looking changes nothing");
    adjacency.rewrite(NEIGHBOUR).apply(&mut packet, plain);
    Some((IfIndex(adjacency.out()), adjacency.neighbour(plain.destination), packet.bytes().to_vec()))
}

/// The same the long way, for a frame that its link layer sent to us alone.
fn send_long(frame: &[u8], tables: &Tables) -> Option<(IfIndex, std::net::Ipv4Addr, Vec<u8>)> {
    let mut sent = frame.to_vec();
    let (verdict, len) = decide(&mut sent, LinkCast::Unicast, IfIndex(0), tables);
    let Verdict::Transmit { out, next_hop } = verdict else { return None };
    sent[..6].copy_from_slice(&NEIGHBOUR.octets());
    sent[6..12].copy_from_slice(&tables.interface(out)?.mac.octets());
    sent.truncate(len);
    Some((out, next_hop, sent))
}

#[test]
fn ordinary_packets_are_plain_and_go_where_the_long_way_sends_them() {
    let tables = tables();
    for destination in ["198.51.100.2", "10.2.0.1", "10.1.2.3", "203.0.113.1", "10.1.0.1"] {
        let frame = frame(&Ipv4Header { destination: ip(destination), ..good() });
        let sent = send(&frame, &tables);
        assert!(sent.is_some(), "{destination}");
        assert_eq!(sent, send_long(&frame, &tables), "{destination}");
    }
    let padded = [frame(&Ipv4Header { total_len: 20, ..good() }), vec![0xee; 26]].concat();
    assert_eq!(send(&padded, &tables).map(|(_, _, sent)| sent.len()), Some(34), "padding goes");
}

#[test]
fn a_pair_that_was_judged_good_vouches_for_itself_only() {
    let (tables, port) = (tables(), PortAddress::new(interfaces()[0].mac));
    let mut judged = Judged::new();
    let mut look = |header: &Ipv4Header| {
        let mut packet = PacketPool::leak_for_tests(1).alloc().unwrap();
        packet.append(&frame(header)).unwrap();
        Plain::of::<false>(&packet, port, &tables, &mut judged).is_some()
    };
    let martian = Ipv4Header { source: ip("127.0.0.1"), ..good() };
    assert!(
        !look(&Ipv4Header { source: ip("255.255.255.255"), destination: ip("255.255.255.255"), ..good() }),
        "no pair"
    );
    assert!(look(&good()) && look(&good()) && !look(&martian) && !look(&martian) && look(&good()));
    assert!(!look(&Ipv4Header { source: ip("192.0.2.1"), ..good() }), "one of ours");
    assert!(!look(&Ipv4Header { destination: ip("224.0.0.1"), ..good() }));
    assert!(!look(&Ipv4Header { source: ip("0.0.0.0"), destination: ip("0.0.0.0"), ..good() }), "no pair is none");
}

#[test]
fn what_needs_a_second_thought_is_not_taken() {
    let no_forwarding = ForwardConfig { forwarding: false, ..ForwardConfig::default() };
    let to = |destination: &str| frame(&Ipv4Header { destination: ip(destination), ..good() });
    let from = |source: &str| frame(&Ipv4Header { source: ip(source), ..good() });
    let flipped = |octet: usize, bit: u8| {
        let mut frame = frame(&good());
        frame[octet] ^= bit;
        frame
    };
    let headers = [
        ("short of life", frame(&Ipv4Header { ttl: 1, ..good() })),
        ("dead", frame(&Ipv4Header { ttl: 0, ..good() })),
        ("too long for em1", frame(&Ipv4Header { total_len: 1401, ..good() })),
        ("options", frame_with_options(&good(), &[1, 1, 1, 0])),
        ("for us", to("198.51.100.1")),
        ("for us, at the other port", to("192.0.2.1")),
        ("directed broadcast", to("198.51.100.255")),
        ("no route", to("8.8.8.8")),
        ("blackhole", to("10.66.0.1")),
        ("refused", to("10.67.0.1")),
        ("multicast", to("224.0.0.5")),
        ("loopback", to("127.0.0.1")),
        ("from us", from("198.51.100.1")),
        ("from a broadcast address", from("192.0.2.255")),
        ("from nowhere", from("0.1.2.3")),
        ("from loopback", from("127.0.0.1")),
        ("bad checksum", flipped(24, 1)),
        ("for another station", flipped(5, 0x80)),
        ("for a group", flipped(0, 1)),
        ("from a group", flipped(6, 1)),
        ("another type", flipped(13, 1)),
        ("version 6", flipped(14, 0x20)),
        ("cut short", {
            let mut cut = frame(&good());
            cut.truncate(100);
            cut
        }),
        ("no frame", vec![2, 0, 0, 0, 0, 1]),
    ];
    for (why, frame) in headers {
        assert_eq!(send(&frame, &tables()), None, "{why}");
    }
    assert_eq!(send(&frame(&good()), &tables_with(no_forwarding)), None);
    let mut down = interfaces();
    down[EM1.as_usize()].up = false;
    let tables = Tables::new(crate::support::rib().build().unwrap(), down, ForwardConfig::default());
    assert_eq!(send(&frame(&good()), &tables), None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_taken_goes_as_it_would_the_long_way(
        source: u32, destination in prop_oneof![any::<u32>(), 0x0a00_0000..0x0b00_0000_u32, 0xc633_6400..0xc633_6500_u32],
        ttl: u8, total_len in 20..1500_u16, df: bool, net240: bool, flip in proptest::option::of(0..300_usize), mend: bool,
    ) {
        let header = Ipv4Header {
            source: source.into(), destination: destination.into(), ttl, total_len, dont_fragment: df, ..good()
        };
        let mut frame = frame(&header);
        if let Some(bit) = flip {
            let octets = frame.len();
            frame[bit / 8 % octets] ^= 1 << (bit % 8);
            if mend && frame[14] & 15 >= 5 && octets >= 14 + usize::from(frame[14] & 15) * 4 {
                repair(&mut frame);
            }
        }
        let tables = tables_with(ForwardConfig { allow_net240: net240, ..ForwardConfig::default() });
        if let Some(sent) = send(&frame, &tables) {
            prop_assert_eq!(Some(sent), send_long(&frame, &tables));
        }
    }
}
