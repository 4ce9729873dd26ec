//! Callouts: functions that run at a time, and can be cancelled and joined.
//!
//! One thread runs them all, one after the other, so a callout must be short. [`Callout::cancel`] only stops what has not begun;
//! [`Callout::drain`] also waits for a run in progress, and refuses every later [`Callout::schedule`]: a timer that re-arms
//! itself cannot outlive its owner.

use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::fmt;

use ksync::{
    Held, SpinLock,
    atomic::{AtomicBool, Ordering},
    time::Instant,
};

use crate::{Platform, Scheduler, ThreadRef};

/// What callouts need from a scheduler.
pub trait CalloutHost: Send + Sync + 'static {
    /// A handle by which a thread is woken.
    type Thread: Send + Sync + Clone + PartialEq;

    /// Returns the calling thread.
    fn current(&self) -> Self::Thread;
    /// Wakes `thread` or leaves it a token.
    fn unpark(&self, thread: &Self::Thread);
    /// Sleeps until unparked or until `deadline`; may return early.
    fn park_until(&self, deadline: Instant);
    /// Returns the time.
    fn now(&self) -> Instant;
}

impl<P: Platform> CalloutHost for Scheduler<P> {
    type Thread = ThreadRef<P>;

    fn current(&self) -> ThreadRef<P> {
        Self::current(self)
    }

    fn unpark(&self, thread: &ThreadRef<P>) {
        thread.unpark();
    }

    fn park_until(&self, deadline: Instant) {
        Self::park_until(self, deadline);
    }

    fn now(&self) -> Instant {
        self.platform().now()
    }
}

/// A callout was scheduled after it had been drained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained;

impl fmt::Display for Drained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the callout has been drained")
    }
}

impl core::error::Error for Drained {}

/// A callout that is pending, for a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// When it runs.
    pub at: Instant,
    /// The type of its function, which names where in the source it is.
    pub what: &'static str,
}

/// The function of a callout. It owns what it needs, and gets its own handle, to schedule itself again.
type Function<H> = Box<dyn FnMut(&Callout<H>) + Send>;

/// All callouts that one thread runs.
pub struct Callouts<H: CalloutHost> {
    shared: Arc<Shared<H>>,
}

struct Shared<H: CalloutHost> {
    host: H,
    state: SpinLock<State<H>>,
    stop: AtomicBool,
}

struct State<H: CalloutHost> {
    /// Sorted, latest first.
    pending: Vec<(Instant, Arc<Inner<H>>)>,
    running: Option<Arc<Inner<H>>>,
    /// The thread that runs them, once it does.
    runner: Option<H::Thread>,
    /// Threads that wait for a run to end.
    waiters: Vec<H::Thread>,
}

struct Inner<H: CalloutHost> {
    shared: Arc<Shared<H>>,
    /// The type of the function, which names where in the source it is.
    what: &'static str,
    /// Taken out while it runs, and for good by a drain.
    function: SpinLock<Option<Function<H>>>,
    /// Written under the state's lock.
    drained: AtomicBool,
}

/// One callout; a handle that is cheap to clone.
pub struct Callout<H: CalloutHost> {
    inner: Arc<Inner<H>>,
}

impl<H: CalloutHost> Callouts<H> {
    /// Returns an empty set; some thread has to [`Callouts::run`] it.
    pub fn new(host: H) -> Self {
        Self {
            shared: Arc::new(Shared {
                host,
                state: SpinLock::new(State { pending: Vec::new(), running: None, runner: None, waiters: Vec::new() }),
                stop: AtomicBool::new(false),
            }),
        }
    }

    /// Returns a callout that runs `function`, not scheduled yet.
    pub fn create<F: FnMut(&Callout<H>) + Send + 'static>(&self, function: F) -> Callout<H> {
        Callout {
            inner: Arc::new(Inner {
                shared: self.shared.clone(),
                what: core::any::type_name::<F>(),
                function: SpinLock::new(Some(Box::new(function))),
                drained: AtomicBool::new(false),
            }),
        }
    }

    /// Runs callouts as they fall due, until [`Callouts::stop`]: the body of the callout thread.
    ///
    /// # Context
    /// Thread context; blocks.
    pub fn run(&self) {
        let shared = &self.shared;
        shared.state.lock().runner = Some(shared.host.current());
        // ORDERING: acquire pairs with the release in `stop`.
        while !shared.stop.load(Ordering::Acquire) {
            match shared.take_due() {
                Ok(due) => shared.call(due),
                Err(next) => shared.host.park_until(next),
            }
        }
    }

    /// Returns the callout that is the `place`th to fall due, from 0, if so many are pending; the running one is not.
    ///
    /// # Errors
    /// [`Held`] if the list is locked by a CPU that has been stopped.
    ///
    /// # Context
    /// Any, also the debugger in a world that stands still; allocates nothing.
    pub fn look(&self, place: usize) -> Result<Option<Due>, Held> {
        let state = self.shared.state.look()?;
        Ok(state.pending.iter().nth_back(place).map(|(at, inner)| Due { at: *at, what: inner.what }))
    }

    /// Returns what runs right now, if anything does.
    ///
    /// # Errors
    /// [`Held`], as in [`Callouts::look`].
    ///
    /// # Context
    /// As [`Callouts::look`].
    pub fn running(&self) -> Result<Option<&'static str>, Held> {
        Ok(self.shared.state.look()?.running.as_ref().map(|inner| inner.what))
    }

    /// Returns whether somebody holds the list's lock. Any context.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.shared.state.is_held()
    }

    /// Ends [`Callouts::run`] after the callout in progress; what is pending never runs.
    pub fn stop(&self) {
        // ORDERING: release pairs with the acquire in `run`.
        self.shared.stop.store(true, Ordering::Release);
        let runner = self.shared.state.lock().runner.clone();
        if let Some(runner) = runner {
            self.shared.host.unpark(&runner);
        }
    }
}

impl<H: CalloutHost> Shared<H> {
    /// Takes the first callout that is due and marks it running, or says when to look again.
    fn take_due(&self) -> Result<Arc<Inner<H>>, Instant> {
        let now = self.host.now();
        let mut state = self.state.lock();
        match state.pending.last() {
            Some((deadline, _)) if *deadline > now => return Err(*deadline),
            Some(_) => {}
            None => return Err(Instant::MAX),
        }
        let Some((_, due)) = state.pending.pop() else { return Err(Instant::MAX) };
        state.running = Some(due.clone());
        Ok(due)
    }

    fn call(&self, due: Arc<Inner<H>>) {
        let function = due.function.lock().take();
        if let Some(mut function) = function {
            function(&Callout { inner: due.clone() });
            // A drained callout's function (and what it owns) goes now, on this thread, before the drain returns.
            if !due.drained.load(Ordering::Relaxed) {
                *due.function.lock() = Some(function);
            }
        }
        let waiters = {
            let mut state = self.state.lock();
            state.running = None;
            core::mem::take(&mut state.waiters)
        };
        for waiter in &waiters {
            self.host.unpark(waiter);
        }
    }
}

impl<H: CalloutHost> Callout<H> {
    /// Has the callout run at `deadline`, instead of any earlier plan.
    ///
    /// # Errors
    /// [`Drained`] after [`Callout::drain`] has begun.
    ///
    /// # Context
    /// Thread context, also its own function; allocates, does not block.
    pub fn schedule(&self, deadline: Instant) -> Result<(), Drained> {
        let shared = &self.inner.shared;
        let runner = {
            let mut state = shared.state.lock();
            if self.inner.drained.load(Ordering::Relaxed) {
                return Err(Drained);
            }
            state.forget(&self.inner);
            let at = state.pending.partition_point(|(other, _)| *other > deadline);
            state.pending.insert(at, (deadline, self.inner.clone()));
            let is_first = at + 1 == state.pending.len();
            if is_first { state.runner.clone() } else { None }
        };
        if let Some(runner) = runner {
            shared.host.unpark(&runner);
        }
        Ok(())
    }

    /// Undoes the schedule; returns whether it was pending. A run in progress goes on.
    ///
    /// # Context
    /// Thread context; does not block.
    pub fn cancel(&self) -> bool {
        self.inner.shared.state.lock().forget(&self.inner)
    }

    /// Cancels and joins: when this returns, the function does not run, never will, and has been dropped with what it owned.
    ///
    /// # Context
    /// Thread context; blocks for a run in progress. Called by the function itself, it only cancels and refuses.
    pub fn drain(&self) {
        let shared = &self.inner.shared;
        let me = shared.host.current();
        loop {
            {
                let mut state = shared.state.lock();
                self.inner.drained.store(true, Ordering::Relaxed);
                state.forget(&self.inner);
                let runs = state.running.as_ref().is_some_and(|running| Arc::ptr_eq(running, &self.inner));
                if !runs {
                    break;
                }
                if state.runner.as_ref() == Some(&me) {
                    return;
                }
                state.waiters.push(me.clone());
            }
            shared.host.park_until(Instant::MAX);
        }
        let function = self.inner.function.lock().take();
        drop(function);
    }
}

impl<H: CalloutHost> State<H> {
    fn forget(&mut self, callout: &Arc<Inner<H>>) -> bool {
        let before = self.pending.len();
        self.pending.retain(|(_, other)| !Arc::ptr_eq(other, callout));
        self.pending.len() != before
    }
}

impl<H: CalloutHost> Clone for Callouts<H> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<H: CalloutHost> Clone for Callout<H> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<H: CalloutHost> fmt::Debug for Callouts<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Callouts")
    }
}

impl<H: CalloutHost> fmt::Debug for Callout<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Callout")
    }
}
