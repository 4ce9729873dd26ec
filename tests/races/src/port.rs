//! One card at work: the real driver and the real interrupt thread, forwarding into the real router.
//!
//! As in the kernel, the threaded handler owns the receive ring and a worker, and puts the ring back when it takes leave.

use std::sync::{
    Arc,
    atomic::{AtomicBool as Plain, Ordering::SeqCst},
};

use e1000::{Adapter, FilterCause, RxRing};
use ithread::{Filter, FilterResult, Handler, HandlerId, Pass, Rearm};
use ksync::{
    SpinLock,
    model::{self, RaceCell},
};
use nic_model::Nic;
use pktbuf::PacketBatch;
use router::Worker;

use crate::{
    host::Host,
    line::{Event, Line},
};

/// Frames a pass takes.
const BUDGET: usize = 4;

/// One card, attached and running.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) name: String,
    pub(crate) nic: Nic,
    pub(crate) adapter: Arc<Adapter<Nic>>,
    pub(crate) line: Arc<Line>,
    pub(crate) event: Arc<Event>,
    pub(crate) handler: HandlerId,
    pub(crate) shared: Arc<Shared>,
}

/// What the handler and whoever tears the port down both touch.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// Protects: the ring once its thread has given it back.
    retired: SpinLock<Option<RxRing>>,
    /// Touched by the filter, by the threaded handler, and by whoever frees what they use.
    pub(crate) filter_memory: RaceCell,
    pub(crate) handler_memory: RaceCell,
    /// The threaded handler has taken leave.
    pub(crate) gone: Plain,
    /// The thread never comes back from its next pass, until this is cleared.
    pub(crate) wedged: Plain,
    /// It is in there.
    pub(crate) stuck: Plain,
    /// The threaded handler stops with the frames of a pass in hand, until this is cleared.
    pub(crate) holds: Plain,
    /// It has some.
    pub(crate) holding: Plain,
}

impl Shared {
    pub(crate) fn take_ring(&self) -> Option<RxRing> {
        self.retired.lock().take()
    }
}

/// Asks the card whether it interrupts.
pub(crate) struct CardFilter {
    pub(crate) adapter: Arc<Adapter<Nic>>,
    pub(crate) shared: Arc<Shared>,
}

impl Filter for CardFilter {
    fn filter(&self) -> FilterResult {
        self.shared.filter_memory.write();
        match self.adapter.filter() {
            FilterCause::Stray => FilterResult::Stray,
            FilterCause::Handled => FilterResult::Handled,
            FilterCause::Schedule => FilterResult::ScheduleThread,
        }
    }
}

/// The threaded handler: receive, decide, send.
pub(crate) struct Forwarder {
    pub(crate) adapter: Arc<Adapter<Nic>>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) rx: RxRing,
    pub(crate) worker: Worker,
    pub(crate) batch: PacketBatch,
    pub(crate) host: Host,
}

impl Handler for Forwarder {
    fn run(&mut self) -> Pass {
        while self.shared.wedged.load(SeqCst) {
            self.shared.stuck.store(true, SeqCst);
            model::yield_now();
        }
        self.shared.handler_memory.write();
        let Self { adapter, shared, rx, worker, batch, host } = self;
        let link = adapter.service_link();
        let served = worker.pass(host.time(), |pass| {
            let served = rx.service(adapter, BUDGET, pass.cache(), |packet| drop(batch.push(packet)));
            while !batch.is_empty() && shared.holds.load(SeqCst) {
                shared.holding.store(true, SeqCst);
                model::yield_now();
            }
            pass.receive_all(batch);
            served
        });
        match served {
            0 if link.is_none() => Pass::Idle,
            0 => Pass::Done,
            _ => Pass::Again,
        }
    }

    fn rearm(&mut self) -> Rearm {
        self.shared.handler_memory.write();
        if !self.rx.may_rest(&self.adapter) {
            return Rearm::Busy;
        }
        self.adapter.unmask();
        Rearm::Armed
    }

    fn retire(self: Box<Self>) {
        let Self { shared, rx, worker, .. } = *self;
        shared.handler_memory.write();
        // The buffers in its cache go home before anybody may count.
        drop(worker);
        shared.gone.store(true, SeqCst);
        *shared.retired.lock() = Some(rx);
    }
}
