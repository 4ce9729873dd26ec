//! Memory and requests stay bounded and known neighbours stay known under scans and floods (RFC 1812 3.3.2; the idea of RFC 6583).

use std::{collections::HashMap, net::Ipv4Addr, time::Duration};

use crate::support::{Bench, IF0, OUR_IP, held, ip, mac, request};
use arp::{ArpConfig, Resolution};
use ifnet::{DropReason, IfIndex};
use wire::MacAddr;

#[test]
fn scanning_a_16_keeps_the_table_bounded_the_known_neighbours_known_and_requests_rare() {
    let config = ArpConfig { seed: 0x5eed, ..ArpConfig::default() };
    let mut bench = Bench::new(config);
    for n in 0..50 {
        let _ = bench.input(&request(ip(n), mac(n), OUR_IP));
    }
    let mut last: HashMap<Ipv4Addr, ksync::time::Instant> = HashMap::new();
    let mut refusals = 0;
    for pass in 0..2_u32 {
        for host in 0x0200..=0xfffe_u32 {
            // 5,000 packets a second, all to different hosts.
            bench.now = bench.now + Duration::from_micros(200);
            let target = Ipv4Addr::from_bits(0x0a00_0000 + host);
            let mut asked = Vec::new();
            match bench.resolve(target, pass) {
                Resolution::Held { request, .. } => asked.extend(request),
                Resolution::Refused(_, DropReason::ArpTableFull | DropReason::ArpNegative) => refusals += 1,
                other => panic!("{other:?}"),
            }
            if host % 500 == 0 {
                asked.extend(bench.requests());
                let statistics = bench.table.statistics();
                assert!(statistics.entries <= config.max_unresolved + 50, "{statistics:?}");
                assert!(statistics.unresolved <= config.max_unresolved, "{statistics:?}");
                assert!(statistics.held <= config.max_held, "{statistics:?}");
            }
            for request in asked {
                let before = last.insert(request.target, bench.now);
                let gap = before.map(|then| bench.now.saturating_duration_since(then));
                assert!(gap.is_none_or(|gap| gap >= Duration::from_secs(1)), "{request:?} after {gap:?}");
            }
        }
    }
    assert!(refusals > 0, "the scan must reach the limit for this test to say anything");
    for n in 0..50 {
        assert_eq!(bench.table.lookup(IF0, ip(n)), Some(mac(n)), "neighbour {n}");
    }
}

#[test]
fn neighbours_in_use_survive_a_flood_of_strangers_announcing_themselves() {
    let config = ArpConfig { max_entries: 256, max_unresolved: 64, seed: 3, ..ArpConfig::default() };
    let mut bench = Bench::new(config);
    for n in 0..20 {
        let _ = bench.input(&request(ip(n), mac(n), OUR_IP));
    }
    bench.advance(120);
    for stranger in 0..20_000_u32 {
        bench.now = bench.now + Duration::from_millis(1);
        let [.., c, d] = stranger.to_be_bytes();
        let sender = Ipv4Addr::new(10, 0, 2 + c, d.clamp(1, 254));
        let _ = bench.input(&request(sender, MacAddr([2, 1, 0, 0, c, d]), OUR_IP));
        // The neighbours in use are used all the time.
        for n in 0..20 {
            let _ = bench.table.lookup(IF0, ip(n));
        }
        assert!(bench.table.statistics().entries <= 256);
    }
    for n in 0..20 {
        assert_eq!(bench.table.lookup(IF0, ip(n)), Some(mac(n)), "neighbour {n}");
    }
}

#[test]
fn a_request_is_answered_even_if_there_is_no_room_to_remember_who_asked() {
    let bench = Bench::new(ArpConfig { max_entries: 1, ..ArpConfig::default() });
    let _ = bench.input(&request(ip(1), mac(1), OUR_IP));
    let input = bench.input(&request(ip(2), mac(2), OUR_IP));
    assert_eq!(input.reply.map(|sent| sent.destination), Some(mac(2)));
    assert_eq!(bench.table.statistics().table_full, 1);
}

#[test]
fn a_full_class_of_unresolved_neighbours_gives_up_silent_ones_first() {
    let mut bench = Bench::new(ArpConfig { max_unresolved: 2, ..ArpConfig::default() });
    held(bench.resolve(ip(1), 0));
    held(bench.resolve(ip(2), 0));
    assert!(matches!(bench.resolve(ip(3), 0), Resolution::Refused(_, DropReason::ArpTableFull)));
    for _ in 0..5 {
        bench.advance(1);
        drop(bench.poll_all());
    }
    assert!(held(bench.resolve(ip(3), 0)).is_some());
    assert_eq!(bench.table.statistics().evicted, 1);
}

#[test]
fn the_same_address_behind_two_interfaces_is_two_neighbours() {
    let bench = Bench::new(ArpConfig::default());
    let _ = bench.input(&request(ip(2), mac(2), OUR_IP));
    assert_eq!(bench.table.lookup(IF0, ip(2)), Some(mac(2)));
    assert_eq!(bench.table.lookup(IfIndex(1), ip(2)), None);
}
