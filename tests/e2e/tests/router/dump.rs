//! The crash dump of the real router: complete on the console, repaired after damage, and there again after the restart.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use crashdump::{Content, Dump, MARKER, Reader, section};
use e2e::{Bench, PATIENCE, workspace};
use ktest::console::RUNNING;
use sluice::{dump::Symbols, host::FlowSpec};

/// What the kernel says when a dump has been sent, and what it says at the next boot.
const SENT: &str = "; kept for the next boot";
const OFFERED: &str = "crash dump of the previous run: ";

/// Reads logs as the host's `dump` does.
fn read(logs: &[&str]) -> Result<Dump> {
    let mut reader = Reader::new();
    logs.iter().for_each(|log| reader.read("console", log));
    let mut dumps = reader.dumps();
    ensure!(dumps.len() == 1, "{} dumps in one log", dumps.len());
    dumps.pop().context("no dump")
}

fn text(dump: &Dump, name: &str) -> Result<String> {
    let section = dump.section(name).with_context(|| format!("no section {name}"))?;
    let lines = section.content.iter().map(|content| match content {
        Content::Text(line) => format!("{line}\n"),
        Content::Missing(gap) => format!("[{gap:?}]\n"),
    });
    Ok(lines.collect())
}

/// Prints how large the dump was and how long it took, for who measures.
fn print_figures(report: &str) {
    let octets: usize = report.lines().filter(|line| line.starts_with("%D")).map(|line| line.len() + 2).sum();
    let said = report.lines().find(|line| line.starts_with("dump: ")).unwrap_or_default();
    eprintln!("{said}; {octets} octets");
}

/// Waits for a text behind octet `from` of the transcript, whatever the kernel panicked of meanwhile.
pub(crate) fn wait_behind(bench: &mut Bench, from: usize, pattern: &str) -> Result<String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let transcript = bench.router.transcript();
        let new = transcript.get(from..).unwrap_or_default();
        if new.contains(pattern) {
            return Ok(new.to_owned());
        }
        ensure!(Instant::now() < deadline, "{pattern:?} was not shown:\n{new}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_panic_under_traffic_leaves_a_dump_that_survives_damage_and_the_restart() -> Result<()> {
    let mut bench = Bench::of(2).boot_warm()?;
    bench.router.set("kern.panic_reboot_wait_time", "1")?;
    let flow = bench.lab.start_flow(FlowSpec { window: 16, ..FlowSpec::new(bench.host(0), bench.host(1)) });
    let deadline = Instant::now() + PATIENCE;
    while bench.lab.report(flow).delivered < 200 {
        ensure!(Instant::now() < deadline, "the flow does not move");
        std::thread::sleep(Duration::from_millis(20));
    }
    let known = bench.router.command("show threads")?;
    let start = bench.router.transcript().len();
    bench.router.guest().console().send_line("sysctl debug.kdb.panic=1")?;
    let report = wait_behind(&mut bench, start, SENT)?;
    bench.lab.stop_flow(flow);
    print_figures(&report);

    let dump = read(&[&report])?;
    ensure!(dump.is_complete() && dump.damaged.is_empty(), "{:?} {:?}", dump.missing, dump.damaged);
    expect_content(&dump, &known)?;
    expect_names(&dump)?;
    let booted = wait_behind(&mut bench, start + report.len(), RUNNING)?;
    let offer = format!("{OFFERED}{} lines; 'show crash' prints it", dump.found);
    ensure!(booted.contains(&offer), "{booted}");
    expect_at_the_next_boot(&mut bench, &dump)?;
    expect_repair(&mut bench, &report, &dump)?;
    expect_kept_only(&mut bench, dump.id)?;

    // In order at last; the bench's own look at it would stumble over the panic.
    bench.router.settled_books()?;
    bench.router.guest().console().send_line("poweroff")?;
    bench.router.guest().wait_for("shutdown: clean", PATIENCE)?;
    let status = bench.router.guest().wait_exit(PATIENCE)?;
    ensure!(status.success(), "QEMU ended with {status}");
    Ok(())
}

/// The dump says why, names the thread that panicked, and has every CPU, every thread of `known` (the output of `show threads`)
/// and the views.
fn expect_content(dump: &Dump, known: &str) -> Result<()> {
    let begin = dump.begin.as_ref().context("it has a first line")?;
    ensure!(begin.reason == "panic: kdb_sysctl_panic", "{}", begin.reason);
    let registers = text(dump, section::REGISTERS)?;
    ensure!(registers.contains("cpu 0, ") && registers.contains("cpu 1, "), "{registers}");
    ensure!(registers.contains("(console)"), "the thread that panicked is not named:\n{registers}");
    ensure!(!registers.contains("did not stop"), "{registers}");
    let threads = text(dump, section::THREADS)?;
    // The first columns: number and name.
    let columns = |line: &str| Some(format!("{} {}", line.get(..4)?.trim(), line.get(5..33)?.trim()));
    let known: Vec<String> = known.lines().skip(1).filter_map(columns).collect();
    ensure!(known.len() > 8, "{known:?}");
    for name in known {
        let found = threads.lines().any(|line| line.starts_with(&format!("{name}, ")));
        ensure!(found, "thread {name} is missing:\n{threads}");
    }
    let waiting = threads.lines().filter(|line| line.contains(", parked,")).count();
    let traces = threads.lines().filter(|line| line.starts_with("@ ")).count();
    ensure!(waiting > 2 && traces >= waiting, "{waiting} threads wait, {traces} backtraces:\n{threads}");
    for (name, shows) in [("rings", "em0"), ("dma", "em1"), ("audit", "unexplained"), ("interrupts", "em0")] {
        ensure!(text(dump, name)?.contains(shows), "{name} does not show {shows}");
    }
    ensure!(text(dump, section::MESSAGES)?.contains("Link is up"), "the message buffer is missing");
    Ok(())
}

/// The host's reader names functions and source lines, by the symbols of this build only.
fn expect_names(dump: &Dump) -> Result<()> {
    let build = dump.begin.as_ref().map_or("", |begin| begin.build.as_str());
    let names = Symbols::find(workspace(), None, build)?;
    let shown = sluice::dump::report(dump, &|address, is_call| names.name(address, is_call), names.source());
    for name in ["system::debug::KNOBS", "(kernel/system/src/debug.rs:", "sched::", "(kernel/machine/src/context.rs:"] {
        ensure!(shown.contains(name), "{name} is missing:\n{shown}");
    }
    ensure!(Symbols::find(workspace(), None, "00").is_err(), "another build's symbols are taken");
    Ok(())
}

/// After the restart the console shows the same dump, and sends it.
fn expect_at_the_next_boot(bench: &mut Bench, dump: &Dump) -> Result<()> {
    bench.router.wait_until("show version", |answer| answer.contains("CPUs"))?;
    let shown = bench.router.command("show crash")?;
    ensure!(shown.contains("system::debug::KNOBS"), "the console names no function:\n{shown}");
    let end = format!("end, {} lines", dump.found);
    ensure!(shown.contains("panic: kdb_sysctl_panic") && shown.contains(&end), "{shown}");
    let again = read(&[&bench.router.command("dump")?])?;
    ensure!(again.is_complete() && again.sections == dump.sections && again.begin == dump.begin, "another dump");
    Ok(())
}

/// A log with a line missing and a line damaged is told from a whole one, and repaired by the commands that the reader names.
fn expect_repair(bench: &mut Bench, report: &str, dump: &Dump) -> Result<()> {
    let number = |line: &str| line.strip_prefix(MARKER)?.split(' ').nth(1)?.parse::<u32>().ok();
    let torn: Vec<String> = report
        .lines()
        .filter(|line| number(line) != Some(7))
        .map(|line| if number(line) == Some(3) { line.replace("rip", "r?p") } else { line.to_owned() })
        .collect();
    let torn = torn.join("\n");
    let found = read(&[&torn])?;
    ensure!(found.missing == [3..=3, 7..=7], "{:?}", found.missing);
    ensure!(found.damaged.iter().any(|damage| damage.number == Some(3)), "{:?}", found.damaged);
    let mut repair = String::new();
    for command in found.commands() {
        repair += &bench.router.command(&command)?;
    }
    let repaired = read(&[&torn, &repair])?;
    ensure!(repaired.is_complete() && repaired.sections == dump.sections, "{:?}", repaired.missing);
    Ok(())
}

/// With `debug.dump_on_panic=0` the line is left alone, and the dump, another one than `before`, is there after the restart.
fn expect_kept_only(bench: &mut Bench, before: u16) -> Result<()> {
    bench.router.set("kern.panic_reboot_wait_time", "1")?;
    bench.router.set("debug.dump_on_panic", "0")?;
    let start = bench.router.transcript().len();
    bench.router.guest().console().send_line("sysctl debug.kdb.trap=1")?;
    let report = wait_behind(bench, start, " lines kept for the next boot")?;
    ensure!(!report.contains(MARKER), "lines were sent:\n{report}");
    wait_behind(bench, start + report.len(), RUNNING)?;
    bench.router.wait_until("show version", |answer| answer.contains("CPUs"))?;
    let kept = read(&[&bench.router.command("dump")?])?;
    ensure!(kept.is_complete() && kept.id != before, "{:?}", kept.missing);
    let reason = kept.begin.as_ref().map_or("", |begin| begin.reason.as_str());
    ensure!(reason == "trap: page fault", "{reason}");
    Ok(())
}

#[test]
fn the_debugger_sends_a_dump_and_lines_of_it_again_and_the_router_goes_on() -> Result<()> {
    let mut bench = Bench::of(2).boot_warm()?;
    let start = bench.router.transcript().len();
    let ask = |bench: &mut Bench, command: &str, answer: &str| -> Result<String> {
        let from = bench.router.transcript().len();
        bench.router.guest().console().send_line(command)?;
        wait_behind(bench, from, answer)
    };
    ask(&mut bench, "sysctl debug.kdb.enter=1", "db> ")?;
    let first = ask(&mut bench, "dump", SENT)?;
    let dump = read(&[&first])?;
    ensure!(dump.is_complete(), "{:?}", dump.missing);
    let begin = dump.begin.as_ref().context("it has a first line")?;
    ensure!(begin.reason == "asked for", "{}", begin.reason);

    // The line was down for a while.
    let lost = |number: usize| (10..20).contains(&number) || number + 5 > dump.found;
    let dump_lines = first.lines().filter(|line| line.starts_with("%D")).enumerate();
    let kept: Vec<&str> = dump_lines.filter(|(number, _)| !lost(*number)).map(|(_, line)| line).collect();
    let kept = kept.join("\n");
    let commands = read(&[&kept])?.commands();
    ensure!(commands.len() == 2 && commands[0] == "dump 10 19", "{commands:?}");
    let mut again = String::new();
    for command in &commands {
        again += &ask(&mut bench, command, "again in")?;
    }
    let repaired = read(&[&kept, &again])?;
    ensure!(repaired.is_complete() && repaired.sections == dump.sections, "{:?}", repaired.missing);
    ensure!(repaired.repeated == 0, "{} lines were sent for nothing", repaired.repeated);

    ask(&mut bench, "continue", "sluice> ")?;
    bench.warm_up()?;
    ensure!(!bench.router.transcript().get(start..).unwrap_or_default().contains("panic"), "it panicked");
    bench.finish()
}
