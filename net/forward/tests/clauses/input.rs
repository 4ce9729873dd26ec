//! Forwarding decisions, one test per clause: rows 1 to 5 and 9 to 16 of the requirement table, and 22 to 24.

use std::net::Ipv4Addr;

use crate::support::{
    A, B, EM0, EM1, EM2, R0, R1, buffer, frame, frame_with_options, good, interfaces, ip, judge, judge_header, repair,
    rib, tables, tables_with,
};
use forward::{ForwardConfig, IcmpErrorKind, LocalKind, Tables, Verdict, decide, input};
use ifnet::{DropReason, IfIndex};
use pktbuf::{LinkCast, PacketPool};
use wire::{Ipv4, Ipv4Header};

const TO_B: Verdict = Verdict::Transmit { out: EM1, next_hop: B };

/// Judges a good frame after `change`, and checks that a dropped one was left as it was.
fn dropped_after(change: impl Fn(&mut Vec<u8>)) -> DropReason {
    let mut changed = frame(&good());
    change(&mut changed);
    let before = changed.clone();
    match judge(&mut changed, &tables()) {
        Verdict::Drop(reason) => {
            assert_eq!(changed, before);
            reason
        }
        other => panic!("{other:?}"),
    }
}

fn from_to(source: &str, destination: &str) -> Ipv4Header {
    Ipv4Header { source: ip(source), destination: ip(destination), ..good() }
}

#[test]
fn a_good_packet_is_forwarded_to_its_neighbour() {
    assert_eq!(judge_header(&good(), &tables()), TO_B);
}

#[test]
fn rfc1812_5_2_2_1_fewer_than_20_octets_are_dropped_silently() {
    assert_eq!(dropped_after(|f| f.truncate(14 + 19)), DropReason::Ip4TooShort);
    assert_eq!(dropped_after(|f| f.truncate(13)), DropReason::EthTooShort);
}

#[test]
fn rfc1812_5_2_2_2_bad_header_checksum_is_dropped_silently() {
    assert_eq!(dropped_after(|f| f[24] ^= 1), DropReason::Ip4BadChecksum);
    assert_eq!(dropped_after(|f| f[22] -= 1), DropReason::Ip4BadChecksum);
}

#[test]
fn rfc1812_5_2_2_3_version_other_than_4_is_dropped_silently() {
    let version = |v: u8| move |f: &mut Vec<u8>| (f[14] = v << 4 | 5, repair(f)).1;
    assert_eq!(dropped_after(version(5)), DropReason::Ip4BadVersion);
    assert_eq!(dropped_after(version(6)), DropReason::Ip4BadVersion);
}

#[test]
fn rfc1812_5_2_2_4_header_length_under_5_words_is_dropped_silently() {
    assert_eq!(dropped_after(|f| f[14] = 0x44), DropReason::Ip4BadHeaderLength);
    assert_eq!(dropped_after(|f| (f[14] = 0x4f, f.truncate(14 + 59)).1), DropReason::Ip4BadHeaderLength);
}

#[test]
fn rfc1812_5_2_2_5_total_length_under_header_length_is_dropped_silently() {
    assert_eq!(dropped_after(|f| (f[16..18].fill(0), repair(f)).1), DropReason::Ip4BadTotalLength);
}

#[test]
fn rfc1812_5_2_2_total_length_beyond_the_frame_is_dropped_silently() {
    assert_eq!(dropped_after(|f| (f[17] += 1, repair(f)).1), DropReason::Ip4Truncated);
}

#[test]
fn rfc894_padding_is_cut_off_before_forwarding() {
    let mut padded = frame(&Ipv4Header { total_len: 28, ..good() });
    padded.resize(60, 0xee);
    let mut packet = buffer(PacketPool::leak_for_tests(4), &padded);
    assert_eq!(input(&mut packet, EM0, &tables()), TO_B);
    assert_eq!(packet.len(), 14 + 28);
    assert_eq!(Ipv4::new_checked(&packet.bytes()[14..]).unwrap().total_len(), 28);
}

#[test]
fn rfc1812_5_2_4_3_the_longest_prefix_wins() {
    let to = |destination| judge_header(&from_to("192.0.2.2", destination), &tables());
    let transmit = |out, next_hop| Verdict::Transmit { out, next_hop: ip(next_hop) };
    assert_eq!(to("10.9.9.9"), transmit(EM1, "198.51.100.9"));
    assert_eq!(to("10.1.9.9"), transmit(EM2, "203.0.113.1"));
    assert_eq!(to("10.1.2.3"), transmit(EM1, "198.51.100.8"), "host routes");
    assert_eq!(to("198.51.100.77"), transmit(EM1, "198.51.100.77"), "neighbours");
}

#[test]
fn rfc3021_2_1_both_addresses_of_a_31_bit_network_are_hosts() {
    let to = |destination| judge_header(&from_to("192.0.2.2", destination), &tables());
    assert_eq!(to("203.0.113.1"), Verdict::Transmit { out: EM2, next_hop: ip("203.0.113.1") });
    assert_eq!(to("203.0.113.0"), Verdict::Deliver(LocalKind::Unicast));
}

#[test]
fn rfc1812_5_3_1_ttl_is_decremented_and_the_checksum_stays_right() {
    for ttl in 2..=255 {
        let mut sent = frame(&Ipv4Header { ttl, ..good() });
        assert_eq!(judge(&mut sent, &tables()), TO_B);
        assert_eq!(sent, frame(&Ipv4Header { ttl: ttl - 1, ..good() }), "nothing but TTL and checksum changes");
    }
}

#[test]
fn rfc1812_5_3_1_ttl_one_yields_time_exceeded_and_no_transmit() {
    for ttl in [0, 1] {
        let mut expired = frame(&Ipv4Header { ttl, ..good() });
        let before = expired.clone();
        let verdict = Verdict::IcmpError { kind: IcmpErrorKind::TimeExceeded, reason: DropReason::TtlExpired };
        assert_eq!(judge(&mut expired, &tables()), verdict);
        assert_eq!(expired, before, "the quotation is what arrived");
    }
}

#[test]
fn rfc1812_5_3_1_packets_for_the_router_need_no_ttl() {
    for (ttl, destination) in [(0, R0), (1, R0), (1, R1)] {
        let header = Ipv4Header { ttl, destination, ..good() };
        assert_eq!(judge_header(&header, &tables()), Verdict::Deliver(LocalKind::Unicast));
    }
}

#[test]
fn rfc1812_5_3_4_unicast_in_a_link_layer_broadcast_is_dropped() {
    for cast in [LinkCast::Broadcast, LinkCast::Multicast] {
        for destination in [B, R0, ip("10.9.9.9"), ip("198.51.100.255")] {
            let mut heard = frame(&Ipv4Header { destination, ..good() });
            let (verdict, _) = decide(&mut heard, cast, EM0, &tables());
            assert_eq!(verdict, Verdict::Drop(DropReason::Ip4LinkBroadcast), "{destination}");
        }
    }
}

#[test]
fn rfc1812_5_3_5_1_limited_broadcast_is_heard_and_never_forwarded() {
    let config = ForwardConfig { directed_broadcast: true, allow_net240: true, ..ForwardConfig::default() };
    for tables in [tables(), tables_with(config)] {
        for cast in [LinkCast::Unicast, LinkCast::Broadcast] {
            let mut heard = frame(&from_to("192.0.2.2", "255.255.255.255"));
            assert_eq!(decide(&mut heard, cast, EM0, &tables).0, Verdict::Deliver(LocalKind::Broadcast));
        }
    }
}

#[test]
fn rfc2644_2_directed_broadcast_is_dropped_unless_switched_on() {
    let header = from_to("192.0.2.2", "198.51.100.255");
    assert_eq!(judge_header(&header, &tables()), Verdict::Drop(DropReason::Ip4DirectedBroadcast));
    let on = tables_with(ForwardConfig { directed_broadcast: true, ..ForwardConfig::default() });
    assert_eq!(judge_header(&header, &on), Verdict::TransmitBroadcast { out: EM1 });
    let old_style = from_to("192.0.2.2", "198.51.100.0");
    assert_eq!(judge_header(&old_style, &tables()), Verdict::Drop(DropReason::Ip4DirectedBroadcast));
}

#[test]
fn rfc1812_5_3_5_2_a_broadcast_on_its_own_link_is_heard() {
    for cast in [LinkCast::Unicast, LinkCast::Broadcast] {
        let mut heard = frame(&from_to("192.0.2.2", "192.0.2.255"));
        assert_eq!(decide(&mut heard, cast, EM0, &tables()).0, Verdict::Deliver(LocalKind::Broadcast));
    }
}

#[test]
fn rfc1812_5_3_7_martian_sources_are_dropped_each_with_its_counter() {
    for (source, reason) in [
        ("0.0.0.0", DropReason::MartianSourceThisNetwork),
        ("0.1.2.3", DropReason::MartianSourceThisNetwork),
        ("127.0.0.1", DropReason::MartianSourceLoopback),
        ("224.0.0.1", DropReason::MartianSourceMulticast),
        ("239.255.255.255", DropReason::MartianSourceMulticast),
        ("240.0.0.1", DropReason::MartianSourceReserved),
        ("255.255.255.255", DropReason::MartianSourceBroadcast),
        ("192.0.2.255", DropReason::MartianSourceBroadcast),
        ("198.51.100.0", DropReason::MartianSourceBroadcast),
        ("192.0.2.1", DropReason::MartianSourceOwn),
        ("198.51.100.1", DropReason::MartianSourceOwn),
    ] {
        for destination in ["198.51.100.2", "192.0.2.1", "10.9.9.9"] {
            let verdict = judge_header(&from_to(source, destination), &tables());
            assert_eq!(verdict, Verdict::Drop(reason), "{source} to {destination}");
        }
    }
}

#[test]
fn rfc1812_5_3_7_martian_destinations_are_dropped_each_with_its_counter() {
    for (destination, reason) in [
        ("0.0.0.0", DropReason::MartianDestinationThisNetwork),
        ("0.255.0.1", DropReason::MartianDestinationThisNetwork),
        ("127.0.0.1", DropReason::MartianDestinationLoopback),
        ("240.0.0.1", DropReason::MartianDestinationReserved),
        ("255.255.255.254", DropReason::MartianDestinationReserved),
        ("224.0.0.5", DropReason::Ip4Multicast),
    ] {
        let verdict = judge_header(&from_to("192.0.2.2", destination), &tables());
        assert_eq!(verdict, Verdict::Drop(reason), "{destination}");
    }
}

#[test]
fn rfc6890_2_2_2_class_e_passes_where_it_is_allowed() {
    let mut rib = rib();
    let everywhere = fib::Route {
        prefix: wire::Ipv4Prefix::DEFAULT,
        source: fib::RouteSource::Static,
        next_hop: fib::NextHop::gateway(1, B),
    };
    rib.insert(everywhere).unwrap();
    let config = ForwardConfig { allow_net240: true, ..ForwardConfig::default() };
    let tables = Tables::new(rib.build().unwrap(), interfaces(), config);
    for (source, destination) in [("240.0.0.1", "198.51.100.2"), ("192.0.2.2", "241.0.0.1"), ("250.0.0.1", "241.0.0.1")]
    {
        assert_eq!(judge_header(&from_to(source, destination), &tables), TO_B);
    }
    let mut heard = frame(&from_to("240.0.0.1", "198.51.100.2"));
    let verdict = decide(&mut heard, LinkCast::Broadcast, EM0, &tables).0;
    assert_eq!(verdict, Verdict::Drop(DropReason::Ip4LinkBroadcast), "the later tests still apply");
}

#[test]
fn rfc1812_5_3_7_a_station_asking_for_its_address_is_no_martian() {
    let mut asking = frame(&from_to("0.0.0.0", "255.255.255.255"));
    let verdict = decide(&mut asking, LinkCast::Broadcast, EM0, &tables()).0;
    assert_eq!(verdict, Verdict::Deliver(LocalKind::Broadcast));
}

#[test]
fn rfc3927_link_local_destinations_are_forwarded_if_routed() {
    let verdict = judge_header(&from_to("192.0.2.2", "169.254.1.1"), &tables());
    assert_eq!(verdict, Verdict::IcmpError { kind: IcmpErrorKind::NetUnreachable, reason: DropReason::NoRoute });
}

#[test]
fn rfc1812_5_2_7_1_no_route_is_net_unreachable_and_a_refusing_route_host_unreachable() {
    let to = |destination| judge_header(&from_to("192.0.2.2", destination), &tables());
    assert_eq!(
        to("172.16.0.1"),
        Verdict::IcmpError { kind: IcmpErrorKind::NetUnreachable, reason: DropReason::NoRoute }
    );
    let refused = Verdict::IcmpError { kind: IcmpErrorKind::HostUnreachable, reason: DropReason::RouteUnreachable };
    assert_eq!(to("10.67.1.1"), refused);
    assert_eq!(to("10.66.1.1"), Verdict::Drop(DropReason::RouteBlackhole));
}

#[test]
fn rfc1812_5_3_12_3_a_link_that_is_down_is_net_unreachable() {
    let mut interfaces = interfaces();
    interfaces[1].up = false;
    let tables = Tables::new(rib().build().unwrap(), interfaces, ForwardConfig::default());
    let verdict = Verdict::IcmpError { kind: IcmpErrorKind::NetUnreachable, reason: DropReason::EgressDown };
    assert_eq!(judge_header(&good(), &tables), verdict);
}

#[test]
fn rfc1812_2_2_8_1_a_host_forwards_nothing_and_reports_nothing() {
    let off = tables_with(ForwardConfig { forwarding: false, ..ForwardConfig::default() });
    for header in
        [good(), Ipv4Header { ttl: 1, ..good() }, from_to("192.0.2.2", "172.16.0.1"), from_to("192.0.2.2", "10.67.0.1")]
    {
        assert_eq!(judge_header(&header, &off), Verdict::Drop(DropReason::ForwardingOff));
    }
    assert_eq!(judge_header(&from_to("192.0.2.2", "192.0.2.1"), &off), Verdict::Deliver(LocalKind::Unicast));
}

#[test]
fn rfc1191_4_too_big_with_df_reports_the_next_hop_mtu() {
    let header = |total_len| Ipv4Header { total_len, dont_fragment: true, ..good() };
    assert_eq!(judge_header(&header(1400), &tables()), TO_B);
    let verdict =
        Verdict::IcmpError { kind: IcmpErrorKind::FragmentationNeeded { mtu: 1400 }, reason: DropReason::TooBig };
    let mut big = frame(&header(1401));
    assert_eq!(judge(&mut big, &tables()), verdict);
    assert_eq!(big, frame(&header(1401)), "the quotation is what arrived");
}

#[test]
fn rfc1812_5_2_5_too_big_without_df_is_fragmented_after_its_ttl_is_taken() {
    let mut big = frame(&Ipv4Header { total_len: 1401, ..good() });
    assert_eq!(judge(&mut big, &tables()), Verdict::Fragment { out: EM1, next_hop: B, mtu: 1400 });
    assert_eq!(big, frame(&Ipv4Header { total_len: 1401, ttl: 63, ..good() }));
}

#[test]
fn rfc1812_5_3_13_1_unknown_options_are_ignored_and_forwarded() {
    for options in [&[0x55, 4, 1, 2][..], &[148, 4, 0, 0], &[1, 1, 1, 0], &[7, 7, 4, 0, 0, 0, 0, 0]] {
        let mut sent = frame_with_options(&good(), options);
        assert_eq!(judge(&mut sent, &tables()), TO_B);
        assert_eq!(sent, frame_with_options(&Ipv4Header { ttl: 63, ..good() }, options));
    }
}

#[test]
fn rfc7126_4_3_source_routes_are_refused_with_3_5() {
    for kind in [131, 137] {
        let mut routed = frame_with_options(&good(), &[1, kind, 7, 4, 10, 1, 2, 3]);
        let verdict = Verdict::IcmpError { kind: IcmpErrorKind::SourceRouteFailed, reason: DropReason::Ip4SourceRoute };
        assert_eq!(judge(&mut routed, &tables()), verdict);
    }
}

#[test]
fn rfc1812_5_3_13_malformed_options_are_a_parameter_problem_at_the_wrong_octet() {
    for (options, pointer) in [([1, 7, 4, 0], 22), ([7, 1, 0, 0], 21), ([1, 1, 1, 7], 23)] {
        let mut malformed = frame_with_options(&good(), &options);
        let kind = IcmpErrorKind::ParameterProblem { pointer };
        assert_eq!(judge(&mut malformed, &tables()), Verdict::IcmpError { kind, reason: DropReason::Ip4BadOption });
    }
}

#[test]
fn rfc2474_and_rfc3168_each_of_256_tos_values_passes_unchanged() {
    for tos in 0..=255 {
        let mut sent = frame(&Ipv4Header { tos, ..good() });
        assert_eq!(judge(&mut sent, &tables()), TO_B);
        assert_eq!(sent[15], tos);
    }
}

#[test]
fn an_interface_that_does_not_exist_drops_instead_of_panicking() {
    let mut rib = rib();
    let nowhere = fib::Route {
        prefix: "172.16.0.0/12".parse().unwrap(),
        source: fib::RouteSource::Static,
        next_hop: fib::NextHop::gateway(77, Ipv4Addr::new(192, 0, 2, 9)),
    };
    rib.insert(nowhere).unwrap();
    let tables = Tables::new(rib.build().unwrap(), interfaces(), ForwardConfig::default());
    let verdict = judge_header(&from_to("192.0.2.2", "172.16.0.1"), &tables);
    assert!(matches!(verdict, Verdict::IcmpError { reason: DropReason::EgressDown, .. }), "{verdict:?}");
    assert_eq!(
        decide(&mut frame(&from_to("192.0.2.2", "192.0.2.1")), LinkCast::Unicast, IfIndex(99), &tables).0,
        Verdict::Deliver(LocalKind::Unicast)
    );
    assert_eq!(tables.source_address(IfIndex(99), A), Some(R0));
}
