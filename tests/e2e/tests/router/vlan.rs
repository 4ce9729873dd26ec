//! VLANs over one card: routed, verified octet by octet with their tags on the wire, and kept apart.

use std::net::Ipv4Addr;

use anyhow::{Result, ensure};
use e2e::{
    Bench, PATIENCE, Plan,
    trunk::{TrunkBench, tagged},
};
use etherparse::{IpNumber, Ipv4Header};
use sluice::{
    host::{FlowSpec, HostId, Ping, PingOutcome, Sizes},
    machine::NicModel,
};
use wire::MacAddr;

use crate::packets;

/// A port that nobody listens on.
const DISCARD: u16 = 9;

/// Bodies by which frames are told apart, long enough that nothing is padded behind them.
const ASTRAY: &[u8] = b"a packet that has gone astray";
const ON_ITS_WAY: &[u8] = b"a packet that is on its way";

/// A frame to the router at em1 from the host in VLAN 10.
fn frame(bench: &TrunkBench, header: Ipv4Header, body: &[u8]) -> Vec<u8> {
    let packet = packets::udp_packet(header, DISCARD, body);
    let (to, from) = (Bench::own_mac(1).octets(), bench.mac(bench.member(10)).octets());
    [to.as_slice(), &from, &[0x08, 0x00], &packet].concat()
}

fn header(to: Ipv4Addr) -> Ipv4Header {
    let from = TrunkBench::host_address(10).octets();
    Ipv4Header::new(0, 64, IpNumber::UDP, from, to.octets()).expect("an empty payload is not too long")
}

/// What a router makes of such a frame.
fn hopped(frame: &[u8], to: MacAddr, from: MacAddr) -> Vec<u8> {
    let (ip, rest) = Ipv4Header::from_slice(frame.get(14..).expect("a header")).expect("a packet");
    let mut ip = Ipv4Header { time_to_live: ip.time_to_live - 1, ..ip };
    ip.header_checksum = ip.calc_header_checksum();
    [&to.octets(), from.octets().as_slice(), &[0x08, 0x00], &ip.to_bytes(), rest].concat()
}

/// Pings, flows both ways between two VLANs and between a VLAN and a plain card.
fn routes(bench: &mut TrunkBench) -> Result<()> {
    let (ten, twenty, plain) = (bench.member(10), bench.member(20), bench.plain);
    for (from, to) in [
        (ten, TrunkBench::host_address(20)),
        (twenty, Ipv4Addr::new(10, 0, 1, 2)),
        (plain, TrunkBench::host_address(10)),
        (plain, TrunkBench::own_address(20)),
    ] {
        bench.lab.ping_until_reply(from, to, PATIENCE)?;
    }
    let flow = |(number, (from, to)): (u16, (HostId, HostId))| FlowSpec {
        ports: (7000 + number, 9),
        // Up to the longest packet: the frame is of 1518 octets with its tag, and four more with its check sequence.
        sizes: Sizes::Sweep(18, 1472),
        packets: Some(1455),
        window: 16,
        ..FlowSpec::new(from, to)
    };
    let pairs = [(ten, twenty), (twenty, ten), (ten, plain), (plain, twenty)];
    let flows: Vec<_> = (0..).zip(pairs).map(flow).map(|flow| bench.lab.start_flow(flow)).collect();
    for flow in flows {
        let report = bench.lab.wait_flow(flow, PATIENCE)?;
        ensure!(report.is_perfect() && report.delivered == 1455, "{report:#?}");
    }
    Ok(())
}

/// The tag on the wire, octet by octet.
fn shows_tags(bench: &mut TrunkBench) -> Result<()> {
    drop(bench.switch.drain());
    let to = (bench.mac(bench.member(20)), Bench::own_mac(1));
    // Priority and drop eligibility come to nothing; short frames are padded beneath their tag.
    for (control, length) in [(10, 100), (0xe00a, 18), (0x100a, 1), (10, 1472)] {
        let sent = frame(bench, header(TrunkBench::host_address(20)), &vec![0x5a; length]);
        bench.switch.send(&tagged(control, &sent));
        let mut expected = hopped(&sent, to.0, to.1);
        expected.resize(expected.len().max(60), 0);
        let is_ours = |frame: &[u8]| frame.get(16..18) == Some(&[0x08, 0x00]);
        let seen = bench.switch.wait_for(is_ours)?;
        ensure!(seen.last() == Some(&tagged(20, &expected)), "{control:#x}: {seen:02x?}\n{expected:02x?}");
    }
    // To a plain card it leaves without.
    let capture = bench.lab.capture(bench.plain, |frame| frame.get(12..14) == Some(&[0x08, 0x00]));
    let sent = frame(bench, header(Ipv4Addr::new(10, 0, 1, 2)), b"plain");
    bench.switch.send(&tagged(10, &sent));
    let expected = hopped(&sent, bench.mac(bench.plain), Bench::own_mac(0));
    let seen = capture.next(PATIENCE).map(|frame| frame.octets);
    let cut = seen.as_ref().and_then(|octets| octets.get(..expected.len()));
    ensure!(cut == Some(expected.as_slice()), "{seen:02x?}\n{expected:02x?}");
    Ok(())
}

/// What is not of a configured VLAN goes nowhere.
fn keeps_apart(bench: &mut TrunkBench) -> Result<()> {
    let before = bench.router.settled_books()?;
    drop(bench.switch.drain());
    let capture = bench.lab.capture(bench.plain, |frame| frame.get(12..14) == Some(&[0x08, 0x00]));
    for to in [TrunkBench::host_address(20), Ipv4Addr::new(10, 0, 1, 2), TrunkBench::own_address(10)] {
        let sent = frame(bench, header(to), ASTRAY);
        for control in [30, 11, 0xe01e, 1034, 4095] {
            bench.switch.send(&tagged(control, &sent));
        }
        // Without a tag, and with one that has a priority only: em1 itself is not configured.
        bench.switch.send(&sent);
        bench.switch.send(&tagged(0xe000, &sent));
        // Two tags, of which the second is one of ours.
        bench.switch.send(&tagged(10, &tagged(20, &sent)));
    }
    // What comes behind them tells that they have been judged.
    let sent = frame(bench, header(TrunkBench::host_address(20)), ON_ITS_WAY);
    bench.switch.send(&tagged(10, &sent));
    let seen = bench.switch.wait_for(|frame| frame.ends_with(ON_ITS_WAY))?;
    let strays: Vec<_> = seen.iter().filter(|frame| frame.ends_with(ASTRAY)).collect();
    ensure!(strays.is_empty() && capture.drain().is_empty(), "these got through: {strays:02x?}");
    let after = bench.router.settled_books()?;
    // Those of other VLANs have not even got into memory.
    ensure!(after.received - before.received == 10, "{before:#?}\n{after:#?}");
    ensure!(after.fate("forwarding-off") - before.fate("forwarding-off") == 6, "{after:#?}");
    ensure!(after.fate("eth-vlan-unknown") - before.fate("eth-vlan-unknown") == 3, "{after:#?}");
    Ok(())
}

/// Errors about a packet come back in the VLAN that it came from, and the answers of the console are right.
fn answers(bench: &mut TrunkBench) -> Result<()> {
    let ten = bench.member(10);
    let near = Ping { ttl: 1, ..Ping::default() };
    let outcome = bench.lab.ping(ten, TrunkBench::host_address(20), near);
    let PingOutcome::Error(error) = &outcome else { anyhow::bail!("{outcome:?}") };
    ensure!((error.kind, error.from) == (11, TrunkBench::own_address(10)), "{error:?}");
    for (command, expected) in [
        ("ping 10.20.0.2 1", "1 packets received"),
        ("show interfaces", "    inet 10.10.0.1/24\n    vlan: 10 parent interface: em1\n    rx "),
        ("show interfaces", "em1: not configured mac "),
        ("show interfaces", "em1.20: up mac "),
        ("show route", "10.20.0.0/24 connected  em1.20 "),
    ] {
        let said = bench.router.command(command)?.replace('\r', "");
        ensure!(said.contains(expected), "{command}: {expected:?} was expected:\n{said}");
    }
    let arp = bench.router.command("show arp")?;
    let line = arp.lines().find(|line| line.starts_with("10.20.0.2 "));
    ensure!(line.is_some_and(|line| line.contains(" em1.20 ")), "{arp}");
    Ok(())
}

fn vlans_over_one_card(cards: NicModel, smp: u32) -> Result<()> {
    let mut bench = TrunkBench::boot(cards, smp, &[10, 20])?;
    routes(&mut bench)?;
    shows_tags(&mut bench)?;
    keeps_apart(&mut bench)?;
    answers(&mut bench)?;
    bench.router.settled_books()?;
    bench.router.guest().console().skip();
    bench.router.guest().console().send_line("poweroff")?;
    let transcript = bench.router.ends_in_order()?;
    // One flow came from the plain card, and three with tags: whatever came with a tag is a frame of its card.
    for (port, flows) in [(0, 1), (1, 3)] {
        let of = |what: &str| transcript.lines().find(|line| line.contains(&format!("shutdown: {what}: em{port}: ")));
        let (audit, ledger) = (of("audit"), of("ledger"));
        ensure!(audit.is_some_and(|audit| audit.ends_with("unexplained 0")), "{audit:?}");
        ensure!(ledger.is_some_and(|ledger| ledger.ends_with("difference 0 and 0")), "{ledger:?}");
        let received = |line: &str| line.split("received ").nth(1)?.split([' ', ',']).next()?.parse::<u64>().ok();
        ensure!(audit.and_then(received) >= Some(flows * 1455), "{audit:?}");
    }
    Ok(())
}

#[test]
fn vlans_are_routed_over_one_82540em() -> Result<()> {
    vlans_over_one_card(NicModel::default(), 1)
}

#[test]
fn vlans_are_routed_over_one_82574l_with_two_queues() -> Result<()> {
    vlans_over_one_card(NicModel::E1000e, 2)
}

#[test]
fn a_vlan_of_a_card_that_is_not_there_is_refused_with_its_place() -> Result<()> {
    let config = "[[interface]]\nname = \"em7.10\"\naddresses = [\"10.0.1.1/24\"]\n".to_owned();
    let mut bench = Plan { config: Some(config), ..Bench::of(1) }.boot()?;
    let log = bench.router.command("show log")?;
    ensure!(log.contains("config: line 2, column 8: interface em7 does not exist on this machine"), "{log}");
    bench.finish()
}

fn tell(bench: &mut TrunkBench, command: &str, expected: &str) -> Result<()> {
    let said = bench.router.command(command)?;
    ensure!(said.contains(expected), "{command}: {expected:?} was expected:\n{said}");
    Ok(())
}

/// Sends a frame with this tag, and one behind it that is routed by way of `through`; returns what the router says of both.
fn counted(bench: &mut TrunkBench, control: u16, through: u16) -> Result<(u64, u64, u64)> {
    let before = bench.router.settled_books()?;
    let capture = bench.lab.capture(bench.plain, |frame| frame.ends_with(ON_ITS_WAY));
    let to_plain = header(Ipv4Addr::new(10, 0, 1, 2));
    let [astray, known] = [ASTRAY, ON_ITS_WAY].map(|body| frame(bench, to_plain.clone(), body));
    bench.switch.send(&tagged(control, &astray));
    bench.switch.send(&tagged(through, &known));
    ensure!(capture.next(PATIENCE).is_some(), "nothing comes through VLAN {through}");
    let after = bench.router.settled_books()?;
    let more = |fate: &str| after.fate(fate) - before.fate(fate);
    Ok((after.received - before.received, more("forwarding-off"), more("eth-vlan-unknown")))
}

/// The card learns of each change: of a VLAN that is gone not even a frame gets into memory, one that is new is routed.
#[test]
fn vlans_come_and_go_while_the_router_runs() -> Result<()> {
    let mut bench = TrunkBench::boot(NicModel::default(), 1, &[10, 20])?;
    bench.lab.ping_until_reply(bench.member(10), TrunkBench::host_address(20), PATIENCE)?;
    bench.lab.ping_until_reply(bench.plain, TrunkBench::host_address(10), PATIENCE)?;
    tell(&mut bench, "interface em1.20 down", "em1.20: down")?;
    let off = counted(&mut bench, 20, 10)?;
    ensure!(off == (2, 1, 0), "switched off: {off:?}");
    tell(&mut bench, "interface delete em1.20", "delete interface em1.20")?;
    let gone = counted(&mut bench, 20, 10)?;
    ensure!(gone == (1, 0, 0), "deleted: {gone:?}");
    let shown = bench.router.command("show route")?;
    ensure!(!shown.contains("10.20.0.0/24"), "{shown}");
    // Without any VLAN the card filters nothing; with one again it does.
    tell(&mut bench, "interface delete em1.10", "delete interface em1.10")?;
    tell(&mut bench, "interface add em1.20 10.20.0.1/24", "add interface em1.20")?;
    let other = counted(&mut bench, 10, 20)?;
    ensure!(other == (1, 0, 0), "the other one: {other:?}");
    for (command, error) in [
        ("interface add em1.20 10.99.0.1/24", "interface: em1.20 is there already"),
        (
            "interface add em1.30 10.20.0.129/25",
            "interface: the network of 10.20.0.129/25 overlaps another interface's",
        ),
        ("interface add em7.30 10.99.0.1/24", "interface: em7 is not there"),
        ("interface add em1.4095 10.99.0.1/24", "interface: \"em1.4095\": \"4095\" is not a VLAN"),
        ("interface delete em0", "interface: em0 is not a VLAN"),
    ] {
        tell(&mut bench, command, error)?;
    }
    tell(&mut bench, "interface add em1.10 10.10.0.1/24", "add interface em1.10")?;
    routes(&mut bench)?;
    shows_tags(&mut bench)?;
    bench.router.settled_books()?;
    bench.router.guest().console().skip();
    bench.router.guest().console().send_line("poweroff")?;
    bench.router.ends_in_order().map(drop)
}
