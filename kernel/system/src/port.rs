//! One network card at work: the adapter, its interrupt line, and the thread that forwards.
//!
//! [`Port`] is what everybody may know about a card. [`CardFilter`] answers in interrupt context; [`Forwarder`] is the
//! threaded handler: it owns the receive ring and a [`Worker`] of the data path, so a packet goes from ring to ring in
//! this one thread. When the thread takes leave it puts the ring back into the port, and only then can the port be torn
//! down.

use alloc::{boxed::Box, sync::Arc};
use core::fmt;

use e1000::{Adapter, FilterCause, LinkState, RxRing};
use ithread::{Filter, FilterResult, Handler, HandlerId, IntrEvent, Pass};
use ksync::{Once, SpinLock, time::Instant};
use machine::{irq::IrqLine, time};
use pci::PciAddress;
use pktbuf::PacketBatch;
use router::Worker;

use crate::{fail_points, hand_over::FirstPacket, registers::Bar, threads::Threads};

/// Frames a pass takes from the ring: one batch.
const BUDGET: usize = 64;

/// An interrupt event of this kernel.
pub(crate) type Event = IntrEvent<Threads>;

/// One card, attached and running.
pub(crate) struct Port {
    /// `em0`, in PCI order.
    pub(crate) name: Box<str>,
    /// 0 for em0.
    pub(crate) number: u16,
    /// Where it sits.
    pub(crate) address: PciAddress,
    /// The interrupt it was given.
    pub(crate) line: IrqLine,
    /// The driver.
    pub(crate) adapter: Arc<Adapter<Bar>>,
    /// The line's event, shared by all cards on the line.
    pub(crate) event: Arc<Event>,
    /// This card's handler on the event.
    pub(crate) handler: Once<HandlerId>,
    /// Protects: the receive ring once its thread has given it back; held for the exchange only.
    retired: SpinLock<Option<RxRing>>,
}

impl Port {
    pub(crate) fn new(
        name: &str,
        number: u16,
        address: PciAddress,
        line: IrqLine,
        adapter: Arc<Adapter<Bar>>,
        event: Arc<Event>,
    ) -> Arc<Self> {
        let (handler, retired) = (Once::new(), SpinLock::new(None));
        Arc::new(Self { name: name.into(), number, address, line, adapter, event, handler, retired })
    }

    /// Puts the card's filter and forwarder on its line.
    ///
    /// # Errors
    /// As [`IntrEvent::add_handler`].
    pub(crate) fn hook_up(self: &Arc<Self>, rx: RxRing, worker: Worker) -> Result<(), ithread::Error> {
        let filter = Box::new(CardFilter(Arc::clone(&self.adapter)));
        let batch = PacketBatch::new();
        let (port, first) = (Arc::clone(self), FirstPacket::default());
        let forwarder = Box::new(Forwarder { port, rx, worker, batch, first });
        let id = self.event.add_handler(&self.name, filter, forwarder)?;
        self.handler.call_once(|| id);
        Ok(())
    }

    /// Looks after the card once a second: link, watchdog, statistics.
    pub(crate) fn tick(&self, now: Instant) {
        let report = self.adapter.tick(now);
        if let Some(link) = report.link {
            self.say_link(link);
        }
        if let Some(hang) = report.hang {
            log::error!("{}: {hang}", self.name);
            if let Some(id) = self.handler.get() {
                self.event.schedule(*id);
            }
        }
        if report.gone {
            log::error!("{}: device is gone (reads all ones)", self.name);
        }
    }

    fn say_link(&self, link: LinkState) {
        log::info!("{}: {link}", self.name);
    }

    /// Takes the receive ring that the thread has given back; `None` while the thread still has it.
    pub(crate) fn take_ring(&self) -> Option<RxRing> {
        self.retired.lock().take()
    }
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Port").field("name", &self.name).field("line", &self.line).finish_non_exhaustive()
    }
}

/// Asks the card whether it interrupts.
struct CardFilter(Arc<Adapter<Bar>>);

impl Filter for CardFilter {
    #[inline]
    fn filter(&self) -> FilterResult {
        match self.0.filter() {
            FilterCause::Stray => FilterResult::Stray,
            FilterCause::Handled => FilterResult::Handled,
            FilterCause::Schedule => FilterResult::ScheduleThread,
        }
    }
}

/// The card's threaded handler: receive, decide, send, in one pass.
struct Forwarder {
    port: Arc<Port>,
    rx: RxRing,
    worker: Worker,
    /// Frames on their way from the ring to the data path; empty between passes.
    batch: PacketBatch,
    first: FirstPacket,
}

impl Handler for Forwarder {
    fn run(&mut self) -> Pass {
        let Self { port, rx, worker, batch, first } = self;
        fail_points::at_pass(port.number);
        let link = port.adapter.service_link();
        let served = worker.pass(time::now(), |pass| {
            let served = rx.service(&port.adapter, BUDGET, pass.cache(), |packet| {
                // The budget is the batch's size, so there is room.
                let _ = batch.push(packet);
            });
            pass.receive_all(batch);
            served
        });
        first.after_pass(worker);
        if let Some(link) = link {
            port.say_link(link);
        }
        match served {
            0 if link.is_none() => Pass::Idle,
            0 => Pass::Done,
            // One more look costs a read of memory; an interrupt costs an exit and 128 us on some devices.
            _ => Pass::Again,
        }
    }

    fn rearm(&mut self) {
        self.port.adapter.unmask();
    }

    fn retire(self: Box<Self>) {
        let Self { port, rx, .. } = *self;
        *port.retired.lock() = Some(rx);
    }
}
