//! One scenario runner for loom and for plain threads (hosts only).
//!
//! A scenario is written once: [`check`] runs it in every interleaving under `--cfg loom`, and a few hundred times on real
//! threads otherwise, so that a plain `cargo test` exercises the same promises. Never compiled into the kernel.

#[cfg(not(loom))]
pub use std::thread::{JoinHandle, Thread, current, park, spawn, yield_now};

#[cfg(loom)]
pub use loom::thread::yield_now;
#[cfg(loom)]
pub use modelled::{JoinHandle, Thread, current, park, spawn};

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

#[cfg(loom)]
mod modelled {
    //! Threads with a wakeup token that is never lost.
    //!
    //! loom's own `park` forgets its token when the thread blocks on a mutex in between, which looks like a lost wakeup of the code under
    //! test. Here the token is a `Notify` of each thread.

    use alloc::sync::Arc;
    use core::cell::RefCell;
    use std::thread::Result;

    use loom::{sync::Notify, thread};

    /// A handle by which a thread is woken.
    #[derive(Clone, Debug)]
    pub struct Thread(Arc<Notify>);

    impl Thread {
        fn new() -> Self {
            Self(Arc::new(Notify::new()))
        }

        /// Wakes the thread, or lets its next [`park`] return at once.
        pub fn unpark(&self) {
            self.0.notify();
        }
    }

    loom::thread_local! {
        static CURRENT: RefCell<Option<Thread>> = RefCell::new(None);
    }

    /// Returns the handle of the calling thread.
    pub fn current() -> Thread {
        CURRENT.with(|slot| slot.borrow_mut().get_or_insert_with(Thread::new).clone())
    }

    /// Sleeps until the calling thread is unparked; may return early.
    pub fn park() {
        current().0.wait();
    }

    /// A started thread that can be waited for.
    #[derive(Debug)]
    pub struct JoinHandle<T> {
        inner: thread::JoinHandle<T>,
        thread: Thread,
    }

    impl<T> JoinHandle<T> {
        /// Waits for the thread to end and returns its result.
        ///
        /// # Errors
        /// The payload of the thread's panic.
        pub fn join(self) -> Result<T> {
            self.inner.join()
        }

        /// Returns the handle by which the thread is woken.
        pub fn thread(&self) -> &Thread {
            &self.thread
        }
    }

    /// Starts a thread.
    pub fn spawn<T: 'static>(body: impl FnOnce() -> T + 'static) -> JoinHandle<T> {
        let thread = Thread::new();
        let own = thread.clone();
        let inner = thread::spawn(move || {
            CURRENT.with(|slot| *slot.borrow_mut() = Some(own));
            body()
        });
        JoinHandle { inner, thread }
    }
}
