//! The cards' views: rings, statistics registers, DMA tags, interrupt events.
//!
//! Context: thread, or the debugger in a stopped world.

use core::fmt::{self, Write};

use e1000::{ChecksumTrial, DeviceRing};
use machine::irq;

use super::Locked;
use crate::{bus, lines, port::Port, services};

/// A number the device was asked for.
struct Answer(Option<u32>);

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(number) => number.fmt(f),
            None => f.pad("gone"),
        }
    }
}

/// Writes where driver and device stand in the rings of every card.
pub(super) fn rings(out: &mut dyn Write) -> fmt::Result {
    writeln!(out, "{:<8} {:>5} {:>6} {:>6} {:>7} {:>6}  driver", "ring", "len", "head", "tail", "device", "next")?;
    services::ports()
        .iter()
        .try_for_each(|port| (0..port.adapter.queue_count()).try_for_each(|queue| ring(port, queue, out)))
}

fn ring(port: &Port, queue: u8, out: &mut dyn Write) -> fmt::Result {
    let rx = port.adapter.look_at_rx(queue);
    row(&port.name, Way("rx", queue), rx.device, rx.next, out)?;
    match rx.device.len.zip(rx.device.head) {
        Some((len, head)) if len > 0 => writeln!(out, "  to serve {}", (head + len - rx.next % len) % len)?,
        _ => writeln!(out)?,
    }
    match port.adapter.look_at_tx(queue) {
        Ok(Some(tx)) => {
            row(&port.name, Way("tx", queue), tx.device, tx.next, out)?;
            let paused = if tx.paused { ", paused" } else { "" };
            writeln!(out, "  to clean {}, in use {}, not flushed {}{paused}", tx.clean, tx.used, tx.unflushed)
        }
        Ok(None) => writeln!(out, "{} tx: torn down", port.name),
        Err(_) => writeln!(out, "{} tx: {Locked}", port.name),
    }
}

/// Writes every counter of each card that is not 0, as of the last tick.
pub(super) fn statistics(out: &mut dyn Write) -> fmt::Result {
    for port in services::ports().iter() {
        let adapter = &port.adapter;
        write!(out, "{}: {}, {}", port.name, adapter.variant().name, adapter.link())?;
        if let Some(pause) = adapter.flow_control() {
            write!(out, ", flow control {pause}")?;
        }
        writeln!(out, ", receive buffers of {} octets", adapter.buffer_size().octets())?;
        let ChecksumTrial { agreed, disagreed, silent } = adapter.checksum_trial();
        if agreed + disagreed + silent > 0 {
            writeln!(out, "    checksum verdicts: {agreed} as software's, {disagreed} not, {silent} not given")?;
        }
        for (stat, count) in adapter.hardware_totals().iter().filter(|(_, count)| *count > 0) {
            writeln!(out, "    {:<22} {count:>14}  {}", stat.name(), stat.description())?;
        }
    }
    Ok(())
}

/// A ring of a card: `rx`, or `rx1` for that of queue 1.
struct Way(&'static str, u8);

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            0 => write!(f, "{} ", self.0),
            queue => write!(f, "{}{queue}", self.0),
        }
    }
}

fn row(name: &str, way: Way, device: DeviceRing, next: impl fmt::Display, out: &mut dyn Write) -> fmt::Result {
    write!(
        out,
        "{name:<5} {way}{:>5} {:>6} {:>6} {:>7} {next:>6}",
        Answer(device.len),
        Answer(device.head),
        Answer(device.tail),
        Answer(device.owned())
    )
}

/// Writes the interrupt events with their handlers.
pub(super) fn interrupts(out: &mut dyn Write) -> fmt::Result {
    writeln!(out, "{:<24} {:>4} {:>12} {:>8} {:>12} {:>7}", "interrupt", "cpu", "total", "stray", "passes", "storms")?;
    for event in lines::events() {
        let Ok(s) = event.look() else {
            writeln!(out, "irq{}: {Locked}", event.irq())?;
            continue;
        };
        let cpu = s.cpu.map_or(-1, |cpu| i32::from(cpu.0));
        writeln!(
            out,
            "{:<24} {cpu:>4} {:>12} {:>8} {:>12} {:>7}",
            s.description, s.interrupts, s.strays, s.passes, s.storms
        )?;
        for handler in (0..).map_while(|place| event.handler(place).ok().flatten()) {
            writeln!(
                out,
                "    {:<20} claimed {} declined {} runs {} idle {} again {} polls {}{}",
                handler.name,
                handler.claimed,
                handler.declined,
                handler.runs,
                handler.idle,
                handler.again,
                handler.polls,
                if handler.suspended { " SUSPENDED" } else { "" }
            )?;
        }
    }
    writeln!(out, "vectors without a handler: {} strays", irq::strays())
}

/// Writes the tree of DMA tags.
pub(super) fn dma(out: &mut dyn Write) -> fmt::Result {
    writeln!(
        out,
        "{:<28} {:>6} {:>6} {:>6} {:>8} {:>8} {:>9} {:>10}",
        "tag", "maps", "loaded", "memory", "children", "bounced", "deferred", "quarantine"
    )?;
    let Some(root) = bus::tags() else { return Ok(()) };
    let mut result = Ok(());
    root.walk(&mut |depth, name, live| {
        let indent = depth * 2;
        let width = 28_usize.saturating_sub(indent);
        result = result.and_then(|()| {
            writeln!(
                out,
                "{:indent$}{name:<width$} {:>6} {:>6} {:>6} {:>8} {:>8} {:>9} {:>10}",
                "", live.maps, live.loaded, live.memories, live.children, live.bounced, live.deferred, live.quarantined
            )
        });
    });
    result
}
