//! Stopping: the verbs of the shutdown ladder, and the proof that lets memory go home.
//!
//! Key types: [`DmaStopped`], [`TornDown`], [`Leftovers`]. Order: close ingress → drain (asked by
//! [`rx_backlog`](Adapter::rx_backlog) and [`tx_idle`](Adapter::tx_idle)) → mask → *join the ithread, outside* → mask
//! again → stop DMA → tear down. Tearing down needs the proof and the receive ring by value, so it cannot come before the
//! device acknowledged, nor while a thread still serves the ring.
//!
//! Without the proof it does not compile:
//! ```compile_fail,E0061
//! fn wrong<R: e1000::RegisterIo>(adapter: &e1000::Adapter<R>, rx: e1000::RxRing) {
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
//!     let _ = a.teardown(proof, b);
//!     let _ = a.teardown(proof, c);
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
//!     let _ = adapter.teardown(proof, rx);
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
    filter::{self, ReceiveFilter},
    hardware,
    regs::{Rctl, Reg, RegisterIo},
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
    /// The proof or the ring belongs to another adapter, or this one was torn down before. Nothing was touched.
    Mismatch(Box<(DmaStopped, RxRing)>),
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
        let mode = Rctl::from_bits_retain(self.mode.load(Ordering::Relaxed));
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
        drop(self.tx.lock_bounded(LOCK_SPINS));
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
        let octets = self.note_gone(read_checked(&self.regs, Reg::Rdlen))?;
        let head = self.note_gone(read_checked(&self.regs, Reg::Rdh))?;
        // ORDERING: relaxed; while the ring is being served the answer is a moment old, and a drain asks again.
        let next = self.rx.next.load(Ordering::Relaxed);
        let fifo = self.note_gone(read_checked(&self.regs, Reg::Rdfpc))? as usize;
        let length = octets / 16;
        if length == 0 || head >= length || next >= length {
            // Not programmed, or not believable: nothing that a drain could wait for.
            return Ok(fifo);
        }
        Ok(((head + length - next) % length) as usize + fifo)
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
        loop {
            let mut finished = crate::tx::Finished::new();
            let in_flight = match self.tx.try_lock() {
                None => return 1,
                Some(mut ring) => ring.as_mut().map_or(0, |ring| {
                    ring.reclaim(crate::tx::RECLAIM_BURST, &self.sent, |packet| finished.push(packet));
                    ring.in_flight()
                }),
            };
            if in_flight == 0 {
                // All ones: a device that is gone sends nothing.
                return read_checked(&self.regs, Reg::Tdfpc).map_or(0, |frames| frames as usize);
            }
            if finished.len() < crate::tx::RECLAIM_BURST {
                return in_flight;
            }
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
        let passed = self.tx.lock_bounded(LOCK_SPINS).is_some();
        // The reset clears them.
        self.collect_statistics();
        let stopped = hardware::stop(&self.regs, self.delay, self.variant);
        let refused = self.note_gone(stopped).err().or((!passed).then_some(Error::TransmitWedged));
        match refused {
            None => Ok(DmaStopped { name: Arc::clone(&self.name) }),
            Some(refused) => {
                self.rx.unserved.add(left as u64);
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
            _ => self.rx.unserved.add(self.rx_backlog().unwrap_or(0) as u64),
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

    /// Takes everything apart: buffers go home, maps are destroyed, descriptor memory is freed, then the tags, children
    /// first.
    ///
    /// # Context
    /// Thread.
    ///
    /// # Errors
    /// [`TeardownError::Mismatch`] hands everything back; [`TeardownError::Busy`] names the tag that would not go.
    pub fn teardown(&self, proof: DmaStopped, rx: RxRing) -> Result<TornDown, TeardownError> {
        if !Arc::ptr_eq(&proof.name, &self.name) || !Arc::ptr_eq(&rx.name, &self.name) {
            return Err(mismatch(proof, rx));
        }
        let (tx, tags) = (self.tx.lock().take(), self.tags.lock().take());
        let (Some(tx), Some(tags)) = (tx, tags) else { return Err(mismatch(proof, rx)) };
        let stopped = bus_dma::DmaStopped::attest(&proof.name, &tags.port);
        let mut done = TornDown::default();
        self.dismantle(tx, rx, &stopped, &mut done);
        destroy(in_order(tags), done).map_err(TeardownError::Busy)
    }

    fn dismantle(&self, tx: TxRing, rx: RxRing, stopped: &bus_dma::DmaStopped<'_>, done: &mut TornDown) {
        done.unserved = rx.unserved();
        self.rx.unserved.add(done.unserved as u64);
        let (rx_memory, rx_maps) = rx.into_parts();
        let (tx_memory, tx_maps) = tx.into_parts();
        done.maps = rx_maps.len() + tx_maps.len();
        done.rx_buffers = reclaim(rx_maps, stopped);
        done.tx_buffers = reclaim(tx_maps, stopped);
        self.sent.discarded.add(done.tx_buffers as u64);
        for memory in [rx_memory, tx_memory] {
            memory.free(stopped);
            done.memories += 1;
        }
    }

    /// Changes what the receiver lets through.
    ///
    /// On QEMU each call stops reception for a second, because it writes RCTL: for the operator, not for traffic.
    ///
    /// # Context
    /// Thread, one caller at a time.
    pub fn set_filter(&self, filter: ReceiveFilter) {
        self.mode.store(filter.mode().bits(), Ordering::Relaxed);
        let mut current = self.receive_filter.lock();
        *current = filter;
        if matches!(self.phase(), Phase::Attached | Phase::Running) {
            filter::write_table(&self.regs, &current);
        }
        drop(current);
        if self.phase() == Phase::Running {
            self.open_receive();
        }
    }

    fn note_gone<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        if matches!(result, Err(Error::Gone)) {
            self.mark_gone();
        }
        result
    }
}

fn mismatch(proof: DmaStopped, rx: RxRing) -> TeardownError {
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
