//! `bench instructions`: what a forwarded packet costs in instructions and register accesses, and where they go.

use std::{fs, thread, time::Duration};

use anyhow::{Context, Result};
use clap::Args;
use sluice::{
    bench::{
        instructions::Cost,
        meter::{By, Code, Meter},
    },
    build,
    host::FlowSpec,
    machine::Accelerator,
    progress::Progress,
    testbed::{Plan, Testbed},
    workspace::Workspace,
};

/// What `bench instructions` takes.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The number of processors
    #[arg(long, value_name = "N", default_value_t = 1)]
    cpus: u32,
    /// For how many seconds instructions are counted
    #[arg(long, value_name = "N", default_value_t = 5)]
    seconds: u64,
    /// Packets go both ways
    #[arg(long)]
    both: bool,
    /// How many packets are under way, each way
    #[arg(long, value_name = "N", default_value_t = 64)]
    window: u32,
    /// What the profile is summed up by; may be given several times
    #[arg(long, value_enum, default_values_t = [By::Stage, By::Symbol])]
    by: Vec<By>,
    /// Leaves out of the profile what takes fewer instructions a packet
    #[arg(long, value_name = "N", default_value_t = 0.1)]
    least: f64,
    /// Counts accesses to device registers as well (the guest is slower then)
    #[arg(long)]
    registers: bool,
}

/// How long the flow runs before anything is counted, so that all code has been translated.
const WARM_UP: Duration = Duration::from_secs(2);

/// Boots, counts, and prints.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let progress = Progress::new();
    let workspace = Workspace::find();
    let mut meter = Meter::new(&workspace, arguments.registers, progress)?;
    let mut plan = Plan::star(2);
    plan.machine.smp = arguments.cpus;
    plan.machine.accelerator = Some(Accelerator::Tcg);
    plan.machine.extra = vec!["-plugin".into(), meter.load().option()];
    let bed = Testbed::boot(&plan, progress)?;
    let (left, right) = (bed.hosts[0], bed.hosts[1]);
    for (host, other) in [(left, right), (right, left)] {
        bed.lab.ping_until_reply(host, bed.lab.spec(other).address.address(), Duration::from_secs(30))?;
    }
    let ways = if arguments.both { &[(left, right), (right, left)][..] } else { &[(left, right)] };
    let start = |&(from, to)| bed.lab.start_flow(FlowSpec { window: arguments.window, ..FlowSpec::new(from, to) });
    let flows: Vec<_> = ways.iter().map(start).collect();
    let delivered = || flows.iter().map(|flow| bed.lab.report(*flow).delivered).sum::<u64>();
    thread::sleep(WARM_UP);
    meter.mark()?;
    let first = delivered();
    thread::sleep(Duration::from_secs(arguments.seconds));
    meter.mark()?;
    let last = delivered();
    for flow in flows {
        bed.lab.stop_flow(flow);
    }
    let cost = Cost::new(last - first, meter.between()?)?;
    let kernel = build::kernel_file(&workspace);
    let bytes = fs::read(&kernel).with_context(|| format!("cannot read {}", kernel.display()))?;
    let code = Code::of(&workspace, &bytes)?;
    for by in &arguments.by {
        println!("{}", cost.table(Some(&code), *by, arguments.least)?);
    }
    if arguments.registers {
        println!("{}", cost.register_table());
    }
    println!(
        "{} packets in {} s on {} CPUs: {:.2} instructions a packet",
        cost.packets,
        arguments.seconds,
        arguments.cpus,
        cost.instructions_per_packet()
    );
    if arguments.registers {
        let (reads, writes) = cost.accesses_per_packet();
        println!("register accesses a packet: {reads:.4} reads, {writes:.4} writes");
    }
    Ok(())
}
