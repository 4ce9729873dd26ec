//! The device's own count of frames beside the driver's: does what went in and out of memory agree?
//!
//! Key type: [`Ledger`]. Exact after [`stop_dma`](Adapter::stop_dma), which collects the registers for the last time; while
//! the port runs, the registers are up to a tick behind. Any thread.

use core::fmt;

use crate::{
    adapter::Adapter,
    regs::{RegisterIo, Stat},
    stats::RxCounters,
};

/// What became of every frame the device has put into memory, and where every frame it has sent came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Frames the device says it has put into memory \[TPR\].
    pub device_received: u64,
    /// Frames handed up.
    pub handed_up: u64,
    /// Frames the driver refused: no buffer, bad checksum, bad length, other errors.
    pub refused: u64,
    /// Frames in the ring that nobody fetched before the teardown.
    pub unserved: u64,
    /// Frames the device never had room for \[MPC\]; not among those received.
    pub missed: u64,
    /// Frames the device says it has sent \[TPT\].
    pub device_sent: u64,
    /// Frames the driver accepted for sending.
    pub accepted: u64,
    /// Of these, frames that were taken back unsent: never sendable, or in the ring at a reset.
    pub unsent: u64,
}

impl Ledger {
    /// Returns how many frames the device received that the driver cannot name; 0, or something is wrong.
    #[must_use]
    pub const fn received_difference(&self) -> i64 {
        let known = self.handed_up.wrapping_add(self.refused).wrapping_add(self.unserved);
        self.device_received.wrapping_sub(known).cast_signed()
    }

    /// Returns how many frames the device sent that the driver cannot name. After a reset in the middle of a transmission this
    /// may be off by those the device had sent and not reported.
    #[must_use]
    pub const fn sent_difference(&self) -> i64 {
        self.device_sent.wrapping_sub(self.accepted.wrapping_sub(self.unsent)).cast_signed()
    }
}

impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { device_received, handed_up, refused, unserved, missed, device_sent, accepted, unsent } = self;
        write!(
            f,
            "device received {device_received} = handed up {handed_up} + refused {refused} + left in ring {unserved}, \
             missed {missed}; device sent {device_sent} = accepted {accepted} - unsent {unsent}; difference {} and {}",
            self.received_difference(),
            self.sent_difference()
        )
    }
}

impl<R: RegisterIo> Adapter<R> {
    /// Returns the ledger as of the last collection of the registers.
    ///
    /// # Context
    /// Thread.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        let hardware = self.hardware_totals();
        let mut ledger = Ledger {
            device_received: hardware.get(Stat::Tpr),
            missed: hardware.get(Stat::Mpc),
            device_sent: hardware.get(Stat::Tpt),
            ..Ledger::default()
        };
        for queue in self.queues.iter() {
            let RxCounters { packets, no_buffer, crc_errors, length_errors, errors, unserved, .. } = &*queue.rx;
            let refused = [no_buffer, crc_errors, length_errors, errors];
            ledger.handed_up += packets.get();
            ledger.refused += refused.into_iter().map(ksync::counter::Counter::get).sum::<u64>();
            ledger.unserved += unserved.get();
            ledger.accepted += queue.sent.packets.get();
            ledger.unsent += queue.sent.discarded.get();
        }
        ledger
    }

    /// Collects the statistics registers now and returns how many frames the device has ever sent; `None` if the device is
    /// gone or somebody else is collecting and does not finish.
    ///
    /// # Context
    /// Thread. A dozen register reads.
    pub fn frames_on_wire(&self) -> Option<u64> {
        self.collect_statistics();
        let sent = self.hardware.lock_bounded(crate::stop::LOCK_SPINS)?.get(Stat::Tpt);
        (self.phase() != crate::Phase::Gone).then_some(sent)
    }

    pub(crate) fn collect_statistics(&self) {
        if let Some(mut totals) = self.hardware.lock_bounded(crate::stop::LOCK_SPINS) {
            totals.collect(&self.regs, self.variant);
        }
    }
}
