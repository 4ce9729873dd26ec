//! Statistics counters: relaxed, never a reason to wait.
//!
//! [`Counter`] has one writer and costs a plain add on the data path; [`SharedCounter`] may be bumped by several CPUs. Both are read by
//! anybody at any time; a reader sees a value that was true a moment ago. Deliberately outside loom: a statistic
//! orders nothing, and modelling it would only multiply the interleavings.

use core::sync::atomic::{AtomicU64, Ordering};

/// A counter written by one thread and read by all.
///
/// # Context
/// Any; the single writer is a promise of the owner (two writers lose counts, nothing worse).
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Returns a counter at zero.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Adds one.
    #[inline]
    pub fn bump(&self) {
        self.add(1);
    }

    /// Adds `n` with a plain load and store: no locked bus cycle.
    #[inline]
    pub fn add(&self, n: u64) {
        let sum = self.0.load(Ordering::Relaxed).wrapping_add(n);
        self.0.store(sum, Ordering::Relaxed);
    }

    /// Returns the current value.
    #[inline]
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Overwrites the value, for gauges and high-water marks (writer only).
    #[inline]
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
}

/// A counter that several CPUs may bump at once.
///
/// # Context
/// Any.
#[derive(Debug, Default)]
pub struct SharedCounter(AtomicU64);

impl SharedCounter {
    /// Returns a counter at zero.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Adds one and returns the value before.
    #[inline]
    pub fn bump(&self) -> u64 {
        self.add(1)
    }

    /// Adds `n` and returns the value before.
    #[inline]
    pub fn add(&self, n: u64) -> u64 {
        self.0.fetch_add(n, Ordering::Relaxed)
    }

    /// Returns the current value.
    #[inline]
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::{Counter, SharedCounter};

    #[test]
    fn counters_count_and_wrap_instead_of_panicking() {
        let single = Counter::new();
        single.bump();
        single.add(u64::MAX);
        assert_eq!(single.get(), 0);
        let shared = SharedCounter::new();
        assert_eq!(shared.bump(), 0);
        assert_eq!(shared.add(2), 1);
        assert_eq!(shared.get(), 3);
    }
}
