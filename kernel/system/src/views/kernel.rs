//! The kernel's own views: processors, threads, callouts, locks, memory, version.
//!
//! Context: thread, or the debugger in a stopped world.

use core::fmt::{self, Write};

use ksync::atomic::Ordering;
use machine::{
    frame::{
        self,
        census::{Census, Use},
    },
    heap, percpu, time,
};
use shutdown::Uptime;

use super::Locked;
use crate::{lines, net, pools, services, threads};

/// KiB in a frame of physical memory.
const FRAME_KIB: usize = 4;

/// Writes what this is and since when it runs.
pub(super) fn version(out: &mut dyn Write) -> fmt::Result {
    writeln!(out, "Sluice {} on {}", env!("CARGO_PKG_VERSION"), services::hostname())?;
    let cpus = percpu::online().count();
    writeln!(out, "{cpus} CPUs, clock {:?}, up {}", time::clock_source(), Uptime(time::now()))
}

/// Writes each processor's block.
pub(super) fn processors(out: &mut dyn Write) -> fmt::Result {
    writeln!(
        out,
        "{:>3} {:>7} {:>7} {:>12} {:>12} {:>12}  thread",
        "cpu", "apic id", "nesting", "interrupts", "ticks", "ipis"
    )?;
    for cpu in percpu::online() {
        let block = percpu::block(cpu);
        // ORDERING: relaxed; statistics of another processor.
        let count = |counter: &core::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        write!(
            out,
            "{:>3} {:>7} {:>7} {:>12} {:>12} {:>12}  ",
            cpu.0,
            block.apic_id(),
            block.nesting.load(Ordering::Relaxed),
            count(&block.interrupts),
            count(&block.timer_ticks),
            count(&block.ipis)
        )?;
        threads::write_name_on(cpu, out)?;
        writeln!(out, "{}", if block.parked.load(Ordering::Acquire) { " (parked)" } else { "" })?;
    }
    Ok(())
}

/// Writes the callouts in the order in which they fall due.
pub(super) fn callouts(out: &mut dyn Write) -> fmt::Result {
    let Some(callouts) = services::callouts() else { return writeln!(out, "no callouts yet") };
    let now = time::now();
    match callouts.running() {
        Ok(Some(what)) => writeln!(out, "{:>14}  {what}", "running")?,
        Ok(None) => {}
        Err(_) => return writeln!(out, "{Locked}"),
    }
    for due in (0..).map_while(|place| callouts.look(place).ok().flatten()) {
        let (late, span) = if due.at < now {
            (" late", now.saturating_duration_since(due.at))
        } else {
            ("", due.at.saturating_duration_since(now))
        };
        writeln!(out, "{:>7}.{:03} ms{late}  {}", span.as_millis(), span.as_micros() % 1000, due.what)?;
    }
    Ok(())
}

/// Writes every lock with a name and whether somebody holds it.
pub(super) fn locks(out: &mut dyn Write) -> fmt::Result {
    let mut result = Ok(());
    let mut held = 0;
    let mut line = |name: fmt::Arguments<'_>, is_held: bool| {
        held += u32::from(is_held);
        let state = if is_held { "HELD" } else { "free" };
        result = result.and_then(|()| writeln!(out, "{state}  {name}"));
    };
    machine::locks::visit(&mut |name, is_held| line(format_args!("{name}"), is_held));
    threads::scheduler().locks(&mut line);
    for event in lines::events() {
        line(format_args!("irq{}", event.irq()), event.is_locked());
    }
    for port in services::ports() {
        port.adapter.locks(&mut |name, is_held| line(format_args!("{} {name}", port.name), is_held));
    }
    if let Some(callouts) = services::callouts() {
        line(format_args!("callouts"), callouts.is_locked());
    }
    if let Some(router) = net::router() {
        router.locks(&mut |name, is_held| line(format_args!("{name}"), is_held));
    }
    for of in pools::all() {
        line(format_args!("{of}"), of.pool.is_locked());
    }
    result?;
    writeln!(out, "{held} held")
}

/// Writes where memory is.
pub(super) fn memory(out: &mut dyn Write) -> fmt::Result {
    match frame::census() {
        Some(census) => physical(&census, out)?,
        None => writeln!(out, "physical memory: {Locked}")?,
    }
    match heap::usage_bounded() {
        Some(heap) => writeln!(
            out,
            "heap: {} used, {} peak, {} mapped of at most {} octets; {} failures",
            heap.used, heap.peak, heap.mapped, heap.limit, heap.failures
        )?,
        None => writeln!(out, "heap: {Locked}")?,
    }
    pools::all().iter().try_for_each(|of| of.describe(out))
}

/// Writes every frame of the machine in one row; the rows add up.
fn physical(census: &Census, out: &mut dyn Write) -> fmt::Result {
    let mut row = |what: &str, frames: usize| writeln!(out, "{what:<36} {:>8} KiB", frames * FRAME_KIB);
    row("kernel, symbols and loader's tables", census.loader)?;
    row("kept over a reset, and frame map", census.withheld)?;
    for (what, frames) in Use::ALL.iter().zip(census.handed_out) {
        row(what.name(), frames)?;
    }
    row("used", census.used())?;
    row("free", census.free)?;
    row("memory", census.given)?;
    match census.unexplained() {
        0 => Ok(()),
        frames => writeln!(out, "{frames} frames are in no row"),
    }
}
