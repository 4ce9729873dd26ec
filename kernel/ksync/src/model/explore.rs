//! Running a scenario often: what [`check`] and [`find`] do in each kind of build.

use alloc::{
    format,
    string::{String, ToString},
    sync::Arc,
};
use core::{any::Any, fmt};
use std::{
    io::Write,
    panic::{self, AssertUnwindSafe},
};

#[cfg(shuttle)]
use super::schedules;

pub(super) type Scenario = Arc<dyn Fn() + Send + Sync>;

/// How often a scenario is repeated on real threads, unless it says itself.
const REPEATS: usize = 300;

/// How a scenario failed.
#[derive(Debug)]
pub struct Failure {
    /// What the panic said.
    pub message: String,
    /// The schedule, as `SLUICE_SHUTTLE_REPLAY` takes it.
    pub replay: Option<String>,
    /// The executions until then, the failed one included.
    pub executions: u64,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.replay {
            Some(schedule) => write!(f, "\nto run this schedule again: SLUICE_SHUTTLE_REPLAY={schedule}"),
            None => Ok(()),
        }
    }
}

/// Runs `scenario` in every interleaving (loom), in many schedules (shuttle), or 300 times on real threads; see the
/// module.
///
/// # Panics
/// Panics if the scenario panics, deadlocks or races in any run.
pub fn check(scenario: impl Fn() + Send + Sync + 'static) {
    check_times(REPEATS, scenario);
}

/// As [`check`], with a number of repetitions on real threads for scenarios that take long.
///
/// # Panics
/// As [`check`].
#[cfg_attr(any(loom, shuttle), expect(unused_variables, reason = "the checker has its own bound"))]
pub fn check_times(repeats: usize, scenario: impl Fn() + Send + Sync + 'static) {
    #[cfg(loom)]
    exhaust(scenario);
    #[cfg(shuttle)]
    if let Err(failure) = schedules::explore(&(Arc::new(scenario) as Scenario), None) {
        panic!("{failure}");
    }
    #[cfg(not(any(loom, shuttle)))]
    {
        // No catching here: a failure on real threads is best seen with its own location.
        (0..repeats).for_each(|_| scenario());
        report(repeats as u64);
    }
}

/// Looks for a failure of `scenario` that is `wanted` (by what its panic said) and returns the first; for tests of whether a
/// scenario can fail. Looks in as many executions as [`check`] makes, under shuttle in some thousands at least.
///
/// Under loom, whose search ends with the first failure, that one has to be wanted; the failing execution is not counted.
pub fn find(scenario: impl Fn() + Send + Sync + 'static, wanted: impl Fn(&str) -> bool) -> Option<Failure> {
    let scenario: Scenario = Arc::new(scenario);
    #[cfg(shuttle)]
    return schedules::explore(&scenario, Some(&wanted)).err();
    #[cfg(loom)]
    {
        let message = caught(move || exhaust(move || scenario())).err().filter(|message| wanted(message))?;
        Some(Failure { message, replay: None, executions: 0 })
    }
    #[cfg(not(any(loom, shuttle)))]
    (1..=REPEATS as u64).find_map(|executions| {
        let message = caught(|| scenario()).err().filter(|message| wanted(message))?;
        Some(Failure { message, replay: None, executions })
    })
}

/// Returns a number below `below` that the scenario is to use, such as an instant: part of the schedule under shuttle, so that a
/// replay chooses it again; another one each time on real threads. Not for loom, which cannot exhaust numbers.
///
/// # Panics
/// If `below` is zero.
#[cfg(not(loom))]
pub fn choose(below: u64) -> u64 {
    #[cfg(shuttle)]
    let number = shuttle::rand::RngCore::next_u64(&mut shuttle::rand::thread_rng());
    #[cfg(not(shuttle))]
    let number = {
        use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

        static NEXT: AtomicU64 = AtomicU64::new(0);
        // Steps of an irrational part of the range spread evenly (Weyl's sequence).
        NEXT.fetch_add(0x9e37_79b9_7f4a_7c15, Relaxed) >> 20
    };
    number % below
}

/// Runs `act` and returns what its panic said.
pub(super) fn caught(act: impl FnOnce()) -> Result<(), String> {
    panic::catch_unwind(AssertUnwindSafe(act)).map_err(|payload| said(&*payload))
}

fn said(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without words".into())
}

/// Appends what was done to the file that `check loom` and `check shuttle` add up.
pub(super) fn report(executions: u64) {
    let Some(path) = std::env::var_os("SLUICE_MODEL_REPORT") else { return };
    let package = std::env::var("CARGO_PKG_NAME").unwrap_or_default();
    let thread = std::thread::current();
    let line = format!("{package} {} {executions}\n", thread.name().unwrap_or("main"));
    // In one write, since tests run side by side.
    let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
    if let Err(error) = file.and_then(|mut file| file.write_all(line.as_bytes())) {
        std::eprintln!("the executions are not reported: {error}");
    }
}

#[cfg(loom)]
fn exhaust(scenario: impl Fn() + Send + Sync + 'static) {
    use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

    let count = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&count);
    let mut builder = loom::model::Builder::new();
    // `LOOM_MAX_PREEMPTIONS` overrides the bound.
    builder.preemption_bound = builder.preemption_bound.or(Some(2));
    // Drivers are set up by thousands of operations before two threads meet.
    builder.max_branches = builder.max_branches.max(50_000);
    builder.check(move || {
        counted.fetch_add(1, Relaxed);
        scenario();
    });
    report(count.load(Relaxed));
}
