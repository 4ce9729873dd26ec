//! Noise into every port while good traffic runs.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::{
    Bench, PATIENCE,
    noise::{self, Noise},
};
use sluice::host::{FlowId, FlowSpec, Sizes, StationCounters};

/// How many bad frames go into each port.
const BAD_FRAMES: usize = 10_000;

/// How many of them in a millisecond: enough to be always among the good ones, and below what the router can take.
const PACE: usize = 3;

#[test]
fn ten_thousand_bad_frames_into_each_port_do_not_harm_the_good_flow() -> Result<()> {
    let seed = noise::seed();
    println!("seed {seed} ({}={seed} repeats this run)", noise::SEED_VARIABLE);
    run(seed).map_err(|error| error.context(format!("seed {seed}")))
}

fn run(seed: u64) -> Result<()> {
    let mut bench = Bench::of(2).alone().boot_warm()?;
    // Nothing may be under way when counting begins.
    let before = bench.router.settled_books()?;
    let sent_before = sent(&bench);
    let good = start_good_flows(&bench);
    for port in 0..2 {
        let place = noise::Place {
            port: Bench::own_mac(port),
            router: Bench::own_address(port),
            host: Bench::host_address(port),
            other: Bench::host_address(1 - port),
        };
        let frames = Noise::new(seed.wrapping_add(port as u64), place).frames(BAD_FRAMES);
        bench.lab.inject(bench.host(port), frames, PACE);
    }
    for port in 0..2 {
        bench.lab.wait_injected(bench.host(port), PATIENCE)?;
    }
    let mut reports = Vec::new();
    for flow in good {
        bench.lab.stop_flow(flow);
        reports.push(bench.lab.wait_flow(flow, PATIENCE)?);
    }
    let delivered = bench.expect_perfect(&reports)?;
    ensure!(delivered > 100, "the good flow hardly ran: {delivered} packets");
    // Every frame that was sent is in the books, under a name. The frames of what is held come later.
    let due = before.received + (sent(&bench) - sent_before);
    let came = |shown: &str| e2e::Books::parse(shown).is_ok_and(|books| books.received >= due);
    bench.router.wait_until("show audit", came)?;
    let after = bench.router.settled_books()?;
    assert_eq!(after.received, before.received + (sent(&bench) - sent_before), "{after:#?}");
    let ended: u64 = after.fates.values().sum();
    ensure!(ended + after.held >= after.received, "{after:#?}");
    let names = after.fates.iter().filter(|(name, count)| **count > before.fate(name)).count();
    ensure!(names > 20, "the noise reaches few places: {after:#?}");
    // The router is as good as new.
    let flow = FlowSpec { packets: Some(1000), ..FlowSpec::new(bench.host(0), bench.host(1)) };
    bench.run_perfectly([flow], Duration::from_secs(60))?;
    bench.finish()
}

fn start_good_flows(bench: &Bench) -> Vec<FlowId> {
    let flow = |from: usize, to: usize| FlowSpec {
        ports: (5000, 5001),
        sizes: Sizes::Sweep(18, 600),
        window: 8,
        ..FlowSpec::new(bench.host(from), bench.host(to))
    };
    [flow(0, 1), flow(1, 0)].map(|flow| bench.lab.start_flow(flow)).to_vec()
}

/// Returns how many frames the hosts have sent.
fn sent(bench: &Bench) -> u64 {
    let counters: Vec<StationCounters> = bench.hosts.iter().map(|host| bench.lab.counters(*host)).collect();
    counters.iter().map(|counters| counters.sent).sum()
}
