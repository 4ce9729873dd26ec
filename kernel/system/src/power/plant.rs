//! The machine around the cards, as the sequencer sees it.
//!
//! Context: the shutdown thread.

use alloc::vec;
use core::{fmt, time::Duration};

use ksync::time::Instant;
use machine::{console, ipi, irq, smp, time};
use shutdown::{Fault, Faults, Flushed, Plant, Residue};

use crate::{bus, net, services, threads};

/// This machine.
pub(super) struct Machine;

impl Plant for Machine {
    fn now(&self) -> Instant {
        time::now()
    }

    fn relax(&self) {
        threads::sleep(Duration::from_millis(1));
    }

    fn write(&self, text: fmt::Arguments<'_>) {
        console::message(text);
    }

    fn yield_to_panic(&self) -> ! {
        ipi::park_here()
    }

    fn announce(&self) {
        services::refuse_new_work();
    }

    fn queued(&self) -> usize {
        let held = net::router().map_or(0, |router| router.audit().held_netisr);
        usize::try_from(held).unwrap_or(usize::MAX)
    }

    fn flush_held(&self) -> Flushed {
        net::flush_held()
    }

    fn join_callouts(&self, deadline: Instant, _: &mut dyn FnMut(fmt::Arguments<'_>)) -> Faults {
        if services::join(deadline) { vec![] } else { vec![("callouts".into(), Fault::Wedged)] }
    }

    fn residue(&self) -> Residue {
        bus::residue()
    }

    fn park_cpus(&self, deadline: Instant) -> Result<usize, Fault> {
        let parked = smp::park_others(deadline.saturating_duration_since(time::now()));
        for apic_id in &parked.missing {
            console::message(format_args!("shutdown: park CPUs: apic id {apic_id:02} does not answer\n"));
        }
        if parked.missing.is_empty() {
            Ok(parked.confirmed.len())
        } else {
            Err(Fault::CpusRunning(parked.missing.len()))
        }
    }

    fn account(&self, say: &mut dyn FnMut(fmt::Arguments<'_>)) -> Faults {
        say(format_args!("shutdown: stray interrupts {}", irq::strays()));
        let Some(router) = net::router() else { return vec![] };
        let audit = router.audit();
        let (fates, own) = (&audit.fates, &audit.local_fates);
        say(format_args!(
            "shutdown: audit: received {} = forwarded {} + delivered {} + dropped {} + held {}; own {} = sent {} + \
             dropped {}; unexplained {}",
            audit.received,
            fates.forwarded,
            fates.delivered,
            fates.dropped_total(),
            audit.held(),
            audit.originated,
            own.forwarded,
            own.dropped_total() + own.delivered,
            audit.unexplained()
        ));
        match audit.unexplained() {
            0 => vec![],
            frames => vec![("audit".into(), Fault::Unexplained(frames))],
        }
    }
}
