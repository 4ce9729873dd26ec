//! Long packets: whole between long links, in pieces over a short one, and answered by the router itself.

use ifnet::DropReason;
use wire::{Icmpv4, Ipv4, Ipv4Header};

use crate::support::{A, Bench, EM0, R0, echo, good, udp};

/// em0 for long packets, and em1 with an MTU of its own.
fn config(second: u16) -> String {
    format!(
        "[[interface]]\nname = \"em0\"\naddresses = [\"192.0.2.1/24\"]\nmtu = 9000\n\
         [[interface]]\nname = \"em1\"\naddresses = [\"198.51.100.1/24\"]\nmtu = {second}\n"
    )
}

#[test]
fn a_long_packet_goes_whole_over_a_long_link() {
    let mut bench = Bench::jumbo(&config(9000), 2, 9000);
    for dont_fragment in [false, true] {
        let sent = Ipv4Header { total_len: 9000, dont_fragment, ..good() };
        bench.receive(EM0, &udp(&sent, 7));
        let out = bench.ports[1].take_ip();
        assert_eq!(out, [udp(&Ipv4Header { ttl: 63, ..sent }, 7)[14..].to_vec()]);
    }
    assert_eq!(bench.assert_conserved().fates.forwarded, 2);
}

#[test]
fn a_long_packet_is_cut_for_a_short_link_or_reported() {
    let mut bench = Bench::jumbo(&config(1500), 2, 9000);
    let long = Ipv4Header { total_len: 9000, ..good() };
    bench.receive(EM0, &udp(&long, 7));
    let pieces = bench.ports[1].take_ip();
    let shape: Vec<_> = pieces.iter().map(|p| Ipv4::new_checked(p).unwrap()).collect();
    let offsets: Vec<_> = shape.iter().map(Ipv4::fragment_offset).collect();
    assert_eq!(offsets, [0, 1480, 2960, 4440, 5920, 7400, 8880]);
    assert!(pieces.iter().all(|piece| piece.len() <= 1500) && shape.iter().all(Ipv4::is_intact));
    let payload: Vec<u8> = shape.iter().flat_map(|p| p.payload().to_vec()).collect();
    assert_eq!(payload, udp(&long, 7)[34..]);

    let frame = udp(&Ipv4Header { dont_fragment: true, ..long }, 8);
    bench.receive(EM0, &frame);
    assert!(bench.ports[1].take().is_empty());
    let errors = bench.ports[0].take_ip();
    let error = Icmpv4::new_checked(&errors[0][20..]).unwrap();
    assert_eq!((error.kind(), error.code(), error.sequence()), (3, 4, 1500));
    assert_eq!((errors[0].len(), &errors[0][28..]), (576, &frame[14..][..548]));
    let audit = bench.assert_conserved();
    assert_eq!((audit.fates.forwarded, audit.fates.dropped(DropReason::TooBig)), (1, 1));
}

#[test]
fn a_long_echo_request_is_answered_whole() {
    let mut bench = Bench::jumbo(&config(1500), 2, 9000);
    let request = Ipv4Header { total_len: 8928, source: A, destination: R0, ..good() };
    bench.receive(EM0, &echo(&request, 3));
    let replies = bench.ports[0].take_ip();
    assert_eq!(replies.len(), 1);
    assert_eq!((replies[0].len(), &replies[0][28..]), (8928, &echo(&request, 3)[42..]));
    bench.assert_conserved();
}
