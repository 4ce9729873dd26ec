//! Forwarding: what goes out, and what is counted.

use std::sync::atomic::Ordering;

use ifnet::DropReason;
use wire::{EtherType, Ethernet, EthernetHeader, Icmpv4, Ipv4, Ipv4Header, MacAddr};

use crate::support::{A, Bench, EM0, MAC_A, MAC_B, R0, good, number, udp};

#[test]
fn a_packet_is_forwarded_with_new_addresses_ttl_and_checksum_and_nothing_else() {
    let mut bench = Bench::warm();
    let sent = udp(&good(), 9);
    bench.receive(EM0, &sent);
    let out = bench.ports[1].take();
    assert_eq!(out.len(), 1);
    let ethernet = Ethernet::new_checked(&out[0]).unwrap();
    assert_eq!((ethernet.destination(), ethernet.source()), (MAC_B, MacAddr([2, 0, 0, 0, 1, 1])));
    assert_eq!(ethernet.ether_type(), EtherType::IPV4);
    assert_eq!(out[0][14..], udp(&Ipv4Header { ttl: 63, ..good() }, 9)[14..]);
    assert!(bench.ports[0].take().is_empty());
    assert_eq!(bench.assert_conserved().fates.forwarded, 1);
}

#[test]
fn rfc894_padding_is_not_forwarded() {
    let mut bench = Bench::warm();
    let mut padded = udp(&Ipv4Header { total_len: 32, ..good() }, 0);
    padded.resize(60, 0xee);
    bench.receive(EM0, &padded);
    assert_eq!(bench.ports[1].take()[0].len(), 14 + 32);
}

#[test]
fn a_pass_sends_each_interface_one_batch_in_order() {
    let mut bench = Bench::warm();
    let before = bench.ports[1].calls.load(Ordering::Relaxed);
    let frames: Vec<_> = (0..40).map(|n| udp(&good(), n)).collect();
    bench.receive_all(EM0, &frames);
    assert_eq!(bench.ports[1].calls.load(Ordering::Relaxed) - before, 1);
    let numbers: Vec<_> = bench.ports[1].take_ip().iter().map(|p| number(p)).collect();
    assert_eq!(numbers, (0..40).collect::<Vec<_>>());
}

#[test]
fn a_pass_longer_than_a_batch_loses_nothing_and_keeps_order() {
    let mut bench = Bench::warm();
    let frames: Vec<_> = (0..300).map(|n| udp(&good(), n)).collect();
    bench.receive_all(EM0, &frames);
    let numbers: Vec<_> = bench.ports[1].take_ip().iter().map(|p| number(p)).collect();
    assert_eq!(numbers, (0..300).collect::<Vec<_>>());
    assert_eq!(bench.assert_conserved().fates.forwarded, 300);
}

#[test]
fn a_full_ring_drops_the_rest_of_the_batch_with_its_reason() {
    let mut bench = Bench::warm();
    bench.ports[1].room.store(5, Ordering::Relaxed);
    let frames: Vec<_> = (0..20).map(|n| udp(&good(), n)).collect();
    bench.receive_all(EM0, &frames);
    let audit = bench.assert_conserved();
    assert_eq!((audit.fates.forwarded, audit.fates.dropped(DropReason::TxRingFull)), (5, 15));
}

#[test]
fn one_frame_too_long_does_not_take_the_others_with_it() {
    let mut bench = Bench::warm();
    bench.ports[1].longest.store(100, Ordering::Relaxed);
    let long = |n| udp(&Ipv4Header { total_len: 200, ..good() }, n);
    bench.receive_all(EM0, &[udp(&good(), 0), long(1), udp(&good(), 2), long(3), long(4), udp(&good(), 5)]);
    let numbers: Vec<_> = bench.ports[1].take_ip().iter().map(|p| number(p)).collect();
    assert_eq!(numbers, [0, 2, 5]);
    let audit = bench.assert_conserved();
    assert_eq!((audit.fates.forwarded, audit.fates.dropped(DropReason::TxTooLong)), (3, 3));
}

#[test]
fn rfc1812_5_3_1_an_expired_packet_is_reported_from_the_interface_it_came_by() {
    let mut bench = Bench::warm();
    let expired = udp(&Ipv4Header { ttl: 1, ..good() }, 0);
    bench.receive(EM0, &expired);
    assert!(bench.ports[1].take().is_empty());
    let sent = bench.ports[0].take();
    assert_eq!(Ethernet::new_checked(&sent[0]).unwrap().destination(), MAC_A);
    let ip = Ipv4::new_checked(&sent[0][14..]).unwrap();
    assert!(ip.is_intact());
    assert_eq!((ip.source(), ip.destination()), (R0, A));
    let error = Icmpv4::new_checked(ip.payload()).unwrap();
    assert!(error.is_intact());
    assert_eq!((error.kind(), error.code(), error.body()), (11, 0, &expired[14..]));
    let audit = bench.assert_conserved();
    assert_eq!(
        (audit.fates.dropped(DropReason::TtlExpired), audit.local_fates.forwarded),
        (1, 3),
        "two ARP replies, one error"
    );
}

#[test]
fn rfc1812_4_3_2_8_a_flood_of_expired_packets_gets_a_limited_number_of_errors() {
    let mut bench = Bench::warm();
    bench.router.sysctl_set("net.inet.icmp.icmplim", "20").unwrap();
    let expired: Vec<_> = (0..50).map(|n| udp(&Ipv4Header { ttl: 1, ..good() }, n)).collect();
    for _ in 0..4 {
        bench.receive_all(EM0, &expired);
    }
    let audit = bench.assert_conserved();
    let limited = audit.local_fates.dropped(DropReason::IcmpRateLimited);
    assert_eq!(audit.fates.dropped(DropReason::TtlExpired), 200);
    assert!(limited >= 180, "{limited} of 200 limited");
    assert_eq!(bench.ports[0].take().len() as u64 + limited, 200);
}

#[test]
fn rfc1191_4_and_rfc1812_5_2_5_too_big_is_reported_or_fragmented() {
    let mut bench = Bench::warm();
    let big = Ipv4Header { total_len: 1500, ..good() };
    bench.receive(EM0, &udp(&Ipv4Header { dont_fragment: true, ..big }, 0));
    let sent = bench.ports[0].take_ip();
    let error = Icmpv4::new_checked(&sent[0][20..]).unwrap();
    assert_eq!((error.kind(), error.code(), error.sequence()), (3, 4, 1400));

    bench.receive(EM0, &udp(&big, 0));
    let pieces = bench.ports[1].take_ip();
    let shape: Vec<_> = pieces.iter().map(|p| Ipv4::new_checked(p).unwrap()).collect();
    assert_eq!(
        shape.iter().map(|p| (p.fragment_offset(), p.more_fragments(), p.ttl())).collect::<Vec<_>>(),
        [(0, true, 63), (1376, false, 63)]
    );
    let payload: Vec<u8> = shape.iter().flat_map(|p| p.payload().to_vec()).collect();
    assert_eq!(payload, udp(&big, 0)[34..]);
    let audit = bench.assert_conserved();
    assert_eq!((audit.fates.forwarded, audit.fates.dropped(DropReason::TooBig)), (1, 1));
}

#[test]
fn rfc2644_a_directed_broadcast_goes_to_all_stations_where_allowed() {
    let mut bench = Bench::warm();
    let to_all = udp(&Ipv4Header { destination: "198.51.100.255".parse().unwrap(), ..good() }, 0);
    bench.receive(EM0, &to_all);
    assert_eq!(bench.dropped(DropReason::Ip4DirectedBroadcast), 1);
    bench.router.sysctl_set("net.inet.ip.directed_broadcast", "1").unwrap();
    bench.receive(EM0, &to_all);
    let sent = bench.ports[1].take();
    assert_eq!(Ethernet::new_checked(&sent[0]).unwrap().destination(), MacAddr::BROADCAST);
    bench.assert_conserved();
}

#[test]
fn frames_for_others_and_other_protocols_each_have_their_counter() {
    let mut bench = Bench::warm();
    let us = MacAddr([2, 0, 0, 0, 1, 0]);
    let with = |destination, source, ether_type| {
        let mut frame = udp(&good(), 0);
        frame[..14]
            .copy_from_slice(&EthernetHeader { destination, source, ether_type: EtherType(ether_type) }.to_bytes());
        frame
    };
    let group = MacAddr([1, 0, 0x5e, 0, 0, 5]);
    for (frame, reason) in [
        (with(MAC_B, MAC_A, 0x800), DropReason::EthOtherHost),
        (with(us, group, 0x800), DropReason::EthGroupSource),
        (with(us, MAC_A, 0x86dd), DropReason::EthIpv6),
        (with(us, MAC_A, 0x8100), DropReason::EthVlanUnknown),
        (with(us, MAC_A, 0x88cc), DropReason::EthUnknownType),
        (with(us, MAC_A, 0x0100), DropReason::EthLengthField),
        (with(MacAddr([1, 0x80, 0xc2, 0, 0, 0]), MAC_A, 0x26), DropReason::EthMulticast),
        (with(group, MAC_A, 0x800), DropReason::Ip4LinkBroadcast),
        (with(MacAddr::BROADCAST, MAC_A, 0x800), DropReason::Ip4LinkBroadcast),
        (udp(&good(), 0)[..13].to_vec(), DropReason::EthTooShort),
        (udp(&good(), 0)[..20].to_vec(), DropReason::Ip4TooShort),
    ] {
        let before = bench.dropped(reason);
        bench.receive(EM0, &frame);
        assert_eq!(bench.dropped(reason), before + 1, "{reason}");
    }
    assert!(bench.ports.iter().all(|port| port.take().is_empty()), "all of these are silent");
    bench.assert_conserved();
}

#[test]
fn a_card_that_vouches_for_checksums_is_believed_for_plain_packets_and_for_nothing_else() {
    let mut wrong = udp(&good(), 1);
    wrong[24] ^= 1;
    let mut options = udp(&good(), 2);
    options[14] = 0x46;
    let frames = [udp(&good(), 0), wrong.clone(), options];
    let mut bench = Bench::warm();
    bench.receive_vouched(EM0, &frames);
    let out = bench.ports[1].take_ip();
    assert_eq!(out.len(), 2, "the one with options is judged, and found wrong");
    // A checksum that was wrong by so much stays so: the next router sees it.
    assert_eq!((out[0][10].abs_diff(out[1][10]), &out[0][11..20]), (1, &out[1][11..20]));
    assert_eq!(bench.assert_conserved().fates.dropped(DropReason::Ip4BadChecksum), 1);
    bench.receive_all(EM0, &[wrong]);
    assert_eq!(bench.ports[1].take_ip().len(), 0);
}

#[test]
fn a_device_is_told_once_of_all_that_a_long_pass_sends_and_nothing_stays_behind() {
    for last_is_full in [true, false] {
        let mut bench = Bench::warm();
        let frames: Vec<_> = (0..200).map(|n| udp(&good(), n)).collect();
        bench.receive_falling_behind(EM0, &frames, last_is_full);
        let numbers: Vec<_> = bench.ports[1].take_ip().iter().map(|packet| number(packet)).collect();
        assert_eq!(numbers, (0..200).collect::<Vec<_>>());
        let (calls, doorbells) = (&bench.ports[1].calls, &bench.ports[1].doorbells);
        assert!(calls.load(Ordering::Relaxed) >= 4);
        // The last batch tells of those before it, if it is known to be the last.
        assert_eq!(doorbells.load(Ordering::Relaxed), usize::from(last_is_full));
        assert_eq!(bench.assert_conserved().fates.forwarded, 200);
    }
}
