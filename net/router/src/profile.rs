//! Where a worker's cycles go: [`RunProfile`], which anybody may read, and [`Sampler`], which the thread drives.
//!
//! One pass in [`EVERY`] is measured, with the counter that the kernel hands in at the boundaries of its [`Stage`]s; of all others
//! it costs a count and a look at a flag for each boundary, of which a run of packets has three. So it is always on. What a counter counts (cycles of the time stamp
//! counter, nanoseconds) is the business of who hands it in.

use alloc::sync::Arc;
use core::fmt;

use ksync::counter::Counter;

/// One pass in so many is measured; a power of two.
pub const EVERY: u32 = 64;

/// A part of a pass, in the order in which packets come through them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Stage {
    /// The driver: frames out of the receive ring, fresh buffers into it.
    Receive = 0,
    /// What a frame is: its headers.
    Inspect = 1,
    /// Where it leads: the table of routes, unless its host is known.
    Route = 2,
    /// By which neighbour, and the new headers; into the batch of an interface. What is not plain goes all its way here.
    Rewrite = 3,
    /// The driver of the outgoing interface: into its ring, doorbell, finished buffers back.
    Send = 4,
    /// The rest of the pass: time, link, read-side entry, netisr.
    Rest = 5,
}

impl Stage {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Receive, Self::Inspect, Self::Route, Self::Rewrite, Self::Send, Self::Rest];

    /// Returns the name that a table shows.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Receive => "receive",
            Self::Inspect => "inspect",
            Self::Route => "route",
            Self::Rewrite => "rewrite",
            Self::Send => "send",
            Self::Rest => "rest",
        }
    }
}

/// Classes of passes by their packets: none, 1, 2 to 3, 4 to 7, and so on; the last is 64 and more.
pub const SIZES: usize = 8;

/// Returns the class of a pass of `packets`.
fn size_class(packets: u64) -> usize {
    ((u64::BITS - packets.leading_zeros()) as usize).min(SIZES - 1)
}

/// Counts a packet in one stage, over the measured passes that had packets.
#[derive(Debug, Default)]
struct StageCounters {
    counts: Counter,
    /// Counts a packet in the cheapest and the dearest pass; the first is 0 before there was one.
    least: Counter,
    most: Counter,
}

/// What one worker's measured passes have cost.
///
/// # Context
/// Written by the worker's thread only, read by any.
#[derive(Debug, Default)]
pub struct RunProfile {
    measured: Counter,
    packets: Counter,
    stages: [StageCounters; Stage::ALL.len()],
    sizes: [Counter; SIZES],
}

/// What a stage costs: counts of whatever counter was handed in, a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StageCost {
    /// The mean.
    pub mean: u64,
    /// In the cheapest measured pass.
    pub least: u64,
    /// In the dearest.
    pub most: u64,
}

impl RunProfile {
    /// Returns how many passes the worker has begun, to within [`EVERY`].
    #[must_use]
    pub fn passes(&self) -> u64 {
        self.measured.get() * u64::from(EVERY)
    }

    /// Returns how many passes were measured.
    #[must_use]
    pub fn measured(&self) -> u64 {
        self.measured.get()
    }

    /// Returns how many packets came in in measured passes.
    #[must_use]
    pub fn packets(&self) -> u64 {
        self.packets.get()
    }

    /// Returns what `stage` costs; zeros before there was a packet.
    #[must_use]
    pub fn cost(&self, stage: Stage) -> StageCost {
        let (Some(counters), packets) = (self.stages.get(stage as usize), self.packets.get()) else {
            return StageCost::default();
        };
        let mean = counters.counts.get().checked_div(packets).unwrap_or(0);
        StageCost { mean, least: counters.least.get(), most: counters.most.get() }
    }

    /// Returns how many measured passes there were of each class of size.
    #[must_use]
    pub fn sizes(&self) -> [u64; SIZES] {
        core::array::from_fn(|class| self.sizes.get(class).map_or(0, Counter::get))
    }

    fn add(&self, spans: &[u64; Stage::ALL.len()], packets: u64) {
        self.measured.bump();
        if let Some(size) = self.sizes.get(size_class(packets)) {
            size.bump();
        }
        if packets == 0 {
            return;
        }
        let first = self.packets.get() == 0;
        self.packets.add(packets);
        for (counters, span) in self.stages.iter().zip(spans) {
            let each = span / packets;
            counters.counts.add(*span);
            if first || each < counters.least.get() {
                counters.least.set(each);
            }
            counters.most.set(counters.most.get().max(each));
        }
    }
}

/// Measures one pass in [`EVERY`] of its worker.
pub struct Sampler {
    counter: fn() -> u64,
    profile: Arc<RunProfile>,
    /// Passes until the next that is measured.
    left: u32,
    active: bool,
    last: u64,
    spans: [u64; Stage::ALL.len()],
}

impl Sampler {
    /// Measures with `counter` from now on, into `profile`.
    #[must_use]
    pub fn new(counter: fn() -> u64, profile: Arc<RunProfile>) -> Self {
        Self { counter, profile, left: EVERY, active: false, last: 0, spans: [0; Stage::ALL.len()] }
    }

    /// A pass begins.
    #[inline]
    pub fn begin(&mut self) {
        self.left -= 1;
        if self.left == 0 {
            self.start();
        }
    }

    #[cold]
    fn start(&mut self) {
        (self.left, self.active, self.spans) = (EVERY, true, [0; Stage::ALL.len()]);
        self.last = (self.counter)();
    }

    /// What has been done since the last boundary belongs to `stage`.
    #[inline]
    pub fn mark(&mut self, stage: Stage) {
        if self.active {
            self.note(stage);
        }
    }

    #[cold]
    fn note(&mut self, stage: Stage) {
        let now = (self.counter)();
        if let Some(span) = self.spans.get_mut(stage as usize) {
            *span = span.saturating_add(now.saturating_sub(self.last));
        }
        self.last = now;
    }

    /// The pass ends, with so many frames taken in.
    #[inline]
    pub fn end(&mut self, packets: u64) {
        if self.active {
            self.finish(packets);
        }
    }

    #[cold]
    fn finish(&mut self, packets: u64) {
        self.note(Stage::Rest);
        self.active = false;
        self.profile.add(&self.spans, packets);
    }
}

impl fmt::Debug for Sampler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sampler").field("profile", &self.profile).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use core::sync::atomic::{AtomicU64, Ordering};

    use alloc::sync::Arc;

    use super::{EVERY, RunProfile, SIZES, Sampler, Stage, StageCost, size_class};

    /// One pass whose stages take these times, on the test's own clock.
    fn pass(sampler: &mut Sampler, clock: &AtomicU64, spans: [u64; 6], packets: u64) {
        sampler.begin();
        for (stage, span) in Stage::ALL.into_iter().zip(spans).take(5) {
            clock.fetch_add(span, Ordering::Relaxed);
            sampler.mark(stage);
        }
        clock.fetch_add(spans[5], Ordering::Relaxed);
        sampler.end(packets);
    }

    #[test]
    fn one_pass_in_so_many_is_measured_and_the_counter_is_left_alone_meanwhile() {
        static CLOCK: AtomicU64 = AtomicU64::new(0);
        static READ: AtomicU64 = AtomicU64::new(0);
        let profile = Arc::new(RunProfile::default());
        let counter = || {
            READ.fetch_add(1, Ordering::Relaxed);
            CLOCK.load(Ordering::Relaxed)
        };
        let mut sampler = Sampler::new(counter, Arc::clone(&profile));
        (0..EVERY - 1).for_each(|_| pass(&mut sampler, &CLOCK, [1000; 6], 1));
        assert_eq!((READ.load(Ordering::Relaxed), profile.measured()), (0, 0));
        pass(&mut sampler, &CLOCK, [640, 320, 64, 96, 160, 32], 32);
        assert_eq!(READ.load(Ordering::Relaxed), 7, "the beginning, five boundaries, the end");
        assert_eq!((profile.measured(), profile.packets(), profile.passes()), (1, 32, u64::from(EVERY)));
        let means = Stage::ALL.map(|stage| profile.cost(stage).mean);
        assert_eq!(means, [20, 10, 2, 3, 5, 1]);
    }

    #[test]
    fn a_stage_has_a_mean_over_packets_and_the_extremes_of_passes() {
        static CLOCK: AtomicU64 = AtomicU64::new(0);
        let profile = Arc::new(RunProfile::default());
        let mut sampler = Sampler::new(|| CLOCK.load(Ordering::Relaxed), Arc::clone(&profile));
        for (span, packets) in [(100, 1), (600, 60), (7, 0), (90, 3)] {
            (0..EVERY - 1).for_each(|_| pass(&mut sampler, &CLOCK, [9; 6], 9));
            pass(&mut sampler, &CLOCK, [span, 0, 0, 0, 0, 0], packets);
        }
        // 790 in 64 packets; the pass without a packet has no cost a packet.
        let cost = profile.cost(Stage::Receive);
        assert_eq!(cost, StageCost { mean: 12, least: 10, most: 100 });
        assert_eq!(profile.sizes(), [1, 1, 1, 0, 0, 0, 1, 0]);
        assert_eq!(profile.cost(Stage::Send), StageCost::default());
    }

    #[test]
    fn passes_are_classed_by_powers_of_two() {
        let classes = [0, 1, 2, 3, 4, 7, 8, 63, 64, 1000].map(size_class);
        assert_eq!(classes, [0, 1, 2, 2, 3, 3, 4, 6, 7, SIZES - 1]);
    }
}
