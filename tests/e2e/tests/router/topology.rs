//! More ports, more processors, and ports that share an interrupt line.

use anyhow::{Context, Result, ensure};
use e2e::{Bench, PATIENCE, Plan, Port};
use sluice::{
    host::{FlowSpec, Sizes},
    machine::{Board, Machine},
};

/// A flow from each host to each other one.
fn mesh(bench: &Bench, packets: u64, window: u32) -> Vec<FlowSpec> {
    let count = bench.hosts.len();
    let pairs = (0..count).flat_map(|from| (0..count).map(move |to| (from, to))).filter(|(from, to)| from != to);
    pairs
        .map(|(from, to)| FlowSpec {
            ports: (7000 + u16::try_from(from * 16 + to).unwrap_or(0), 9),
            sizes: Sizes::Sweep(18, 700),
            packets: Some(packets),
            window,
            ..FlowSpec::new(bench.host(from), bench.host(to))
        })
        .collect()
}

fn on(board: Board, smp: u32, plan: Plan) -> Plan {
    Plan { machine: Machine { board, smp, ..Machine::default() }, ..plan }
}

#[test]
fn three_ports_forward_between_each_other() -> Result<()> {
    let mut bench = on(Board::Pc, 2, Bench::of(3)).alone().boot_warm()?;
    let flows = mesh(&bench, 2000, 16);
    assert_eq!(bench.run_perfectly(flows, PATIENCE)?, 6 * 2000);
    bench.finish()
}

/// Boots two ports in slots that share a line, and sees them share it under traffic.
fn two_ports_on_one_line(board: Board) -> Result<()> {
    let at = |slot| Port { slot: Some(slot), ..Port::default() };
    let mut bench = on(board, 2, Bench::with_ports(vec![at(4), at(8)])).alone().boot_warm()?;
    let flows = mesh(&bench, 10_000, 32);
    assert_eq!(bench.run_perfectly(flows, PATIENCE)?, 20_000);
    let shown = bench.router.command("show intr")?;
    let line = shown.lines().find(|line| line.contains("em0") && line.contains("em1"));
    let line = line.with_context(|| format!("the ports share no line:\n{shown}"))?;
    ensure!(line.trim_start().starts_with("irq"), "{line}");
    for port in ["em0", "em1"] {
        let handler = shown.lines().find(|line| line.trim_start().starts_with(&format!("{port} ")));
        let handler = handler.with_context(|| format!("no handler of {port}:\n{shown}"))?;
        ensure!(!handler.contains("claimed 0 ") && !handler.contains("SUSPENDED"), "{shown}");
    }
    bench.finish()
}

#[test]
fn two_ports_share_one_line_of_a_pc() -> Result<()> {
    two_ports_on_one_line(Board::Pc)
}

#[test]
fn two_ports_share_one_line_of_a_q35() -> Result<()> {
    two_ports_on_one_line(Board::Q35)
}

#[test]
fn eight_ports_and_four_processors_forward_in_a_ring() -> Result<()> {
    let mut bench = on(Board::Q35, 4, Bench::of(8)).alone().boot_warm()?;
    let version = bench.router.command("show version")?;
    ensure!(version.contains("4 CPUs"), "{version}");
    let ring = |step: usize, port: u16| {
        let flow = move |bench: &Bench, from: usize| FlowSpec {
            ports: (port, 9),
            packets: Some(1000),
            window: 8,
            ..FlowSpec::new(bench.host(from), bench.host((from + step) % 8))
        };
        (0..8).map(move |from| (flow, from))
    };
    let flows: Vec<FlowSpec> = ring(1, 8001).chain(ring(7, 8007)).map(|(flow, from)| flow(&bench, from)).collect();
    assert_eq!(bench.run_perfectly(flows, PATIENCE)?, 16 * 1000);
    bench.finish()
}

#[test]
fn one_processor_is_enough() -> Result<()> {
    let mut bench = on(Board::Pc, 1, Bench::of(2)).boot_warm()?;
    let flows = mesh(&bench, 2000, 32);
    bench.run_perfectly(flows, PATIENCE)?;
    bench.finish()
}
