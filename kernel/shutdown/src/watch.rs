//! The software watchdog's judgement: who has not given a sign of life, and whether a shutdown has overrun its bound.
//!
//! Every CPU's heartbeat thread calls [`Watch::beat`] about once a second, and every CPU's timer interrupt calls [`Watch::look`], which
//! looks at most once a second: at the CPU itself (interrupts come, but threads do not run) and at the next one (not even
//! interrupts come). A time is counted in looks, not by the clock: when an emulator or a host was suspended, the clock jumps, but
//! nobody has looked meanwhile, so nothing fires that would not have fired.
//!
//! Each CPU keeps its own counts, so the only words that two CPUs touch are the beats.

use ksync::{
    CachePadded,
    atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    cpu::{CpuId, MAX_CPUS},
    time::Instant,
};

/// Time between two looks of one CPU.
const PERIOD_NANOS: u64 = 1_000_000_000;

/// What the watchdog has found. It is told once in the life of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alarm {
    /// This CPU's heartbeat has not run for so many looks, a second apart.
    Silent {
        /// The CPU.
        cpu: CpuId,
        /// How many looks in a row found nothing new.
        looks: u32,
    },
    /// This line's thread has work and has not got on with it for so many looks, a second apart.
    Stuck {
        /// The interrupt line.
        irq: u32,
        /// How many looks in a row found it at the same pass.
        looks: u32,
    },
    /// The shutdown is not over after so many looks, a second apart.
    Overdue {
        /// How many looks since the shutdown stated its bound.
        looks: u32,
    },
}

/// One CPU as watched, and as watcher.
#[derive(Debug, Default)]
struct Pulse {
    /// Beats of this CPU's heartbeat.
    beats: AtomicU32,
    /// When this CPU looks again, in nanoseconds since boot. This and what follows: used by this CPU alone.
    next_look: AtomicU64,
    /// The beats seen last: of itself, of its neighbour.
    seen: [AtomicU32; 2],
    /// Looks in a row without a new beat: of itself, of its neighbour.
    missed: [AtomicU32; 2],
    /// Looks since the shutdown stated its bound.
    since_bound: AtomicU32,
}

/// The beats of all CPUs when a hardware watchdog was last fed. It is fed again when every CPU has beaten since: so a hardware
/// watchdog sees what the software sees, and in the end also what no software can see any more.
#[derive(Debug)]
pub struct Roll {
    seen: [AtomicU32; MAX_CPUS],
}

/// An interrupt thread as watched, by one CPU.
#[derive(Debug, Default)]
pub struct Progress {
    passes: AtomicU64,
    missed: AtomicU32,
}

impl Progress {
    /// No look has been taken yet.
    #[cfg(not(any(loom, shuttle)))]
    #[must_use]
    pub const fn new() -> Self {
        Self { passes: AtomicU64::new(0), missed: AtomicU32::new(0) }
    }

    /// Takes a look at a thread that has made so many passes and `has_work`; returns how many looks in a row have found it with work
    /// and at the same pass.
    pub fn look(&self, passes: u64, has_work: bool) -> u32 {
        let moved = self.passes.swap(passes, Ordering::Relaxed) != passes;
        let missed = if moved || !has_work { 0 } else { self.missed.load(Ordering::Relaxed).saturating_add(1) };
        self.missed.store(missed, Ordering::Relaxed);
        missed
    }
}

/// The watchdog of one machine.
///
/// # Context
/// Any; never blocks. All counts are relaxed: they are judged by themselves, and nothing is published through them.
#[derive(Debug)]
pub struct Watch {
    pulses: [CachePadded<Pulse>; MAX_CPUS],
    /// Looks without a beat before the alarm; 0: heartbeats are not judged.
    limit: AtomicU32,
    /// Looks a shutdown may take; 0: none is under way.
    bound: AtomicU32,
    told: AtomicBool,
}

impl Default for Roll {
    fn default() -> Self {
        Self::new()
    }
}

impl Roll {
    /// Nobody has been seen yet.
    #[cfg(not(any(loom, shuttle)))]
    #[must_use]
    pub const fn new() -> Self {
        Self { seen: [const { AtomicU32::new(0) }; MAX_CPUS] }
    }

    /// As above; a model checker's atomics have no `const` constructor.
    #[cfg(any(loom, shuttle))]
    #[must_use]
    pub fn new() -> Self {
        Self { seen: core::array::from_fn(|_| AtomicU32::new(0)) }
    }
}

impl Default for Watch {
    fn default() -> Self {
        Self::new(0)
    }
}

impl Watch {
    /// Makes a watch that judges heartbeats after `limit` looks; 0 for never.
    #[cfg(not(any(loom, shuttle)))]
    #[must_use]
    pub const fn new(limit: u32) -> Self {
        let pulses = [const {
            CachePadded::new(Pulse {
                beats: AtomicU32::new(0),
                next_look: AtomicU64::new(0),
                seen: [const { AtomicU32::new(0) }; 2],
                missed: [const { AtomicU32::new(0) }; 2],
                since_bound: AtomicU32::new(0),
            })
        }; MAX_CPUS];
        Self { pulses, limit: AtomicU32::new(limit), bound: AtomicU32::new(0), told: AtomicBool::new(false) }
    }

    /// As above; a model checker's atomics have no `const` constructor.
    #[cfg(any(loom, shuttle))]
    #[must_use]
    pub fn new(limit: u32) -> Self {
        let pulses = core::array::from_fn(|_| CachePadded::new(Pulse::default()));
        Self { pulses, limit: AtomicU32::new(limit), bound: AtomicU32::new(0), told: AtomicBool::new(false) }
    }

    /// Returns after how many looks without a beat the alarm is raised; 0 for never.
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.limit.load(Ordering::Relaxed)
    }

    /// Sets [`limit`](Self::limit).
    pub fn set_limit(&self, looks: u32) {
        self.limit.store(looks, Ordering::Relaxed);
    }

    /// States how many looks a shutdown may take from now on.
    pub fn set_bound(&self, looks: u32) {
        self.bound.store(looks, Ordering::Relaxed);
    }

    /// A sign of life of `cpu`'s threads.
    pub fn beat(&self, cpu: CpuId) {
        if let Some(pulse) = self.pulses.get(cpu.index()) {
            pulse.beats.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns whether each of `cpus` has given a sign of life since this was last true, and notes the beats if so. A CPU that
    /// never beat has no heartbeat thread and is left out.
    pub fn have_all_beaten<I: Iterator<Item = CpuId>>(&self, cpus: impl Fn() -> I, roll: &Roll) -> bool {
        let beats = |cpu: CpuId| Some((self.pulses.get(cpu.index())?.beats.load(Ordering::Relaxed), cpu.index()));
        let place = |index: usize| roll.seen.get(index);
        let is_new = |(beats, index): (u32, usize)| {
            beats == 0 || place(index).is_none_or(|seen| seen.load(Ordering::Relaxed) != beats)
        };
        if !cpus().filter_map(beats).all(is_new) {
            return false;
        }
        for (beats, index) in cpus().filter_map(beats) {
            if let Some(seen) = place(index) {
                seen.store(beats, Ordering::Relaxed);
            }
        }
        true
    }

    /// Raises an alarm that somebody else has found; `None` if one has been told already.
    pub fn tell(&self, alarm: Alarm) -> Option<Alarm> {
        let is_news = !self.told.swap(true, Ordering::Relaxed);
        is_news.then_some(alarm)
    }

    /// Looks, if a second has passed since this CPU looked last: at itself and at `neighbour`, which may be itself.
    ///
    /// # Context
    /// The timer interrupt of `me`.
    pub fn look(&self, me: CpuId, neighbour: CpuId, now: Instant) -> Option<Alarm> {
        let own = self.pulses.get(me.index())?;
        if now.as_nanos() < own.next_look.load(Ordering::Relaxed) {
            return None;
        }
        own.next_look.store(now.as_nanos().saturating_add(PERIOD_NANOS), Ordering::Relaxed);
        let alarm = self.overdue(own).or_else(|| {
            let watched = [me, neighbour].into_iter().enumerate();
            // All are looked at, so that no count is left behind.
            watched.filter_map(|(place, cpu)| self.judge(own, place, cpu)).last()
        })?;
        self.tell(alarm)
    }

    fn overdue(&self, own: &Pulse) -> Option<Alarm> {
        let bound = self.bound.load(Ordering::Relaxed);
        if bound == 0 {
            return None;
        }
        let looks = own.since_bound.load(Ordering::Relaxed).saturating_add(1);
        own.since_bound.store(looks, Ordering::Relaxed);
        (looks > bound).then_some(Alarm::Overdue { looks })
    }

    /// Compares a CPU's beats with those seen last.
    fn judge(&self, own: &Pulse, place: usize, cpu: CpuId) -> Option<Alarm> {
        let (seen, missed) = (own.seen.get(place)?, own.missed.get(place)?);
        let beats = self.pulses.get(cpu.index())?.beats.load(Ordering::Relaxed);
        let looks = if seen.swap(beats, Ordering::Relaxed) == beats { missed.load(Ordering::Relaxed) + 1 } else { 0 };
        missed.store(looks, Ordering::Relaxed);
        let limit = self.limit();
        // A CPU that never beat has no heartbeat thread.
        (limit > 0 && beats > 0 && looks >= limit).then_some(Alarm::Silent { cpu, looks })
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    const A: CpuId = CpuId(0);
    const B: CpuId = CpuId(1);

    fn second(second: u64) -> Instant {
        Instant::from_secs(second)
    }

    #[test]
    fn a_cpu_whose_threads_do_not_run_is_found_by_itself() {
        let watch = Watch::new(3);
        watch.beat(A);
        assert_eq!(watch.look(A, A, second(1)), None, "its last beat was news");
        let alarms: std::vec::Vec<_> = (2..9).filter_map(|at| watch.look(A, A, second(at))).collect();
        assert_eq!(alarms, [Alarm::Silent { cpu: A, looks: 3 }], "told once");
    }

    #[test]
    fn a_cpu_that_takes_no_interrupts_is_found_by_its_neighbour() {
        let watch = Watch::new(2);
        watch.beat(B);
        let alarm = (1..9).find_map(|at| {
            watch.beat(A);
            watch.look(A, B, second(at))
        });
        assert_eq!(alarm, Some(Alarm::Silent { cpu: B, looks: 2 }));
    }

    #[test]
    fn hardware_is_fed_only_when_every_cpu_has_beaten_since() {
        let (watch, roll) = (Watch::new(0), Roll::new());
        let all = || [A, B].into_iter();
        assert!(watch.have_all_beaten(all, &roll), "no heartbeats yet");
        watch.beat(A);
        watch.beat(B);
        assert!(watch.have_all_beaten(all, &roll));
        assert!(!watch.have_all_beaten(all, &roll), "not twice for the same beats");
        watch.beat(A);
        watch.beat(A);
        assert!(!watch.have_all_beaten(all, &roll), "one that goes on does not speak for the other");
        assert!(watch.have_all_beaten(|| [A].into_iter(), &roll), "the other may have been parked");
        watch.beat(B);
        assert!(!watch.have_all_beaten(all, &roll));
        watch.beat(A);
        assert!(watch.have_all_beaten(all, &roll));
    }

    #[test]
    fn a_thread_with_work_that_stays_at_one_pass_is_counted_and_an_idle_one_is_not() {
        let progress = Progress::default();
        assert_eq!(progress.look(7, true), 0, "its passes are news");
        assert_eq!((progress.look(7, true), progress.look(7, true)), (1, 2));
        assert_eq!(progress.look(8, true), 0, "it got on");
        assert_eq!((progress.look(8, true), progress.look(8, false), progress.look(8, true)), (1, 0, 1));
    }

    #[test]
    fn a_clock_that_jumps_fires_nothing() {
        let watch = Watch::new(5);
        watch.set_bound(5);
        for at in [1, 1_000, 1_000_000] {
            watch.beat(A);
            assert_eq!(watch.look(A, A, second(at)), None);
        }
    }

    #[test]
    fn more_interrupts_than_one_a_second_are_not_more_looks() {
        let watch = Watch::new(2);
        watch.beat(A);
        assert!((1..1_000).all(|at| watch.look(A, A, Instant::from_millis(1_000 + at)).is_none()));
    }

    #[test]
    fn a_shutdown_beyond_its_bound_is_overdue_even_if_heartbeats_are_not_judged() {
        let watch = Watch::new(0);
        assert!((0..100).all(|at| watch.look(A, A, second(at)).is_none()));
        watch.set_bound(40);
        let first = (100..200).find_map(|at| watch.look(A, A, second(at)).map(|alarm| (at, alarm)));
        assert_eq!(first, Some((140, Alarm::Overdue { looks: 41 })));
    }
}
