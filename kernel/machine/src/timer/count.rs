//! Duration → timer count. Pure; any context.

use core::time::Duration;

/// Counts at `hz` that last at least `ahead`, within what the 32-bit register takes: at least 1, because 0 stops the timer.
#[must_use]
pub(super) fn ticks(ahead: Duration, hz: u64) -> u32 {
    let exact = ahead.as_nanos().saturating_mul(u128::from(hz)).div_ceil(1_000_000_000);
    u32::try_from(exact).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::ticks;
    use core::time::Duration;

    #[test]
    fn a_count_never_ends_before_the_deadline() {
        for hz in [999_983u64, 62_500_000, 1_000_000_000] {
            for nanos in [1u64, 999, 1_000_000, 10_000_001] {
                let count = u128::from(ticks(Duration::from_nanos(nanos), hz));
                assert!(count * 1_000_000_000 >= u128::from(nanos) * u128::from(hz));
            }
        }
    }

    #[test]
    fn the_past_fires_at_once_and_the_far_future_saturates() {
        assert_eq!(ticks(Duration::ZERO, 62_500_000), 1);
        assert_eq!(ticks(Duration::MAX, 62_500_000), u32::MAX);
    }
}
