//! What happens without traffic: the tick, the transmit watchdog, frames whose interrupt was lost, and recovery by reset.
//!
//! Key types: [`TickReport`], [`TxHang`]. The tick runs in a timer thread. A transmit ring that hangs it starts again by itself: the
//! transmitter is switched off and on, and goes on where it stood; nothing is freed and no frame sent twice, so that nothing depends on
//! what the device does meanwhile. If that does not help, it asks for a reset, which is made by the ithreads, in
//! [`RxRing::service`](crate::RxRing::service), because a reset concerns the rings that they own: all stand still, that of queue 0 resets
//! the device, and each gives its ring to the device anew.

use core::fmt;

use ksync::{
    atomic::{Ordering, fence},
    time::Instant,
};
use pktbuf::PoolCache;

use crate::{
    adapter::{Adapter, Phase},
    config::Delivery,
    error::Error,
    filter,
    flow::Settling,
    hardware,
    intr::Vector,
    link::LinkState,
    queue::Queue,
    regs::{ALL_ONES, Reg, RegisterIo, Status},
    rx::RxRing,
};

/// Time in which a transmitter that has been switched off ends what it is at: 2 ms, in which several frames leave at 10 Mbit/s.
const TRANSMIT_ENDS_MICROS: u32 = 2000;

/// What is done about a transmit ring that hangs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// The ring was started again.
    Restart,
    /// The device is reset by the ithreads.
    Reset,
}

/// The transmitter has made no progress for the configured time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxHang {
    /// The queue.
    pub queue: u8,
    /// What is done about it.
    pub remedy: Remedy,
    /// Descriptors that are free.
    pub available: usize,
    /// The descriptor that would be used next.
    pub next: usize,
}

/// Writes the message operators know.
impl fmt::Display for TxHang {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { queue, remedy, available, next } = self;
        let remedy = match remedy {
            Remedy::Restart => "restarting the ring",
            Remedy::Reset => "resetting",
        };
        write!(f, "Watchdog timeout (TX: {queue} desc avail: {available} pidx: {next}) -- {remedy}")
    }
}

/// What a tick found. The caller logs it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TickReport {
    /// The link changed to this.
    pub link: Option<LinkState>,
    /// A transmit ring hangs.
    pub hang: Option<TxHang>,
    /// The device is to be reset: the caller wakes all ithreads that own a receive ring.
    pub recovering: bool,
    /// Frames have waited in a receive ring since the last tick: their interrupt was lost, or the thread is kept from running. The caller
    /// wakes all ithreads that own a receive ring; each unmasks its interrupt when it is done.
    pub overlooked: bool,
    /// The device has left the bus. Said once.
    pub gone: bool,
}

impl<R: RegisterIo> Adapter<R> {
    /// Looks after the port: link, finished transmit buffers, transmit watchdog, statistics registers.
    ///
    /// # Context
    /// A timer thread, about once a second, one caller at a time. Takes the transmit lock for a moment; returns buffers
    /// to the pool.
    pub fn tick(&self, now: Instant) -> TickReport {
        let mut report = TickReport::default();
        if self.phase() != Phase::Running {
            return report;
        }
        let status = self.regs.read32(Reg::Status);
        if status == ALL_ONES {
            report.gone = self.mark_gone();
            return report;
        }
        report.link = self.update_link();
        (0..self.queue_count()).for_each(|queue| self.service_sent(queue));
        report.hang = self.queues.iter().find_map(|queue| self.find_hang(queue, now, Status::from_bits_retain(status)));
        match report.hang {
            Some(TxHang { remedy: Remedy::Restart, queue, .. }) => self.restart_transmit(queue),
            Some(TxHang { remedy: Remedy::Reset, .. }) => self.recover.store(true, Ordering::Relaxed),
            None => {}
        }
        report.recovering = self.recovery_wanted();
        report.overlooked = (0..self.queue_count()).filter(|queue| self.overlooks(*queue)).count() > 0;
        self.hardware.lock().collect(&self.regs, self.variant);
        report
    }

    /// Returns whether frames wait in a queue's receive ring, and none was served since the last tick. One register is read.
    fn overlooks(&self, queue: u8) -> bool {
        let head = self.regs.read32(Reg::Rdh(queue));
        let queue = self.queues.of(usize::from(queue));
        // ORDERING: see `look`.
        head != ALL_ONES && queue.watch.look(queue.rx.next.load(Ordering::Relaxed), head)
    }

    fn find_hang(&self, queue: &Queue, now: Instant, status: Status) -> Option<TxHang> {
        let done = queue.sent.done.get();
        let mut ring = queue.tx.lock();
        let ring = ring.as_mut()?;
        // Without carrier, or while the other end pauses us, no progress is no fault.
        let excused = !self.link().is_up() || status.contains(Status::TXOFF) || ring.paused;
        if excused {
            ring.excuse();
            return None;
        }
        if self.recovery_wanted() || !ring.hung(now, self.watchdog, done) {
            return None;
        }
        let remedy = if ring.was_restarted { Remedy::Reset } else { Remedy::Restart };
        // Nothing is put in before it is started again, or reset.
        ring.paused = true;
        Some(TxHang { queue: ring.queue(), remedy, available: ring.free(), next: ring.next() })
    }

    /// Switches the transmitter off and on, and rings the doorbell again.
    fn restart_transmit(&self, queue: u8) {
        self.ring_restarts.bump();
        if hardware::disable_transmit(&self.regs).is_err() {
            self.mark_gone();
            return;
        }
        self.delay.micros(TRANSMIT_ENDS_MICROS);
        let mut ring = self.queues.of(usize::from(queue)).tx.lock();
        let Some(ring) = ring.as_mut().filter(|_| self.phase() == Phase::Running) else { return };
        hardware::enable_transmit(&self.regs);
        ring.resume(&self.regs);
    }

    /// Returns how often the watchdog has started a transmit ring again without a reset.
    #[must_use]
    pub fn ring_restarts(&self) -> u64 {
        self.ring_restarts.get()
    }

    /// Says that the thread of a queue other than 0, whose ring is of this generation, serves it no more before the device has been
    /// reset, and wakes that of queue 0.
    pub(crate) fn stand_still(&self, queue: u8, generation: u32) {
        // ORDERING: release pairs with the acquire in `all_stand_still`: what this thread has done to its ring comes before the reset.
        self.queues.of(usize::from(queue)).stands_for.store(generation.wrapping_add(1), Ordering::Release);
        self.raise_vector(Vector::Rx(0));
    }

    /// Returns whether the threads of all queues but 0 stand still for the reset of this generation, and not of an earlier one.
    pub(crate) fn all_stand_still(&self) -> bool {
        let next = self.generation().wrapping_add(1);
        // ORDERING: pairs with the release in `stand_still`.
        self.queues.iter().skip(1).all(|queue| queue.stands_for.load(Ordering::Acquire) == next)
    }

    #[inline]
    pub(crate) fn recovery_wanted(&self) -> bool {
        // ORDERING: acquire pairs with the release in `restart_after_recovery`.
        self.recover.load(Ordering::Acquire)
    }

    /// Stops transmitters, resets the device and takes back what was to be sent. On failure the port is `Failed` (or
    /// `Gone`) and the buffers stay with the ring.
    pub(crate) fn reset_for_recovery(&self, cache: &mut PoolCache) -> Result<(), Error> {
        self.watchdog_resets.bump();
        for queue in self.queues.iter() {
            if let Some(ring) = queue.tx.lock().as_mut() {
                ring.paused = true;
            }
        }
        self.hardware.lock().collect(&self.regs, self.variant);
        match hardware::reset(&self.regs, self.delay, self.variant) {
            Ok(()) => {}
            Err(error) => {
                self.recover.store(false, Ordering::Relaxed);
                if error == Error::Gone {
                    self.mark_gone();
                } else {
                    self.set_phase(Phase::Failed);
                }
                return Err(error);
            }
        }
        for queue in self.queues.iter() {
            while !queue.discard_some(cache) {}
        }
        Ok(())
    }

    /// Programs the device again after [`reset_for_recovery`](Self::reset_for_recovery) and lets it run, unless the port
    /// was stopped meanwhile. `rx` is the ring of queue 0; those of the others are empty until their threads are back.
    pub(crate) fn restart_after_recovery(&self, rx: &mut RxRing) {
        if hardware::set_link_up(&self.regs).is_err() {
            self.mark_gone();
            return;
        }
        self.program_flow();
        self.write_filters();
        self.program_receive();
        // ORDERING: release, as in `RxRing::service`.
        self.received(rx.queue).next.store(0, Ordering::Release);
        rx.restart(&self.regs);
        self.enable();
        self.update_link();
        self.settle_flow(Settling::Reset);
        // ORDERING: release pairs with the acquire in `generation`, which the threads of the other queues read before they touch their
        // rings. The flag comes after it: who finds it gone must not go on with a ring of the generation before.
        rx.generation = self.generation.fetch_add(1, Ordering::Release).wrapping_add(1);
        self.recover.store(false, Ordering::Release);
        if self.delivery == Delivery::PerQueue {
            // The thread of queue 0 unmasks its own vector when it has run out of work, and no other.
            self.unmask();
            (1..self.queue_count()).for_each(|queue| self.raise_vector(Vector::Rx(queue)));
        }
    }

    /// Programs all of the receiver but RCTL, its rings empty, and the interrupt messages, which a reset takes away.
    pub(crate) fn program_receive(&self) {
        for (number, queue) in (0..).zip(self.queues.iter()) {
            hardware::program_receive_ring(&self.regs, number, queue.rx_place);
        }
        hardware::program_receive(&self.regs, self.variant, (self.queue_count(), self.sums), &self.moderation);
        if self.delivery == Delivery::PerQueue {
            hardware::program_messages(&self.regs, &self.moderation);
        }
    }

    /// Writes addresses and the tables of groups and VLANs.
    pub(crate) fn write_filters(&self) {
        filter::write_addresses(&self.regs, self.mac);
        filter::write_tables(&self.regs, &self.receive_filter.lock());
    }

    /// Enables both halves if the port is running. Under the transmit lock of queue 0, through which
    /// [`stop_dma`](Self::stop_dma) passes after it has changed the phase: so this cannot enable what has been stopped.
    pub(crate) fn enable(&self) {
        for queue in self.queues.iter() {
            let mut ring = queue.tx.lock();
            let Some(ring) = ring.as_mut().filter(|_| self.phase() == Phase::Running) else { return };
            hardware::program_transmit(&self.regs, ring.queue(), ring.place());
            ring.paused = false;
        }
        let ring = self.queues.of(0).tx.lock();
        if ring.is_none() || self.phase() != Phase::Running {
            return;
        }
        hardware::program_transmitter(&self.regs, self.variant, self.queue_count());
        if self.handles_tags() {
            hardware::enable_tags(&self.regs);
        }
        hardware::enable_transmit(&self.regs);
        self.open_receive();
    }

    /// Writes RCTL as filter and ingress demand.
    pub(crate) fn open_receive(&self) {
        let mode = self.receive_mode();
        if !self.ingress_open.load(Ordering::Relaxed) {
            return;
        }
        hardware::enable_receive(&self.regs, mode);
        // ORDERING: the store to RCTL comes before this load; pairs with the fence in `close_ingress` between its store
        // to the flag and its write of RCTL. One of the two sees the other, and then the receiver ends closed.
        fence(Ordering::SeqCst);
        if !self.ingress_open.load(Ordering::Relaxed) {
            let _ = hardware::disable_receive(&self.regs, mode);
        }
    }
}
