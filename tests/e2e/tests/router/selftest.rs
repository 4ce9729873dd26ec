//! The self-test: what a person with a stick sends back is said by every machine alike, and a machine that fails is told so.

use anyhow::{Context, Result, ensure};
use e2e::{Bench, PATIENCE, Plan};
use sluice::machine::{Disk, Machine, NicModel};

/// The router's configuration with the test switched on, and more settings.
fn plan(plan: Plan, settings: &str) -> Plan {
    let config = format!("{}\n[sysctl]\n\"kern.selftest\" = 1\n{settings}", plan.written_config());
    Plan { config: Some(config), ..plan }
}

/// Waits for the end of the test, the stick included; returns all it has said.
fn report(bench: &mut Bench) -> Result<String> {
    bench.router.guest().wait_for("selftest: result ", PATIENCE)?;
    bench.router.command("show selftest")
}

/// Returns what was said of `what`.
fn said<'r>(report: &'r str, what: &str) -> Result<&'r str> {
    let line = report.lines().find_map(|line| line.trim().strip_prefix(&format!("{what}: ")));
    line.with_context(|| format!("nothing about {what}:\n{report}"))
}

#[test]
fn a_good_machine_passes_and_forwards_afterwards() -> Result<()> {
    let stick = Bench::of(2);
    let stick = Plan { machine: Machine { disk: Disk::UsbStick, smp: 2, ..stick.machine.clone() }, ..stick };
    let mut bench = plan(stick, "").boot_warm()?;
    let report = report(&mut bench)?;
    for what in ["cpu 0", "cpu 1", "clock", "memory"] {
        ensure!(said(&report, what)?.starts_with("ok, "), "{report}");
    }
    for port in ["em0", "em1"] {
        let looped = said(&report, port)?;
        ensure!(looped.starts_with("ok, loopback: 256 frames, "), "{report}");
        // Buffers of 2048 octets hold frames of 2040 with their tag and FCS, more than is usual.
        ensure!(looped.contains(", 64 tagged, the longest 2040"), "{report}");
        let interrupts = report.lines().filter(|line| line.contains(port) && line.contains("3 interrupts")).count();
        ensure!(interrupts == 1, "one interrupt of {port}:\n{report}");
    }
    ensure!(report.contains("all passed"), "{report}");
    let flow =
        sluice::host::FlowSpec { packets: Some(500), ..sluice::host::FlowSpec::new(bench.host(0), bench.host(1)) };
    assert_eq!(bench.run_perfectly([flow], PATIENCE)?, 500, "the cards were attached anew");
    bench.finish()
}

#[test]
fn every_vector_of_an_82574l_is_asked() -> Result<()> {
    let machine = Machine { smp: 2, ..Machine::default() };
    let cards = Plan { machine, ..Bench::of(1) }.cards(NicModel::E1000e).alone();
    let mut bench = plan(cards, "\"hw.em.num_queues\" = 2\n").boot()?;
    let report = report(&mut bench)?;
    let looped = said(&report, "em0")?;
    ensure!(looped.starts_with("ok, loopback: 256 frames, ") && looped.contains(" by queue, "), "{report}");
    ensure!(looped.ends_with(" checksums judged right"), "each fourth of them wrong: {report}");
    for vector in ["rx0", "rx1", "tx0", "tx1", "other"] {
        ensure!(said(&report, &format!("em0:{vector}"))?.contains("3 interrupts"), "{report}");
    }
    ensure!(report.contains("all passed"), "{report}");
    bench.finish()
}

#[test]
fn a_card_that_has_gone_fails_by_name_and_the_rest_is_tested() -> Result<()> {
    let mut bench = plan(Bench::of(2), "\"debug.fail_point.all_ones\" = \"em1\"\n").boot()?;
    let report = report(&mut bench)?;
    ensure!(report.lines().any(|line| line.starts_with("em1: FAILED: ") && line.contains("did not come")), "{report}");
    ensure!(said(&report, "memory")?.starts_with("ok, "), "{report}");
    ensure!(report.contains("1 FAILED"), "{report}");
    bench.router.guest().console().send_line("poweroff")?;
    let status = bench.router.guest().wait_exit(PATIENCE)?;
    ensure!(status.success(), "QEMU ended with {status}");
    Ok(())
}
