//! Address resolution: cold start, order, giving up, ageing.

use core::net::Ipv4Addr;

use ifnet::DropReason;
use router::RouteTarget;
use wire::{ArpOperation, Icmpv4, Ipv4, Ipv4Header, MacAddr};

use crate::support::{A, B, Bench, EM0, EM1, MAC_A, MAC_B, R0, R1, arp_frame, arps, good, number, udp};

fn reply_from_b() -> Vec<u8> {
    arp_frame(ArpOperation::Reply, (MAC_B, B), (MacAddr([2, 0, 0, 0, 1, 1]), R1), MacAddr([2, 0, 0, 0, 1, 1]))
}

#[test]
fn rfc826_a_request_for_us_is_answered_once_to_the_asker() {
    let mut bench = Bench::cold();
    bench.learn(EM0, A, MAC_A);
    assert_eq!(arps(&bench.ports[0].take()), [(ArpOperation::Reply, A, MAC_A)]);
    let audit = bench.assert_conserved();
    assert_eq!((audit.fates.delivered, audit.local_fates.forwarded), (1, 1));
}

#[test]
fn rfc1122_2_3_2_2_the_first_packets_wait_for_the_answer_and_leave_in_order_before_later_ones() {
    let mut bench = Bench::cold();
    let frames: Vec<_> = (0..10).map(|n| udp(&good(), n)).collect();
    bench.receive_all(EM0, &frames);
    assert_eq!(arps(&bench.ports[1].take()), [(ArpOperation::Request, B, MacAddr::BROADCAST)], "one request for all");
    assert_eq!(bench.assert_conserved().held_arp, 10);

    // The answer and the next packet arrive in the same pass.
    bench.receive_all(EM1, &[reply_from_b()]);
    bench.receive_all(EM0, &[udp(&good(), 10)]);
    let numbers: Vec<_> = bench.ports[1].take_ip().iter().map(|p| number(p)).collect();
    assert_eq!(numbers, (0..=10).collect::<Vec<_>>());
    let audit = bench.assert_conserved();
    assert_eq!((audit.fates.forwarded, audit.held_arp), (11, 0));
}

#[test]
fn rfc1122_2_3_2_2_a_full_hold_queue_keeps_the_latest() {
    let mut bench = Bench::cold();
    let frames: Vec<_> = (0..20).map(|n| udp(&good(), n)).collect();
    bench.receive_all(EM0, &frames);
    assert_eq!(bench.dropped(DropReason::ArpHoldReplaced), 4);
    bench.assert_conserved();
    bench.receive(EM1, &reply_from_b());
    let numbers: Vec<_> = bench.ports[1].take_ip().iter().map(|p| number(p)).collect();
    assert_eq!(numbers, (4..20).collect::<Vec<_>>());
}

#[test]
fn rfc1812_3_3_2_a_silent_neighbour_is_asked_once_a_second_and_then_reported_as_host_unreachable() {
    let mut bench = Bench::cold();
    bench.learn(EM0, A, MAC_A);
    bench.receive_all(EM0, &[udp(&good(), 0), udp(&good(), 1)]);
    let mut requests = arps(&bench.ports[1].take()).len();
    for _ in 0..70 {
        bench.tick_after(100);
        requests += arps(&bench.ports[1].take()).len();
        bench.receive(EM0, &udp(&Ipv4Header { ttl: 0, destination: R0, ..good() }, 0));
    }
    assert_eq!(requests, 5, "five requests, one a second");
    let errors: Vec<_> = bench.ports[0].take_ip();
    let unreachable = |p: &&Vec<u8>| {
        let error = Icmpv4::new_checked(&p[20..]).unwrap();
        (error.kind(), error.code()) == (3, 1)
    };
    assert_eq!(errors.iter().filter(unreachable).count(), 2, "one for each packet held");
    assert_eq!(bench.dropped(DropReason::ArpUnresolved), 2);

    // For a while there is no further asking: the answer is known.
    bench.receive(EM0, &udp(&good(), 2));
    assert_eq!(bench.dropped(DropReason::ArpNegative), 1);
    let error = bench.ports[0].take_ip();
    assert_eq!((error[0][20], error[0][21]), (3, 1));
    assert_eq!(Ipv4::new_checked(&error[0]).unwrap().source(), R0);
    bench.assert_conserved();
}

#[test]
fn rfc1122_2_3_2_1_a_used_neighbour_is_asked_directly_when_its_entry_is_old() {
    let mut bench = Bench::warm();
    bench.receive(EM0, &udp(&good(), 0));
    bench.ports[1].take();
    bench.tick_after(1_200_001);
    let asked = arps(&bench.ports[1].take());
    assert_eq!(asked, [(ArpOperation::Request, B, MAC_B)]);
    bench.receive(EM0, &udp(&good(), 1));
    assert_eq!(bench.ports[1].take_ip().len(), 1, "used meanwhile");
}

#[test]
fn a_neighbour_that_moves_is_followed() {
    let mut bench = Bench::warm();
    let elsewhere = MacAddr([2, 0, 0, 0, 0, 0xbb]);
    bench.learn(EM1, B, elsewhere);
    bench.ports[1].take();
    bench.receive(EM0, &udp(&good(), 0));
    let sent = bench.ports[1].take();
    assert_eq!(sent[0][..6], elsewhere.0);
}

#[test]
fn what_another_thread_learns_releases_what_this_one_held() {
    let mut bench = Bench::cold();
    bench.receive(EM0, &udp(&good(), 0));
    bench.ports[1].take();
    let mut other = crate::support::worker(bench.router, bench.pool, "irq11: em1", true);
    other.pass(bench.now, |pass| {
        let mut packet = pass.cache().alloc().unwrap();
        packet.append(&reply_from_b()).unwrap();
        packet.set_rx_if(1);
        pass.receive(packet);
    });
    assert_eq!(bench.ports[1].take_ip().len(), 1);
    let audit = bench.assert_conserved();
    assert_eq!((audit.received, audit.fates.forwarded, audit.fates.delivered), (2, 1, 1));
}

#[test]
fn bad_arp_frames_are_counted_by_name_and_teach_nothing() {
    let mut bench = Bench::cold();
    let good = arp_frame(ArpOperation::Request, (MAC_A, A), (MacAddr::ZERO, R0), MacAddr::BROADCAST);
    let with = |at: usize, value: u8| {
        let mut frame = good.clone();
        frame[at] = value;
        frame
    };
    for (frame, reason) in [
        (good[..40].to_vec(), DropReason::ArpTooShort),
        (with(18, 8), DropReason::ArpBadHeader),
        (with(21, 9), DropReason::ArpBadOpcode),
        (with(22, 3), DropReason::ArpBadSenderMac),
        (with(28, 10), DropReason::ArpForeignSender),
        (with(31, 255), DropReason::ArpBadSenderIp),
        (with(41, 77), DropReason::ArpNotForUs),
    ] {
        bench.receive(EM0, &frame);
        assert_eq!(bench.dropped(reason), 1, "{reason}");
    }
    assert!(bench.ports[0].take().is_empty());
    assert!(bench.router.arp().entries(bench.now).is_empty());
    bench.assert_conserved();
}

/// Frames to so many destinations behind gateways, in one run.
fn to_many(destinations: u8) -> Vec<Vec<u8>> {
    let header = |n| Ipv4Header { destination: [192, 168, n, 1].into(), ..good() };
    (0..destinations).map(|n| udp(&header(n), u32::from(n))).collect()
}

/// The station addresses that frames went to, of all IPv4 packets sent by a port.
fn stations(bench: &Bench, port: usize) -> Vec<MacAddr> {
    let frames = bench.ports[port].take();
    frames.iter().filter(|frame| frame[12..14] == [8, 0]).map(|f| MacAddr(*f.first_chunk().unwrap())).collect()
}

#[test]
fn a_gateway_with_a_new_card_gets_the_packets_of_all_destinations_from_then_on() {
    let mut bench = Bench::warm();
    bench.router.add_routes([("192.168.0.0/16".parse().unwrap(), RouteTarget::Via(B))]).unwrap();
    for card in 0..5 {
        let mac = MacAddr([2, 0xb, 0, 0, 0, card]);
        bench.learn(EM1, B, mac);
        bench.ports[1].take();
        for _ in 0..3 {
            bench.receive_all(EM0, &to_many(20));
            assert_eq!(stations(&bench, 1), [mac; 20], "card {card}");
        }
    }
    bench.assert_conserved();
}

#[test]
fn a_gateway_that_many_destinations_share_is_still_in_use_for_arp() {
    let mut bench = Bench::warm();
    bench.router.add_routes([("192.168.0.0/16".parse().unwrap(), RouteTarget::Via(B))]).unwrap();
    for _ in 0..2400 {
        // More often than the neighbour's age is looked at, and never alone.
        bench.receive_all(EM0, &to_many(2));
        bench.ports[1].take_ip();
        bench.tick_after(500);
    }
    bench.ports[1].take();
    bench.tick_after(2000);
    assert_eq!(arps(&bench.ports[1].take()), [(ArpOperation::Request, B, MAC_B)], "old, in use, and asked directly");
    bench.assert_conserved();
}

#[test]
fn a_route_that_moves_to_another_gateway_takes_all_its_destinations_with_it() {
    let mut bench = Bench::warm();
    let (other, mac) = (Ipv4Addr::new(198, 51, 100, 77), MacAddr([2, 0xb, 0, 0, 0, 77]));
    let prefix = "192.168.0.0/16".parse().unwrap();
    bench.learn(EM1, other, mac);
    for (gateway, station) in [(B, MAC_B), (other, mac), (B, MAC_B)] {
        bench.router.add_routes([(prefix, RouteTarget::Via(gateway))]).unwrap();
        bench.ports[1].take();
        bench.receive_all(EM0, &to_many(20));
        assert_eq!(stations(&bench, 1), [station; 20], "by {gateway}");
    }
    bench.assert_conserved();
}

/// Frames to so many hosts of the network behind port 1, in one run.
fn to_hosts(hosts: u8) -> Vec<Vec<u8>> {
    let header = |n| Ipv4Header { destination: host(n), ..good() };
    (0..hosts).map(|n| udp(&header(n), u32::from(n))).collect()
}

fn host(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 51, 100, 100 + n)
}

/// The cards that the hosts have at first.
fn cards(hosts: u8) -> Vec<MacAddr> {
    (0..hosts).map(|n| MacAddr([2, 0xb, 0, 0, 1, n])).collect()
}

/// A bench that knows so many hosts.
fn with_hosts(hosts: u8) -> Bench {
    let mut bench = Bench::warm();
    for (n, mac) in (0..hosts).zip(cards(hosts)) {
        bench.learn(EM1, host(n), mac);
    }
    bench.ports[1].take();
    bench
}

#[test]
fn a_host_with_a_new_card_gets_its_packets_there_from_then_on_and_no_other_does() {
    let mut bench = with_hosts(20);
    let mut macs = cards(20);
    for card in 0..5 {
        macs[7] = MacAddr([2, 0xb, 0, 0, 2, card]);
        bench.learn(EM1, host(7), macs[7]);
        bench.ports[1].take();
        for _ in 0..3 {
            bench.receive_all(EM0, &to_hosts(20));
            assert_eq!(stations(&bench, 1), macs, "card {card}");
        }
    }
    bench.assert_conserved();
}

#[test]
fn hosts_that_come_together_are_still_in_use_for_arp() {
    let mut bench = with_hosts(2);
    for _ in 0..2400 {
        bench.receive_all(EM0, &to_hosts(2));
        bench.ports[1].take_ip();
        bench.tick_after(500);
    }
    bench.ports[1].take();
    bench.tick_after(2000);
    let asked = arps(&bench.ports[1].take());
    let expected: Vec<_> =
        cards(2).into_iter().zip(0..).map(|(mac, n)| (ArpOperation::Request, host(n), mac)).collect();
    assert_eq!(asked, expected, "old, in use, and asked directly");
    bench.assert_conserved();
}

#[test]
fn a_host_that_gets_a_route_of_its_own_leaves_the_others_where_they_are() {
    let mut bench = with_hosts(20);
    let (gateway, mac) = (Ipv4Addr::new(198, 51, 100, 77), MacAddr([2, 0xb, 0, 0, 0, 77]));
    bench.learn(EM1, gateway, mac);
    let own = "198.51.100.107/32".parse().unwrap();
    let mut macs = cards(20);
    for _ in 0..3 {
        bench.ports[1].take();
        bench.receive_all(EM0, &to_hosts(20));
        assert_eq!(stations(&bench, 1), macs);
        bench.router.add_routes([(own, RouteTarget::Via(gateway))]).unwrap();
        macs[7] = mac;
        bench.receive_all(EM0, &to_hosts(20));
        assert_eq!(stations(&bench, 1), macs);
        bench.router.remove_routes([own]).unwrap();
        macs[7] = cards(20)[7];
    }
    bench.assert_conserved();
}
