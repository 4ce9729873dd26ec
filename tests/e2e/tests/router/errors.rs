//! ICMP errors: which, from whom, with what inside (RFC 792, RFC 1191, RFC 1812 4.3.2, 4.3.3 and 5.2.7).

use std::{net::Ipv4Addr, time::Instant};

use anyhow::{Context, Result, ensure};
use e2e::{Bench, PATIENCE, Port};
use etherparse::{IpNumber, Ipv4Header};
use sluice::host::IcmpError;

use crate::packets;

/// The MTU of port 1.
const LOW_MTU: u16 = 1400;

/// An address there is no route to.
const NOWHERE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);

/// A port that nobody listens on.
const DISCARD: u16 = 9;

/// Boots a router whose second port has a low MTU.
fn boot() -> Result<Bench> {
    let low = Port { mtu: Some(LOW_MTU), ..Port::default() };
    Bench::with_ports(vec![Port::default(), low]).boot_warm()
}

/// Sends a packet from the host at port 0 and waits for the error about it.
fn error_about(bench: &Bench, header: &Ipv4Header, packet: &[u8]) -> Result<IcmpError> {
    drop(bench.lab.take_errors(bench.host(0)));
    bench.lab.send_packet(bench.host(0), header.destination.into(), packet);
    let started = Instant::now();
    let error = loop {
        if let Some(error) = bench.lab.take_errors(bench.host(0)).into_iter().next() {
            break error;
        }
        ensure!(started.elapsed() < PATIENCE, "no error about a packet to {}", Ipv4Addr::from(header.destination));
        std::thread::sleep(std::time::Duration::from_millis(5));
    };
    check_quote(&error, packet)?;
    Ok(error)
}

/// An error quotes the packet as it was sent, as far as 576 octets hold it (RFC 1812 4.3.2.3).
fn check_quote(error: &IcmpError, packet: &[u8]) -> Result<()> {
    let expected = packet.get(..packet.len().min(576 - 28)).unwrap_or_default();
    let quoted = error.quote.octets.get(..expected.len()).context("the quote is too short")?;
    ensure!(quoted == expected, "the quote differs:\n{quoted:02x?}\n{expected:02x?}");
    ensure!(error.quote.octets.len() <= 576 - 28, "{} octets are quoted", error.quote.octets.len());
    Ok(())
}

#[test]
fn a_packet_that_cannot_go_on_is_reported_to_its_sender() -> Result<()> {
    let bench = boot()?;
    let (near, far) = (Bench::own_address(0), Bench::host_address(1));
    for length in [0, 4, 600, 1372] {
        let header = Ipv4Header { time_to_live: 1, ..packets::ip(far, IpNumber::UDP) };
        let packet = packets::udp_packet(header.clone(), 33_434, &vec![0x5a; length]);
        let error = error_about(&bench, &header, &packet)?;
        assert_eq!((error.kind, error.code, error.from), (11, 0, near), "TTL 1");
    }
    let header = packets::ip(NOWHERE, IpNumber::UDP);
    let error = error_about(&bench, &header, &packets::udp_packet(header.clone(), DISCARD, b"x"))?;
    assert_eq!((error.kind, error.code, error.from), (3, 0, near), "no route");
    let header = Ipv4Header { dont_fragment: true, ..packets::ip(far, IpNumber::UDP) };
    let error = error_about(&bench, &header, &packets::udp_packet(header.clone(), DISCARD, &[0; 1373]))?;
    assert_eq!((error.kind, error.code, error.from), (3, 4, near), "too big");
    assert_eq!(error.next_hop_mtu(), Some(LOW_MTU));
    bench.finish()
}

#[test]
fn a_packet_for_the_router_that_it_cannot_use_is_reported_from_the_address_it_was_sent_to() -> Result<()> {
    let bench = boot()?;
    for own in [Bench::own_address(0), Bench::own_address(1)] {
        let header = packets::ip(own, IpNumber::UDP);
        let error = error_about(&bench, &header, &packets::udp_packet(header.clone(), DISCARD, b"hello"))?;
        assert_eq!((error.kind, error.code, error.from), (3, 3, own), "no such port");
        let header = packets::ip(own, IpNumber(253));
        let error = error_about(&bench, &header, &packets::packet(header.clone(), b"hello"))?;
        assert_eq!((error.kind, error.code, error.from), (3, 2, own), "no such protocol");
    }
    bench.finish()
}

#[test]
fn routes_that_refuse_say_so_and_those_that_swallow_do_not() -> Result<()> {
    let more = "[[route]]\nprefix = \"198.51.100.0/24\"\nunreachable = true\n\
                [[route]]\nprefix = \"192.0.2.0/24\"\nblackhole = true\n";
    let plan = e2e::Plan { more: more.to_owned(), ..Bench::of(2) };
    let mut bench = plan.boot_warm()?;
    let header = packets::ip(Ipv4Addr::new(198, 51, 100, 7), IpNumber::UDP);
    let error = error_about(&bench, &header, &packets::udp_packet(header.clone(), DISCARD, b"x"))?;
    assert_eq!((error.kind, error.code), (3, 1), "an unreachable route");
    let header = packets::ip(Ipv4Addr::new(192, 0, 2, 7), IpNumber::UDP);
    bench.lab.send_packet(
        bench.host(0),
        header.destination.into(),
        &packets::udp_packet(header.clone(), DISCARD, b"x"),
    );
    bench.router.wait_until("show audit", |shown| shown.contains("route-blackhole"))?;
    assert_eq!(bench.lab.take_errors(bench.host(0)), []);
    // A route added at the console is used at once, and withdrawn as well.
    let gateway = Bench::host_address(1);
    bench.router.command(&format!("route add {NOWHERE}/32 via {gateway}"))?;
    let arrived = bench.lab.capture(bench.host(1), packets::is_ipv4);
    let header = packets::ip(NOWHERE, IpNumber::UDP);
    let packet = packets::udp_packet(header.clone(), DISCARD, b"by the new route");
    bench.lab.send_packet(bench.host(0), NOWHERE, &packet);
    let frame = arrived.next(PATIENCE).context("the new route leads nowhere")?;
    assert_eq!(frame.octets.get(42..), Some(b"by the new route\0\0".as_slice()));
    bench.router.command(&format!("route delete {NOWHERE}/32"))?;
    let error = error_about(&bench, &header, &packet)?;
    assert_eq!((error.kind, error.code), (3, 0), "the route is gone");
    bench.finish()
}
