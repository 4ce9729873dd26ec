//! Whether to poll on or to sleep: a guess from how far apart work has come lately.
//!
//! Key type: [`Linger`]. An interrupt costs a round trip through the device and the scheduler, and devices hold interrupts back
//! (some 128 us or more), while looking again costs nothing that anybody else wants. So a thread that has just been busy looks on
//! for about as long as the next work should take, and sleeps when work is rare. Pure; time is an argument. Owned by one thread.

use core::time::Duration;

use ksync::time::Instant;

/// Work that is further apart is waited for by interrupt: a thread lingers at rates above four thousand a second or so.
const RARE: Duration = Duration::from_micros(250);
/// A longer pause says no more than this.
const LONGEST: Duration = Duration::from_micros(1000);
/// Work that is no further apart comes in a stream, and a handler that waits for some microseconds finds more of it.
const CLOSE: Duration = Duration::from_micros(20);
/// The weight of the past in the average: seven parts of eight.
const SHIFT: u32 = 3;
/// How many times the usual distance a thread waits.
const PATIENCE: u32 = 2;
/// It waits at least so long, once it waits at all.
const LEAST: Duration = Duration::from_micros(50);

/// How far apart the work of one handler comes.
#[derive(Clone, Copy, Debug)]
pub struct Linger {
    last: Instant,
    /// The running average of the distance between the end of one piece of work and the next.
    distance: Duration,
}

impl Linger {
    /// Returns a guess that knows of no work yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { last: Instant::ZERO, distance: LONGEST }
    }

    /// Notes that work was found at `begin`, and done at `end`.
    #[inline]
    pub fn worked(&mut self, begin: Instant, end: Instant) {
        let distance = begin.saturating_duration_since(self.last).min(LONGEST);
        self.distance = self.distance - (self.distance / (1 << SHIFT)) + distance / (1 << SHIFT);
        self.last = end;
    }

    /// Returns whether work comes in a stream, so that some microseconds later there is more of it.
    #[inline]
    #[must_use]
    pub fn is_pressed(&self) -> bool {
        self.distance <= CLOSE
    }

    /// Returns whether, at `now`, with nothing to do, it is worth looking again soon.
    #[inline]
    #[must_use]
    pub fn expects_more(&self, now: Instant) -> bool {
        let patience = (self.distance * PATIENCE).max(LEAST);
        self.distance <= RARE && now.saturating_duration_since(self.last) <= patience
    }
}

impl Default for Linger {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> Instant {
        Instant::from_nanos(micros * 1000)
    }

    /// Work every `micros`, `times`.
    fn steady(linger: &mut Linger, from: u64, micros: u64, times: u64) -> u64 {
        for n in 1..=times {
            linger.worked(at(from + n * micros), at(from + n * micros));
        }
        from + times * micros
    }

    #[test]
    fn one_that_was_never_busy_sleeps() {
        assert!(!Linger::new().expects_more(at(5)));
        let mut linger = Linger::new();
        linger.worked(at(1_000_000), at(1_000_000));
        assert!(
            !linger.expects_more(at(1_000_001)),
            "the first work after a long pause is answered by an interrupt's thread"
        );
    }

    #[test]
    fn one_that_becomes_busy_lingers_after_a_few_and_not_for_ever() {
        let mut linger = Linger::new();
        let now = steady(&mut linger, 1_000_000, 60, 20);
        assert!(linger.expects_more(at(now + 100)));
        assert!(!linger.expects_more(at(now + 1000)));
    }

    #[test]
    fn only_a_stream_is_worth_waiting_for_before_the_next_look() {
        let mut linger = Linger::new();
        assert!(!linger.is_pressed());
        let now = steady(&mut linger, 1_000_000, 5, 50);
        assert!(linger.is_pressed());
        steady(&mut linger, now, 50, 50);
        assert!(
            !linger.is_pressed() && linger.expects_more(at(now + 50 * 50)),
            "one packet in flight is waited for, and not late"
        );
    }

    #[test]
    fn a_pace_that_interrupts_alone_would_set_is_left_for_polling() {
        // A device that holds interrupts back answers one packet in flight every 200 us or so; polling then finds it at 60.
        let mut linger = Linger::new();
        let now = steady(&mut linger, 1_000_000, 200, 30);
        assert!(linger.expects_more(at(now + 150)));
    }

    #[test]
    fn work_that_takes_long_is_not_a_pause() {
        let mut linger = Linger::new();
        for n in 1..=30 {
            linger.worked(at(1_000_000 + n * 1050), at(1_000_000 + n * 1050 + 1000));
        }
        assert!(linger.expects_more(at(1_032_500 + 60)), "50 us after a millisecond of work, again and again");
    }

    #[test]
    fn rare_work_is_left_to_interrupts() {
        let mut linger = Linger::new();
        let now = steady(&mut linger, 1_000_000, 50, 50);
        assert!(linger.expects_more(at(now)));
        let now = steady(&mut linger, now, 900, 8);
        assert!(!linger.expects_more(at(now)));
    }

    #[test]
    fn a_clock_that_stands_still_or_steps_back_harms_nothing() {
        let mut linger = Linger::new();
        linger.worked(at(500), at(500));
        linger.worked(at(400), at(400));
        linger.worked(at(400), at(400));
        assert!(!linger.expects_more(at(0)) || linger.distance <= RARE);
    }
}
