//! Crashes of the real router under traffic: one whole report that names the thread, silence on the wire, and a router that
//! comes back by itself.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use e2e::{Bench, PATIENCE, Plan};
use sluice::host::{Capture, FlowSpec};

use crate::dump::wait_behind;

/// Long enough to listen to the wire, short enough for a test.
const WAIT: &str = "[sysctl]\n\"kern.panic_reboot_wait_time\" = 3\n";
const ANNOUNCED: &str = "Automatic reboot in 3 seconds - press a key on the console to abort";

fn boot() -> Result<Bench> {
    Plan { more: WAIT.into(), ..Bench::of(2) }.boot_warm()
}

/// Crashes the router by a setting, under traffic in both directions. Returns what it said from there to its restart.
///
/// # Errors
/// When a frame leaves after the report has begun, or the machine does not restart.
fn crash(bench: &mut Bench, setting: &str) -> Result<String> {
    let flows = [(0, 1), (1, 0)].map(|(from, to)| {
        bench.lab.start_flow(FlowSpec { window: 32, ..FlowSpec::new(bench.host(from), bench.host(to)) })
    });
    let deadline = Instant::now() + PATIENCE;
    while flows.iter().any(|flow| bench.lab.report(*flow).delivered < 200) {
        ensure!(Instant::now() < deadline, "the flows do not move");
        sleep(Duration::from_millis(20));
    }
    let ears: Vec<Capture> = [0, 1].map(|port| bench.lab.capture(bench.host(port), |_| true)).into();
    let start = bench.router.transcript().len();
    bench.router.guest().console().send_line(&format!("sysctl {setting}"))?;
    // The cards stand still before the first octet of the report; what had left by then may still be on its way to the hosts.
    wait_behind(bench, start, "cpuid = ")?;
    sleep(Duration::from_millis(200));
    ears.iter().for_each(|ear| drop(ear.drain()));
    wait_behind(bench, start, ANNOUNCED)?;
    let heard: usize = ears.iter().map(|ear| ear.drain().len()).sum();
    ensure!(heard == 0, "{heard} frames left after the crash");
    let said = wait_behind(bench, start, "Rebooting...")?;
    flows.iter().for_each(|flow| bench.lab.stop_flow(*flow));
    Ok(said)
}

/// The report's lines, in their order, each at the beginning of a line.
fn expect_lines(said: &str, lines: &[&str]) -> Result<()> {
    let mut rest = said.lines();
    for line in lines {
        ensure!(rest.any(|found| found.starts_with(line)), "{line:?} is missing, or out of place:\n{said}");
    }
    Ok(())
}

/// The name in `current process = 42 (name)`.
fn thread(said: &str) -> Result<&str> {
    let line =
        said.lines().find_map(|line| line.strip_prefix("current process         = ")).context(said.to_owned())?;
    let (number, name) = line.split_once(" (").with_context(|| line.to_owned())?;
    ensure!(number.parse::<u64>().is_ok(), "{line}");
    name.strip_suffix(')').with_context(|| line.to_owned())
}

/// Waits until the router is there again after its boots, and forwards without a fault.
fn forwards_again(bench: &mut Bench, from: usize) -> Result<()> {
    wait_behind(bench, from, "] running")?;
    bench.router.guest().console().skip();
    bench.router.wait_until("show version", |answer| answer.contains("CPUs"))?;
    bench.wait_for_links()?;
    bench.warm_up()?;
    let flow = FlowSpec { packets: Some(300), ..FlowSpec::new(bench.host(0), bench.host(1)) };
    bench.run_perfectly([flow], PATIENCE).map(drop)
}

/// In order at last; the bench's own look at it would stumble over the crash.
fn power_off(bench: &mut Bench) -> Result<()> {
    bench.router.settled_books()?;
    bench.router.guest().console().send_line("poweroff")?;
    bench.router.guest().wait_for("shutdown: clean", PATIENCE)?;
    let status = bench.router.guest().wait_exit(PATIENCE)?;
    ensure!(status.success(), "QEMU ended with {status}");
    Ok(())
}

/// What every trap report shows, in order.
const TRAP: [&str; 12] = [
    "Fatal trap 12: page fault while in kernel mode",
    "cpuid = ",
    "fault virtual address   = 0x10",
    "fault code              = supervisor read data, page not present",
    "instruction pointer     = 0x8:0x",
    "stack pointer           = 0x10:0x",
    "frame pointer           = 0x10:0x",
    "processor eflags        = ",
    "current process         = ",
    "trap number             = 12",
    "panic: page fault",
    "KDB: stack backtrace:",
];

#[test]
fn a_trap_in_an_interrupt_thread_names_it_and_the_router_comes_back() -> Result<()> {
    let mut bench = boot()?;
    let start = bench.router.transcript().len();
    let said = crash(&mut bench, "debug.fail_point.trap_ithread=em0")?;
    expect_lines(&said, &TRAP)?;
    // One report; the crash dump quotes it in lines of its own.
    for start in ["Fatal trap", "panic: "] {
        let count = said.lines().filter(|line| line.starts_with(start)).count();
        ensure!(count == 1, "{count} times {start:?}:\n{said}");
    }
    let name = thread(&said)?;
    ensure!(name.starts_with("irq") && name.contains("em0"), "{name}");
    forwards_again(&mut bench, start + said.len())?;
    power_off(&mut bench)
}

#[test]
fn a_panic_is_reported_and_the_router_comes_back() -> Result<()> {
    let mut bench = boot()?;
    let start = bench.router.transcript().len();
    let said = crash(&mut bench, "debug.kdb.panic=1")?;
    let lines = ["panic: kdb_sysctl_panic", "at kernel/system/src/debug.rs:", "cpuid = ", "current process", "time = "];
    expect_lines(&said, &lines)?;
    ensure!(thread(&said)? == "console", "{said}");
    forwards_again(&mut bench, start + said.len())?;

    // Once more, by a trap of the console's thread that a debugger is to look at.
    bench.router.set("debug.debugger_on_trap", "1")?;
    let start = bench.router.transcript().len();
    bench.router.guest().console().send_line("sysctl debug.kdb.trap=1")?;
    let said = wait_behind(&mut bench, start, "db> ")?;
    expect_lines(&said, &TRAP)?;
    ensure!(thread(&said)? == "console", "{said}");
    bench.router.guest().console().send_line("continue")?;
    let said = wait_behind(&mut bench, start, "Rebooting...")?;
    forwards_again(&mut bench, start + said.len())?;
    power_off(&mut bench)
}
