//! VLANs: routing between them over one port, and between them and a port's own frames.

use std::{net::Ipv4Addr, sync::atomic::Ordering};

use config::Config;
use ifnet::{DropReason, IfIndex};
use ksync::time::Instant;
use router::{ApplyError, MAX_INTERFACES, PingRequest, RouterError};
use wire::{ArpOperation, Icmpv4, Ipv4, Ipv4Header, MacAddr};

use crate::support::{B, Bench, EM0, EM1, MAC_A, MAC_B, arp_frame, arps, echo, frame, good, number, udp};

/// em0 is the stick; it is not configured itself.
const STICK: &str = r#"
    [[interface]]
    name = "em0.10"
    addresses = ["10.10.0.1/24"]
    [[interface]]
    name = "em0.20"
    addresses = ["10.20.0.1/24"]
    mtu = 1000
    [[interface]]
    name = "em1"
    addresses = ["198.51.100.1/24"]
"#;

const EM0_10: IfIndex = IfIndex(2);
const EM0_20: IfIndex = IfIndex(3);
const US: MacAddr = MacAddr([2, 0, 0, 0, 1, 0]);
const C10: Ipv4Addr = Ipv4Addr::new(10, 10, 0, 2);
pub(crate) const C20: Ipv4Addr = Ipv4Addr::new(10, 20, 0, 2);
const R10: Ipv4Addr = Ipv4Addr::new(10, 10, 0, 1);
pub(crate) const R20: Ipv4Addr = Ipv4Addr::new(10, 20, 0, 1);
pub(crate) const MAC_C20: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xc]);

/// A packet from the host in VLAN 10 to that in VLAN 20.
pub(crate) fn across() -> Ipv4Header {
    Ipv4Header { source: C10, destination: C20, ..good() }
}

fn cold() -> Bench {
    Bench::with(STICK, 2)
}

pub(crate) fn ask(mac: MacAddr, from: Ipv4Addr, about: Ipv4Addr) -> Vec<u8> {
    arp_frame(ArpOperation::Request, (mac, from), (MacAddr::ZERO, about), MacAddr::BROADCAST)
}

/// A router that knows the hosts of both VLANs and B.
pub(crate) fn warm() -> Bench {
    let mut bench = cold();
    bench.receive_trunk(EM0, &[(10, ask(MAC_A, C10, R10)), (20, ask(MAC_C20, C20, R20))]);
    bench.learn(EM1, B, MAC_B);
    bench.ports.iter().for_each(|port| drop(port.take()));
    bench
}

/// What was sent on the stick: each frame's tag, and the frame without it.
pub(crate) fn trunk(bench: &Bench) -> Vec<(u16, Vec<u8>)> {
    let untag = |mut frame: Vec<u8>| {
        if frame[12..14] != [0x81, 0] {
            return (0, frame);
        }
        let tag: Vec<u8> = frame.drain(12..16).collect();
        (u16::from_be_bytes([tag[2], tag[3]]), frame)
    };
    bench.ports[0].take().into_iter().map(untag).collect()
}

/// The frame that a router makes of one of ours.
fn hopped(octets: &[u8], to: MacAddr, from: MacAddr) -> Vec<u8> {
    let mut octets = octets.to_vec();
    octets[..6].copy_from_slice(&to.octets());
    octets[6..12].copy_from_slice(&from.octets());
    let header = octets[14..34].first_chunk_mut::<20>().unwrap();
    Ipv4Header::decrement_ttl(header);
    octets
}

#[test]
fn a_packet_goes_from_vlan_to_vlan_over_one_port() {
    let mut bench = warm();
    let frames: Vec<_> = (0..100).map(|n| udp(&across(), n)).collect();
    let tagged: Vec<_> = frames.iter().map(|frame| (10, frame.clone())).collect();
    bench.receive_trunk(EM0, &tagged);
    let expected: Vec<_> = frames.iter().map(|frame| (20, hopped(frame, MAC_C20, US))).collect();
    assert_eq!(trunk(&bench), expected);
    assert_eq!(bench.ports[0].calls.load(Ordering::Relaxed), 4, "two answers, then once for each batch");
    bench.assert_conserved();
    assert_eq!(bench.router.audit_interface(EM0_10).fates.forwarded, 100);
    assert_eq!(bench.router.audit_port(EM0).received, 102);
    let interfaces = bench.router.interfaces().unwrap();
    let [ten, twenty] = [2, 3].map(|place: usize| interfaces[place].interface.statistics());
    assert_eq!((ten.rx_packets, ten.rx_octets, ten.tx_packets), (101, 60 + 100 * 74, 1));
    assert_eq!((twenty.rx_packets, twenty.tx_packets, twenty.tx_octets), (1, 101, 42 + 100 * 74));
}

#[test]
fn frames_with_and_without_tags_keep_their_order_and_their_ways() {
    let mut bench = warm();
    let to_b = Ipv4Header { source: C10, destination: B, ..good() };
    let frames = (0..200).map(|n| match n % 4 {
        0 | 1 => (10, udp(&across(), n)),
        2 => (10, udp(&to_b, n)),
        _ => (20, udp(&Ipv4Header { source: C20, destination: C10, ..good() }, n)),
    });
    bench.receive_trunk(EM0, &frames.collect::<Vec<_>>());
    let sent = trunk(&bench);
    let of = |vlan: u16| sent.iter().filter(move |(tag, _)| *tag == vlan).map(|(_, frame)| number(&frame[14..]));
    assert!(of(20).eq((0..200).filter(|n| n % 4 < 2)));
    assert!(of(10).eq((0..200).filter(|n| n % 4 == 3)));
    let at_b: Vec<_> = bench.ports[1].take_ip().iter().map(|packet| number(packet)).collect();
    assert!(at_b.into_iter().eq((0..200).filter(|n| n % 4 == 2)));
    bench.assert_conserved();
}

#[test]
fn a_packet_goes_from_a_vlan_to_a_plain_port_and_back() {
    let mut bench = warm();
    let there = udp(&Ipv4Header { source: C10, destination: B, ..good() }, 1);
    bench.receive_trunk(EM0, &[(10, there.clone())]);
    assert_eq!(bench.ports[1].take(), [hopped(&there, MAC_B, MacAddr([2, 0, 0, 0, 1, 1]))]);
    let mut back = udp(&Ipv4Header { source: B, destination: C10, ..good() }, 2);
    back[5] = 1;
    bench.receive(EM1, &back);
    assert_eq!(trunk(&bench), [(10, hopped(&back, MAC_A, US))]);
    bench.assert_conserved();
}

#[test]
fn a_neighbour_is_asked_for_in_its_vlan_and_believed_there_only() {
    let mut bench = cold();
    bench.receive_trunk(EM0, &[(10, udp(&across(), 1)), (10, udp(&across(), 2))]);
    let asked = trunk(&bench);
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].0, 20);
    assert_eq!(arps(&[asked[0].1.clone()]), [(ArpOperation::Request, C20, MacAddr::BROADCAST)]);
    let answer = arp_frame(ArpOperation::Reply, (MAC_C20, C20), (US, R20), US);
    bench.receive_trunk(EM0, &[(10, answer.clone())]);
    bench.receive(EM0, &answer);
    assert!(trunk(&bench).is_empty());
    bench.receive_trunk(EM0, &[(20, answer)]);
    let released: Vec<_> = trunk(&bench).iter().map(|(tag, frame)| (*tag, number(&frame[14..]))).collect();
    assert_eq!(released, [(20, 1), (20, 2)]);
    bench.assert_conserved();
}

#[test]
fn each_vlan_answers_for_its_own_address() {
    let mut bench = cold();
    bench.receive_trunk(EM0, &[(20, ask(MAC_C20, C20, R10)), (20, ask(MAC_C20, C20, R20))]);
    bench.receive(EM0, &ask(MAC_A, C10, R10));
    let answers = trunk(&bench);
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!(answers[0].0, 20);
    assert_eq!(arps(&[answers[0].1.clone()]), [(ArpOperation::Reply, C20, MAC_C20)]);
    bench.assert_conserved();
}

#[test]
fn a_vlans_address_answers_echo_through_the_vlan_and_can_ask_itself() {
    let mut bench = warm();
    bench.receive_trunk(EM0, &[(10, echo(&Ipv4Header { destination: R20, ..across() }, 3))]);
    let sent = trunk(&bench);
    let ip = Ipv4::new_checked(&sent[0].1[14..]).unwrap();
    assert_eq!((sent[0].0, ip.source(), ip.destination()), (10, R20, C10));
    let request = PingRequest { destination: C20, ident: 7, sequence: 1, body_len: 56 };
    bench.worker.ping_send(Instant::from_secs(1), request).unwrap();
    let sent = trunk(&bench);
    let ip = Ipv4::new_checked(&sent[0].1[14..]).unwrap();
    assert_eq!((sent[0].0, ip.source(), ip.destination()), (20, R20, C20));
    bench.assert_conserved();
}

#[test]
fn errors_go_back_through_the_vlan() {
    let mut bench = warm();
    let too_long = Ipv4Header { total_len: 1400, dont_fragment: true, ..across() };
    let nowhere = Ipv4Header { destination: Ipv4Addr::new(203, 0, 113, 1), ..across() };
    let headers = [Ipv4Header { ttl: 1, ..across() }, too_long, nowhere];
    let frames: Vec<_> = headers.iter().map(|header| (10, udp(header, 0))).collect();
    bench.receive_trunk(EM0, &frames);
    let read = |(tag, frame): &(u16, Vec<u8>)| {
        let ip = Ipv4::new_checked(&frame[14..]).unwrap();
        let error = Icmpv4::new_checked(ip.payload()).unwrap();
        assert_eq!((*tag, ip.source(), ip.destination(), &frame[..6]), (10, R10, C10, &MAC_A.octets()[..]));
        (error.kind(), error.code(), error.rest_of_header())
    };
    let errors: Vec<_> = trunk(&bench).iter().map(read).collect();
    assert_eq!(errors, [(11, 0, 0), (3, 4, 1000), (3, 0, 0)]);
    bench.assert_conserved();
}

#[test]
fn what_is_too_long_for_the_vlan_goes_in_pieces_with_its_tag() {
    let mut bench = warm();
    bench.receive_trunk(EM0, &[(10, udp(&Ipv4Header { total_len: 1500, ..across() }, 0))]);
    let pieces: Vec<_> = trunk(&bench).iter().map(|(tag, frame)| (*tag, frame.len() - 14)).collect();
    assert_eq!(pieces, [(20, 996), (20, 524)]);
    bench.assert_conserved();
}

#[test]
fn a_directed_broadcast_reaches_the_stations_of_its_vlan_alone() {
    let config = format!("{STICK}[sysctl]\n\"net.inet.ip.directed_broadcast\" = 1\n");
    let mut bench = Bench::with(&config, 2);
    let to_all = udp(&Ipv4Header { destination: Ipv4Addr::new(10, 20, 0, 255), ..across() }, 5);
    bench.receive_trunk(EM0, &[(10, to_all.clone())]);
    assert_eq!(trunk(&bench), [(20, hopped(&to_all, MacAddr::BROADCAST, US))]);
    let mut limited = udp(&Ipv4Header { destination: Ipv4Addr::BROADCAST, ..across() }, 5);
    limited[..6].copy_from_slice(&MacAddr::BROADCAST.octets());
    bench.receive_trunk(EM0, &[(10, limited)]);
    assert!(trunk(&bench).is_empty() && bench.ports[1].take().is_empty());
    assert_eq!(bench.assert_conserved().fates.dropped_total(), 1);
}

#[test]
fn frames_of_vlans_that_are_not_configured_end_at_their_port() {
    let mut bench = warm();
    let before = bench.router.audit_interface(EM0).received;
    bench.receive_trunk(EM0, &[(11, udp(&across(), 1)), (4095, udp(&across(), 2)), (10, udp(&across(), 3))]);
    bench.receive_trunk(EM1, &[(10, udp(&across(), 4))]);
    // A second tag, and one that was left on.
    let mut twice = udp(&across(), 5);
    twice.splice(12..12, [0x81, 0, 0, 20]);
    bench.receive_trunk(EM0, &[(10, twice.clone())]);
    twice[5] = 1;
    bench.receive(EM1, &twice);
    let sent: Vec<_> = trunk(&bench).iter().map(|(tag, frame)| (*tag, number(&frame[14..]))).collect();
    assert_eq!(sent, [(20, 3)]);
    assert_eq!(bench.dropped(DropReason::EthVlanUnknown), 5);
    assert_eq!(bench.router.audit_interface(EM0).received, before + 2);
    bench.assert_conserved();
}

/// What the threads of the protocol queues do.
fn run_queues(bench: &mut Bench) {
    for workstream in 0..2 {
        let _ = bench.worker.run_netisr(bench.now, workstream, 100);
    }
}

#[test]
fn what_comes_without_a_tag_is_nobodys_while_the_port_itself_is_not_configured() {
    let mut bench = warm();
    let frames = [udp(&across(), 1), udp(&across(), 2), ask(MAC_A, C10, R10)];
    bench.receive_all(EM0, &frames);
    bench.receive_singly(EM0, &frames);
    assert!(trunk(&bench).is_empty());
    assert_eq!(bench.dropped(DropReason::ForwardingOff), 6);
    // Nor does a VLAN take anything in that is kept down.
    let down = STICK.replace("mtu = 1000", "up = false");
    bench.router.apply(&Config::parse(&down).unwrap()).unwrap();
    bench.receive_trunk(EM0, &[(20, udp(&Ipv4Header { source: C20, destination: C10, ..good() }, 3))]);
    assert_eq!((trunk(&bench).len(), bench.dropped(DropReason::ForwardingOff)), (0, 7));
    let own = format!("{STICK}[[interface]]\nname = \"em0\"\n");
    bench.router.apply(&Config::parse(&own).unwrap()).unwrap();
    bench.receive_all(EM0, &frames[..1]);
    assert_eq!(trunk(&bench).len(), 1);
    bench.assert_conserved();
}

#[test]
fn each_frame_for_itself_takes_the_same_ways() {
    for policy in ["direct", "hybrid", "deferred"] {
        let config = format!("{STICK}[sysctl]\n\"net.isr.dispatch\" = \"{policy}\"\n");
        let mut bench = Bench::with(&config, 2);
        bench.receive_trunk(EM0, &[(10, ask(MAC_A, C10, R10)), (20, ask(MAC_C20, C20, R20))]);
        run_queues(&mut bench);
        drop(trunk(&bench));
        let frames: Vec<_> = (0..20).map(|n| (10, udp(&across(), n))).collect();
        bench.receive_trunk_singly(EM0, &frames);
        bench.receive_trunk_singly(EM0, &[(11, udp(&across(), 99))]);
        run_queues(&mut bench);
        let sent: Vec<_> = trunk(&bench).iter().map(|(tag, frame)| (*tag, number(&frame[14..]))).collect();
        assert_eq!(sent, (0..20).map(|n| (20, n)).collect::<Vec<_>>(), "{policy}");
        assert_eq!(bench.dropped(DropReason::EthVlanUnknown), 1);
        bench.assert_conserved();
    }
}

#[test]
fn a_vlan_follows_its_ports_carrier_and_may_be_kept_down_with_it() {
    let mut bench = cold();
    bench.receive_trunk(EM0, &[(10, udp(&across(), 1))]);
    bench.ports[0].link.store(false, Ordering::Relaxed);
    bench.tick_after(100);
    assert_eq!(bench.dropped(DropReason::ArpFlushed), 1);
    let up = |bench: &Bench| -> Vec<bool> { bench.router.interfaces().unwrap().iter().map(|i| i.up).collect() };
    assert_eq!(up(&bench), [false, true, false, false]);
    bench.ports[0].link.store(true, Ordering::Relaxed);
    drop(trunk(&bench));
    bench.tick_after(100);
    let mut tags: Vec<_> = trunk(&bench).iter().map(|(tag, _)| *tag).collect();
    tags.sort_unstable();
    assert_eq!(tags, [10, 20], "both tell their address");
    let down = format!("{STICK}[[interface]]\nname = \"em0\"\nup = false\n");
    bench.router.apply(&Config::parse(&down).unwrap()).unwrap();
    assert_eq!(up(&bench), [false, true, false, false]);
    bench.assert_conserved();
}

#[test]
fn a_vlan_that_goes_and_comes_back_is_the_same_interface() {
    let mut bench = warm();
    bench.receive_trunk(EM0, &[(10, udp(&across(), 1))]);
    let without = STICK.replace("em0.10", "em0.30");
    bench.router.apply(&Config::parse(&without).unwrap()).unwrap();
    bench.receive_trunk(EM0, &[(10, udp(&across(), 2))]);
    assert_eq!(bench.dropped(DropReason::EthVlanUnknown), 1);
    bench.router.apply(&Config::parse(STICK).unwrap()).unwrap();
    bench.receive_trunk(EM0, &[(10, udp(&across(), 3))]);
    let sent: Vec<_> = trunk(&bench).iter().map(|(tag, frame)| (*tag, number(&frame[14..]))).collect();
    assert_eq!(sent, [(20, 1), (20, 3)]);
    let names: Vec<_> = (0..6).map(|index| bench.router.vlan_name(IfIndex(index))).collect();
    assert_eq!(names, [None, None, Some("em0.10"), Some("em0.20"), Some("em0.30"), None]);
    assert_eq!(bench.router.audit_interface(EM0_10).received, 3);
    assert_eq!(bench.router.audit_interface(EM0_20).received, 1);
    bench.assert_conserved();
}

#[test]
fn more_vlans_than_there_is_room_for_are_refused_all_together() {
    let mut bench = warm();
    let vlans = |numbers: std::ops::RangeInclusive<usize>| -> String {
        numbers.map(|number| format!("[[interface]]\nname = \"em0.{number}\"\n")).collect()
    };
    // Two ports, and the two VLANs that are there.
    let most = MAX_INTERFACES - 4;
    let config = Config::parse(&format!("{STICK}{}", vlans(100..=100 + most))).unwrap();
    let refused = bench.router.apply(&config).unwrap_err();
    assert_eq!(refused, ApplyError::Router(RouterError::TooManyInterfaces));
    assert_eq!(refused.to_string(), "more than 62 interfaces, ports and VLANs");
    bench.receive_trunk(EM0, &[(10, udp(&across(), 1))]);
    assert_eq!(trunk(&bench).len(), 1, "nothing has changed");
    let fits = Config::parse(&format!("{STICK}{}", vlans(100..=99 + most))).unwrap();
    bench.router.apply(&fits).unwrap();
    // The last of them works as well as the first.
    let last = u16::try_from(99 + most).unwrap();
    bench.receive_trunk(EM0, &[(last, udp(&across(), 2)), (10, udp(&across(), 3))]);
    assert_eq!(trunk(&bench).len(), 2);
    bench.assert_conserved();
}

#[test]
fn a_full_ring_of_the_port_is_counted_for_whoever_came() {
    let mut bench = warm();
    bench.ports[0].room.store(3, Ordering::Relaxed);
    let frames: Vec<_> = (0..10).map(|n| (10, udp(&across(), n))).collect();
    bench.receive_trunk(EM0, &frames);
    assert_eq!(trunk(&bench).len(), 3);
    let fates = bench.router.audit_interface(EM0_10).fates;
    assert_eq!((fates.forwarded, fates.dropped(DropReason::TxRingFull)), (3, 7));
    let twenty = bench.router.interfaces().unwrap()[3].interface.statistics();
    assert_eq!((twenty.tx_packets, twenty.tx_ring_full), (4, 7));
    bench.assert_conserved();
}

#[test]
fn under_a_backlog_the_port_is_told_once_of_what_went_out_by_its_vlans() {
    let mut bench = warm();
    let mut sent_early = 0;
    bench.worker.pass(bench.now, |pass| {
        for n in 0..3 {
            let mut batch = pktbuf::PacketBatch::new();
            for destination in [C20, C10] {
                let mut packet = pass.cache().alloc().unwrap();
                packet.append(&udp(&Ipv4Header { destination, ..across() }, n)).unwrap();
                packet.set_rx_if(EM0.0);
                packet.set_vlan(10);
                batch.push(packet).unwrap();
            }
            pass.receive_all(&mut batch);
            pass.finish_batch();
            sent_early += bench.ports[0].take().len();
        }
    });
    assert_eq!(sent_early, 0, "left untold until the end of the pass");
    let tags: Vec<_> = trunk(&bench).iter().map(|(tag, _)| *tag).collect();
    assert_eq!(tags.iter().filter(|tag| **tag == 20).count(), 3);
    assert_eq!(tags.iter().filter(|tag| **tag == 10).count(), 3);
    bench.assert_conserved();
}

#[test]
fn after_the_close_frames_of_vlans_are_counted_as_late() {
    let mut bench = warm();
    bench.receive_trunk(EM0, &[(10, udp(&across(), 1))]);
    bench.router.close(|| false).unwrap();
    bench.receive_trunk(EM0, &[(10, udp(&across(), 2)), (11, udp(&across(), 2)), (0, frame(US, &[0; 46]))]);
    assert_eq!(bench.dropped(DropReason::ShuttingDown), 3);
    // The books know whose the VLANs were.
    assert_eq!(bench.router.audit_port(EM0).received, 2 + 1 + 3);
    assert_eq!(bench.router.audit_port(EM0).unexplained(), 0);
    bench.assert_conserved();
}
