//! Interrupt lines: from a PCI pin or an ISA line to an event with a thread.
//!
//! Cards that share a line share its event. Context: the boot thread; [`deliver`] in interrupt context.

use alloc::{boxed::Box, format, string::String, sync::Arc};

use ithread::{Filter, IntrEvent, LineControl};
use ksync::{Once, cpu::CpuId};
use machine::{
    ioapic::Signal,
    irq::{self, IrqError, IrqLine},
};

use crate::{port::Event, threads::Threads};

/// Lines with an event at most.
pub(crate) const MAX_LINES: usize = 64;

static SLOTS: [Once<Arc<Event>>; MAX_LINES] = [const { Once::new() }; MAX_LINES];

/// The interrupt controllers as an event sees them.
struct Controllers;

impl LineControl for Controllers {
    fn mask(&self, irq: u32) {
        irq::mask(irq);
    }

    fn unmask(&self, irq: u32) {
        irq::unmask(irq);
    }

    /// The dispatcher below acknowledges after the event has handled the interrupt: a level line is masked by then.
    fn eoi(&self, _: u32) {}
}

/// The events there are, in the order in which their lines were routed. Any context.
pub(crate) fn events() -> impl Iterator<Item = &'static Arc<Event>> {
    SLOTS.iter().map_while(Once::get)
}

/// Returns the event of a routed line, made on first use.
///
/// # Errors
/// [`IrqError`] when the vector is taken or all places are.
pub(crate) fn event(line: &IrqLine) -> Result<Arc<Event>, IrqError> {
    if let Some(event) = events().find(|event| event.irq() == line.irq) {
        return Ok(Arc::clone(event));
    }
    let slot = SLOTS.iter().position(|slot| slot.get().is_none()).ok_or(IrqError::NoVector)?;
    let event = IntrEvent::new(line.irq, Arc::new(Controllers), Threads);
    event.bind(line.cpu);
    SLOTS.get(slot).ok_or(IrqError::NoVector)?.call_once(|| Arc::clone(&event));
    irq::set_handler(line, deliver, slot)?;
    Ok(event)
}

/// Routes a line to the boot CPU and has `filter` asked about it, under `name`.
///
/// # Errors
/// Why the interrupt cannot be had.
pub(crate) fn add_filter(gsi: u32, signal: Signal, name: &str, filter: Box<dyn Filter>) -> Result<(), String> {
    let line = irq::route_gsi(gsi, signal, CpuId::BOOT).map_err(|error| format!("{error:?}"))?;
    let event = event(&line).map_err(|error| format!("{error:?}"))?;
    event.add_filter(name, filter).map(drop).map_err(|error| format!("{error}"))
}

/// Hands an interrupt to its event.
fn deliver(slot: usize) {
    if let Some(event) = SLOTS.get(slot).and_then(Once::get) {
        event.handle();
    }
}
