//! How long each stage may take, and hence the whole.

use crate::transcript::Stage;
use core::time::Duration;

/// The longest time each stage may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budgets {
    /// For rings and queues to empty; transmit rings get the same again after the last thread has joined.
    pub drain: Duration,
    /// For all interrupt threads together to acknowledge their end; timers and queue threads get the same again.
    pub join: Duration,
    /// For every other CPU to confirm that it is parked.
    pub park: Duration,
    /// For each stage that only commands and does not wait for anybody's work.
    pub command: Duration,
    /// How long one question to one device, or to the plant, may take beyond its deadline: a bounded wait for hardware, and
    /// the lines printed about it at 115200 bit/s.
    pub call: Duration,
}

impl Default for Budgets {
    fn default() -> Self {
        Self {
            drain: Duration::from_secs(5),
            join: Duration::from_secs(10),
            // Microseconds of work each; but an emulator's processor may be away for a second while its host is busy.
            park: Duration::from_secs(3),
            command: Duration::from_secs(3),
            call: Duration::from_millis(250),
        }
    }
}

impl Budgets {
    /// Returns what a stage may take before it is over its budget.
    #[must_use]
    pub fn of(&self, stage: Stage) -> Duration {
        match stage {
            Stage::Drain => self.drain * 2,
            Stage::Join => self.join * 2 + self.drain,
            Stage::ParkCpus => self.park,
            _ => self.command,
        }
    }

    /// Returns how many rounds over all devices a stage makes at most after its time is up: each waiting loop ends with one,
    /// and what must be said to every device is said to it however late it is.
    const fn rounds(stage: Stage) -> u32 {
        match stage {
            // Two waits, and the flush between them.
            Stage::Drain => 3,
            // The threads, the egress, the last wait, and a word about each that failed.
            Stage::Join => 4,
            // Asked, forced, explained.
            Stage::StopDma => 3,
            _ => 2,
        }
    }

    /// Returns the time after which a shutdown of `devices` devices is over, whatever goes wrong, as long as each call keeps
    /// to [`call`](Self::call). What does not even return is the watchdog's business, which is told this time.
    #[must_use]
    pub fn bound(&self, devices: usize) -> Duration {
        // The plant is asked too: as if it were two more devices.
        let asked = u32::try_from(devices).unwrap_or(u32::MAX).saturating_add(2);
        Stage::ALL.into_iter().fold(Duration::ZERO, |sum, stage| {
            let late = self.call.saturating_mul(asked.saturating_mul(Self::rounds(stage)));
            sum.saturating_add(self.of(stage)).saturating_add(late)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_bound_for_two_cards_is_under_a_minute_and_a_half() {
        let bound = Budgets::default().bound(2).as_secs();
        assert_eq!(bound, 88);
    }

    #[test]
    fn a_bound_beyond_all_measure_saturates() {
        let endless = Budgets { call: Duration::MAX, ..Budgets::default() };
        assert_eq!(endless.bound(usize::MAX), Duration::MAX);
    }
}
