//! Counting fates: one [`FateCounters`] per worker, summed into a [`FateSnapshot`].
//!
//! A worker counts into its own array with plain loads and stores, so counting costs no shared
//! cache line and no locked instruction; whoever wants totals adds the workers up. Source of the
//! law: architecture, "every received frame ends in exactly one named counter".

use ksync::counter::Counter;

use crate::{DropReason, Fate};

/// The fates of the frames that one worker has finished with.
///
/// # Context
/// [`record`](Self::record) from the one owning worker only (single writer: two writers would lose
/// counts, though nothing worse); [`snapshot`](Self::snapshot) from any thread. Neither blocks.
#[derive(Debug)]
pub struct FateCounters {
    forwarded: Counter,
    delivered: Counter,
    dropped: [Counter; DropReason::COUNT],
}

impl FateCounters {
    /// Creates counters that are all zero.
    #[must_use]
    pub fn new() -> Self {
        Self { forwarded: Counter::new(), delivered: Counter::new(), dropped: core::array::from_fn(|_| Counter::new()) }
    }

    /// Counts one frame.
    #[inline]
    pub fn record(&self, fate: Fate) {
        self.record_many(fate, 1);
    }

    /// Counts `frames` frames that ended the same way.
    #[inline]
    pub fn record_many(&self, fate: Fate, frames: u64) {
        match fate {
            Fate::Forwarded => self.forwarded.add(frames),
            Fate::Delivered => self.delivered.add(frames),
            Fate::Dropped(reason) => {
                if let Some(counter) = self.dropped.get(reason.index()) {
                    counter.add(frames);
                }
            }
        }
    }

    /// Counts one dropped frame.
    #[inline]
    pub fn drop_one(&self, reason: DropReason) {
        self.record(Fate::Dropped(reason));
    }

    /// Returns a copy. Exact when the worker is at rest, else each number at most a pass behind.
    #[must_use]
    pub fn snapshot(&self) -> FateSnapshot {
        FateSnapshot {
            forwarded: self.forwarded.get(),
            delivered: self.delivered.get(),
            dropped: core::array::from_fn(|i| self.dropped.get(i).map_or(0, Counter::get)),
        }
    }
}

impl Default for FateCounters {
    fn default() -> Self {
        Self::new()
    }
}

/// A copy of fate counters, or a sum of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FateSnapshot {
    /// Frames accepted by an outgoing interface.
    pub forwarded: u64,
    /// Frames consumed by this router itself.
    pub delivered: u64,
    dropped: [u64; DropReason::COUNT],
}

impl FateSnapshot {
    /// The sum of nothing.
    pub const ZERO: Self = Self { forwarded: 0, delivered: 0, dropped: [0; DropReason::COUNT] };

    /// Returns how many frames were dropped for `reason`.
    #[must_use]
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped.get(reason.index()).copied().unwrap_or(0)
    }

    /// Returns how many frames were dropped for any reason.
    #[must_use]
    pub fn dropped_total(&self) -> u64 {
        self.dropped.iter().sum()
    }

    /// Returns how many frames met any fate.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.forwarded + self.delivered + self.dropped_total()
    }

    /// Returns the reasons that occurred with their counts, in the order of [`DropReason::ALL`].
    pub fn drops(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        let counts = self.dropped.iter().copied();
        let pairs = DropReason::ALL.into_iter().zip(counts);
        pairs.filter(|&(_, count)| count != 0)
    }
}

impl Default for FateSnapshot {
    fn default() -> Self {
        Self::ZERO
    }
}

impl core::ops::AddAssign<&Self> for FateSnapshot {
    fn add_assign(&mut self, other: &Self) {
        self.forwarded += other.forwarded;
        self.delivered += other.delivered;
        for (mine, theirs) in self.dropped.iter_mut().zip(other.dropped) {
            *mine += theirs;
        }
    }
}

impl core::iter::Sum for FateSnapshot {
    fn sum<I: Iterator<Item = Self>>(snapshots: I) -> Self {
        snapshots.fold(Self::ZERO, |mut sum, one| {
            sum += &one;
            sum
        })
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    fn every_fate() -> impl Iterator<Item = Fate> {
        let drops = DropReason::ALL.into_iter().map(Fate::Dropped);
        [Fate::Forwarded, Fate::Delivered].into_iter().chain(drops)
    }

    #[test]
    fn each_fate_counts_in_exactly_one_place() {
        for fate in every_fate() {
            let counters = FateCounters::new();
            counters.record(fate);
            let seen = counters.snapshot();
            assert_eq!(seen.total(), 1, "{fate:?}");
            match fate {
                Fate::Forwarded => assert_eq!(seen.forwarded, 1),
                Fate::Delivered => assert_eq!(seen.delivered, 1),
                Fate::Dropped(reason) => assert_eq!(seen.dropped(reason), 1),
            }
        }
    }

    #[test]
    fn the_sum_over_workers_is_the_sum_of_what_they_counted() {
        let workers = [FateCounters::new(), FateCounters::new(), FateCounters::new()];
        for (n, worker) in (1_u64..).zip(&workers) {
            every_fate().for_each(|fate| worker.record_many(fate, n));
        }
        let sum: FateSnapshot = workers.iter().map(FateCounters::snapshot).sum();
        let fates = every_fate().count() as u64;
        assert_eq!(sum.total(), 6 * fates);
        assert_eq!(sum.dropped(DropReason::NoRoute), 6);
    }

    #[test]
    fn only_reasons_that_occurred_are_listed() {
        let counters = FateCounters::new();
        counters.drop_one(DropReason::TtlExpired);
        counters.drop_one(DropReason::Ip4BadChecksum);
        counters.drop_one(DropReason::TtlExpired);
        let listed: Vec<_> = counters.snapshot().drops().collect();
        assert_eq!(listed, [(DropReason::Ip4BadChecksum, 1), (DropReason::TtlExpired, 2)]);
    }
}
