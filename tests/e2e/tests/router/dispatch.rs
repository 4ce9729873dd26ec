//! The dispatch policies (net.isr.dispatch), switched while traffic flows.

use std::{thread, time::Duration};

use anyhow::{Result, ensure};
use e2e::{Bench, PATIENCE};
use sluice::host::{FlowId, FlowSpec, Sizes};

/// How often the policy is changed.
const SWITCHES: usize = 30;

#[test]
fn switching_the_dispatch_policy_under_traffic_loses_and_reorders_nothing() -> Result<()> {
    let mut bench = Bench::of(2).alone().boot_warm()?;
    let flow = |from: usize, to: usize, port: u16| FlowSpec {
        ports: (port, 9),
        sizes: Sizes::Sweep(18, 200),
        window: 40,
        ..FlowSpec::new(bench.host(from), bench.host(to))
    };
    let flows: Vec<FlowId> =
        [flow(0, 1, 1), flow(0, 1, 2), flow(1, 0, 3), flow(1, 0, 4)].map(|flow| bench.lab.start_flow(flow)).to_vec();
    for policy in ["deferred", "hybrid", "direct"].into_iter().cycle().take(SWITCHES) {
        bench.router.set("net.isr.dispatch", policy)?;
        // Long enough for traffic under this policy, and no two switches at the same distance.
        let before = delivered(&bench, &flows);
        let moves = |bench: &Bench| delivered(bench, &flows) > before + 500;
        let waited = (0..6000).any(|_| moves(&bench) || pause());
        ensure!(waited && moves(&bench), "no traffic with {policy}");
    }
    let mut reports = Vec::new();
    for flow in &flows {
        bench.lab.stop_flow(*flow);
        reports.push(bench.lab.wait_flow(*flow, PATIENCE)?);
    }
    bench.expect_perfect(&reports)?;
    let shown = bench.router.command("show netisr")?;
    let columns = sums(&shown);
    // WSID Len WMark Disp'd HDisp'd QDrops Queued Handled
    ensure!(columns.len() == 8 && columns[5] == 0 && columns[1] == 0, "{shown}");
    ensure!(columns[3] > 0 && columns[6] > 0 && columns[7] >= columns[6], "every policy was used: {shown}");
    bench.finish()
}

#[test]
fn each_policy_can_be_configured_and_forwards() -> Result<()> {
    for policy in ["hybrid", "deferred"] {
        let more = format!("[sysctl]\n\"net.isr.dispatch\" = \"{policy}\"\n");
        let mut bench = e2e::Plan { more, ..Bench::of(2) }.boot_warm()?;
        let shown = bench.router.command("show netisr")?;
        ensure!(shown.contains(&format!("dispatch {policy}")), "{shown}");
        let flow = |from, to| FlowSpec { packets: Some(2000), window: 32, ..FlowSpec::new(from, to) };
        let flows = [flow(bench.host(0), bench.host(1)), flow(bench.host(1), bench.host(0))];
        bench.run_perfectly(flows, PATIENCE)?;
        bench.finish()?;
    }
    Ok(())
}

fn delivered(bench: &Bench, flows: &[FlowId]) -> u64 {
    flows.iter().map(|flow| bench.lab.report(*flow).delivered).sum()
}

fn pause() -> bool {
    thread::sleep(Duration::from_millis(10));
    false
}

/// Adds up the columns of the table of workstreams.
fn sums(table: &str) -> Vec<u64> {
    let mut sums = Vec::new();
    for line in table.lines() {
        let numbers: Option<Vec<u64>> = line.split_whitespace().map(|word| word.parse().ok()).collect();
        let Some(numbers) = numbers.filter(|numbers| numbers.len() == 8) else { continue };
        sums.resize(8, 0);
        sums.iter_mut().zip(numbers).for_each(|(sum, number)| *sum += number);
    }
    sums
}
