//! What a port has for each of its queues, but the receive ring, which is its ithread's.
//!
//! Key types: [`Queue`], [`Queues`]. A thread sends through the queue of its own lane ([`PoolCache::lane`](pktbuf::PoolCache::lane)),
//! so that threads on different CPUs share no transmit lock, and what comes of one flow stays in order.

use core::iter;

use ksync::{CachePadded, SpinLock, atomic::AtomicU32, counter::Counter};
use pktbuf::PoolCache;

use crate::{
    hardware::RingPlace,
    stats::{RxCounters, RxWatch, TxCounters},
    tx::{Finished, RECLAIM_BURST, TxRing},
};

/// One queue, of both directions.
pub(crate) struct Queue {
    /// Protects: the transmit ring; held across: one batch, without waiting. `None` after teardown.
    pub(crate) tx: CachePadded<SpinLock<Option<TxRing>>>,
    /// Written under the transmit lock.
    pub(crate) sent: CachePadded<TxCounters>,
    /// Written by the ithread.
    pub(crate) rx: CachePadded<RxCounters>,
    /// Of the tick.
    pub(crate) watch: RxWatch,
    /// Interrupts for what this queue has received; all of the port, in queue 0 of a port whose causes share one interrupt.
    pub(crate) rx_interrupts: Counter,
    /// Interrupts for what this queue has sent.
    pub(crate) tx_interrupts: Counter,
    /// For which generation's reset the receiving thread stands still: that generation's number and 1.
    pub(crate) stands_for: AtomicU32,
    /// Where the receive ring lies.
    pub(crate) rx_place: RingPlace,
}

impl Queue {
    pub(crate) fn new(tx: TxRing, rx_place: RingPlace) -> Self {
        Self {
            tx: CachePadded::new(SpinLock::new(Some(tx))),
            sent: CachePadded::new(TxCounters::default()),
            rx: CachePadded::new(RxCounters::default()),
            watch: RxWatch::default(),
            rx_interrupts: Counter::new(),
            tx_interrupts: Counter::new(),
            stands_for: AtomicU32::new(0),
            rx_place,
        }
    }
}

impl Queue {
    /// Takes back a burst of finished buffers. Returns whether there may be more.
    pub(crate) fn reclaim_some(&self) -> bool {
        let mut finished = Finished::new();
        if let Some(ring) = self.tx.lock().as_mut().filter(|ring| !ring.paused) {
            ring.reclaim(RECLAIM_BURST, &self.sent, |packet| finished.push(packet));
        }
        let may_be_more = finished.len() >= RECLAIM_BURST;
        // After unlocking: pools have locks of their own.
        pktbuf::send_home(finished);
        may_be_more
    }

    /// Takes back a burst of what the transmit ring holds, sent or not. Returns whether that was all. The device has been reset.
    pub(crate) fn discard_some(&self, cache: &mut PoolCache) -> bool {
        let mut finished = Finished::new();
        let complete = self.tx.lock().as_mut().is_none_or(|ring| ring.discard(&mut finished, &self.sent));
        finished.into_iter().for_each(|packet| cache.recycle_later(packet));
        cache.publish();
        complete
    }
}

/// One queue or two.
pub(crate) struct Queues {
    first: Queue,
    second: Option<Queue>,
}

impl Queues {
    pub(crate) const fn new(first: Queue, second: Option<Queue>) -> Self {
        Self { first, second }
    }

    pub(crate) const fn count(&self) -> u8 {
        if self.second.is_some() { 2 } else { 1 }
    }

    /// Returns the queue for a number, which may be larger than there are queues.
    #[inline]
    pub(crate) const fn of(&self, number: usize) -> &Queue {
        match &self.second {
            Some(second) if number % 2 == 1 => second,
            _ => &self.first,
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Queue> {
        iter::once(&self.first).chain(&self.second)
    }
}
