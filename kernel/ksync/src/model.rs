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

/// A stand-in for plain memory whose conflicting accesses are a test failure.
///
/// Under loom every pair of accesses without a happens-before edge panics (it is loom's `UnsafeCell`); on real threads only
/// accesses that really overlap do. Lets crates that forbid `unsafe` state "nobody touches this while …".
#[derive(Debug, Default)]
pub struct RaceCell {
    #[cfg(loom)]
    cell: loom::cell::UnsafeCell<()>,
    /// Readers inside, or -1 while a writer is.
    #[cfg(not(loom))]
    inside: core::sync::atomic::AtomicIsize,
}

// SAFETY: under loom the cell is never dereferenced; `with` and `with_mut` only record the access, and loom runs one thread at a time.
#[cfg(loom)]
unsafe impl Sync for RaceCell {}

impl RaceCell {
    /// Returns a cell that nobody is touching.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads.
    ///
    /// # Panics
    /// Panics on a conflicting write.
    pub fn read(&self) {
        #[cfg(loom)]
        self.cell.with(|_| ());
        #[cfg(not(loom))]
        {
            use core::sync::atomic::Ordering::SeqCst;
            assert!(self.inside.fetch_add(1, SeqCst) >= 0, "read during a write");
            yield_now();
            self.inside.fetch_sub(1, SeqCst);
        }
    }

    /// Writes.
    ///
    /// # Panics
    /// Panics on any conflicting access.
    pub fn write(&self) {
        #[cfg(loom)]
        self.cell.with_mut(|_| ());
        #[cfg(not(loom))]
        {
            use core::sync::atomic::Ordering::SeqCst;
            let taken = self.inside.compare_exchange(0, -1, SeqCst, SeqCst);
            assert!(taken.is_ok(), "write during another access");
            yield_now();
            self.inside.store(0, SeqCst);
        }
    }
}
