//! Schedules from seeds, for shuttle.

use alloc::{boxed::Box, format, string::String, sync::Arc};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use shuttle::{
    Config, FailurePersistence, Runner,
    scheduler::{PctScheduler, RandomScheduler, Scheduler},
};

use super::{
    explore::{Failure, Scenario, caught, report},
    listen,
};

/// Executions of a scenario, unless the environment says otherwise.
const ITERATIONS: u64 = 100;
/// Executions in a search for a failure, at least: it ends with the first, and some are rare.
const SEARCH: u64 = 5000;
/// Executions under one seed of PCT, which learns the length of the scenario from those before.
const PCT_ROUND: u64 = 25;
/// Preemptions that PCT places, and one.
const PCT_DEPTH: usize = 3;
/// Stack of each thread of a scenario: drivers keep batches on theirs.
const STACK: usize = 1 << 18;

/// What PCT says of a scenario in which no two threads ever wanted to run at once: then one execution is all there is.
const NOTHING_TO_CHOOSE: &str = "did not exercise any concurrency";

/// A way to schedule, with its seed.
#[derive(Clone, Copy, Debug)]
enum Schedules {
    Random(u64),
    Pct(u64, u64),
}

fn number(name: &str, otherwise: u64) -> u64 {
    let Ok(text) = std::env::var(name) else { return otherwise };
    text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}"))
}

fn config() -> Config {
    let mut config = Config::new();
    config.stack_size = STACK;
    // The seed says all that the list of steps would say.
    config.failure_persistence = FailurePersistence::None;
    config.silence_warnings = true;
    config
}

fn replay() -> Option<Schedules> {
    let text = std::env::var("SLUICE_SHUTTLE_REPLAY").ok().filter(|text| !text.is_empty())?;
    let parsed = text.split_once(':').and_then(|(kind, seed)| match (kind, seed.parse()) {
        ("random", Ok(seed)) => Some(Schedules::Random(seed)),
        ("pct", Ok(seed)) => Some(Schedules::Pct(seed, PCT_ROUND)),
        _ => None,
    });
    Some(parsed.unwrap_or_else(|| panic!("SLUICE_SHUTTLE_REPLAY is neither random:SEED nor pct:SEED: {text}")))
}

/// Which failures end the search: all (and everybody hears of them), or those whose words are wanted.
pub(super) type Wanted<'w> = Option<&'w dyn Fn(&str) -> bool>;

/// Runs `scenario` in as many schedules as asked for, or until it fails.
pub(super) fn explore(scenario: &Scenario, wanted: Wanted<'_>) -> Result<(), Failure> {
    if let Some(schedules) = replay() {
        return run(schedules, scenario, wanted, &mut 0);
    }
    let (iterations, mut seed) = (number("SLUICE_SHUTTLE_ITERATIONS", ITERATIONS), number("SLUICE_SHUTTLE_SEED", 1));
    let iterations = if wanted.is_some() { iterations.max(SEARCH) } else { iterations };
    let mut done = 0;
    let mut result = Ok(());
    while done < iterations && result.is_ok() {
        let round = (2 * PCT_ROUND).min(iterations - done);
        for _ in 0..round.div_ceil(2) {
            result = result.and_then(|()| run(Schedules::Random(seed), scenario, wanted, &mut done));
            seed += 1;
        }
        if round > 1 {
            result = result.and_then(|()| run(Schedules::Pct(seed, round / 2), scenario, wanted, &mut done));
            seed += 1;
        }
    }
    report(done);
    result
}

fn run(schedules: Schedules, scenario: &Scenario, wanted: Wanted<'_>, done: &mut u64) -> Result<(), Failure> {
    let (scheduler, name): (Box<dyn Scheduler + Send>, String) = match schedules {
        Schedules::Random(seed) => (Box::new(RandomScheduler::new_from_seed(seed, 1)), format!("random:{seed}")),
        Schedules::Pct(seed, count) => {
            let count = usize::try_from(count).unwrap_or(1);
            (Box::new(PctScheduler::new_from_seed(seed, PCT_DEPTH, count)), format!("pct:{seed}"))
        }
    };
    let (count, scenario) = (Arc::new(AtomicU64::new(0)), Arc::clone(scenario));
    let counted = Arc::clone(&count);
    let counting = move || {
        counted.fetch_add(1, Relaxed);
        scenario();
    };
    let result =
        listen::first_words(wanted.is_some(), || caught(|| _ = Runner::new(scheduler, config()).run(counting)));
    *done += count.load(Relaxed);
    let counts = |message: &String| !message.contains(NOTHING_TO_CHOOSE) && wanted.is_none_or(|wanted| wanted(message));
    if !result.as_ref().is_err_and(counts) {
        return Ok(());
    }
    result.map_err(|message| Failure { message, replay: Some(name), executions: *done })
}
