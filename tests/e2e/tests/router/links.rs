//! Cables pulled and plugged in again (RFC 1812 5.3.12.3).

use std::{net::Ipv4Addr, time::Instant};

use anyhow::{Context, Result, ensure};
use e2e::{Bench, PATIENCE, Plan};
use sluice::{
    host::{FlowSpec, IcmpError, Ping, PingOutcome},
    machine::NicModel,
};

use crate::packets;

/// Pings until an error comes back.
fn ping_until_error(bench: &Bench, target: Ipv4Addr) -> Result<IcmpError> {
    let started = Instant::now();
    loop {
        let ping = Ping { limit: std::time::Duration::from_millis(500), ..Ping::default() };
        match bench.lab.ping(bench.host(0), target, ping) {
            PingOutcome::Error(error) => return Ok(error),
            outcome => ensure!(started.elapsed() < PATIENCE, "no error while the link is down: {outcome:?}"),
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

fn shows(bench: &mut Bench, state: &str) -> Result<()> {
    let line = format!("em1: {state} mac");
    bench.router.wait_until("show interfaces", |shown| shown.contains(&line)).map(drop)
}

#[test]
fn routes_of_a_link_that_is_down_are_withdrawn_and_come_back_with_it() -> Result<()> {
    let mut bench = Bench::of(2).boot_warm()?;
    let far = Bench::host_address(1);
    let is_announcement = |frame: &[u8]| packets::read_arp(frame).is_some_and(|arp| arp.sender_ipv4 == arp.target_ipv4);
    for round in 0..3 {
        bench.router.guest().set_link(1, false)?;
        shows(&mut bench, "down")?;
        let error = ping_until_error(&bench, far)?;
        assert_eq!((error.kind, error.code, error.from), (3, 0, Bench::own_address(0)), "round {round}");
        // The other link does not mind, and the router itself is reached by any of its addresses.
        let outcome = bench.lab.ping(bench.host(0), Bench::own_address(1), Ping::default());
        ensure!(outcome.reply().is_some(), "round {round}: {outcome:?}");
        let announcements = bench.lab.capture(bench.host(1), is_announcement);
        bench.router.guest().set_link(1, true)?;
        shows(&mut bench, "up")?;
        let told = announcements.next(PATIENCE).context("the router does not announce itself")?;
        let arp = packets::read_arp(&told.octets).context("an ARP packet")?;
        assert_eq!(arp.sender_ipv4_addr(), Bench::own_address(1));
        bench.lab.ping_until_reply(bench.host(0), far, PATIENCE)?;
    }
    let flow = FlowSpec { packets: Some(2000), ..FlowSpec::new(bench.host(0), bench.host(1)) };
    bench.run_perfectly([flow], PATIENCE)?;
    bench.finish()
}

/// The tick would find the change, a second late: here it looks at nothing, from the boot on.
fn a_link_is_followed_when_its_card_says_so(plan: Plan) -> Result<()> {
    let mut bench = plan.tuned("\"debug.fail_point.skip_ticks\" = 1").boot_warm()?;
    let far = Bench::host_address(1);
    for round in 0..2 {
        bench.router.guest().set_link(1, false)?;
        let error = ping_until_error(&bench, far)?;
        assert_eq!((error.kind, error.code), (3, 0), "round {round}");
        bench.router.guest().set_link(1, true)?;
        bench.lab.ping_until_reply(bench.host(0), far, PATIENCE)?;
    }
    bench.router.set("debug.fail_point.skip_ticks", "0")?;
    let flow = FlowSpec { packets: Some(500), ..FlowSpec::new(bench.host(0), bench.host(1)) };
    bench.run_perfectly([flow], PATIENCE)?;
    bench.finish()
}

#[test]
fn a_link_of_an_82540em_is_followed_when_its_card_says_so() -> Result<()> {
    a_link_is_followed_when_its_card_says_so(Bench::of(2))
}

#[test]
fn a_link_of_an_82574l_is_followed_when_its_card_says_so() -> Result<()> {
    a_link_is_followed_when_its_card_says_so(Bench::of(2).cards(NicModel::E1000e))
}

#[test]
fn a_link_that_goes_down_under_traffic_loses_packets_but_none_without_a_name() -> Result<()> {
    let mut bench = Bench::of(3).boot_warm()?;
    let flow = |from: usize, to: usize, port: u16| FlowSpec {
        ports: (port, 9),
        window: 24,
        ..FlowSpec::new(bench.host(from), bench.host(to))
    };
    let cut = [flow(0, 1, 1), flow(1, 0, 2)].map(|flow| bench.lab.start_flow(flow));
    let whole = [flow(0, 2, 3), flow(2, 0, 4)].map(|flow| bench.lab.start_flow(flow));
    for _ in 0..3 {
        bench.router.guest().set_link(1, false)?;
        shows(&mut bench, "down")?;
        bench.router.guest().set_link(1, true)?;
        shows(&mut bench, "up")?;
        bench.lab.ping_until_reply(bench.host(0), Bench::host_address(1), PATIENCE)?;
    }
    let mut reports = Vec::new();
    for flow in whole {
        bench.lab.stop_flow(flow);
        reports.push(bench.lab.wait_flow(flow, PATIENCE)?);
    }
    for flow in cut {
        bench.lab.stop_flow(flow);
        let report = bench.lab.wait_flow(flow, PATIENCE)?;
        assert_eq!((report.damaged, report.wrong_header, report.duplicated), (0, 0, 0), "{report:?}");
    }
    bench.expect_perfect(&reports)?;
    bench.finish()
}
