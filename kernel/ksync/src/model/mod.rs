//! One scenario runner for loom, for shuttle and for plain threads (hosts only).
//!
//! A scenario is written once, as a function that starts threads by [`spawn`] and panics if a promise is broken. What
//! [`check`] does with it depends on how it was built:
//!
//! - `--cfg loom`: every interleaving with at most two preemptions, weak memory included. For small cores.
//! - `--cfg shuttle`: `SLUICE_SHUTTLE_ITERATIONS` schedules (100 unless set), half of them random and half by the
//!   PCT algorithm (few preemptions at random places), sequentially consistent. For scenarios too large for loom. Schedules
//!   follow from seeds, the seeds from `SLUICE_SHUTTLE_SEED`; a failure names the one that found it, and the same test with
//!   `SLUICE_SHUTTLE_REPLAY` set to that name runs it again, step by step.
//! - otherwise: some hundred times on real threads, so that a plain `cargo test` exercises the same promises.
//!
//! With `SLUICE_MODEL_REPORT` set to a path, each check appends a line there: package, test, executions. Never compiled into the
//! kernel.

mod explore;
#[cfg(shuttle)]
mod listen;
#[cfg(loom)]
mod loom_threads;
#[cfg(shuttle)]
mod schedules;

use core::ops::{Deref, DerefMut};

#[cfg(not(any(loom, shuttle)))]
pub use std::thread::{JoinHandle, Thread, ThreadId, current, park, spawn, yield_now};

#[cfg(loom)]
pub use loom::thread::yield_now;
#[cfg(loom)]
pub use loom_threads::{JoinHandle, Thread, current, park, spawn};

#[cfg(shuttle)]
pub use shuttle::thread::{JoinHandle, Thread, ThreadId, current, park, spawn, yield_now};

#[cfg(not(loom))]
pub use explore::choose;
pub use explore::{Failure, check, check_times, find};

/// A stand-in for plain memory whose conflicting accesses are a test failure.
///
/// Under loom every pair of accesses without a happens-before edge panics (it is loom's `UnsafeCell`); under shuttle and on real
/// threads only accesses that really overlap do. Lets crates that forbid `unsafe` state "nobody touches this while …".
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
            step_aside();
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
            step_aside();
            self.inside.store(0, SeqCst);
        }
    }
}

/// Gives another thread the chance to run in the middle of an access, without asking for it as [`yield_now`] does.
#[cfg(not(loom))]
fn step_aside() {
    #[cfg(shuttle)]
    shuttle::thread::sleep(core::time::Duration::ZERO);
    #[cfg(not(shuttle))]
    yield_now();
}

#[cfg(loom)]
use loom::sync::{Mutex as Inner, MutexGuard as InnerGuard};
#[cfg(shuttle)]
use shuttle::sync::{Mutex as Inner, MutexGuard as InnerGuard};
#[cfg(not(any(loom, shuttle)))]
use std::sync::{Mutex as Inner, MutexGuard as InnerGuard};

/// A mutex for models of hardware: the checker's, so that taking it is a choice of the schedule; std's on real threads.
///
/// A thread that panicked while it held one does not hide behind those that come after it.
#[derive(Debug, Default)]
pub struct Mutex<T>(Inner<T>);

/// Access to the value of a [`Mutex`].
#[derive(Debug)]
#[must_use = "the mutex is released as soon as the guard is dropped"]
pub struct MutexGuard<'a, T>(InnerGuard<'a, T>);

impl<T> Mutex<T> {
    /// Returns a free mutex around `value`.
    pub fn new(value: T) -> Self {
        Self(Inner::new(value))
    }

    /// Waits until the mutex is ours.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard(self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}
