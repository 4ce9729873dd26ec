//! When the next frames are due at a constant rate: [`Pace`].

/// For how long frames may be gathered before they are sent together, in nanoseconds.
const GATHER_NS: f64 = 50_000.0;

/// For how long a sender that was not let run catches up; what is due beyond that is left out, and the rate that was
/// offered is less than asked for. Otherwise a busy host would make bursts that no constant rate has.
const CATCH_UP_NS: f64 = 250_000.0;

/// The frames that may always be sent together, however slow the rate.
const SMALLEST_BURST: u32 = 32;

/// The frames of a burst when nobody takes times, unless the rate is so high that more are due (a quarter of the smallest ring), and for how
/// long they are gathered at most. The sender, which has the processors from the subject, then costs as much for each frame at every rate.
const COARSE_BURST: u32 = 64;
const COARSE_GATHER_NS: f64 = 1_000_000.0;

/// A constant rate, as bursts that are small against any ring.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    /// Frames for each nanosecond.
    rate: f64,
    burst: u32,
    limit: u32,
    /// How many were due by the schedule up to now, sent or left out.
    accounted: f64,
    /// The socket has had no room since frames were last due.
    blocked: bool,
    late: u64,
}

impl Pace {
    /// Makes a pace of so many frames a second, in bursts as small as a sender can make them.
    pub(super) fn fine(per_second: f64) -> Self {
        Self::new(per_second, 1.0)
    }

    /// Makes a pace of so many frames a second, in bursts of [`COARSE_BURST`].
    pub(super) fn coarse(per_second: f64) -> Self {
        Self::new(per_second, (per_second / 1e9 * COARSE_GATHER_NS).clamp(1.0, f64::from(COARSE_BURST)))
    }

    #[expect(clippy::cast_possible_truncation, reason = "clamped before")]
    fn new(per_second: f64, least: f64) -> Self {
        let rate = per_second.max(1.0) / 1e9;
        let burst = (rate * GATHER_NS).clamp(least, 4096.0) as u32;
        let limit = ((rate * CATCH_UP_NS).min(4096.0) as u32).max(SMALLEST_BURST).max(2 * burst);
        Self { rate, burst, limit, accounted: 0.0, blocked: false, late: 0 }
    }

    /// Notes that the socket has no room: what is left out until the next frames are sent is for that reason.
    pub(super) const fn block(&mut self) {
        self.blocked = true;
    }

    /// Returns how many frames to send now, `now` nanoseconds after the beginning.
    #[expect(clippy::cast_possible_truncation, reason = "limited before")]
    pub(super) fn due(&mut self, now: u64) -> u32 {
        let behind = (now as f64 * self.rate - self.accounted).floor();
        if behind < f64::from(self.burst) {
            return 0;
        }
        let count = behind.min(f64::from(self.limit));
        let left_out = (behind - count) as u64;
        self.late += if std::mem::take(&mut self.blocked) { 0 } else { left_out };
        self.accounted += behind;
        count as u32
    }

    /// Returns for how many nanoseconds from `now` on nothing is due.
    #[expect(clippy::cast_possible_truncation, reason = "a time within the run")]
    pub(super) fn idle(&self, now: u64) -> u64 {
        let next = (self.accounted + f64::from(self.burst)) / self.rate;
        (next.ceil() as u64).saturating_sub(now)
    }

    /// Returns how many frames were left out because the sender was not let run in time.
    pub(super) const fn late(&self) -> u64 {
        self.late
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends for a second, looking whenever something is due and then as late as `late` says.
    fn sent(per_second: f64, late: impl Fn(u64) -> u64) -> (u64, u32, u64) {
        let mut pace = Pace::fine(per_second);
        let (mut now, mut sent, mut largest) = (0, 0, 0);
        while now <= 1_000_000_000 {
            let count = pace.due(now);
            sent += u64::from(count);
            largest = largest.max(count);
            now += pace.idle(now).max(1) + late(now);
        }
        (sent, largest, pace.late())
    }

    #[test]
    fn the_rate_is_kept_in_small_bursts() {
        for rate in [1000.0, 55_555.0, 400_000.0, 3_200_000.0] {
            let (sent, largest, late) = sent(rate, |_| 0);
            assert!((sent as f64 / rate - 1.0).abs() < 0.002, "{rate}: {sent}");
            assert!(f64::from(largest) <= (rate / 20_000.0).max(1.0) + 1.0, "{rate}: {largest}");
            assert_eq!(late, 0);
        }
    }

    #[test]
    fn coarse_bursts_are_the_same_at_every_rate_but_the_lowest_and_highest() {
        for (rate, burst) in [(10, 1), (1000, 1), (55_555, 55), (400_000, 64), (1_280_000, 64), (3_200_000, 160)] {
            let mut pace = Pace::coarse(f64::from(rate));
            let (mut now, mut sent) = (0, 0);
            while now <= 1_000_000_000 {
                let count = pace.due(now);
                assert!([0, burst].contains(&count), "{rate}: {count}");
                sent += count;
                now += pace.idle(now).max(1);
            }
            assert!(sent.abs_diff(rate) <= burst.max(rate / 500), "{rate}: {sent}");
            // Late by half a burst, it makes up for that.
            now += u64::from(burst) * 500_000_000 / u64::from(rate);
            assert!(pace.due(now) >= burst + burst / 4, "{rate}");
            assert_eq!(pace.late(), 0);
        }
    }

    #[test]
    fn a_little_lateness_is_made_up_for() {
        let (sent, largest, late) = sent(100_000.0, |now| if now % 2 == 0 { 100_000 } else { 0 });
        assert!((sent as f64 / 1e5 - 1.0).abs() < 0.002 && largest <= 32 && late == 0, "{sent} {largest} {late}");
    }

    #[test]
    fn after_a_long_pause_there_is_no_long_burst() {
        let mut pace = Pace::fine(400_000.0);
        assert_eq!(pace.due(50_000), 20);
        assert_eq!(pace.due(60_000), 0);
        // 20 ms without the processor: 8000 frames.
        assert_eq!(pace.due(20_050_000), 100);
        assert_eq!(pace.late(), 7900);
        assert_eq!(pace.due(20_050_001), 0);
        assert_eq!(pace.idle(20_050_000), 50_000);
    }

    #[test]
    fn what_a_full_socket_kept_from_being_sent_is_told_apart() {
        let mut pace = Pace::fine(400_000.0);
        pace.block();
        assert_eq!(pace.due(20_000_000), 100);
        assert_eq!(pace.late(), 0);
        assert_eq!(pace.due(40_000_000), 100);
        assert_eq!(pace.late(), 7900, "blocked once, not for good");
    }
}
