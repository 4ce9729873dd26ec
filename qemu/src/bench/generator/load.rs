//! What the generator is asked to do, and what came of it: [`Load`] and [`Outcome`].

use std::{net::Ipv4Addr, time::Duration};

use anyhow::{Context, Result};
use hdrhistogram::Histogram;

/// The longest time that is told from longer ones, in nanoseconds.
const LONGEST_NS: u64 = 60_000_000_000;

/// Frames from one host to the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// The port they enter by; they leave by the other.
    pub from: usize,
    /// Their size in octets, check sequence counted: 64 to 1518.
    pub size: usize,
    /// Their destination addresses, chosen at random for each frame; the host's own when there is none. The subject must
    /// have routes for them to that host.
    pub destinations: Vec<Ipv4Addr>,
}

impl Stream {
    /// Makes a stream from the host at `from` to the other.
    #[must_use]
    pub const fn new(from: usize, size: usize) -> Self {
        Self { from, size, destinations: Vec::new() }
    }

    /// Returns the port that its frames leave the subject by.
    #[must_use]
    pub const fn to(&self) -> usize {
        1 - self.from
    }
}

/// How frames are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    /// So many frames of each stream are on their way at any time; each that arrives is followed by another.
    Closed {
        /// The number of frames.
        window: u32,
    },
    /// Each stream has a constant rate, whatever becomes of the frames.
    Open {
        /// Frames a second.
        rate: f64,
    },
}

/// What to send, and for how long.
#[derive(Clone, Debug)]
pub struct Load {
    /// The streams; at most one from each port.
    pub streams: Vec<Stream>,
    /// How they are sent.
    pub mode: Mode,
    /// How long to send before anything is counted.
    pub warm_up: Duration,
    /// For how long to count.
    pub duration: Duration,
    /// Whether the time of every frame is taken. The generator then looks at each frame as soon as it comes, which costs the
    /// highest rates.
    pub times: bool,
    /// How often the host at port 0 asks for the router's station address meanwhile.
    pub asks_every: Option<Duration>,
}

impl Load {
    /// Makes a load of frames of one size, in one direction or in both.
    #[must_use]
    pub fn new(both_ways: bool, size: usize, mode: Mode, duration: Duration) -> Self {
        let streams = (0..=usize::from(both_ways)).map(|from| Stream::new(from, size)).collect();
        let warm_up = Duration::from_millis(300);
        Self { streams, mode, warm_up, duration, times: false, asks_every: None }
    }

    /// Takes the time of every frame.
    #[must_use]
    pub fn timed(self) -> Self {
        Self { times: true, ..self }
    }
}

/// What happens during a load, for who looks on. Called in the generator's thread, so it should not take long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Counting begins.
    Begin,
    /// A tenth of a second has passed.
    Tick {
        /// Frames received since counting began.
        received: u64,
        /// The time since then.
        elapsed: Duration,
    },
    /// Counting has ended; nothing more is sent.
    End,
}

/// What became of one stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamOutcome {
    /// Frames sent while counting.
    pub offered: u64,
    /// Frames received while counting.
    pub forwarded: u64,
    /// Frames sent in all.
    pub sent: u64,
    /// Frames sent in all and never received.
    pub lost: u64,
    /// Frames received after one that was sent later.
    pub reordered: u64,
    /// Frames that were due while counting and left out because the generator was not let run in time.
    pub late: u64,
}

/// How the subject answered ARP requests meanwhile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Requests sent.
    pub requests: u32,
    /// The times until each answer, from the first request that it may be an answer to.
    pub answers: Vec<Duration>,
}

/// What the generator itself needed while counting.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Effort {
    /// The share of one host processor, 0 to 1.
    pub cpu: f64,
    /// System calls that read, for each frame received.
    pub reads_per_frame: f64,
    /// System calls that write, for each frame sent.
    pub writes_per_frame: f64,
}

impl Effort {
    /// The share of a processor from which on the generator is what is measured.
    pub const LIMIT: f64 = 0.9;

    /// Returns whether the generator itself was the limit.
    #[must_use]
    pub fn is_limit(&self) -> bool {
        self.cpu >= Self::LIMIT
    }
}

/// What became of a load.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The streams, in the load's order.
    pub streams: Vec<StreamOutcome>,
    /// For how long was counted.
    pub elapsed: Duration,
    /// The times from sending to receiving in nanoseconds, if they were taken.
    pub times: Histogram<u64>,
    /// What the generator needed.
    pub effort: Effort,
    /// How ARP requests were answered.
    pub asked: Asked,
    /// How often nothing came for so long that what was on its way was given up.
    pub stalls: u32,
}

impl Outcome {
    /// Returns a histogram for times in nanoseconds, exact to 0.1 %.
    pub(super) fn histogram() -> Result<Histogram<u64>> {
        Histogram::new_with_bounds(100, LONGEST_NS, 3).context("a histogram cannot have these bounds")
    }

    /// Returns the frames received a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.forwarded() as f64 / self.elapsed.as_secs_f64()
    }

    /// Returns the frames sent a second.
    #[must_use]
    pub fn offered_rate(&self) -> f64 {
        self.streams.iter().map(|stream| stream.offered).sum::<u64>() as f64 / self.elapsed.as_secs_f64()
    }

    /// Returns the frames a second that were to be sent and were not, because the generator was not let run in time: they were never
    /// offered (RFC 2285 3.5.2).
    #[must_use]
    pub fn late_rate(&self) -> f64 {
        self.streams.iter().map(|stream| stream.late).sum::<u64>() as f64 / self.elapsed.as_secs_f64()
    }

    /// Returns the frames received while counting.
    #[must_use]
    pub fn forwarded(&self) -> u64 {
        self.streams.iter().map(|stream| stream.forwarded).sum()
    }

    /// Returns the frames sent in all and never received.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.streams.iter().map(|stream| stream.lost).sum()
    }

    /// Returns the frames that overtook others.
    #[must_use]
    pub fn reordered(&self) -> u64 {
        self.streams.iter().map(|stream| stream.reordered).sum()
    }

    /// Returns the time in microseconds that so many percent of the frames needed at most.
    #[must_use]
    pub fn percentile_us(&self, percent: f64) -> f64 {
        self.times.value_at_percentile(percent) as f64 / 1000.0
    }

    /// Returns the smallest share that a direction has in what was forwarded, times their number: 1 is fair.
    #[must_use]
    pub fn fairness(&self) -> f64 {
        let least = self.streams.iter().map(|stream| stream.forwarded).min().unwrap_or_default();
        least as f64 * self.streams.len() as f64 / (self.forwarded().max(1)) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(forwarded: &[u64]) -> Outcome {
        let stream =
            |forwarded: &u64| StreamOutcome { forwarded: *forwarded, offered: 1000, ..StreamOutcome::default() };
        Outcome {
            streams: forwarded.iter().map(stream).collect(),
            elapsed: Duration::from_millis(500),
            times: Outcome::histogram().unwrap(),
            effort: Effort::default(),
            asked: Asked::default(),
            stalls: 0,
        }
    }

    #[test]
    fn rates_and_fairness_follow_from_the_counts() {
        let outcome = outcome(&[300, 100]);
        assert_eq!((outcome.rate(), outcome.offered_rate(), outcome.fairness()), (800.0, 4000.0, 0.5));
        assert_eq!(self::outcome(&[7, 7]).fairness(), 1.0);
    }

    #[test]
    fn percentiles_are_those_of_the_times() {
        let mut outcome = outcome(&[1]);
        for microseconds in 1..=1000 {
            outcome.times.record(microseconds * 1000).unwrap();
        }
        assert!((outcome.percentile_us(50.0) - 500.0).abs() < 1.0);
        assert!((outcome.percentile_us(99.0) - 990.0).abs() < 2.0);
        assert!((outcome.percentile_us(100.0) - 1000.0).abs() < 2.0);
    }

    #[test]
    fn a_busy_generator_says_so() {
        assert!(!Effort { cpu: 0.5, ..Effort::default() }.is_limit());
        assert!(Effort { cpu: 0.95, ..Effort::default() }.is_limit());
    }
}
