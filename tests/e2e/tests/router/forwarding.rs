//! Good traffic: nothing is lost, doubled, out of order or changed.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::{Bench, Port};
use sluice::host::{FlowSpec, Ping, Sizes};

use crate::packets;

/// For as many packets as there are here, on a machine that is busy with other things.
const LIMIT: Duration = Duration::from_secs(300);

/// How many octets of UDP payload fill a packet of 1500 octets.
const LARGEST: usize = 1472;

#[test]
fn a_hundred_thousand_packets_cross_each_way_without_loss_or_disorder() -> Result<()> {
    let mut bench = Bench::of(2).alone().boot_warm()?;
    let before = bench.router.settled_books()?;
    let flow = |from: usize, to: usize, port: u16, sizes| FlowSpec {
        ports: (port, 9),
        sizes,
        packets: Some(50_000),
        window: 48,
        ..FlowSpec::new(bench.host(from), bench.host(to))
    };
    let flows = vec![
        flow(0, 1, 1001, Sizes::SMALLEST),
        flow(1, 0, 1002, Sizes::SMALLEST),
        flow(0, 1, 1003, Sizes::Sweep(18, LARGEST)),
        flow(1, 0, 1004, Sizes::Sweep(18, LARGEST)),
    ];
    assert_eq!(bench.run_perfectly(flows, LIMIT)?, 200_000);
    let after = bench.router.settled_books()?;
    assert_eq!(after.fate("forwarded") - before.fate("forwarded"), 200_000, "{after:#?}");
    assert_eq!(after.dropped(), before.dropped(), "{after:#?}");
    bench.finish()
}

#[test]
fn service_classes_time_to_live_and_short_packets_cross_unchanged() -> Result<()> {
    let mut bench = Bench::of(2).boot_warm()?;
    let (a, b) = (bench.host(0), bench.host(1));
    let arrived = bench.lab.capture(b, packets::is_ipv4);
    let flows: Vec<FlowSpec> = (0_u8..=15)
        .map(|class| FlowSpec {
            ports: (2000 + u16::from(class), 9),
            tos: class * 17,
            ttl: 2 + class * 16,
            // The shortest are padded on the wire; the padding is not forwarded as data.
            sizes: Sizes::Fixed(16 + usize::from(class)),
            packets: Some(50),
            window: 4,
            dont_fragment: class % 2 == 0,
            ..FlowSpec::new(a, b)
        })
        .collect();
    assert_eq!(bench.run_perfectly(flows, LIMIT)?, 16 * 50);
    let frames = arrived.drain();
    ensure!(frames.len() == 16 * 50, "{} frames arrived", frames.len());
    for frame in frames {
        let total = frame.octets.get(16..18).map_or(0, |length| usize::from(length[0]) * 256 + usize::from(length[1]));
        assert_eq!(
            frame.octets.len(),
            (14 + total).max(60),
            "a frame is as long as its packet, or the shortest there is"
        );
        assert_eq!(frame.octets.get(..6), Some(bench.host_mac(1).octets().as_slice()));
        assert_eq!(frame.octets.get(6..12), Some(Bench::own_mac(1).octets().as_slice()));
    }
    bench.finish()
}

#[test]
fn long_packets_are_fragmented_and_put_together_by_the_host() -> Result<()> {
    let low = Port { mtu: Some(620), ..Port::default() };
    let mut bench = Bench::with_ports(vec![Port::default(), low]).boot_warm()?;
    let (a, b) = (bench.host(0), bench.host(1));
    // Whole packets that the router cuts, and fragments of the host's that it cuts again.
    let flow =
        |port, sizes| FlowSpec { ports: (port, 9), sizes, packets: Some(1000), window: 4, ..FlowSpec::new(a, b) };
    bench.run_perfectly([flow(3001, Sizes::Sweep(560, LARGEST))], LIMIT)?;
    for payload in [1472, 4000, 20_000] {
        let ping = Ping { payload, ..Ping::default() };
        let outcome = bench.lab.ping(a, Bench::host_address(1), ping);
        ensure!(outcome.reply().is_some(), "{payload} octets: {outcome:?}");
    }
    ensure!(bench.lab.counters(b).fragments > 2000, "{:?}", bench.lab.counters(b));
    let longest = bench.lab.counters(b);
    assert_eq!((longest.damaged, longest.misdirected), (0, 0), "{longest:?}");
    bench.finish()
}

#[test]
fn the_router_answers_pings_on_each_of_its_addresses() -> Result<()> {
    let mut bench = Bench::of(2).boot_warm()?;
    for (port, ttl, payload) in [(0, 64, 0), (0, 1, 56), (1, 64, 1472), (1, 1, 18)] {
        // RFC 1812 5.3.1: a packet for the router itself needs no time to live.
        let ping = Ping { payload, ttl, ..Ping::default() };
        let outcome = bench.lab.ping(bench.host(0), Bench::own_address(port), ping);
        let reply = outcome.reply().ok_or_else(|| anyhow::anyhow!("port {port}: {outcome:?}"))?;
        assert_eq!(reply.from, Bench::own_address(port));
    }
    let shown = bench.router.command(&format!("ping {} 2", Bench::host_address(1)))?;
    ensure!(shown.contains("2 packets transmitted, 2 packets received, 0% packet loss"), "{shown}");
    bench.finish()
}
