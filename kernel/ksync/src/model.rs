//! One scenario runner for loom and for plain threads (hosts only).
//!
//! A scenario is written once: [`check`] runs it in every interleaving under `--cfg loom`, and a few hundred times on real
//! threads otherwise, so that a plain `cargo test` exercises the same promises. Never compiled into the kernel.

#[cfg(not(loom))]
pub use std::thread::{JoinHandle, Thread, current, park, spawn, yield_now};

#[cfg(loom)]
pub use loom::thread::{JoinHandle, Thread, current, park, spawn, yield_now};

/// How often a scenario is repeated on real threads.
#[cfg(not(loom))]
const REPEATS: usize = 300;

/// Runs `scenario` in every interleaving with at most two preemptions (loom), or repeatedly on real threads.
///
/// `LOOM_MAX_PREEMPTIONS` overrides the bound.
///
/// # Panics
/// Panics if the scenario panics, deadlocks or races in any run.
pub fn check(scenario: impl Fn() + Send + Sync + 'static) {
    #[cfg(loom)]
    {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = builder.preemption_bound.or(Some(2));
        builder.check(scenario);
    }
    #[cfg(not(loom))]
    for _ in 0..REPEATS {
        scenario();
    }
}
