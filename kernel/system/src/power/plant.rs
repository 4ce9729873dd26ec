//! The machine around the cards, as the sequencer sees it.
//!
//! Context: the shutdown thread.

use alloc::{vec, vec::Vec};
use core::{
    cell::RefCell,
    fmt::{self, Write},
    time::Duration,
};

use arrayvec::ArrayString;
use bus_dma::BusAddr;
use ifnet::IfIndex;
use ksync::{SpinLock, time::Instant};
use machine::{console, ipi, irq, pstore, smp, time};
use pktbuf::Armed;
use shutdown::{Fault, Faults, Flushed, Keeper, Plant, Residue, Transcript};

use crate::{bus, net, pools, services, threads, watchdog};

/// Octets of the transcript that `show shutdown` has at hand: what was said first.
const TRANSCRIPT_SIZE: usize = 3 * 1024;

/// Protects: the transcript as far as it has come, in text; held across: one copy. Full, it has less than was said.
pub(super) static TRANSCRIPT: SpinLock<ArrayString<TRANSCRIPT_SIZE>> = SpinLock::new(ArrayString::new_const());

/// This machine.
pub(super) struct Machine {
    /// The record for the next boot, and how far it goes.
    record: RefCell<(Keeper, pstore::Writer)>,
    /// What the tripwires of the packet pools want to see again; empty before.
    packets: RefCell<Vec<Armed>>,
}

impl Machine {
    /// Begins the record of a shutdown.
    pub(super) fn new() -> Self {
        let mut writer = pstore::writer(pstore::Kind::Transcript);
        writer.restart();
        Self { record: RefCell::new((Keeper::new(), writer)), packets: RefCell::default() }
    }
}

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

    fn keep(&self, transcript: &Transcript) {
        let mut kept = TRANSCRIPT.lock();
        kept.clear();
        // What does not fit is in the message buffer.
        let _ = write!(kept, "{transcript}");
        drop(kept);
        let (keeper, writer) = &mut *self.record.borrow_mut();
        // A record that is full keeps what it has.
        let _ = keeper.keep(transcript, writer);
        if transcript.took().is_some() {
            writer.finish();
        }
    }

    fn must_end_by(&self, deadline: Instant) {
        watchdog::bound_shutdown(deadline.saturating_duration_since(time::now()));
    }

    fn yield_to_panic(&self) -> ! {
        ipi::park_here()
    }

    fn announce(&self) {
        services::refuse_new_work();
        bus::arm_tripwire();
    }

    fn queued(&self) -> usize {
        net::router().map_or(0, |router| router.netisr().unfinished())
    }

    fn flush_held(&self) -> Flushed {
        net::flush_held()
    }

    fn join_callouts(&self, deadline: Instant, say: &mut dyn FnMut(fmt::Arguments<'_>)) -> Faults {
        services::join(deadline, say)
    }

    fn residue(&self) -> Residue {
        bus::residue()
    }

    fn watch_freed(&self) {
        *self.packets.borrow_mut() = pools::all().iter().map(|of| of.pool.arm_tripwire()).collect();
    }

    fn check_freed(&self, say: &mut dyn FnMut(fmt::Arguments<'_>)) -> Faults {
        let mut faults = Faults::new();
        let mut note = |tag: &str, address, octets| faults.push((tag.into(), Fault::Damaged { address, octets }));
        let root = bus::tags();
        let octets = root.map_or(0, |root| {
            root.check_tripwire(&mut |damage| note(&damage.tag, damage.address.as_u64(), damage.octets))
        });
        let (mut checked, mut damaged) = (0, 0);
        for (of, witness) in pools::all().iter().zip(&*self.packets.borrow()) {
            let told = of.pool.check_tripwire(*witness, |first, octets| {
                let (address, tag) = root.and_then(|root| root.lender(first)).unzip();
                // A frame that was free all along belonged to no tag.
                note(tag.flatten().as_deref().unwrap_or("packet pool"), address.map_or(0, BusAddr::as_u64), octets);
            });
            match told {
                Ok(report) => (checked, damaged) = (checked + report.checked, damaged + report.damaged),
                Err(_) => {
                    say(format_args!("shutdown: tripwire: frames of the {of} were used meanwhile and prove nothing"));
                }
            }
        }
        if !self.packets.borrow().is_empty() {
            say(format_args!(
                "shutdown: tripwire: {checked} packet frames and {octets} octets of rings looked at, {damaged} frames changed"
            ));
        }
        for of in pools::all() {
            let census = of.pool.census();
            let pktbuf::Census { total, free, cached, owned, .. } = census;
            say(format_args!("shutdown: {of}: {total} frames = {free} free + {cached} cached + {owned} out"));
        }
        faults
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
        let mut faults = Faults::new();
        let mut note = |name: &str, unexplained| {
            if unexplained != 0 {
                faults.push((name.into(), Fault::Unexplained(unexplained)));
            }
        };
        for (index, port) in (0..).zip(services::ports()) {
            let books = router.audit_port(IfIndex(index));
            say(format_args!("shutdown: audit: {}: {books}", port.name));
            // What the device itself counted is stated beside it; what its registers mean differs from part to part.
            say(format_args!("shutdown: ledger: {}: {}", port.name, port.adapter.ledger()));
            note(&port.name, books.unexplained());
        }
        let audit = router.audit();
        say(format_args!("shutdown: audit: total: {}", audit.equation()));
        note("total", audit.unexplained());
        faults
    }
}
