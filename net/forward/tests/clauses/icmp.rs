//! Errors and echo: rows 9, 10 and 23 of the requirement table.

use crate::support::{A, EM0, EM1, EM2, R0, buffer, frame, frame_with_options, good, ip, tables};
use forward::{
    IcmpErrorKind, LocalKind,
    icmp::{self, Echo},
    local::{Delivery, deliver},
};
use ifnet::DropReason;
use pktbuf::{LinkCast, PacketPool};
use wire::{Icmpv4, Ipv4, Ipv4Header, UdpHeader, icmpv4::Message};

fn packet(header: &Ipv4Header) -> Vec<u8> {
    frame(header).split_off(14)
}

/// A packet with an ICMP message of the given type.
fn icmp_packet(kind: u8, header: Ipv4Header) -> Vec<u8> {
    let mut packet = packet(&Ipv4Header { protocol: 1, ..header });
    packet[20] = kind;
    packet
}

fn echo_request(header: &Ipv4Header, options: &[u8]) -> Vec<u8> {
    let mut frame = frame_with_options(&Ipv4Header { protocol: 1, ..*header }, options);
    Message::EchoRequest { ident: 0x1234, sequence: 5 }.emit(&mut frame[34 + options.len()..]).unwrap();
    frame
}

#[test]
fn rfc1812_4_3_2_7_errors_are_sent_about_ordinary_packets() {
    let tables = tables();
    assert!(icmp::may_answer(&packet(&good()), LinkCast::Unicast, &tables));
    assert!(icmp::may_answer(&icmp_packet(8, good()), LinkCast::Unicast, &tables), "queries");
    assert!(icmp::may_answer(&icmp_packet(0, good()), LinkCast::Unicast, &tables), "replies");
    let first = Ipv4Header { more_fragments: true, ..good() };
    assert!(icmp::may_answer(&packet(&first), LinkCast::Unicast, &tables), "first fragments");
    let to_us = Ipv4Header { destination: R0, ..good() };
    assert!(icmp::may_answer(&packet(&to_us), LinkCast::Unicast, &tables));
}

#[test]
fn rfc1812_4_3_2_7_no_error_about_an_error() {
    for kind in [3, 4, 5, 11, 12, 77] {
        assert!(!icmp::may_answer(&icmp_packet(kind, good()), LinkCast::Unicast, &tables()), "type {kind}");
    }
    let empty = Ipv4Header { protocol: 1, total_len: 20, ..good() };
    assert!(!icmp::may_answer(&packet(&empty), LinkCast::Unicast, &tables()));
}

#[test]
fn rfc1812_4_3_2_7_no_error_about_broadcast_or_multicast_of_either_layer() {
    for destination in ["255.255.255.255", "192.0.2.255", "192.0.2.0", "198.51.100.255", "224.0.0.1", "239.1.1.1"] {
        let header = Ipv4Header { destination: ip(destination), ..good() };
        assert!(!icmp::may_answer(&packet(&header), LinkCast::Unicast, &tables()), "{destination}");
    }
    for cast in [LinkCast::Broadcast, LinkCast::Multicast, LinkCast::OtherHost] {
        assert!(!icmp::may_answer(&packet(&good()), cast, &tables()));
    }
}

#[test]
fn rfc1812_4_3_2_7_no_error_about_later_fragments() {
    let header = Ipv4Header { fragment_offset: 8, ..good() };
    assert!(!icmp::may_answer(&packet(&header), LinkCast::Unicast, &tables()));
}

#[test]
fn rfc1812_4_3_2_7_no_error_to_a_source_that_is_no_single_host() {
    for source in
        ["0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.2.255", "192.0.2.1"]
    {
        let header = Ipv4Header { source: ip(source), ..good() };
        assert!(!icmp::may_answer(&packet(&header), LinkCast::Unicast, &tables()), "{source}");
    }
}

fn error_about(offending: &[u8], kind: IcmpErrorKind) -> Vec<u8> {
    let mut out = PacketPool::leak_for_tests(2).alloc().unwrap();
    icmp::build_error(kind, offending, R0, 64, &mut out).unwrap();
    out.bytes()[14..].to_vec()
}

#[test]
fn rfc1812_4_3_2_3_an_error_quotes_as_much_as_576_octets_hold() {
    for (len, quoted) in [(20, 20), (28, 28), (548, 548), (549, 548), (1500, 548)] {
        let offending = packet(&Ipv4Header { total_len: len, ..good() });
        let error = error_about(&offending, IcmpErrorKind::TimeExceeded);
        let ip = Ipv4::new_checked(&error).unwrap();
        assert!(ip.is_intact() && ip.total_len() <= 576);
        assert_eq!((ip.source(), ip.destination(), ip.protocol(), ip.ttl()), (R0, A, 1, 64));
        let message = Icmpv4::new_checked(ip.payload()).unwrap();
        assert!(message.is_intact());
        assert_eq!((message.kind(), message.code(), message.rest_of_header()), (11, 0, 0));
        assert_eq!(message.body(), &offending[..quoted]);
    }
}

#[test]
fn link_padding_is_not_quoted() {
    let mut padded = packet(&Ipv4Header { total_len: 28, ..good() });
    padded.resize(46, 0xee);
    let error = error_about(&padded, IcmpErrorKind::TimeExceeded);
    assert_eq!(Ipv4::new_checked(&error).unwrap().total_len(), 20 + 8 + 28);
}

#[test]
fn rfc1812_4_3_2_5_errors_have_precedence_6() {
    let error = error_about(&packet(&Ipv4Header { tos: 0x10, ..good() }), IcmpErrorKind::TimeExceeded);
    assert_eq!(Ipv4::new_checked(&error).unwrap().tos() >> 5, 6);
}

#[test]
fn each_error_has_its_type_code_and_parameter() {
    for (kind, expected) in [
        (IcmpErrorKind::NetUnreachable, (3, 0, 0)),
        (IcmpErrorKind::HostUnreachable, (3, 1, 0)),
        (IcmpErrorKind::ProtocolUnreachable, (3, 2, 0)),
        (IcmpErrorKind::PortUnreachable, (3, 3, 0)),
        (IcmpErrorKind::FragmentationNeeded { mtu: 1400 }, (3, 4, 1400)),
        (IcmpErrorKind::SourceRouteFailed, (3, 5, 0)),
        (IcmpErrorKind::TimeExceeded, (11, 0, 0)),
        (IcmpErrorKind::ReassemblyTimeExceeded, (11, 1, 0)),
        (IcmpErrorKind::ParameterProblem { pointer: 22 }, (12, 0, 22 << 24)),
    ] {
        let error = error_about(&packet(&good()), kind);
        let message = Icmpv4::new_checked(&error[20..]).unwrap();
        assert_eq!((message.kind(), message.code(), message.rest_of_header()), expected, "{kind:?}");
    }
}

#[test]
fn rfc1812_4_3_2_4_the_source_is_the_address_on_the_network_of_the_outgoing_interface() {
    let tables = tables();
    assert_eq!(tables.source_address(EM0, A), Some(R0));
    assert_eq!(tables.source_address(EM1, ip("198.51.100.9")), Some(ip("198.51.100.1")));
    assert_eq!(tables.source_address(EM2, ip("203.0.113.1")), Some(ip("203.0.113.0")));
    assert_eq!(tables.route(ip("10.9.9.9")), Some((EM1, ip("198.51.100.9"))));
    assert_eq!(tables.route(R0), None);
}

#[test]
fn rfc1812_4_3_3_6_an_echo_request_becomes_its_reply_from_the_address_asked() {
    let pool = PacketPool::leak_for_tests(4);
    for (len, options) in [(28, &[][..]), (84, &[]), (1500, &[]), (96, &[7, 7, 4, 0, 0, 0, 0, 0])] {
        let header = Ipv4Header { destination: R0, total_len: len, ttl: 1, tos: 0x2e, dont_fragment: true, ..good() };
        let frame = echo_request(&header, options);
        assert_eq!(deliver(&frame[14..], LocalKind::Unicast), Delivery::EchoRequest);
        let mut packet = buffer(pool, &frame);
        icmp::echo_reply(&mut packet, 64).unwrap();
        let bytes = packet.bytes()[14..].to_vec();
        let ip = Ipv4::new_checked(&bytes).unwrap();
        assert!(ip.is_intact() && ip.options().is_empty());
        assert_eq!((ip.source(), ip.destination(), ip.ttl(), ip.tos()), (R0, A, 64, 0x2e));
        assert_eq!(packet.len(), 14 + usize::from(ip.total_len()));
        let reply = Icmpv4::new_checked(ip.payload()).unwrap();
        assert!(reply.is_intact());
        assert_eq!((reply.kind(), reply.code(), reply.ident(), reply.sequence()), (0, 0, 0x1234, 5));
        assert_eq!(reply.body(), &frame[14 + 20 + options.len() + 8..], "the data comes back");
    }
}

#[test]
fn rfc1812_4_3_3_6_an_echo_request_to_everybody_is_not_answered() {
    let frame = echo_request(&Ipv4Header { destination: ip("192.0.2.255"), ..good() }, &[]);
    assert_eq!(deliver(&frame[14..], LocalKind::Broadcast), Delivery::Drop(DropReason::IcmpEchoBroadcast));
}

#[test]
fn a_request_of_ours_is_intact_and_its_reply_is_recognised() {
    let mut request = PacketPool::leak_for_tests(2).alloc().unwrap();
    let echo = Echo { source: R0, destination: A, ident: 9, sequence: 3 };
    icmp::build_echo_request(&echo, &[0x5a; 56], 64, &mut request).unwrap();
    assert_eq!(deliver(&request.bytes()[14..], LocalKind::Unicast), Delivery::EchoRequest);
    icmp::echo_reply(&mut request, 64).unwrap();
    let recognised = Delivery::EchoReply { ident: 9, sequence: 3 };
    assert_eq!(deliver(&request.bytes()[14..], LocalKind::Unicast), recognised);
}

#[test]
fn rfc1812_4_3_2_1_and_rfc6633_other_messages_are_ignored() {
    for kind in [3, 4, 5, 9, 10, 11, 12, 13, 15, 17, 42, 200] {
        let mut frame = frame(&Ipv4Header { protocol: 1, destination: R0, total_len: 56, ..good() });
        Message::EchoRequest { ident: 0, sequence: 0 }.emit(&mut frame[34..]).unwrap();
        let old = u16::from_be_bytes([frame[34], frame[35]]);
        frame[34] = kind;
        let sum = wire::checksum::update(u16::from_be_bytes([frame[36], frame[37]]), old, u16::from(kind) << 8);
        frame[36..38].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(deliver(&frame[14..], LocalKind::Unicast), Delivery::Drop(DropReason::IcmpIgnored), "type {kind}");
    }
}

#[test]
fn damaged_messages_and_datagrams_are_dropped_silently() {
    let mut frame = echo_request(&Ipv4Header { destination: R0, ..good() }, &[]);
    frame[60] ^= 1;
    assert_eq!(deliver(&frame[14..], LocalKind::Unicast), Delivery::Drop(DropReason::IcmpBadChecksum));
    let short = packet(&Ipv4Header { protocol: 1, total_len: 27, ..good() });
    assert_eq!(deliver(&short, LocalKind::Unicast), Delivery::Drop(DropReason::IcmpTooShort));
    assert_eq!(deliver(&packet(&good()), LocalKind::Unicast), Delivery::Drop(DropReason::LocalBadTransport));
}

#[test]
fn rfc1812_4_3_3_1_closed_ports_are_3_3_and_unknown_protocols_3_2() {
    let mut datagram = packet(&Ipv4Header { destination: R0, ..good() });
    UdpHeader { source_port: 4000, destination_port: 33434 }.emit(&mut datagram[20..], A, R0).unwrap();
    let port = Delivery::IcmpError { kind: IcmpErrorKind::PortUnreachable, reason: DropReason::LocalPortUnreachable };
    assert_eq!(deliver(&datagram, LocalKind::Unicast), port);
    let protocol =
        Delivery::IcmpError { kind: IcmpErrorKind::ProtocolUnreachable, reason: DropReason::LocalUnknownProtocol };
    assert_eq!(deliver(&packet(&Ipv4Header { protocol: 6, ..good() }), LocalKind::Unicast), protocol);
}

#[test]
fn of_fragments_for_us_icmp_is_collected_and_of_the_rest_the_first_is_answered() {
    let fragment = |protocol, fragment_offset, addressed| {
        let header = Ipv4Header { protocol, fragment_offset, more_fragments: true, destination: R0, ..good() };
        deliver(&packet(&header), addressed)
    };
    assert_eq!(fragment(1, 0, LocalKind::Unicast), Delivery::Fragment);
    assert_eq!(fragment(1, 8, LocalKind::Unicast), Delivery::Fragment);
    assert_eq!(fragment(1, 0, LocalKind::Broadcast), Delivery::Drop(DropReason::LocalFragment));
    assert!(matches!(
        fragment(17, 0, LocalKind::Unicast),
        Delivery::IcmpError { kind: IcmpErrorKind::PortUnreachable, .. }
    ));
    assert!(matches!(
        fragment(6, 0, LocalKind::Unicast),
        Delivery::IcmpError { kind: IcmpErrorKind::ProtocolUnreachable, .. }
    ));
    assert_eq!(fragment(17, 8, LocalKind::Unicast), Delivery::Drop(DropReason::LocalFragment));
}

#[test]
fn what_is_no_echo_request_is_not_turned_into_a_reply() {
    let mut packet = PacketPool::leak_for_tests(2).alloc().unwrap();
    assert!(icmp::echo_reply(&mut packet, 64).is_err());
    packet.append(&[0x45; 20]).unwrap();
    assert!(icmp::echo_reply(&mut packet, 64).is_err());
    assert_eq!(packet.bytes(), [0x45; 20]);
}
