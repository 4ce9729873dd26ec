//! One network card at work: the adapter, its interrupt line, and the thread that forwards.
//!
//! [`Port`] is what everybody may know about a card. [`CardFilter`] answers in interrupt context; [`Forwarder`] is the
//! threaded handler: it owns the receive ring and a [`Worker`] of the data path, so a packet goes from ring to ring in
//! this one thread. When the thread takes leave it puts the ring back into the port, and only then can the port be torn
//! down.

use alloc::{boxed::Box, sync::Arc};
use core::fmt;

use e1000::{Adapter, FilterCause, LinkState, RxRing};
use ifnet::IfIndex;
use ithread::{Filter, FilterResult, Handler, HandlerId, IntrEvent, Linger, Pass};
use ksync::{Once, SpinLock, time::Instant};
use machine::{
    irq::IrqLine,
    time::{self, source::tsc},
};
use pci::PciAddress;
use pktbuf::PacketBatch;
use router::{
    Worker,
    profile::{RunProfile, Sampler, Stage},
};

use crate::{fail_points, hand_over::FirstPacket, registers::Bar, threads::Threads};

/// Frames taken from the ring at once: one batch.
const BUDGET: usize = 64;
/// Batches in a run, at most: what a run costs beside its packets is spread over so many.
const BATCHES: usize = 4;
/// Looks at the ring in a run that finds nothing, and pauses between two of them: a few microseconds in all.
const LOOKS: usize = 8;
const PAUSES: usize = 4;

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
    /// What the card's thread does with its time.
    pub(crate) profile: Arc<RunProfile>,
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
        let (handler, retired, profile) = (Once::new(), SpinLock::new(None), Arc::default());
        Arc::new(Self { name: name.into(), number, address, line, adapter, event, profile, handler, retired })
    }

    /// Puts the card's filter and forwarder on its line.
    ///
    /// # Errors
    /// As [`IntrEvent::add_handler`].
    pub(crate) fn hook_up(self: &Arc<Self>, rx: RxRing, worker: Worker) -> Result<(), ithread::Error> {
        let filter = Box::new(CardFilter(Arc::clone(&self.adapter)));
        let batch = PacketBatch::new();
        let (port, first, linger) = (Arc::clone(self), FirstPacket::default(), Linger::new());
        let sampler = Sampler::new(tsc, Arc::clone(&self.profile));
        let forwarder = Box::new(Forwarder { port, rx, worker, batch, first, linger, sampler });
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
    linger: Linger,
    sampler: Sampler,
}

impl Forwarder {
    /// Takes batches from the ring and sends them on their way while there are any, up to the limit. Returns the frames served.
    #[inline]
    fn forward(&mut self, now: Instant) -> usize {
        let Self { port, rx, worker, batch, sampler, .. } = self;
        worker.pass(now, |pass| {
            sampler.mark(Stage::Rest);
            let mut served = 0;
            for _ in 0..BATCHES {
                let found = rx.service(&port.adapter, BUDGET, pass.cache(), |packet| {
                    // The budget is the batch's size, so there is room.
                    let _ = batch.push(packet);
                });
                sampler.mark(Stage::Receive);
                if found == 0 {
                    break;
                }
                pass.receive_ring(batch, IfIndex(port.number));
                sampler.mark(Stage::Decide);
                pass.finish();
                sampler.mark(Stage::Send);
                served += found;
            }
            served
        })
    }

    /// Waits a few microseconds for a frame.
    fn look_out(&self) -> bool {
        (0..LOOKS).any(|_| {
            (0..PAUSES).for_each(|_| core::hint::spin_loop());
            self.rx.has_work()
        })
    }
}

impl Handler for Forwarder {
    fn run(&mut self) -> Pass {
        self.sampler.begin();
        fail_points::at_pass(self.port.number);
        let link = self.port.adapter.service_link();
        let now = time::now();
        let served = self.forward(now);
        self.sampler.end(served as u64);
        if let Some(link) = link {
            self.port.say_link(link);
        }
        if served > 0 {
            self.first.after_pass(&self.worker);
            self.linger.worked(now);
            // One more look costs a read of memory; an interrupt costs an exit and 128 us on some devices.
            return Pass::Again;
        }
        match link {
            None if self.linger.expects_more(now) => {
                if self.look_out() {
                    Pass::Again
                } else {
                    Pass::Poll
                }
            }
            None => Pass::Idle,
            Some(_) => Pass::Done,
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
