//! Packets to hosts of a connected network that are known, for which no route is looked up as long as that goes well: whatever changes meanwhile,
//! they go where packets that come one by one go.

use core::net::Ipv4Addr;

use proptest::{collection::vec, prelude::*};
use router::RouteTarget;
use wire::{Ipv4Header, Ipv4Prefix, MacAddr};

use crate::support::{B, Bench, EM0, EM1, MAC_B, good, udp};

const HOSTS: u8 = 40;

fn host(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 51, 100, 100 + n)
}

fn card(n: u8, generation: u8) -> MacAddr {
    MacAddr([2, 0xb, 0, 0, generation, n])
}

fn to(destination: Ipv4Addr, len: u16, n: u32) -> Vec<u8> {
    udp(&Ipv4Header { destination, total_len: len, dont_fragment: true, ..good() }, n)
}

/// A bench with hosts it knows, and routes by a gateway.
fn with_hosts() -> Bench {
    let mut bench = Bench::warm();
    for n in 0..HOSTS {
        bench.learn(EM1, host(n), card(n, 0));
    }
    bench.router.add_routes([("192.168.0.0/16".parse().unwrap(), RouteTarget::Via(B))]).unwrap();
    bench
}

/// Lets a second turn, in which all ways are found anew, and has all hosts sent to, and then two of them so often that the next packets are taken
/// for more of the same.
fn get_used_to_hosts(bench: &mut Bench) {
    bench.tick_after(1100);
    let frames: Vec<_> = (0..HOSTS).map(|n| to(host(n), 60, 0)).collect();
    bench.receive_all(EM0, &frames);
    for _ in 0..80 {
        bench.receive_all(EM0, &frames[..2]);
    }
    for port in &bench.ports {
        port.take();
    }
}

/// What happens between two batches.
#[derive(Clone, Debug)]
enum Event {
    /// Nothing.
    Quiet,
    /// A host gets another card.
    Moves(u8, u8),
    /// A host gets a route of its own, by a gateway.
    Route(u8),
    /// It loses it again.
    NoRoute(u8),
    /// A port's link is lost, or there again.
    Link(bool),
    /// Time passes, in ms.
    Tick(u16),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => Just(Event::Quiet),
        2 => (0..HOSTS, 1..4_u8).prop_map(|(n, card)| Event::Moves(n, card)),
        2 => (0..HOSTS).prop_map(Event::Route),
        2 => (0..HOSTS).prop_map(Event::NoRoute),
        1 => any::<bool>().prop_map(Event::Link),
        1 => (1..2000_u16).prop_map(Event::Tick),
    ]
}

/// Where a packet goes and how long it is: mostly to known hosts; else to one that is not known, by a gateway, to no route; or too long.
fn packet() -> impl Strategy<Value = (Ipv4Addr, u16)> {
    prop_oneof![
        30 => (0..HOSTS, 60..1400_u16).prop_map(|(n, len)| (host(n), len)),
        2 => (0..HOSTS, 1401..1500_u16).prop_map(|(n, len)| (host(n), len)),
        1 => Just((Ipv4Addr::new(198, 51, 100, 99), 60)),
        1 => any::<u8>().prop_map(|n| (Ipv4Addr::new(192, 168, 0, n), 60)),
        1 => any::<u8>().prop_map(|n| (Ipv4Addr::new(203, 0, 113, n), 60)),
    ]
}

fn own(n: u8) -> Ipv4Prefix {
    Ipv4Prefix::containing(host(n), 32)
}

fn happen(bench: &mut Bench, event: &Event) {
    match *event {
        Event::Quiet => {}
        Event::Moves(n, generation) => bench.learn(EM1, host(n), card(n, generation)),
        Event::Route(n) => bench.router.add_routes([(own(n), RouteTarget::Via(B))]).unwrap(),
        // There may be none.
        Event::NoRoute(n) => drop(bench.router.remove_routes([own(n)])),
        Event::Link(up) => {
            bench.ports[1].link.store(up, core::sync::atomic::Ordering::Relaxed);
            bench.tick_after(0);
        }
        Event::Tick(millis) => bench.tick_after(u64::from(millis)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn packets_go_where_those_go_that_come_one_by_one(
        steps in vec((event(), vec(packet(), 0..60)), 12),
    ) {
        let (mut batches, mut singly) = (with_hosts(), with_hosts());
        for (event, packets) in steps {
            let frames: Vec<_> = (0..).zip(packets).map(|(n, (destination, len))| to(destination, len, n)).collect();
            for bench in [&mut batches, &mut singly] {
                get_used_to_hosts(bench);
                happen(bench, &event);
            }
            batches.receive_all(EM0, &frames);
            singly.receive_singly(EM0, &frames);
            for (one, other) in batches.ports.iter().zip(&singly.ports) {
                prop_assert_eq!(one.take(), other.take());
            }
            prop_assert_eq!(batches.router.audit(), singly.router.audit());
        }
        batches.assert_conserved();
    }
}

#[test]
fn a_host_that_gets_a_route_of_its_own_is_sent_to_by_that_from_the_next_batch_on() {
    let mut bench = with_hosts();
    let mut macs: Vec<_> = (0..HOSTS).map(|n| card(n, 0)).collect();
    let stations = |bench: &mut Bench| {
        bench.receive_all(EM0, &(0..HOSTS).map(|n| to(host(n), 60, 0)).collect::<Vec<_>>());
        let frames = bench.ports[1].take();
        frames.iter().map(|frame| MacAddr(*frame.first_chunk().unwrap())).collect::<Vec<_>>()
    };
    for _ in 0..3 {
        get_used_to_hosts(&mut bench);
        assert_eq!(stations(&mut bench), macs);
        bench.router.add_routes([(own(7), RouteTarget::Via(B))]).unwrap();
        macs[7] = MAC_B;
        assert_eq!(stations(&mut bench), macs);
        get_used_to_hosts(&mut bench);
        assert_eq!(stations(&mut bench), macs);
        bench.router.remove_routes([own(7)]).unwrap();
        macs[7] = card(7, 0);
        assert_eq!(stations(&mut bench), macs);
    }
    bench.assert_conserved();
}
