//! Counters: what the driver counts itself, and what the device counts in registers that reading clears.
//!
//! Key types: [`RxCounters`] (written by the ithread), [`TxCounters`] (written under the transmit lock),
//! [`HardwareTotals`] (sums of the statistics registers, 13.7).

use ksync::{
    atomic::{AtomicU32, Ordering},
    counter::Counter,
};

use crate::{
    regs::{ALL_ONES, Reg, RegisterIo, Stat},
    rxsum::TrialCounters,
    variant::Variant,
};

/// Written by the ithread that owns the receive ring, read by anybody.
#[derive(Debug, Default)]
pub(crate) struct RxCounters {
    pub(crate) packets: Counter,
    pub(crate) octets: Counter,
    pub(crate) multicast: Counter,
    pub(crate) broadcast: Counter,
    pub(crate) no_buffer: Counter,
    pub(crate) crc_errors: Counter,
    pub(crate) length_errors: Counter,
    pub(crate) errors: Counter,
    /// The device's verdicts about checksums beside software's.
    pub(crate) trial: TrialCounters,
    /// Received, and still in the ring at the teardown. Written by who tears down, after the ithread.
    pub(crate) unserved: Counter,
    /// The descriptor that is served next, for a view of the ring and for the tick.
    pub(crate) next: AtomicU32,
}

/// What the tick remembers of a receive ring.
#[derive(Debug)]
pub(crate) struct RxWatch {
    /// The descriptor that was to be served next when the last tick found frames waiting, or [`Self::NOTHING`].
    stood_at: AtomicU32,
}

impl RxWatch {
    const NOTHING: u32 = u32::MAX;

    /// Notes where driver and device stand in the ring. Returns whether frames have waited since the last tick and none was served.
    pub(crate) fn look(&self, next: u32, head: u32) -> bool {
        let stands = if next == head { Self::NOTHING } else { next };
        // ORDERING: relaxed, here and at the load of `next`: the tick is the only one here, and what it sees of the ring may be old.
        let stood = self.stood_at.swap(stands, Ordering::Relaxed);
        stands != Self::NOTHING && stood == stands
    }
}

impl Default for RxWatch {
    fn default() -> Self {
        Self { stood_at: AtomicU32::new(Self::NOTHING) }
    }
}

/// Written under the transmit lock, read by anybody.
#[derive(Debug, Default)]
pub(crate) struct TxCounters {
    pub(crate) packets: Counter,
    pub(crate) octets: Counter,
    pub(crate) done: Counter,
    pub(crate) ring_full: Counter,
    pub(crate) discarded: Counter,
}

/// What the device has counted since attach. Resets of the device do not lose anything but the last moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HardwareTotals {
    /// In the order of [`Stat::ALL`].
    sums: [u64; Stat::ALL.len()],
}

impl Default for HardwareTotals {
    fn default() -> Self {
        Self { sums: [0; Stat::ALL.len()] }
    }
}

impl HardwareTotals {
    /// Reads, and thereby clears, all statistics registers the part has: one round trip to the device each.
    pub(crate) fn collect<R: RegisterIo>(&mut self, regs: &R, variant: &Variant) {
        for (sum, stat) in self.sums.iter_mut().zip(Stat::ALL).filter(|(_, stat)| stat.is_on(variant)) {
            let low = regs.read32(Reg::Stat(stat));
            // The upper half of octets comes last: reading it clears both (13.7.30).
            let (high, last) = if stat.is_wide() {
                let high = regs.read32(Reg::StatHigh(stat));
                (high, high)
            } else {
                (0, low)
            };
            if last == ALL_ONES {
                // A device that left the bus, or a counter that stuck at its end: neither is a count.
                return;
            }
            *sum = sum.saturating_add(u64::from(high) << 32 | u64::from(low));
        }
    }

    /// Returns the sum of one register.
    #[must_use]
    pub fn get(&self, stat: Stat) -> u64 {
        self.sums.get(stat as usize).copied().unwrap_or(0)
    }

    /// Returns each register with its sum.
    pub fn iter(&self) -> impl Iterator<Item = (Stat, u64)> {
        Stat::ALL.into_iter().zip(self.sums)
    }

    /// Returns the sum of several registers.
    pub(crate) fn sum(&self, stats: &[Stat]) -> u64 {
        stats.iter().map(|&stat| self.get(stat)).sum()
    }
}
