//! Time since boot as a value.
//!
//! Nothing in the kernel's libraries reads a clock: the time is an argument, made by the machine layer (or by a test) as an
//! [`Instant`]. Spans are `core::time::Duration`.

use core::{fmt, ops::Add, time::Duration};

/// A point in time: nanoseconds since boot. Wraps after 584 years; sums saturate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The moment of boot.
    pub const ZERO: Self = Self(0);
    /// The end of time: later than every deadline.
    pub const MAX: Self = Self(u64::MAX);

    /// Returns the instant `nanos` nanoseconds after boot.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Returns the instant `millis` milliseconds after boot.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// Returns the instant `secs` seconds after boot.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000_000_000))
    }

    /// Returns the nanoseconds since boot.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Returns the whole milliseconds since boot.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// Returns the whole seconds since boot.
    #[must_use]
    pub const fn as_secs(self) -> u64 {
        self.0 / 1_000_000_000
    }

    /// Returns how much later `self` is than `earlier`, or zero if it is not.
    #[must_use]
    pub const fn saturating_duration_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Returns the first instant later than `self` that is a multiple of `period` after boot. What is due at such instants is due at once,
    /// and wakes an idle machine once. A period of zero counts as one nanosecond.
    #[must_use]
    pub fn next_multiple_of(self, period: Duration) -> Self {
        let period = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX).max(1);
        Self((self.0 / period).saturating_add(1).saturating_mul(period))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

/// Writes seconds with six decimals, as boot messages show them.
impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.as_secs(), self.0 % 1_000_000_000 / 1000)
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;
    use std::format;

    use super::Instant;

    #[test]
    fn sums_and_differences_saturate() {
        assert_eq!(Instant::MAX + Duration::from_secs(1), Instant::MAX);
        assert_eq!(Instant::ZERO + Duration::MAX, Instant::MAX);
        let early = Instant::from_millis(5);
        let late = early + Duration::from_millis(7);
        assert_eq!(late.saturating_duration_since(early), Duration::from_millis(7));
        assert_eq!(early.saturating_duration_since(late), Duration::ZERO);
    }

    #[test]
    fn multiples_of_a_period_are_later_and_common_to_all_who_ask() {
        let second = Duration::from_secs(1);
        assert_eq!(Instant::ZERO.next_multiple_of(second), Instant::from_secs(1));
        assert_eq!(Instant::from_millis(999).next_multiple_of(second), Instant::from_secs(1));
        assert_eq!(Instant::from_secs(1).next_multiple_of(second), Instant::from_secs(2));
        assert_eq!(Instant::from_millis(950).next_multiple_of(Duration::from_millis(100)), Instant::from_secs(1));
        assert_eq!(Instant::from_nanos(5).next_multiple_of(Duration::ZERO), Instant::from_nanos(6));
        assert_eq!(Instant::MAX.next_multiple_of(second), Instant::MAX);
        assert_eq!(Instant::ZERO.next_multiple_of(Duration::MAX), Instant::MAX);
    }

    #[test]
    fn display_shows_seconds_and_microseconds() {
        assert_eq!(format!("{}", Instant::from_nanos(12_000_034_567)), "12.000034");
    }
}
