//! Stopping: the verbs of the shutdown ladder, and the proof that lets memory go home.
//!
//! Key types: [`DmaStopped`], [`TornDown`], [`Leftovers`]. Order: close ingress → drain (asked by
//! [`rx_backlog`](Adapter::rx_backlog) and [`tx_idle`](Adapter::tx_idle)) → mask → *join the ithread, outside* → mask
//! again → stop DMA → tear down. Tearing down needs the proof and the receive ring by value, so it cannot come before the
//! device acknowledged, nor while a thread still serves the ring.
//!
//! Without the proof it does not compile:
//! ```compile_fail,E0061
//! fn wrong<R: e1000::RegisterIo>(adapter: &e1000::Adapter<R>, rx: Vec<e1000::RxRing>) {
//!     let _ = adapter.teardown(rx);
//! }
//! ```
//! The proof cannot be made up:
//! ```compile_fail,E0451
//! let forged = e1000::DmaStopped { name: "em0".into() };
//! ```
//! nor used twice:
//! ```compile_fail,E0382
//! fn wrong<R: e1000::RegisterIo>(a: &e1000::Adapter<R>, b: e1000::RxRing, c: e1000::RxRing, proof: e1000::DmaStopped) {
//!     let _ = a.teardown(proof, vec![b]);
//!     let _ = a.teardown(proof, vec![c]);
//! }
//! ```
//! and the ring cannot be served after it was given up:
//! ```compile_fail,E0382
//! fn wrong<R: e1000::RegisterIo>(
//!     adapter: &e1000::Adapter<R>,
//!     mut rx: e1000::RxRing,
//!     proof: e1000::DmaStopped,
//!     cache: &mut pktbuf::PoolCache,
//! ) {
//!     let _ = adapter.teardown(proof, vec![rx]);
//!     rx.service(adapter, 64, cache, drop);
//! }
//! ```

use alloc::{boxed::Box, string::String, sync::Arc, vec::Vec};
use core::fmt;

use bus_dma::{Busy, Direction, DmaMap, DmaTag};
use ksync::atomic::{Ordering, fence};

use crate::{
    adapter::{Adapter, Phase},
    attach::Tags,
    error::{Error, read_checked},
    hardware,
    queue::Queue,
    regs::{Reg, RegisterIo},
    rx::RxRing,
    tx::TxRing,
};

/// Proof that one adapter's device has acknowledged that its DMA has stopped. Made by [`Adapter::stop_dma`] only.
#[derive(Debug)]
pub struct DmaStopped {
    /// The identity of the adapter.
    name: Arc<str>,
}

/// What teardown gave back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TornDown {
    /// Buffers that were in the receive ring.
    pub rx_buffers: usize,
    /// Of these, buffers with a frame that nobody fetched.
    pub unserved: usize,
    /// Buffers that were in the transmit ring: frames that were not sent.
    pub tx_buffers: usize,
    /// Maps destroyed.
    pub maps: usize,
    /// Pieces of descriptor memory freed.
    pub memories: usize,
    /// Tags destroyed.
    pub tags: usize,
}

/// Tags that would not go, and why: the first of them is named.
#[derive(Debug)]
pub struct Leftovers {
    /// Tags in the order in which they are to be destroyed.
    tags: Vec<DmaTag>,
    /// Name of the tag that is busy.
    pub tag: String,
    /// What is live under it.
    pub busy: Busy,
    /// What was given back before.
    pub torn_down: TornDown,
}

impl fmt::Display for Leftovers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.tag, self.busy)
    }
}

/// Why a teardown did not happen, or not completely.
#[derive(Debug)]
pub enum TeardownError {
    /// The proof or a ring belongs to another adapter, a ring is missing, or this port was torn down before. Nothing was touched.
    Mismatch(Box<(DmaStopped, Vec<RxRing>)>),
    /// Maps and memory are gone, but a tag is busy. [`Leftovers::retry`] tries again.
    Busy(Leftovers),
}

/// Attempts at a lock before going on without it: whoever holds it does so for microseconds.
pub(crate) const LOCK_SPINS: u32 = 1 << 22;

impl<R: RegisterIo> Adapter<R> {
    /// Closes reception at the wire. What was received before stays in the ring and is served as before; sending goes
    /// on. Lock-free.
    ///
    /// # Context
    /// Thread.
    ///
    /// # Errors
    /// [`Error::Gone`].
    pub fn close_ingress(&self) -> Result<(), Error> {
        self.ingress_open.store(false, Ordering::Relaxed);
        // ORDERING: pairs with the fence in `open_receive`.
        fence(Ordering::SeqCst);
        let mode = self.receive_mode();
        self.note_gone(hardware::disable_receive(&self.regs, mode))
    }

    /// Accepts nothing for sending any more: `transmit` answers [`NotRunning`](ifnet::TxRefusal::NotRunning). What the ring
    /// holds still goes out. When this returns, whoever was sending has finished.
    ///
    /// # Context
    /// Thread. Passes through the transmit lock (bounded).
    pub fn close_egress(&self) {
        // ORDERING: release pairs with the acquire in `transmit_locked`; the lock orders this against who is inside.
        self.egress_open.store(false, Ordering::Release);
        self.pass_senders();
    }

    /// Returns the received frames that wait in the ring, from the descriptor that is served next to the device's head, and in the
    /// device, on their way to the ring. Lock-free.
    ///
    /// # Context
    /// Any thread. Some register reads.
    ///
    /// # Errors
    /// [`Error::Gone`].
    pub fn rx_backlog(&self) -> Result<usize, Error> {
        let mut waiting = self.note_gone(read_checked(&self.regs, Reg::Rdfpc))? as usize;
        for queue in 0..self.queue_count() {
            let length = self.note_gone(read_checked(&self.regs, Reg::Rdlen(queue)))? / 16;
            let head = self.note_gone(read_checked(&self.regs, Reg::Rdh(queue)))?;
            // ORDERING: acquire pairs with the release in `RxRing::service`: who reads that a frame was taken sees its taker at work.
            // While the ring is being served the answer is a moment old, and a drain asks again.
            let next = self.received(queue).next.load(Ordering::Acquire);
            // Otherwise not programmed, or not believable: nothing that a drain could wait for.
            if head < length && next < length {
                waiting += ((head + length - next) % length) as usize;
            }
        }
        Ok(waiting)
    }

    /// Returns whether no frame is in the transmit ring; takes back what is finished. Never waits for the lock: if
    /// somebody is sending, the ring is not idle.
    ///
    /// # Context
    /// Any thread.
    pub fn tx_idle(&self) -> bool {
        self.tx_backlog() == 0
    }

    /// Returns the frames in the transmit ring and those the device has fetched from it and not put on the wire; at least 1
    /// while somebody is sending.
    ///
    /// # Context
    /// Any thread. Returns buffers to the pool.
    pub fn tx_backlog(&self) -> usize {
        match self.queues.iter().map(Queue::tx_backlog).sum() {
            // All ones: a device that is gone sends nothing.
            0 => read_checked(&self.regs, Reg::Tdfpc).map_or(0, |frames| frames as usize),
            in_flight => in_flight,
        }
    }

    /// Masks every interrupt of the device for good, and reads back. Lock-free; may be repeated, and has to be, after
    /// the ithread has been joined.
    ///
    /// # Context
    /// Thread.
    ///
    /// # Errors
    /// [`Error::StillUnmasked`], [`Error::Gone`].
    pub fn mask_interrupts(&self) -> Result<(), Error> {
        // ORDERING: release pairs with the acquire in `unmask` and `filter`.
        self.masked_for_good.store(true, Ordering::Release);
        // The ithread may have looked at the flag before and write its mask between our write and the look at it: once, then
        // it sees the flag. Only a device that is unmasked after the second time did not take the mask.
        let masked = hardware::mask_and_verify(&self.regs).or_else(|error| match error {
            Error::StillUnmasked => hardware::mask_and_verify(&self.regs),
            other => Err(other),
        });
        self.note_gone(masked)
    }

    /// Stops sending and receiving for good and sees the device acknowledge that it does no DMA any more.
    ///
    /// # Context
    /// Thread, after the ithread was joined. Passes through the transmit lock (bounded), waits for the device (bounded).
    ///
    /// # Errors
    /// [`Error::Gone`], [`Error::ResetTimeout`], [`Error::MasterPending`], [`Error::TransmitWedged`]: there is no proof
    /// then, and the memory must stay where it is. May be tried again.
    pub fn stop_dma(&self) -> Result<DmaStopped, Error> {
        self.masked_for_good.store(true, Ordering::Release);
        self.ingress_open.store(false, Ordering::Relaxed);
        if self.phase() == Phase::Gone {
            return Err(Error::Gone);
        }
        // Without the proof nobody will look into the ring; then what the registers say has to do.
        let left = self.rx_backlog().unwrap_or(0);
        self.set_phase(Phase::Stopped);
        // Whoever is sending now finishes; whoever comes later finds the phase changed. The device is told to stop
        // either way.
        let passed = self.pass_senders();
        // The reset clears them.
        self.collect_statistics();
        let stopped = hardware::stop(&self.regs, self.delay, self.variant);
        let refused = self.note_gone(stopped).err().or((!passed).then_some(Error::TransmitWedged));
        match refused {
            None => Ok(DmaStopped { name: Arc::clone(&self.name) }),
            Some(refused) => {
                self.received(0).unserved.add(left as u64);
                Err(refused)
            }
        }
    }

    /// Stops the device as [`stop_dma`](Self::stop_dma) does, whoever may still be sending or serving: sees whether it acknowledges,
    /// but makes no proof of it. Nothing may be freed afterwards.
    ///
    /// # Context
    /// Thread. Waits for the device (bounded), takes no lock.
    ///
    /// # Errors
    /// As [`stop_dma`](Self::stop_dma).
    pub fn force_stop(&self) -> Result<(), Error> {
        self.masked_for_good.store(true, Ordering::Release);
        self.ingress_open.store(false, Ordering::Relaxed);
        match self.phase() {
            Phase::Gone => return Err(Error::Gone),
            // `stop_dma` has been here.
            Phase::Stopped => {}
            _ => self.received(0).unserved.add(self.rx_backlog().unwrap_or(0) as u64),
        }
        self.set_phase(Phase::Stopped);
        self.collect_statistics();
        self.note_gone(hardware::stop(&self.regs, self.delay, self.variant))
    }

    /// For a panic: tells the device to stop, without waiting, locking or believing anything.
    ///
    /// # Context
    /// Any, including NMI.
    pub fn stop_blindly(&self) {
        hardware::stop_blindly(&self.regs);
    }

    /// Waits until nobody is sending who began before, as long as that is reasonable; returns whether that is so.
    fn pass_senders(&self) -> bool {
        // All of them, even if one does not let go.
        let passed = |passed: bool, queue: &Queue| queue.tx.lock_bounded(LOCK_SPINS).is_some() && passed;
        self.queues.iter().fold(true, passed)
    }

    /// Takes everything apart: buffers go home, maps are destroyed, descriptor memory is freed, then the tags, children
    /// first. `rx` are all the receive rings that [`attach`](Self::attach) gave out, in any order.
    ///
    /// # Context
    /// Thread.
    ///
    /// # Errors
    /// [`TeardownError::Mismatch`] hands everything back; [`TeardownError::Busy`] names the tag that would not go.
    pub fn teardown(&self, proof: DmaStopped, rx: Vec<RxRing>) -> Result<TornDown, TeardownError> {
        // A ring cannot be here twice, so all of this port's are here if they are as many as it has.
        let is_mine = |ring: &RxRing| Arc::ptr_eq(&ring.name, &self.name);
        let complete = rx.len() == usize::from(self.queue_count()) && rx.iter().all(is_mine);
        if !complete || !Arc::ptr_eq(&proof.name, &self.name) {
            return Err(mismatch(proof, rx));
        }
        let Some(tags) = self.tags.lock().take() else { return Err(mismatch(proof, rx)) };
        let stopped = bus_dma::DmaStopped::attest(&proof.name, &tags.port);
        let mut done = TornDown::default();
        rx.into_iter().for_each(|ring| self.dismantle_received(ring, &stopped, &mut done));
        for queue in self.queues.iter() {
            if let Some(ring) = queue.tx.lock().take() {
                dismantle_sent(queue, ring, &stopped, &mut done);
            }
        }
        destroy(in_order(tags), done).map_err(TeardownError::Busy)
    }

    fn dismantle_received(&self, ring: RxRing, stopped: &bus_dma::DmaStopped<'_>, done: &mut TornDown) {
        let unserved = ring.unserved();
        done.unserved += unserved;
        self.received(ring.queue()).unserved.add(unserved as u64);
        let (memory, maps) = ring.into_parts();
        done.maps += maps.len();
        done.rx_buffers += reclaim(maps, stopped);
        memory.free(stopped);
        done.memories += 1;
    }

    fn note_gone<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        if matches!(result, Err(Error::Gone)) {
            self.mark_gone();
        }
        result
    }
}

fn dismantle_sent(queue: &Queue, ring: TxRing, stopped: &bus_dma::DmaStopped<'_>, done: &mut TornDown) {
    let (memory, maps) = ring.into_parts();
    done.maps += maps.len();
    let unsent = reclaim(maps, stopped);
    queue.sent.discarded.add(unsent as u64);
    done.tx_buffers += unsent;
    memory.free(stopped);
    done.memories += 1;
}

impl Queue {
    /// Returns the frames in the transmit ring that are not finished; at least 1 while somebody is sending.
    fn tx_backlog(&self) -> usize {
        loop {
            let mut finished = crate::tx::Finished::new();
            let in_flight = match self.tx.try_lock() {
                None => return 1,
                Some(mut ring) => ring.as_mut().map_or(0, |ring| {
                    ring.reclaim(crate::tx::RECLAIM_BURST, &self.sent, |packet| finished.push(packet));
                    ring.in_flight()
                }),
            };
            if in_flight == 0 || finished.len() < crate::tx::RECLAIM_BURST {
                return in_flight;
            }
        }
    }
}

fn mismatch(proof: DmaStopped, rx: Vec<RxRing>) -> TeardownError {
    TeardownError::Mismatch(Box::new((proof, rx)))
}

/// Ends maps; their packets go home. Returns how many there were.
fn reclaim<D: Direction>(maps: Vec<DmaMap<D>>, stopped: &bus_dma::DmaStopped<'_>) -> usize {
    maps.into_iter().filter_map(|map| map.reclaim(stopped)).count()
}

/// Lists tags in the order in which they go: children, then their parent.
fn in_order(tags: Tags) -> Vec<DmaTag> {
    let mut list = Vec::from(tags.children);
    list.push(tags.port);
    list
}

fn destroy(tags: Vec<DmaTag>, mut done: TornDown) -> Result<TornDown, Leftovers> {
    let mut tags = tags.into_iter();
    while let Some(tag) = tags.next() {
        if let Err((tag, busy)) = tag.destroy() {
            let name = tag.name().into();
            let rest = core::iter::once(tag).chain(tags).collect();
            return Err(Leftovers { tags: rest, tag: name, busy, torn_down: done });
        }
        done.tags += 1;
    }
    Ok(done)
}

impl Leftovers {
    /// Tries to destroy the rest again.
    ///
    /// # Errors
    /// What is still left.
    pub fn retry(self) -> Result<TornDown, Self> {
        destroy(self.tags, self.torn_down)
    }
}
