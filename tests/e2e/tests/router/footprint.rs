//! How little memory the router needs, and what it tells of its boot and of where its cycles go.

use anyhow::{Context, Result, ensure};
use e2e::{Bench, PATIENCE, Plan};
use sluice::{
    footprint::{BootTimes, MemoryUse},
    host::FlowSpec,
    machine::{Firmware, Machine, NicModel},
};

/// What the whole router may take with two cards, in KiB.
const LIMIT: u64 = 32 * 1024;

fn flow(bench: &Bench, packets: u64) -> FlowSpec {
    FlowSpec { packets: Some(packets), ..FlowSpec::new(bench.host(0), bench.host(1)) }
}

/// The memory that the router is said to use is all that the firmware gave and that is not free.
#[test]
fn a_router_with_64_mib_forwards_and_its_memory_adds_up_to_32_at_most() -> Result<()> {
    forwards_with_64_mib(Firmware::Bios, 60 * 1024)
}

/// UEFI keeps some of the memory to itself.
#[test]
fn a_router_with_64_mib_started_by_uefi_forwards_as_well() -> Result<()> {
    forwards_with_64_mib(Firmware::Uefi, 40 * 1024)
}

fn forwards_with_64_mib(firmware: Firmware, given: u64) -> Result<()> {
    let mut plan = Bench::of(2);
    plan.machine = Machine { memory: 64, firmware, ..plan.machine };
    let mut bench = plan.boot_warm()?;
    assert_eq!(bench.run_perfectly([flow(&bench, 2000)], PATIENCE)?, 2000);
    let shown = bench.router.command("show memory")?;
    let memory = MemoryUse::read(&shown)?;
    ensure!(memory.used <= LIMIT, "{} KiB are used: {shown}", memory.used);
    ensure!((given..=64 * 1024).contains(&memory.given), "64 MiB were given: {shown}");
    ensure!(!shown.contains("in no row"), "{shown}");
    for row in ["kernel, symbols and loader's tables", "heap, reserved", "packet buffers", "stacks", "page tables"] {
        let (_, kib) = memory.rows.iter().find(|(what, _)| what == row).with_context(|| format!("no {row}"))?;
        ensure!(*kib > 0, "{row}: {shown}");
    }
    bench.finish()
}

#[test]
fn the_default_router_uses_32_mib_at_most() -> Result<()> {
    uses_32_mib_at_most(Bench::of(2))
}

#[test]
fn a_router_with_two_queues_in_each_card_uses_32_mib_at_most() -> Result<()> {
    let plan = Bench::of(2).cards(NicModel::E1000e).alone();
    uses_32_mib_at_most(Plan { machine: Machine { smp: 2, ..plan.machine.clone() }, ..plan })
}

fn uses_32_mib_at_most(plan: Plan) -> Result<()> {
    let mut bench = plan.boot()?;
    let shown = bench.router.command("show memory")?;
    let memory = MemoryUse::read(&shown)?;
    ensure!(memory.used <= LIMIT, "{} KiB are used: {shown}", memory.used);
    bench.finish()
}

#[test]
fn a_boot_is_told_from_the_hand_over_to_the_first_packet() -> Result<()> {
    let mut bench = Bench::of(2).boot_warm()?;
    bench.run_perfectly([flow(&bench, 10)], PATIENCE)?;
    bench.router.wait_until("show log", |log| log.contains("first packet forwarded"))?;
    let shown = bench.router.transcript();
    let times = BootTimes::read(&shown).context("the router does not say when it was ready")?;
    let first = times.first_packet.context("no first packet")?;
    ensure!(times.before.is_some_and(|before| before > 0), "{times:?}");
    ensure!(0 < times.ready && times.ready < first, "{times:?}");
    bench.finish()
}
