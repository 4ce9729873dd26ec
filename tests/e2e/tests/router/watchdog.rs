//! The hardware watchdog: what ends a wedge that no software sees, and what keeps it from ending anything else.

use std::{thread, time::Duration};

use anyhow::{Result, ensure};
use e2e::{Bench, PATIENCE, Plan};
use sluice::{
    host::FlowSpec,
    machine::{Board, Machine},
};

/// A machine with one processor and a watchdog card.
fn one_processor(device: &[&str], timeout: u32) -> Plan {
    let extra = device.iter().map(|argument| (*argument).to_owned()).collect();
    let machine = Machine { board: Board::Q35, smp: 1, extra, ..Machine::default() };
    Plan { machine, more: format!("[sysctl]\n\"hw.watchdog.timeout\" = {timeout}\n"), ..Bench::of(1) }
}

const CARD: &[&str] = &["-device", "i6300esb,addr=0x10", "-watchdog-action", "reset"];
const CHIPSET: &[&str] = &["-global", "ICH9-LPC.noreboot=false", "-watchdog-action", "reset"];

/// Has the only processor spin with interrupts off, and waits for the machine that comes up after that.
fn is_reset_by(plan: Plan, name: &str) -> Result<()> {
    let mut bench = plan.boot()?;
    let shown = bench.router.command("show watchdog")?;
    ensure!(shown.contains(&format!("hardware: {name} at ")) && shown.contains("resets after "), "{shown}");
    ensure!(!shown.contains("it ended the run before"), "{shown}");
    // Fed for longer than it would wait.
    thread::sleep(Duration::from_secs(12));
    let version = bench.router.command("show version")?;
    ensure!(version.contains("1 CPUs"), "{version}");
    bench.router.guest().console().send_line("sysctl debug.fail_point.wedge_cpu=0")?;
    let guest = bench.router.guest();
    guest.wait_for("fails on purpose from now on: spins with interrupts off", PATIENCE)?;
    guest.wait_for("previous shutdown: none; the machine was reset", PATIENCE)?;
    bench.router.wait_for_console()?;
    let shown = bench.router.command("show watchdog")?;
    ensure!(shown.contains("hardware: it ended the run before this one"), "{shown}");
    let log = bench.router.command("show log")?;
    ensure!(log.contains("has reset the machine: it was not fed"), "{log}");
    bench.finish()
}

#[test]
fn a_lone_processor_that_spins_with_interrupts_off_is_reset_by_the_watchdog_card() -> Result<()> {
    is_reset_by(one_processor(CARD, 6), "i6300ESB")
}

#[test]
fn a_lone_processor_that_spins_with_interrupts_off_is_reset_by_the_chipset() -> Result<()> {
    is_reset_by(one_processor(CHIPSET, 6), "TCO")
}

#[test]
fn a_machine_that_waits_for_a_person_is_not_reset() -> Result<()> {
    let mut bench = one_processor(CARD, 5).boot()?;
    bench.router.guest().console().send_line("debug")?;
    bench.router.guest().wait_for("db> ", PATIENCE)?;
    thread::sleep(Duration::from_secs(12));
    bench.router.guest().console().send_line("continue")?;
    let shown = bench.router.command("show watchdog")?;
    ensure!(shown.contains("resets after 5 s") && !shown.contains("it ended the run before"), "{shown}");
    bench.router.guest().console().send_line("halt")?;
    bench.router.guest().wait_for("Please press any key to reboot.", PATIENCE)?;
    let before = bench.router.transcript().len();
    thread::sleep(Duration::from_secs(12));
    ensure!(bench.router.guest().is_running(), "a halted machine stays");
    let transcript = bench.router.transcript();
    // The end of the line that was waited for may come later; whoever is reset says more.
    let after = transcript.get(before..).unwrap_or_default();
    ensure!(after.trim().is_empty(), "it was reset:\n{after}");
    Ok(())
}

#[test]
fn an_interrupt_thread_that_sleeps_in_its_pass_is_found_named_and_the_machine_restarts() -> Result<()> {
    let mut bench = Bench::of(2).boot_warm()?;
    bench.router.set("debug.watchdog", "4")?;
    bench.router.set("kern.panic_reboot_wait_time", "0")?;
    bench.router.set("debug.fail_point.sleep_ithread", "em0")?;
    let start = bench.router.transcript().len();
    // The pass in which it sleeps is any that a frame asks for.
    let flow = bench.lab.start_flow(FlowSpec { packets: Some(3), ..FlowSpec::new(bench.host(0), bench.host(1)) });
    let report = bench.router.wait_past_panic(start, "previous shutdown: panic")?;
    bench.lab.stop_flow(flow);
    for text in ["watchdog: thread ", ": em0) is ", "fail_points::", "has not got on for 4 seconds", "Rebooting..."] {
        ensure!(report.contains(text), "no {text:?} in:\n{report}");
    }
    Ok(())
}
