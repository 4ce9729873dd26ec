//! Packets for the router, and packets it makes.

use std::net::Ipv4Addr;

use ifnet::DropReason;
use ksync::time::Instant;
use router::{PingError, PingReply, PingRequest};
use wire::{Ethernet, Icmpv4, Ipv4, Ipv4Header, icmpv4::Message};

use crate::support::{A, B, Bench, EM0, EM1, MAC_A, R0, R1, echo, frame, good, udp};

#[test]
fn rfc1812_4_3_3_6_each_address_answers_echo_from_itself_also_with_ttl_one() {
    for (destination, len) in [(R0, 28), (R0, 84), (R1, 84), (R1, 1500)] {
        let mut bench = Bench::warm();
        let request = echo(&Ipv4Header { destination, ttl: 1, total_len: len, ..good() }, 3);
        bench.receive(EM0, &request);
        let sent = bench.ports[0].take();
        assert_eq!(Ethernet::new_checked(&sent[0]).unwrap().destination(), MAC_A);
        let ip = Ipv4::new_checked(&sent[0][14..]).unwrap();
        assert_eq!((ip.source(), ip.destination(), ip.ttl()), (destination, A, 64));
        let reply = Icmpv4::new_checked(ip.payload()).unwrap();
        assert!(ip.is_intact() && reply.is_intact());
        assert_eq!((reply.kind(), reply.ident(), reply.sequence()), (0, 0x77, 3));
        assert_eq!(reply.body(), &request[42..]);
        assert_eq!(bench.assert_conserved().fates.delivered, 3, "two ARP requests and the echo request");
    }
}

#[test]
fn an_echo_reply_too_long_for_its_way_out_is_fragmented() {
    let mut bench = Bench::warm();
    let request = echo(&Ipv4Header { source: B, destination: R0, total_len: 1500, ..good() }, 1);
    bench.receive(EM1, &{
        let mut frame = request.clone();
        frame[5] = 1;
        frame
    });
    let pieces = bench.ports[1].take_ip();
    assert_eq!(pieces.len(), 2);
    assert!(pieces.iter().all(|p| p.len() <= 1400));
    bench.assert_conserved();
}

#[test]
fn rfc1812_4_3_3_1_closed_ports_and_unknown_protocols_are_reported_from_the_address_asked() {
    let mut bench = Bench::warm();
    bench.receive(EM0, &udp(&Ipv4Header { destination: R1, ..good() }, 0));
    bench.receive(EM0, &udp(&Ipv4Header { destination: R1, protocol: 132, ..good() }, 0));
    let sent = bench.ports[0].take_ip();
    let seen: Vec<_> = sent
        .iter()
        .map(|p| {
            let ip = Ipv4::new_checked(p).unwrap();
            let error = Icmpv4::new_checked(ip.payload()).unwrap();
            (ip.source(), error.kind(), error.code())
        })
        .collect();
    assert_eq!(seen, [(R1, 3, 3), (R1, 3, 2)]);
    assert_eq!(bench.dropped(DropReason::LocalPortUnreachable), 1);
    assert_eq!(bench.dropped(DropReason::LocalUnknownProtocol), 1);
    bench.assert_conserved();
}

#[test]
fn rfc1812_4_3_2_7_broadcasts_get_no_answer() {
    let mut bench = Bench::warm();
    for destination in [Ipv4Addr::BROADCAST, "192.0.2.255".parse().unwrap()] {
        bench.receive(EM0, &udp(&Ipv4Header { destination, ..good() }, 0));
        bench.receive(EM0, &echo(&Ipv4Header { destination, ..good() }, 0));
    }
    assert!(bench.ports[0].take().is_empty());
    assert_eq!(bench.dropped(DropReason::IcmpEchoBroadcast), 2);
    assert_eq!(bench.local_fates().dropped(DropReason::IcmpSuppressed), 2);
    bench.assert_conserved();
}

const PING: PingRequest = PingRequest { destination: B, ident: 0x1234, sequence: 1, body_len: 56 };

/// Turns an echo request that the router sent into the frame with its reply.
fn answer(packet: &[u8]) -> Vec<u8> {
    let ip = Ipv4::new_checked(packet).unwrap();
    let request = Icmpv4::new_checked(ip.payload()).unwrap();
    let mut message = ip.payload().to_vec();
    Message::EchoReply { ident: request.ident(), sequence: request.sequence() }.emit(&mut message).unwrap();
    let mut header = [0; 20];
    let (source, destination) = (ip.destination(), ip.source());
    Ipv4Header { source, destination, protocol: 1, total_len: ip.total_len(), ttl: 60, ..good() }.emit(&mut header);
    let mut frame = frame(wire::MacAddr([2, 0, 0, 0, 1, 1]), &[&header[..], &message].concat());
    frame[11] = 0xb;
    frame
}

#[test]
fn the_console_can_ping_a_neighbour() {
    let mut bench = Bench::warm();
    bench.worker.ping_send(bench.now, PING).unwrap();
    let sent = bench.ports[1].take_ip();
    let ip = Ipv4::new_checked(&sent[0]).unwrap();
    assert_eq!((ip.source(), ip.destination(), ip.total_len()), (R1, B, 84));
    assert_eq!(bench.router.ping_poll(0x1234), None);
    let reply = answer(&sent[0]);
    bench.now = Instant::from_millis(1007);
    bench.receive(EM1, &reply);
    bench.receive(EM1, &reply);
    let round_trip = core::time::Duration::from_millis(7);
    assert_eq!(bench.router.ping_poll(0x9999), None);
    assert_eq!(bench.router.ping_poll(0x1234), Some(PingReply { from: B, sequence: 1, len: 64, ttl: 60, round_trip }));
    assert_eq!(bench.router.ping_poll(0x1234), None);
    assert_eq!(bench.dropped(DropReason::IcmpIgnored), 1, "the second reply answers nothing");
    bench.assert_conserved();
}

#[test]
fn a_ping_that_cannot_be_sent_says_why() {
    let mut bench = Bench::warm();
    let mut ping = |request| bench.worker.ping_send(Instant::from_secs(2), request);
    assert_eq!(ping(PingRequest { destination: "172.16.0.1".parse().unwrap(), ..PING }), Err(PingError::NoRoute));
    assert_eq!(ping(PingRequest { destination: "10.66.0.1".parse().unwrap(), ..PING }), Err(PingError::NoRoute));
    assert_eq!(ping(PingRequest { body_len: 1473, ..PING }), Err(PingError::TooLong));
    assert_eq!(ping(PingRequest { destination: R0, ..PING }), Ok(()));
    assert_eq!(bench.router.ping_poll(0x1234).unwrap().from, R0, "we answer ourselves without a packet");
    bench.assert_conserved();
}

#[test]
fn a_reply_from_somebody_else_is_not_taken_for_the_answer() {
    let mut bench = Bench::warm();
    bench.worker.ping_send(bench.now, PING).unwrap();
    let sent = bench.ports[1].take_ip();
    let mut reply = answer(&sent[0]);
    let mut header = [0; 20];
    let source = "198.51.100.77".parse().unwrap();
    Ipv4Header { source, destination: R1, protocol: 1, total_len: 84, ttl: 60, ..good() }.emit(&mut header);
    reply[14..34].copy_from_slice(&header);
    bench.receive(EM1, &reply);
    assert_eq!(bench.router.ping_poll(0x1234), None);
}

/// Cuts the IP packet in a frame into frames for a link of 1500.
fn in_pieces(frame: &[u8]) -> Vec<Vec<u8>> {
    let pool = pktbuf::PacketPool::leak_for_tests(64);
    let mut fragmenter = forward::Fragmenter::new(&frame[14..], 1500).unwrap();
    let mut pieces = Vec::new();
    while !fragmenter.is_finished() {
        let mut piece = pool.alloc().unwrap();
        fragmenter.write_next(&mut piece).unwrap();
        piece.bytes_mut()[..14].copy_from_slice(&frame[..14]);
        pieces.push(piece.bytes().to_vec());
    }
    pieces
}

#[test]
fn rfc1812_4_3_3_6_pings_of_any_size_are_answered() {
    for len in [1501, 4028, 65_535] {
        let mut bench = Bench::warm();
        let request = echo(&Ipv4Header { destination: R1, total_len: len, ..good() }, 3);
        let mut pieces = in_pieces(&request);
        pieces.reverse();
        bench.receive_all(EM0, &pieces);
        let replies = bench.ports[0].take_ip();
        assert_eq!(replies.len(), pieces.len());
        let mut message = Vec::new();
        for reply in &replies {
            let ip = Ipv4::new_checked(reply).unwrap();
            assert_eq!((ip.source(), ip.destination(), usize::from(ip.fragment_offset())), (R1, A, message.len()));
            message.extend(ip.payload());
        }
        let reply = Icmpv4::new_checked(&message).unwrap();
        assert!(reply.is_intact());
        assert_eq!((reply.kind(), reply.sequence(), reply.body()), (0, 3, &request[42..]));
        let audit = bench.assert_conserved();
        assert_eq!((audit.fates.delivered, audit.held()), (2 + pieces.len() as u64, 0));
    }
}

#[test]
fn rfc1122_3_3_2_pieces_without_the_others_are_reported_and_dropped_in_time() {
    let mut bench = Bench::warm();
    let mut pieces = in_pieces(&echo(&Ipv4Header { destination: R0, total_len: 4000, ..good() }, 3));
    pieces.pop();
    bench.receive_all(EM0, &pieces);
    assert_eq!(bench.assert_conserved().held_reassembly, 2);
    bench.tick_after(60_000);
    let error = bench.ports[0].take_ip();
    let message = Icmpv4::new_checked(&error[0][20..]).unwrap();
    assert_eq!((error.len(), message.kind(), message.code()), (1, 11, 1));
    assert_eq!(message.body(), &pieces[0][14..14 + 548]);
    assert_eq!(bench.dropped(DropReason::LocalReassemblyTimeout), 2);
    bench.assert_conserved();
}

#[test]
fn a_flood_of_first_fragments_holds_few_buffers() {
    let mut bench = Bench::warm();
    for ident in 0..300 {
        bench.receive(EM0, &echo(&Ipv4Header { destination: R0, more_fragments: true, ident, ..good() }, 0));
    }
    assert_eq!(bench.assert_conserved().held_reassembly, 8);
}
