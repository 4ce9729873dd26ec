//! When is a line storming? A pure state machine; time is an argument.
//!
//! A storm is a run of back-to-back passes (each less than a tick after the one before) in which no handler found anything to do.
//! A busy NIC serves packets in its passes and never looks like one; a line that screams because nobody quiets its
//! device does, after [`DEFAULT_STORM_THRESHOLD`] passes. While it lasts, the thread sleeps one tick per pass with the line masked.
//! It is over when a pass serves something or the unmasked line stays quiet for [`CALM`].

use core::time::Duration;

use ksync::time::Instant;

/// The passes without progress that make a storm, unless configured otherwise; zero turns the detection off.
pub const DEFAULT_STORM_THRESHOLD: u32 = 1000;

/// The unit of throttling and of "back to back".
pub const TICK: Duration = Duration::from_millis(1);

/// How long a throttled line must be quiet to be trusted again.
pub(crate) const CALM: Duration = Duration::from_millis(10);

/// One message per this span about one line.
const MESSAGE_EVERY: Duration = Duration::from_secs(1);

/// What the thread has to do after a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Go on.
    Calm,
    /// Sleep a tick with the line masked; announce the storm first if `announce`.
    Throttle { announce: bool },
    /// The storm is over; say so if `announce`.
    Over { announce: bool },
}

/// The storm state of one event; owned by its thread.
#[derive(Debug)]
pub(crate) struct StormWatch {
    /// Passes without progress in the current back-to-back run.
    idle_run: u32,
    last_pass: Option<Instant>,
    storming: bool,
    announced: Option<Instant>,
    /// The running storm has been announced, so its end must be too.
    end_due: bool,
}

impl StormWatch {
    pub(crate) const fn new() -> Self {
        Self { idle_run: 0, last_pass: None, storming: false, announced: None, end_due: false }
    }

    pub(crate) fn is_storming(&self) -> bool {
        self.storming
    }

    /// Judges a pass that ended at `now`. `forced` says that interrupt context itself has already counted too many.
    pub(crate) fn after_pass(&mut self, now: Instant, progress: bool, forced: bool, threshold: u32) -> Step {
        // Sleeping is our own doing, so a throttled pass counts as back to back however long it took.
        let back_to_back =
            self.storming || self.last_pass.is_some_and(|last| now.saturating_duration_since(last) < TICK);
        self.last_pass = Some(now);
        if progress || threshold == 0 {
            self.idle_run = 0;
            return self.end();
        }
        self.idle_run = if back_to_back { self.idle_run.saturating_add(1) } else { 1 };
        if !self.storming && !forced && self.idle_run <= threshold {
            return Step::Calm;
        }
        let begins = !self.storming;
        self.storming = true;
        let announce = begins && self.announced.is_none_or(|at| now.saturating_duration_since(at) >= MESSAGE_EVERY);
        if announce {
            self.announced = Some(now);
            self.end_due = true;
        }
        Step::Throttle { announce }
    }

    /// The line was unmasked for [`CALM`] and nobody asked for a pass.
    pub(crate) fn after_quiet(&mut self) -> Step {
        self.idle_run = 0;
        self.end()
    }

    fn end(&mut self) -> Step {
        if !self.storming {
            return Step::Calm;
        }
        self.storming = false;
        Step::Over { announce: core::mem::take(&mut self.end_due) }
    }
}

#[cfg(test)]
mod tests {
    use super::{DEFAULT_STORM_THRESHOLD, Duration, Instant, Step, StormWatch, TICK};

    const T: u32 = DEFAULT_STORM_THRESHOLD;

    fn at(micros: u64) -> Instant {
        Instant::from_nanos(micros * 1000)
    }

    fn storm(watch: &mut StormWatch, from: u64) -> u64 {
        for i in 0..u64::from(T) {
            assert_eq!(watch.after_pass(at(from + i), false, false, T), Step::Calm);
        }
        from + u64::from(T)
    }

    #[test]
    fn a_screaming_line_is_a_storm_after_the_threshold_and_not_before() {
        let mut watch = StormWatch::new();
        let now = storm(&mut watch, 0);
        assert_eq!(watch.after_pass(at(now), false, false, T), Step::Throttle { announce: true });
        assert_eq!(watch.after_pass(at(now + 1), false, false, T), Step::Throttle { announce: false });
    }

    #[test]
    fn a_busy_line_that_serves_something_now_and_then_is_not_a_storm() {
        let mut watch = StormWatch::new();
        for i in 0..u64::from(T) * 10 {
            let step = watch.after_pass(at(i), i % 500 == 0, false, T);
            assert_eq!(step, Step::Calm);
        }
    }

    #[test]
    fn idle_passes_a_tick_apart_are_not_a_storm() {
        let mut watch = StormWatch::new();
        let mut now = Instant::ZERO;
        for _ in 0..T * 10 {
            now = now + TICK;
            assert_eq!(watch.after_pass(now, false, false, T), Step::Calm);
        }
    }

    #[test]
    fn progress_or_quiet_ends_a_storm_and_says_so_once() {
        let mut watch = StormWatch::new();
        let now = storm(&mut watch, 0);
        watch.after_pass(at(now), false, false, T);
        assert_eq!(watch.after_pass(at(now + 1), true, false, T), Step::Over { announce: true });
        assert_eq!(watch.after_quiet(), Step::Calm);
    }

    #[test]
    fn a_second_storm_within_a_second_is_throttled_silently() {
        let mut watch = StormWatch::new();
        let now = storm(&mut watch, 0);
        watch.after_pass(at(now), false, false, T);
        watch.after_quiet();
        let now = storm(&mut watch, now + 1);
        assert_eq!(watch.after_pass(at(now), false, false, T), Step::Throttle { announce: false });
        assert_eq!(watch.after_quiet(), Step::Over { announce: false });
        let later = u64::try_from(Duration::from_secs(2).as_micros()).expect("fits");
        let now = storm(&mut watch, later);
        assert_eq!(watch.after_pass(at(now), false, false, T), Step::Throttle { announce: true });
    }

    #[test]
    fn a_threshold_of_zero_turns_the_detection_off() {
        let mut watch = StormWatch::new();
        for i in 0..5000 {
            assert_eq!(watch.after_pass(at(i), false, true, 0), Step::Calm);
        }
    }
}
