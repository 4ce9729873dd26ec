//! Interrupts: the filters, the causes they leave for the threads, and unmasking.
//!
//! Key types: [`FilterCause`], [`Vector`]. Protocol of a port whose causes share one interrupt: the filter reads ICR once (which clears it), masks the whole device, and the
//! ithread is scheduled; when the thread has run out of work it has the device forget the causes of frames, looks at its ring once more
//! ([`RxRing::may_rest`](crate::RxRing::may_rest)), and unmasks. A cause that arrived after that is still in ICR and raises the interrupt at
//! once (13.4.20), so nothing is lost between the last look and the unmasking.
//!
//! A port with a message for each [`Vector`] (82574 7.4) does the same for each by itself: the message clears its cause, its filter masks
//! that cause and no other, and ICR is written and never read, since reading would clear the causes of the others.

use core::fmt;

use ksync::atomic::Ordering;

use crate::{
    adapter::{Adapter, Phase},
    config::Delivery,
    flow::Settling,
    hardware::{self, CAUSES},
    link::LinkState,
    regs::{ALL_ONES, Cause, QUEUES, Reg, RegisterIo, Status},
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

/// What one of several messages is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vector {
    /// A receive queue has frames.
    Rx(u8),
    /// A transmit queue has finished frames. Unmasked only while its ring has been found full: otherwise finished frames are found in
    /// memory, by the next transmit and by the tick.
    Tx(u8),
    /// The link, and whatever else concerns no queue.
    Other,
}

impl Vector {
    /// All vectors of a port with `queues` queues.
    pub fn all(queues: u8) -> impl Iterator<Item = Self> {
        (0..queues).map(Self::Rx).chain((0..queues).map(Self::Tx)).chain([Self::Other])
    }

    /// Returns the number of the message in the device's table.
    #[must_use]
    pub const fn message(self) -> u16 {
        match self {
            Self::Rx(queue) => (queue % QUEUES) as u16,
            Self::Tx(queue) => QUEUES as u16 + (queue % QUEUES) as u16,
            Self::Other => 2 * QUEUES as u16,
        }
    }

    const fn cause(self) -> Cause {
        match self {
            Self::Rx(queue) => hardware::rx_cause(queue),
            Self::Tx(queue) => hardware::tx_cause(queue),
            Self::Other => hardware::OTHER_CAUSES,
        }
    }
}

/// `rx0`, `tx1`, `other`.
impl fmt::Display for Vector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rx(queue) => write!(f, "rx{queue}"),
            Self::Tx(queue) => write!(f, "tx{queue}"),
            Self::Other => f.write_str("other"),
        }
    }
}

impl<R: RegisterIo> Adapter<R> {
    /// Masks the causes of a message that has arrived.
    ///
    /// # Context
    /// Interrupt, one CPU at a time for each vector. No register is read; two are written at most.
    pub fn filter_vector(&self, vector: Vector) -> FilterCause {
        self.regs.write32(Reg::Imc, vector.cause().bits());
        match vector {
            Vector::Rx(queue) => self.queues.of(usize::from(queue)).rx_interrupts.bump(),
            Vector::Tx(queue) => self.queues.of(usize::from(queue)).tx_interrupts.bump(),
            Vector::Other => {
                // Written, these are cleared; read, all would be.
                self.regs.write32(Reg::Icr, hardware::OTHER_CAUSES.bits());
                self.other_interrupts.bump();
                // ORDERING: release pairs with the acquire in `service_link`.
                self.causes.fetch_or(Cause::LSC.bits(), Ordering::Release);
            }
        }
        if self.masked_for_good.load(Ordering::Acquire) { FilterCause::Handled } else { FilterCause::Schedule }
    }

    /// Lets a vector's message come again, and at once if its cause is pending. A transmit vector stays masked.
    ///
    /// As for [`unmask`](Self::unmask), the shutdown masks once more after the join.
    ///
    /// # Context
    /// The vector's ithread, when it has run out of work.
    pub fn unmask_vector(&self, vector: Vector) {
        if !matches!(vector, Vector::Tx(_)) {
            self.unmask_causes(vector.cause());
        }
    }

    /// Clears the causes that say that frames have come to a receive queue. Returns once the device has done so.
    pub(crate) fn forget_received(&self, queue: u8) {
        let causes = match self.delivery {
            Delivery::Single => hardware::RX_CAUSES,
            Delivery::PerQueue => hardware::rx_cause(queue),
        };
        // Written, these are cleared (13.4.17); read, that of the link would be too.
        self.regs.write32(Reg::Icr, causes.bits());
        // An answer comes behind what the device wrote to memory before it cleared them.
        self.regs.read32(Reg::Status);
    }

    /// Has the device say when it has finished frames of a transmit queue, if it has a message for that.
    pub(crate) fn ask_for_completion(&self, queue: u8) {
        if self.delivery == Delivery::PerQueue {
            self.unmask_causes(hardware::tx_cause(queue));
        }
    }

    /// Takes back what the device has finished of a transmit queue: what the thread of [`Vector::Tx`] does.
    ///
    /// # Context
    /// Thread. Takes the transmit lock for a moment at a time; returns buffers to the pool.
    pub fn service_sent(&self, queue: u8) {
        while self.queues.of(usize::from(queue)).reclaim_some() {}
    }

    /// Raises the interrupt of a vector, as the device would.
    pub(crate) fn raise_vector(&self, vector: Vector) {
        self.regs.write32(Reg::Ics, vector.cause().bits());
    }

    /// Has the device raise an interrupt out of nothing: that of a vector, or the one that a port without vectors has. For a
    /// self-test: what comes is what the device sends and the machine delivers.
    ///
    /// # Context
    /// Thread, of a running port.
    pub fn raise(&self, vector: Option<Vector>) {
        match vector {
            None => self.regs.write32(Reg::Ics, Cause::LSC.bits()),
            Some(vector) => {
                // A transmit vector is masked unless somebody waits for it.
                self.unmask_causes(vector.cause());
                self.raise_vector(vector);
            }
        }
    }

    fn unmask_causes(&self, causes: Cause) {
        if self.phase() == Phase::Running && !self.masked_for_good.load(Ordering::Acquire) {
            self.regs.write32(Reg::Ims, causes.bits());
        }
    }

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
        self.queues.of(0).rx_interrupts.bump();
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
        self.settle_flow(Settling::LinkChanged);
        Some(state)
    }

    /// Unmasks the device: it may interrupt again, and does so at once if a cause is pending. If it has several messages, those of all
    /// vectors but transmission's.
    ///
    /// Does nothing when the port is not running, or the shutdown has masked it. A thread may be between that check and
    /// the write while the shutdown masks: that is why the shutdown masks once more after the join (race class R20).
    ///
    /// # Context
    /// The ithread, when it has run out of work.
    pub fn unmask(&self) {
        match self.delivery {
            Delivery::Single => self.unmask_causes(CAUSES),
            Delivery::PerQueue => Vector::all(self.queue_count()).for_each(|vector| self.unmask_vector(vector)),
        }
    }
}
