//! One network card at work: the adapter, its interrupt line, and the thread that forwards.
//!
//! [`Port`] is what everybody may know about a card, [`Interrupt`] one of its interrupts. [`CardFilter`] answers in interrupt context;
//! [`Forwarder`] is the threaded handler of an interrupt for reception: it owns a receive ring and a [`Worker`] of the data path, so a
//! packet goes from ring to ring in this one thread. When the thread takes leave it puts the ring back into the port, and only then can
//! the port be torn down. A card with messages has a [`Completer`] for each transmit queue and a [`LinkWatch`] beside it.

mod overload;
mod tick;

use alloc::{boxed::Box, format, string::String, sync::Arc, vec::Vec};
use core::fmt;

use e1000::{Adapter, FilterCause, RxRing, Vector};
use ifnet::IfIndex;
use ithread::{Filter, FilterResult, Handler, HandlerId, IntrEvent, Linger, Pass, Rearm};
use ksync::{Once, SpinLock, counter::Counter, time::Instant};
use machine::{
    irq::IrqLine,
    time::{self, source::tsc},
};
use pci::PciAddress;
use pktbuf::{PacketBatch, PacketPool};
use router::{
    Worker,
    profile::{RunProfile, Sampler, Stage},
};

use self::overload::Overload;
use crate::{fail_points, hand_over::FirstPacket, lines, messages::Wiring, net, registers::Bar, threads::Threads};

/// Frames taken from the ring at once: one batch.
const BUDGET: usize = 64;
/// Frames that wait in the ring when the thread falls behind: then it tells the devices of what it sends as rarely as it can.
const BACKLOG: usize = 128;
/// Looks at the ring in a run that finds nothing, and readings of the clock between two of them: a few microseconds in all.
///
/// Time is not passed by PAUSE: an emulator leaves the guest at each, and waits there for the lock that its loop holds while it
/// receives, the very frames that are looked out for among them.
const LOOKS: usize = 8;
const READINGS: usize = 8;
/// Frames after which a thread has its processor forget its translations: a few times a second under load, never without.
const FLUSH_AFTER: usize = 1 << 16;

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
    /// The driver.
    pub(crate) adapter: Arc<Adapter<Bar>>,
    /// How its interrupts arrive, in words.
    pub(crate) wiring: String,
    /// Its interrupts, at least one.
    pub(crate) interrupts: Vec<Interrupt>,
    /// Interrupts that were lost. Written by the tick.
    lost: Counter,
    /// What its rings are filled from.
    pool: &'static PacketPool,
    /// Protects: the receive rings that their threads have given back; held for the exchange only.
    retired: SpinLock<Vec<RxRing>>,
}

/// One interrupt of a card.
pub(crate) struct Interrupt {
    /// What it is about; `None` for everything.
    vector: Option<Vector>,
    /// The line or message it was given.
    pub(crate) line: IrqLine,
    /// The event, shared by all cards on a line.
    pub(crate) event: Arc<Event>,
    /// The card's handler on the event.
    handler: Once<HandlerId>,
    /// What the thread does with its time, if it forwards.
    pub(crate) profile: Option<Arc<RunProfile>>,
}

impl Interrupt {
    /// Returns the receive queue that the interrupt's thread serves, if it serves one.
    const fn receives(vector: Option<Vector>) -> Option<u8> {
        match vector {
            None => Some(0),
            Some(Vector::Rx(queue)) => Some(queue),
            Some(Vector::Tx(_) | Vector::Other) => None,
        }
    }

    /// Has the card send the interrupt; returns how many have come before.
    pub(crate) fn provoke(&self, adapter: &Adapter<Bar>) -> u64 {
        let before = self.event.statistics().scheduled;
        adapter.raise(self.vector);
        before
    }

    /// Has the thread run, as if the interrupt had come.
    fn schedule(&self) {
        if let Some(id) = self.handler.get() {
            self.event.schedule(*id);
        }
    }
}

impl Port {
    /// # Errors
    /// Why an interrupt has no event.
    pub(crate) fn new(
        (name, number): (&str, u16),
        address: PciAddress,
        adapter: Arc<Adapter<Bar>>,
        wiring: &Wiring,
        pool: &'static PacketPool,
    ) -> Result<Arc<Self>, String> {
        let interrupt = |&(vector, line): &(Option<Vector>, IrqLine)| {
            let event = lines::event(&line).map_err(|error| format!("interrupt: {error:?}"))?;
            let profile = Interrupt::receives(vector).map(|_| Arc::default());
            Ok::<_, String>(Interrupt { vector, line, event, handler: Once::new(), profile })
        };
        let interrupts = wiring.lines.iter().map(interrupt).collect::<Result<_, _>>()?;
        let wiring = wiring.describe();
        let retired = SpinLock::new(Vec::with_capacity(usize::from(adapter.queue_count())));
        Ok(Arc::new(Self {
            name: name.into(),
            number,
            address,
            adapter,
            wiring,
            interrupts,
            lost: Counter::new(),
            pool,
            retired,
        }))
    }

    /// Puts the card's filters and handlers on its interrupts.
    ///
    /// # Errors
    /// What of it is not possible.
    pub(crate) fn hook_up(self: &Arc<Self>, mut rings: Vec<RxRing>) -> Result<(), String> {
        for interrupt in &self.interrupts {
            let name = self.name_of(interrupt);
            let place = Interrupt::receives(interrupt.vector)
                .and_then(|queue| rings.iter().position(|ring| ring.queue() == queue));
            let handler: Box<dyn Handler> = match (place, interrupt.vector) {
                (Some(place), _) => self.forwarder(interrupt, rings.swap_remove(place), &name)?,
                (None, Some(Vector::Tx(queue))) => Box::new(Completer { port: Arc::clone(self), queue }),
                (None, _) => Box::new(LinkWatch { port: Arc::clone(self) }),
            };
            let (adapter, card) = (Arc::clone(&self.adapter), self.number);
            let filter = Box::new(CardFilter { adapter, vector: interrupt.vector, card });
            let added = interrupt.event.add_handler(&name, filter, handler);
            let id = added.map_err(|error| format!("interrupt thread: {error}"))?;
            interrupt.handler.call_once(|| id);
        }
        Ok(())
    }

    fn forwarder(self: &Arc<Self>, interrupt: &Interrupt, rx: RxRing, name: &str) -> Result<Box<dyn Handler>, String> {
        let mut worker =
            net::ingress_worker(name, interrupt.line.cpu, self.pool).map_err(|error| format!("worker: {error}"))?;
        worker.set_sampler(Sampler::new(tsc, interrupt.profile.clone().unwrap_or_default()));
        let (port, batch) = (Arc::clone(self), PacketBatch::new());
        let (first, linger) = (FirstPacket::default(), Linger::new());
        let (vector, overload, since_flush) = (interrupt.vector, Overload::default(), 0);
        Ok(Box::new(Forwarder { port, vector, rx, worker, batch, first, linger, overload, since_flush }))
    }

    /// `em0`, or `em0:rx1` for one of several interrupts.
    pub(crate) fn name_of(&self, interrupt: &Interrupt) -> String {
        match interrupt.vector {
            None => String::from(&*self.name),
            Some(vector) => format!("{}:{vector}", self.name),
        }
    }

    /// Takes the receive rings that the threads have given back; `None` while a thread still has one.
    pub(crate) fn take_rings(&self) -> Option<Vec<RxRing>> {
        let mut retired = self.retired.lock();
        let complete = retired.len() == usize::from(self.adapter.queue_count());
        complete.then(|| core::mem::take(&mut *retired))
    }
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Port").field("name", &self.name).field("wiring", &self.wiring).finish_non_exhaustive()
    }
}

/// Asks the card whether it interrupts, or takes note of its message.
struct CardFilter {
    adapter: Arc<Adapter<Bar>>,
    vector: Option<Vector>,
    card: u16,
}

impl Filter for CardFilter {
    #[inline]
    fn filter(&self) -> FilterResult {
        let cause = match self.vector {
            None => self.adapter.filter(),
            Some(vector) => self.adapter.filter_vector(vector),
        };
        match cause {
            FilterCause::Stray => FilterResult::Stray,
            FilterCause::Handled => FilterResult::Handled,
            FilterCause::Schedule if fail_points::loses_interrupt(self.card) => FilterResult::Handled,
            FilterCause::Schedule => FilterResult::ScheduleThread,
        }
    }
}

/// The threaded handler of a transmit queue's own interrupt: takes back what the card has finished.
struct Completer {
    port: Arc<Port>,
    queue: u8,
}

impl Handler for Completer {
    fn run(&mut self) -> Pass {
        self.port.adapter.service_sent(self.queue);
        Pass::Idle
    }

    fn rearm(&mut self) -> Rearm {
        self.port.adapter.unmask_vector(Vector::Tx(self.queue));
        Rearm::Armed
    }
}

/// The threaded handler of the interrupt for what concerns no queue.
struct LinkWatch {
    port: Arc<Port>,
}

impl Handler for LinkWatch {
    fn run(&mut self) -> Pass {
        if let Some(link) = self.port.adapter.service_link() {
            self.port.link_changed(link);
        }
        Pass::Idle
    }

    fn rearm(&mut self) -> Rearm {
        self.port.adapter.unmask_vector(Vector::Other);
        Rearm::Armed
    }
}

/// The threaded handler for reception: receive, decide, send, in one pass.
struct Forwarder {
    port: Arc<Port>,
    /// The interrupt, if the card has several.
    vector: Option<Vector>,
    rx: RxRing,
    worker: Worker,
    /// Frames on their way from the ring to the data path; empty between passes.
    batch: PacketBatch,
    first: FirstPacket,
    linger: Linger,
    overload: Overload,
    /// Frames served since the processor last forgot its translations.
    since_flush: usize,
}

impl Forwarder {
    /// Takes batches from the ring and sends them on their way while there are any, up to the limit. Returns the frames served.
    #[inline]
    fn forward(&mut self, now: Instant) -> usize {
        let Self { port, rx, worker, batch, overload, .. } = self;
        let batches = overload.batches(|frames| rx.has_backlog(frames));
        worker.pass(now, |pass| {
            pass.mark(Stage::Rest);
            let mut served = 0;
            // Asked once for many; with VLANs, each frame may be another interface's.
            let has_vlans = port.adapter.handles_tags();
            for _ in 0..batches {
                let found = rx.service(&port.adapter, BUDGET, pass.cache(), |packet| {
                    // The budget is the batch's size, so there is room.
                    let _ = batch.push(packet);
                });
                pass.mark(Stage::Receive);
                if found == 0 {
                    break;
                }
                if has_vlans {
                    pass.receive_trunk(batch, rx.vouches());
                } else {
                    pass.receive_ring(batch, IfIndex(port.number), rx.vouches());
                }
                pass.mark(Stage::Rewrite);
                if rx.has_backlog(BACKLOG) {
                    pass.finish_batch();
                } else {
                    pass.finish();
                }
                pass.mark(Stage::Send);
                served += found;
            }
            served
        })
    }

    /// Has the processor forget its translations once in a while. An emulator's TLB changes its size only then, by what was used: QEMU's
    /// begins with 256 pages, each packet lies in another, and a processor that never flushes pays a walk for each.
    #[inline]
    fn refresh_translations(&mut self, served: usize) {
        self.since_flush += served;
        if self.since_flush >= FLUSH_AFTER {
            self.since_flush = 0;
            machine::paging::flush_all();
        }
    }

    /// Waits a few microseconds for a frame.
    fn look_out(&self) -> bool {
        (0..LOOKS).any(|_| {
            pass_time(READINGS);
            self.rx.has_work()
        })
    }
}

/// Reads the clock so many times, for the time that it takes.
#[inline]
fn pass_time(readings: usize) {
    (0..readings).for_each(|_| _ = tsc());
}

impl Handler for Forwarder {
    fn run(&mut self) -> Pass {
        self.worker.sampler().into_iter().for_each(Sampler::begin);
        fail_points::at_pass(self.port.number);
        let link = if self.vector.is_none() { self.port.adapter.service_link() } else { None };
        let now = time::now();
        let served = self.forward(now);
        self.worker.sampler().into_iter().for_each(|sampler| sampler.end(served as u64));
        if let Some(link) = link {
            self.port.link_changed(link);
        }
        if served > 0 {
            self.first.after_pass(&self.worker);
            self.refresh_translations(served);
            self.linger.worked(now, time::now());
            // A pass that finds nothing, or a single frame, costs as much beside its frames as one that finds many.
            if self.linger.is_pressed() && !self.rx.has_work() {
                pass_time(LOOKS * READINGS);
            }
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

    fn rearm(&mut self) -> Rearm {
        if !self.rx.may_rest(&self.port.adapter) {
            return Rearm::Busy;
        }
        match self.vector {
            None => self.port.adapter.unmask(),
            Some(vector) => self.port.adapter.unmask_vector(vector),
        }
        Rearm::Armed
    }

    fn retire(self: Box<Self>) {
        let Self { port, rx, .. } = *self;
        // There is room: `new` has made it.
        port.retired.lock().push(rx);
    }
}
