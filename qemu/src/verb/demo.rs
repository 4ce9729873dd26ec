//! The default verb: two hosts talk through a freshly booted router, and the user sees how it goes.

use std::{
    io::{self, IsTerminal},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use clap::Args;
use sluice::{
    host::{FlowId, FlowReport, FlowSpec, Lab, Ping},
    progress::Progress,
    terminal,
    testbed::{Plan, Testbed},
};

use super::MachineArguments;

/// What the demonstration takes.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    machine: MachineArguments,
    /// For how many seconds the hosts send
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=86400))]
    seconds: u64,
}

/// How long ARP and the first reply may take.
const FIRST_REPLY: Duration = Duration::from_secs(30);

/// How long the last packets may be under way.
const LAST_PACKETS: Duration = Duration::from_secs(10);

/// How often the progress line moves, and how often a line is printed where none can move.
const MOVE: Duration = Duration::from_millis(200);
const PRINT: Duration = Duration::from_secs(1);

/// Boots, demonstrates, and hands the console over or shuts down.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let progress = Progress::new();
    let mut plan = Plan::star(2);
    plan.machine = arguments.machine.machine();
    let mut bed = Testbed::boot(&plan, progress)?;
    let (smp, time) = (plan.machine.smp, bed.guest.uptime().as_secs_f32());
    progress.say(&format!("The router is up with {smp} CPUs and 2 e1000 NICs, {time:.1} s after power-on"));

    let outcome = demonstrate(&bed, progress, Duration::from_secs(arguments.seconds));
    if terminal::is_attended() {
        // A failure is worth a look at the router, too.
        if let Err(error) = &outcome {
            progress.say(&format!("error: {error:#}"));
        }
        progress.say("This is the router's console now: try `help`; `poweroff` or Ctrl-A X ends it.");
        terminal::attach(&mut bed.guest)?;
        return outcome;
    }
    outcome?;
    let off = Instant::now();
    bed.power_off()?;
    progress.say(&format!("The router shut down in order, {:.1} s", off.elapsed().as_secs_f32()));
    Ok(())
}

/// Lets the hosts resolve, ping and send, and prints what came of it.
fn demonstrate(bed: &Testbed, progress: Progress, duration: Duration) -> Result<()> {
    let (Some(left), Some(right)) = (bed.hosts.first().copied(), bed.hosts.get(1).copied()) else {
        anyhow::bail!("the demonstration takes two hosts");
    };
    let lab = &bed.lab;
    for (host, other) in [(left, right), (right, left)] {
        let (spec, target) = (lab.spec(host), lab.spec(other).address.address());
        let mac = lab.resolve(host, spec.gateway, FIRST_REPLY)?;
        lab.ping_until_reply(host, target, FIRST_REPLY)?;
        let outcome = lab.ping(host, target, Ping::default());
        let echo = outcome.reply().with_context(|| format!("the second ping was not answered: {outcome:?}"))?;
        let time = echo.round_trip.as_secs_f64() * 1000.0;
        let source = spec.address.address();
        println!("{source}: {} is at {mac}; ping {target}: ttl {}, {time:.2} ms", spec.gateway, echo.ttl);
    }
    let flows = [(left, right), (right, left)].map(|(from, to)| {
        let title = format!("{} -> {}", lab.spec(from).address.address(), lab.spec(to).address.address());
        (title, lab.start_flow(FlowSpec::new(from, to)))
    });
    watch(lab, &flows.each_ref().map(|(_, flow)| *flow), progress, duration);
    let mut reports = Vec::new();
    for (title, flow) in flows {
        lab.stop_flow(flow);
        reports.push((title, lab.wait_flow(flow, LAST_PACKETS)?));
    }
    print!("{}", table(&reports));
    for (title, report) in &reports {
        ensure!(report.is_perfect() && report.sent > 0, "{title}: not every packet arrived once, in order and intact");
    }
    Ok(())
}

/// Shows packets, loss and rate for a while.
fn watch(lab: &Lab, flows: &[FlowId], progress: Progress, duration: Duration) {
    let bar = progress.line("UDP both ways");
    let is_terminal = io::stderr().is_terminal();
    let started = Instant::now();
    let (mut last, mut last_count) = (started, 0);
    while started.elapsed() < duration {
        thread::sleep(MOVE.min(duration.saturating_sub(started.elapsed())));
        let reports = flows.iter().map(|flow| lab.report(*flow));
        let (delivered, lost) = reports.fold((0, 0), |sum, report| (sum.0 + report.delivered, sum.1 + report.lost));
        let now = Instant::now();
        if !is_terminal && now - last < PRINT {
            continue;
        }
        let rate = (delivered - last_count) as f64 / (now - last).as_secs_f64();
        (last, last_count) = (now, delivered);
        let line = format!("{delivered} packets, {lost} lost, {:.1} kpps", rate / 1000.0);
        bar.set_message(line.clone());
        if !is_terminal {
            progress.say(&format!("UDP both ways: {line}"));
        }
    }
    bar.finish_and_clear();
}

/// Sets the reports in columns.
fn table(reports: &[(String, FlowReport)]) -> String {
    let mut text = format!(
        "{:24} {:>9} {:>9} {:>6} {:>6} {:>6} {:>6} {:>8} {:>7}\n",
        "flow", "sent", "delivered", "lost", "dup", "reord", "bad", "kpps", "Mbit/s"
    );
    for (title, report) in reports {
        let (rate, seconds) = (report.packets_per_second() / 1000.0, report.elapsed.as_secs_f64());
        let megabits = if seconds > 0.0 { report.octets as f64 * 8.0 / seconds / 1e6 } else { 0.0 };
        let bad = report.wrong_header + report.damaged;
        text += &format!(
            "{title:24} {:>9} {:>9} {:>6} {:>6} {:>6} {bad:>6} {rate:>8.1} {megabits:>7.1}\n",
            report.sent, report.delivered, report.lost, report.duplicated, report.reordered,
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_row_for_each_flow() {
        let report = FlowReport {
            sent: 1_000_000,
            delivered: 999_999,
            lost: 1,
            octets: 46_000_000,
            elapsed: Duration::from_secs(10),
            ..FlowReport::default()
        };
        let text = table(&[("10.0.1.2 -> 10.0.2.2".into(), report)]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0].len(), lines[1].len());
        assert!(lines[1].ends_with("   100.0    36.8"), "{text}");
    }
}
