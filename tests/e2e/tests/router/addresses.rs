//! Address resolution as hosts see it (RFC 826, RFC 1122 2.3.2, RFC 5227).

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::{Bench, PATIENCE};
use etherparse::ArpOperation;
use sluice::host::{FlowSpec, Ping, PingOutcome};
use wire::MacAddr;

use crate::packets;

/// An address in the network of port 1 where nobody is.
const NOBODY: std::net::Ipv4Addr = std::net::Ipv4Addr::new(10, 0, 2, 99);

/// How many packets the router holds for a neighbour.
const HOLD: u32 = 16;

#[test]
fn the_first_packets_wait_for_their_neighbour_and_none_is_lost() -> Result<()> {
    let mut bench = Bench::of(2).boot()?;
    bench.wait_for_links()?;
    // The host knows the router, the router does not know the other host.
    bench.lab.resolve(bench.host(0), Bench::own_address(0), PATIENCE)?;
    let flow = FlowSpec { packets: Some(u64::from(HOLD)), window: HOLD, ..FlowSpec::new(bench.host(0), bench.host(1)) };
    assert_eq!(bench.run_perfectly([flow], PATIENCE)?, u64::from(HOLD));
    let counters = bench.lab.counters(bench.host(1));
    assert_eq!(counters.arp_requests, 1, "one question is enough: {counters:?}");
    let shown = bench.router.command("show arp")?;
    ensure!(shown.contains(&format!("{}", bench.host_mac(1))), "{shown}");
    bench.finish()
}

#[test]
fn a_host_that_is_not_there_is_asked_for_once_a_second_and_then_reported() -> Result<()> {
    let mut bench = Bench::of(2).boot_warm()?;
    let (a, b) = (bench.host(0), bench.host(1));
    let is_question = |frame: &[u8]| packets::read_arp(frame).is_some_and(|arp| arp.target_ipv4_addr() == NOBODY);
    let questions = bench.lab.capture(b, is_question);
    let started = Instant::now();
    let mut reported = None;
    while reported.is_none() && started.elapsed() < PATIENCE {
        let outcome = bench.lab.ping(a, NOBODY, Ping { limit: Duration::from_millis(100), ..Ping::default() });
        if let PingOutcome::Error(error) = outcome {
            reported = Some(error);
        }
    }
    let error = reported.context("no host unreachable")?;
    assert_eq!((error.kind, error.code, error.from), (3, 1, Bench::own_address(0)));
    let seconds = started.elapsed().as_secs();
    let asked = questions.drain();
    ensure!((2..=seconds + 1).contains(&(asked.len() as u64)), "{} questions in {seconds} s", asked.len());
    for frame in &asked {
        let arp = packets::read_arp(&frame.octets).context("an ARP packet")?;
        assert_eq!(arp.operation, ArpOperation::REQUEST);
        assert_eq!((arp.sender_ipv4_addr(), MacAddr(arp.sender_mac)), (Bench::own_address(1), Bench::own_mac(1)));
        assert!(MacAddr(*frame.octets.first_chunk().context("a frame")?).is_broadcast());
    }
    // For a while nobody is asked again: the answer is known.
    for _ in 0..20 {
        let _ = bench.lab.ping(a, NOBODY, Ping { limit: Duration::from_millis(20), ..Ping::default() });
    }
    ensure!(questions.drain().len() <= 1, "a host known to be silent is asked again at once");
    let books = bench.router.settled_books()?;
    ensure!(
        books.fate("arp-unresolved") + books.fate("arp-negative") + books.fate("arp-hold-replaced") > 0,
        "{books:#?}"
    );
    bench.finish()
}

#[test]
fn a_host_with_a_new_card_is_followed() -> Result<()> {
    let mut bench = Bench::of(2).boot_warm()?;
    let (a, b) = (bench.host(0), bench.host(1));
    let flow = || FlowSpec { packets: Some(200), window: 8, ..FlowSpec::new(a, b) };
    bench.run_perfectly([flow()], PATIENCE)?;
    // First it says so itself (gratuitous ARP), then it merely asks for the router.
    for (round, tells) in [(1, true), (2, false)] {
        let mac = MacAddr([0x02, 0x99, 0, 0, 0, round]);
        bench.lab.change(b, |host| host.mac = mac);
        let address = Bench::host_address(1);
        if tells {
            let told =
                packets::arp(MacAddr::BROADCAST, ArpOperation::REQUEST, (mac, address), (MacAddr::ZERO, address));
            bench.lab.send_frame(b, &told);
        } else {
            bench.lab.forget_neighbours(b);
            bench.lab.resolve(b, Bench::own_address(1), PATIENCE)?;
        }
        bench.router.wait_until("show arp", |shown| shown.contains(&format!("{mac}")))?;
        bench.run_perfectly([flow()], PATIENCE)?;
    }
    assert_eq!(bench.lab.counters(b).misdirected, 0);
    bench.finish()
}

#[test]
fn a_stranger_who_asks_for_somebody_else_is_not_remembered() -> Result<()> {
    let mut bench = Bench::of(2).boot_warm()?;
    let stranger = (MacAddr([0x02, 0x98, 0, 0, 0, 1]), std::net::Ipv4Addr::new(10, 0, 1, 55));
    let target = (MacAddr::ZERO, std::net::Ipv4Addr::new(10, 0, 1, 56));
    let question = packets::arp(MacAddr::BROADCAST, ArpOperation::REQUEST, stranger, target);
    bench.lab.send_frame(bench.host(0), &question);
    bench.router.wait_until("show audit", |shown| shown.contains("arp-not-for-us"))?;
    let shown = bench.router.command("show arp")?;
    ensure!(!shown.contains("10.0.1.55"), "{shown}");
    bench.finish()
}
