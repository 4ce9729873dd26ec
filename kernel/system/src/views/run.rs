//! Where the forwarding threads' cycles go, and how much of each CPU is idle: `show run`.
//!
//! Context: thread, or the debugger in a stopped world.

use core::{
    fmt::{self, Write},
    time::Duration,
};

use ifnet::Interface;
use machine::time;
use router::profile::{EVERY, RunProfile, SIZES, Stage, StageCost};

use crate::{port::Port, services, threads};

/// Classes of passes, as [`RunProfile::sizes`] has them.
const CLASSES: [&str; SIZES] = ["0", "1", "2-3", "4-7", "8-15", "16-31", "32-63", "64+"];

/// Writes the view.
pub(super) fn show(out: &mut dyn Write) -> fmt::Result {
    let up = time::now().saturating_duration_since(ksync::time::Instant::ZERO);
    for port in services::ports() {
        for interrupt in &port.interrupts {
            if let Some(profile) = &interrupt.profile {
                thread(port, &port.name_of(interrupt), profile, up, out)?;
            }
        }
    }
    idle(up, out)
}

/// Writes what one of a card's threads has measured.
fn thread(port: &Port, name: &str, profile: &RunProfile, up: Duration, out: &mut dyn Write) -> fmt::Result {
    let (passes, packets) = (profile.passes(), profile.packets());
    let rate = passes.checked_div(up.as_secs()).unwrap_or(passes);
    writeln!(
        out,
        "{name}: about {passes} passes, {rate} a second since boot; 1 in {EVERY} measured, {packets} packets in them"
    )?;
    writeln!(out, "{:>12} {:>10} {:>10} {:>10}  cycles a packet", "", "mean", "least", "most")?;
    let mut all = StageCost::default();
    for stage in Stage::ALL {
        let cost = profile.cost(stage);
        row(stage.name(), cost, out)?;
        all.mean += cost.mean;
        all.least += cost.least;
        all.most += cost.most;
    }
    writeln!(out, "{:>12} {:>10}", "all", all.mean)?;
    let received = port.adapter.statistics().rx_packets;
    // What each of several threads has received is not counted apart.
    let is_sole = port.adapter.queue_count() == 1;
    if let Some(cycles) = thread_cycles(name).filter(|_| is_sole).and_then(|cycles| cycles.checked_div(received)) {
        writeln!(
            out,
            "{:>12} {cycles:>10} {:>21}  its thread's whole time, polling and switches included",
            "thread", ""
        )?;
    }
    sizes(profile, out)
}

fn row(name: &str, cost: StageCost, out: &mut dyn Write) -> fmt::Result {
    writeln!(out, "{name:>12} {:>10} {:>10} {:>10}", cost.mean, cost.least, cost.most)
}

/// Cycles that a card's thread has run; `None` if it shares its thread, or time is not counted in cycles.
fn thread_cycles(handler: &str) -> Option<u64> {
    let is_its = |name: &str| name.split_once(": ").is_some_and(|(_, handlers)| handlers == handler);
    let found = threads::all().filter_map(Result::ok).find(|thread| thread.name.as_deref().is_some_and(is_its))?;
    let cycles = found.runtime.as_nanos() * u128::from(time::tsc_hz()?) / 1_000_000_000;
    u64::try_from(cycles).ok()
}

/// Writes how many packets the measured passes had.
fn sizes(profile: &RunProfile, out: &mut dyn Write) -> fmt::Result {
    write!(out, "{:>12}", "packets")?;
    CLASSES.iter().try_for_each(|class| write!(out, " {class:>8}"))?;
    write!(out, "\n{:>12}", "passes")?;
    profile.sizes().iter().try_for_each(|count| write!(out, " {count:>8}"))?;
    writeln!(out)
}

/// Writes the share of the time since boot that each CPU was idle, up to when it last stopped being so.
fn idle(up: Duration, out: &mut dyn Write) -> fmt::Result {
    for thread in threads::all().filter_map(Result::ok) {
        let Some(cpu) = thread.name.as_deref().and_then(|name| name.strip_prefix("idle: ")) else { continue };
        let share = (thread.runtime.as_nanos() * 1000).checked_div(up.as_nanos()).unwrap_or(0);
        writeln!(out, "{cpu}: idle {}.{} % of the time", share / 10, share % 10)?;
    }
    Ok(())
}
