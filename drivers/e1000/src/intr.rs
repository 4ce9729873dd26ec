//! Interrupts: the filter, the causes it leaves for the thread, and unmasking.
//!
//! Key type: [`FilterCause`]. Protocol: the filter reads ICR once (which clears it), masks the whole device, and the
//! ithread is scheduled; when the thread has run out of work it unmasks. A cause that arrived meanwhile is still in ICR
//! and raises the interrupt at once (13.4.20), so nothing is lost between the last look and the unmasking.

use ksync::atomic::Ordering;

use crate::{
    adapter::{Adapter, Phase},
    hardware::{self, CAUSES},
    link::LinkState,
    regs::{ALL_ONES, Cause, Reg, RegisterIo, Status},
};

/// What the filter found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterCause {
    /// Not this device's interrupt, or the device is gone.
    Stray,
    /// This device's, and nothing is left to do.
    Handled,
    /// This device's: it is masked now; its ithread has to run.
    Schedule,
}

impl<R: RegisterIo> Adapter<R> {
    /// Asks the device whether it interrupts, and masks it if so.
    ///
    /// # Context
    /// Interrupt, one CPU at a time. One register read, at most one write.
    pub fn filter(&self) -> FilterCause {
        let icr = self.regs.read32(Reg::Icr);
        if icr == ALL_ONES {
            self.mark_gone();
            self.strays.bump();
            return FilterCause::Stray;
        }
        let causes = Cause::from_bits_retain(icr).intersection(CAUSES);
        if causes.is_empty() {
            self.strays.bump();
            return FilterCause::Stray;
        }
        self.interrupts.bump();
        hardware::mask_all(&self.regs);
        if self.masked_for_good.load(Ordering::Acquire) {
            return FilterCause::Handled;
        }
        // ORDERING: release pairs with the acquire in `take_causes`. Once per interrupt, not per packet.
        self.causes.fetch_or(causes.bits(), Ordering::Release);
        FilterCause::Schedule
    }

    /// Looks at the link if an interrupt said that it changed. Returns the new state if it did.
    ///
    /// # Context
    /// Thread; the ithread calls it once per pass. Reads a register only after a link interrupt.
    pub fn service_link(&self) -> Option<LinkState> {
        // A load first: the exchange is a locked instruction, and nearly always there is nothing.
        if self.causes.load(Ordering::Relaxed) == 0 {
            return None;
        }
        // ORDERING: acquire pairs with the release in `filter`.
        let causes = Cause::from_bits_retain(self.causes.swap(0, Ordering::Acquire));
        if causes.intersects(Cause::LSC | Cause::RXSEQ) { self.update_link() } else { None }
    }

    /// Reads the link's state from the device. Returns it if it changed.
    pub(crate) fn update_link(&self) -> Option<LinkState> {
        let status = self.regs.read32(Reg::Status);
        if status == ALL_ONES {
            self.mark_gone();
            return None;
        }
        let state = LinkState::from_status(Status::from_bits_retain(status));
        let before = self.link.swap(state.to_word(), Ordering::Relaxed);
        if before == state.to_word() {
            return None;
        }
        self.link_changes.bump();
        Some(state)
    }

    /// Unmasks the device: it may interrupt again, and does so at once if a cause is pending.
    ///
    /// Does nothing when the port is not running, or the shutdown has masked it. A thread may be between that check and
    /// the write while the shutdown masks: that is why the shutdown masks once more after the join (race class R20).
    ///
    /// # Context
    /// The ithread, when it has run out of work.
    pub fn unmask(&self) {
        if self.phase() == Phase::Running && !self.masked_for_good.load(Ordering::Acquire) {
            self.regs.write32(Reg::Ims, CAUSES.bits());
        }
    }
}
