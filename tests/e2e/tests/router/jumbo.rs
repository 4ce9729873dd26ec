//! Long frames: packets of 9000 octets cross whole, are cut for a link that takes 1500, and are answered by the router itself.

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use e2e::{Bench, PATIENCE, Plan, Port};
use sluice::{
    host::{FlowSpec, Ping, PingOutcome, Sizes},
    machine::{Machine, NicModel},
};

use crate::packets;

/// The MTU of ports 0 and 1; port 2 has the usual one.
const MTU: u16 = 9000;

/// How many octets of UDP payload fill such a packet.
const LARGEST: usize = 8972;

/// A router with two ports for long packets and one for usual ones.
fn plan(mtu: u16) -> Plan {
    let long = Port { mtu: Some(mtu), ..Port::default() };
    Bench::with_ports(vec![long.clone(), long, Port::default()])
}

/// Packets up to the largest in both directions between the long ports, none of which may be cut.
fn crossing(bench: &Bench, packets: u64) -> Vec<FlowSpec> {
    let flow = |from, to, port, sizes| FlowSpec {
        ports: (port, 9),
        sizes,
        packets: Some(packets),
        window: 16,
        dont_fragment: true,
        ..FlowSpec::new(bench.host(from), bench.host(to))
    };
    vec![
        flow(0, 1, 5001, Sizes::Fixed(LARGEST)),
        flow(1, 0, 5002, Sizes::Fixed(LARGEST)),
        flow(0, 1, 5003, Sizes::Sweep(18, LARGEST)),
        flow(1, 0, 5004, Sizes::Sweep(18, LARGEST)),
    ]
}

fn reply(bench: &Bench, from: usize, target: Ipv4Addr, ping: Ping) -> Result<()> {
    let outcome = bench.lab.ping(bench.host(from), target, ping);
    ensure!(outcome.reply().is_some_and(|echo| echo.from == target), "{ping:?} from host {from}: {outcome:?}");
    Ok(())
}

/// The length errors of an interface, by `show interfaces`.
fn length_errors(bench: &mut Bench, name: &str) -> Result<u64> {
    let shown = bench.router.command("show interfaces")?;
    let own = shown.split_once(&format!("{name}: up")).with_context(|| shown.clone())?.1;
    let number = own.split_once(" length ").and_then(|(_, rest)| rest.split(' ').next()).context("no length errors")?;
    Ok(number.parse()?)
}

fn long_packets_cross(cards: NicModel, smp: u32) -> Result<()> {
    let machine = Machine { smp, ..Machine::default() };
    let mut bench = Plan { machine, ..plan(MTU) }.cards(cards).alone().boot_warm()?;
    let shown = bench.router.command("show memory")?;
    ensure!(shown.contains("; of 16384 octets"), "{shown}");
    let shown = bench.router.command("show interfaces")?;
    ensure!(shown.matches(" mtu 9000\n").count() == 2 && shown.matches(" mtu 1500\n").count() == 1, "{shown}");

    assert_eq!(bench.run_perfectly(crossing(&bench, 9000), PATIENCE)?, 36_000);

    // For the usual port they are cut, into pieces no longer than it takes, and put together there.
    let arrived = bench.lab.capture(bench.host(2), packets::is_ipv4);
    let cut = FlowSpec {
        ports: (5005, 9),
        sizes: Sizes::Sweep(8000, LARGEST),
        packets: Some(500),
        window: 4,
        ..FlowSpec::new(bench.host(0), bench.host(2))
    };
    bench.run_perfectly([cut], PATIENCE)?;
    let lengths: Vec<usize> = arrived.drain().iter().map(|frame| frame.octets.len()).collect();
    assert_eq!((lengths.len() >= 500 * 6, lengths.iter().max()), (true, Some(&1514)), "{} pieces", lengths.len());
    drop(arrived);

    // What may not be cut is reported, with the MTU that would do.
    let whole = Ping { payload: 8000, dont_fragment: true, ..Ping::default() };
    match bench.lab.ping(bench.host(0), Bench::host_address(2), whole) {
        PingOutcome::Error(error) => {
            assert_eq!((error.kind, error.code, error.next_hop_mtu()), (3, 4, Some(1500)));
            assert_eq!((error.from, error.quote.octets.len()), (Bench::own_address(0), 576 - 28));
        }
        outcome => ensure!(false, "{outcome:?}"),
    }
    reply(&bench, 0, Bench::host_address(2), Ping { dont_fragment: false, ..whole })?;

    // The router itself: whole, out of pieces of 9000 octets, and out of pieces of 1500.
    let arrived = bench.lab.capture(bench.host(0), packets::is_ipv4);
    reply(&bench, 0, Bench::own_address(0), Ping { payload: 8900, ..whole })?;
    let frame = arrived.next(PATIENCE).context("no reply captured")?;
    assert_eq!(frame.octets.len(), 14 + 28 + 8900, "the reply came whole");
    for (from, payload) in [(0, 20_000), (0, 60_000), (2, 8900)] {
        reply(&bench, from, Bench::own_address(from), Ping { payload, ..Ping::default() })?;
    }
    bench.finish()
}

#[test]
fn long_packets_cross_82540em_whole_and_are_cut_for_short_links() -> Result<()> {
    long_packets_cross(NicModel::E1000, 1)
}

#[test]
fn long_packets_cross_82574l_whole_and_are_cut_for_short_links() -> Result<()> {
    long_packets_cross(NicModel::E1000e, 2)
}

#[test]
fn frames_that_are_too_long_are_counted_and_the_next_ones_go_on() -> Result<()> {
    for cards in [NicModel::E1000, NicModel::E1000e] {
        // Not a frame before: QEMU's 82574L counts good ones of 60 octets as too short.
        let mut bench = plan(MTU).cards(cards).boot()?;
        bench.wait_for_links()?;
        // Longer than the MTU allows, than a buffer holds, and than any part takes; and on the usual port just longer than usual.
        for (port, lengths) in [(0, vec![9019, 16_000, 16_384, 30_000]), (2, vec![1600, 9000])] {
            let name = format!("em{port}");
            for length in &lengths {
                let mut frame = vec![0x5a; *length];
                frame[..6].copy_from_slice(&Bench::own_mac(port).octets());
                frame[12..14].copy_from_slice(&[8, 0]);
                (0..50).for_each(|_| bench.lab.send_frame(bench.host(port), &frame));
            }
            let (expected, started) = (50 * lengths.len() as u64, Instant::now());
            loop {
                let counted = length_errors(&mut bench, &name)?;
                if counted == expected {
                    break;
                }
                ensure!(started.elapsed() < PATIENCE, "{name} of {cards:?} has counted {counted} of {expected}");
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        bench.warm_up()?;
        assert_eq!(bench.run_perfectly(crossing(&bench, 500), PATIENCE)?, 2000);
        bench.finish()?;
    }
    Ok(())
}

#[test]
fn an_mtu_beyond_the_part_is_named_and_what_the_part_can_do_is_used() -> Result<()> {
    let mut bench = plan(16_110).cards(NicModel::E1000e).boot_warm()?;
    let log = bench.router.command("show log")?;
    ensure!(log.contains("em0: mtu 16110 is not possible (82574L): it stays at 9212"), "{log}");
    assert_eq!(bench.router.command("show interfaces")?.matches(" mtu 9212\n").count(), 2);
    bench.finish()?;
    let mut bench = plan(16_110).boot_warm()?;
    let flow = |from, to, port| FlowSpec {
        ports: (port, 9),
        sizes: Sizes::Fixed(16_110 - 28),
        packets: Some(1000),
        window: 8,
        dont_fragment: true,
        ..FlowSpec::new(bench.host(from), bench.host(to))
    };
    let flows = [flow(0, 1, 5001), flow(1, 0, 5002)];
    bench.run_perfectly(flows, PATIENCE)?;
    bench.finish()
}

#[test]
fn where_memory_is_short_there_are_fewer_large_buffers_or_none_and_the_log_says_so() -> Result<()> {
    let boot = |memory| Plan { machine: Machine { memory, ..Machine::default() }, ..plan(MTU) }.boot_warm();
    let mut bench = boot(128)?;
    let log = bench.router.command("show log")?;
    ensure!(log.contains("descriptors, fewer buffers"), "{log}");
    assert_eq!(bench.run_perfectly(crossing(&bench, 1000), PATIENCE)?, 4000);
    bench.finish()?;
    let mut bench = boot(48)?;
    let log = bench.router.command("show log")?;
    ensure!(log.contains("pktbuf: no buffers of 16384 octets in"), "{log}");
    ensure!(log.contains("em0: mtu 9000 is not possible (no buffers that large): it stays at 1500"), "{log}");
    assert_eq!(bench.router.command("show interfaces")?.matches(" mtu 1500\n").count(), 3);
    bench.finish()
}
