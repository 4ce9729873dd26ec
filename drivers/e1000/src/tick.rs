//! What happens without traffic: the tick, the transmit watchdog, and recovery by reset.
//!
//! Key types: [`TickReport`], [`TxHang`]. The tick runs in a timer thread and only *notices* a hang; the reset is done by
//! the ithread, in [`RxRing::service`](crate::RxRing::service), because a reset concerns the ring that thread owns.

use core::fmt;

use ksync::{
    atomic::{Ordering, fence},
    time::Instant,
};
use pktbuf::PoolCache;

use crate::{
    adapter::{Adapter, Phase},
    error::Error,
    filter, hardware,
    link::LinkState,
    regs::{ALL_ONES, Rctl, Reg, RegisterIo, Status},
    rx::RxRing,
    tx::Finished,
};

/// The transmitter has made no progress for the configured time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxHang {
    /// Descriptors that are free.
    pub available: usize,
    /// The descriptor that would be used next.
    pub next: usize,
}

/// Writes the message operators know.
impl fmt::Display for TxHang {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watchdog timeout (TX: 0 desc avail: {} pidx: {}) -- resetting", self.available, self.next)
    }
}

/// What a tick found. The caller logs it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TickReport {
    /// The link changed to this.
    pub link: Option<LinkState>,
    /// The transmitter hangs: the caller wakes the ithread, whose next service resets the device.
    pub hang: Option<TxHang>,
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
        while self.reclaim_some() {}
        report.hang = self.find_hang(now, Status::from_bits_retain(status));
        self.hardware.lock().collect(&self.regs);
        report
    }

    /// Takes back a burst of finished buffers. Returns whether there may be more.
    pub(crate) fn reclaim_some(&self) -> bool {
        let mut finished = Finished::new();
        if let Some(ring) = self.tx.lock().as_mut().filter(|ring| !ring.paused) {
            ring.reclaim(crate::tx::RECLAIM_BURST, &self.sent, |packet| finished.push(packet));
        }
        // Dropped here, after unlocking: each buffer goes home to the pool.
        finished.len() >= crate::tx::RECLAIM_BURST
    }

    fn find_hang(&self, now: Instant, status: Status) -> Option<TxHang> {
        let done = self.sent.done.get();
        let mut ring = self.tx.lock();
        let ring = ring.as_mut()?;
        // Without carrier, or while the other end pauses us, no progress is no fault.
        let excused = !self.link().is_up() || status.contains(Status::TXOFF) || ring.paused;
        if excused {
            ring.excuse();
            return None;
        }
        if !ring.hung(now, self.watchdog, done) || self.recover.swap(true, Ordering::Release) {
            return None;
        }
        Some(TxHang { available: ring.free(), next: ring.next() })
    }

    #[inline]
    pub(crate) fn recovery_wanted(&self) -> bool {
        self.recover.load(Ordering::Relaxed)
    }

    /// Stops transmitters, resets the device and takes back what was to be sent. On failure the port is `Failed` (or
    /// `Gone`) and the buffers stay with the ring.
    pub(crate) fn reset_for_recovery(&self, cache: &mut PoolCache) -> Result<(), Error> {
        self.watchdog_resets.bump();
        self.pause_transmit(true);
        self.hardware.lock().collect(&self.regs);
        let result = hardware::reset(&self.regs, self.delay);
        self.recover.store(false, Ordering::Relaxed);
        match result {
            Err(Error::Gone) => {
                self.mark_gone();
                return result;
            }
            Err(_) => {
                self.set_phase(Phase::Failed);
                return result;
            }
            Ok(()) => {}
        }
        loop {
            let mut finished = Finished::new();
            let complete = {
                let mut ring = self.tx.lock();
                ring.as_mut().is_none_or(|ring| ring.discard(&mut finished, &self.sent))
            };
            finished.into_iter().for_each(|packet| cache.recycle(packet));
            if complete {
                return Ok(());
            }
        }
    }

    fn pause_transmit(&self, paused: bool) {
        if let Some(ring) = self.tx.lock().as_mut() {
            ring.paused = paused;
        }
    }

    /// Programs the device again after [`reset_for_recovery`](Self::reset_for_recovery) and lets it run, unless the port
    /// was stopped meanwhile.
    pub(crate) fn restart_after_recovery(&self, rx: &mut RxRing) {
        if hardware::set_link_up(&self.regs).is_err() {
            self.mark_gone();
            return;
        }
        self.write_filters();
        hardware::program_receive(&self.regs, rx.place(), &self.moderation);
        rx.restart(&self.regs);
        self.enable();
        self.update_link();
    }

    /// Writes addresses and multicast table.
    pub(crate) fn write_filters(&self) {
        filter::write_addresses(&self.regs, self.mac);
        filter::write_table(&self.regs, &self.receive_filter.lock());
    }

    /// Enables both halves if the port is running. Under the transmit lock, through which [`stop_dma`](Self::stop_dma)
    /// passes after it has changed the phase: so this cannot enable what has been stopped.
    pub(crate) fn enable(&self) {
        let mut ring = self.tx.lock();
        let Some(ring) = ring.as_mut().filter(|_| self.phase() == Phase::Running) else { return };
        hardware::program_transmit(&self.regs, ring.place());
        hardware::enable_transmit(&self.regs);
        ring.paused = false;
        self.open_receive();
    }

    /// Writes RCTL as filter and ingress demand.
    pub(crate) fn open_receive(&self) {
        let mode = Rctl::from_bits_retain(self.mode.load(Ordering::Relaxed));
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
