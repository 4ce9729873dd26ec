//! Threads and time of the modelled machine: [`Host`], which interrupt events and callouts are plugged into.
//!
//! Time is a counter. Who waits for something with a deadline makes it pass, a millisecond for each look; who waits for
//! work does not, or a timer alone would use up everybody's budget.

use std::{
    boxed::Box,
    sync::{
        Arc, PoisonError,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
    vec::Vec,
};

use ithread::{Notice, Scheduler};
use ksync::{
    cpu::CpuId,
    model::{self, JoinHandle, Thread},
    time::Instant,
};

use crate::waits::{Role, Waits};

/// What one look at a condition takes.
const LOOK: Duration = Duration::from_millis(1);

/// Threads and time.
#[derive(Clone, Debug)]
pub(crate) struct Host(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Nanoseconds since boot. Not the checker's: reading a clock is no choice of the schedule.
    clock: AtomicU64,
    threads: model::Mutex<Vec<JoinHandle<()>>>,
    waits: std::sync::Mutex<Waits>,
}

impl Host {
    pub(crate) fn new() -> Self {
        // A second after boot, so that nothing is older than the machine.
        let clock = AtomicU64::new(Instant::from_secs(1).as_nanos());
        Self(Arc::new(Inner { clock, threads: model::Mutex::new(Vec::new()), waits: Default::default() }))
    }

    /// Starts a thread that [`join_all`](Self::join_all) waits for.
    pub(crate) fn start(&self, role: Role, body: impl FnOnce() + Send + 'static) -> Thread {
        let host = self.clone();
        let handle = model::spawn(move || {
            host.note(|waits| waits.i_am(role));
            body();
        });
        let thread = handle.thread().clone();
        self.0.threads.lock().push(handle);
        thread
    }

    /// Waits for all threads to end.
    pub(crate) fn join_all(&self) {
        loop {
            let thread = self.0.threads.lock().pop();
            match thread {
                Some(thread) => thread.join().expect("a thread of the machine ended well"),
                None => return,
            }
        }
    }

    /// Notes that the calling thread waits for the work of `whom`.
    pub(crate) fn i_wait_for(&self, whom: Role) {
        self.note(|waits| waits.i_wait_for(whom));
    }

    /// Returns who has waited for whom.
    pub(crate) fn waits(&self) -> Waits {
        self.0.waits.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, change: impl FnOnce(&mut Waits)) {
        // Not the checker's mutex: writing down is no part of the protocol, and nothing in here can be interrupted.
        change(&mut self.0.waits.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Lets a millisecond pass, and others work.
    pub(crate) fn relax(&self) {
        self.advance(LOOK);
        // Where threads are real, so is the time they need.
        #[cfg(not(shuttle))]
        std::thread::sleep(LOOK);
        model::yield_now();
    }

    pub(crate) fn advance(&self, span: Duration) {
        self.0.clock.fetch_add(u64::try_from(span.as_nanos()).expect("a short span"), SeqCst);
    }

    /// Returns the time, a microsecond later each time.
    pub(crate) fn time(&self) -> Instant {
        Instant::from_nanos(self.0.clock.fetch_add(1000, SeqCst))
    }
}

impl Scheduler for Host {
    type Thread = Thread;

    fn current(&self) -> Thread {
        model::current()
    }

    fn spawn(&self, _name: &str, _cpu: Option<CpuId>, body: Box<dyn FnOnce() + Send>) -> Option<Thread> {
        Some(self.start("interrupt thread", body))
    }

    fn unpark(&self, thread: &Thread) {
        thread.unpark();
    }

    fn park(&self) {
        model::park();
    }

    fn park_until(&self, deadline: Instant) {
        if deadline == Instant::MAX { model::park() } else { self.relax() }
    }

    fn sleep(&self, span: Duration) {
        self.advance(span);
        model::yield_now();
    }

    fn yield_now(&self) {
        model::yield_now();
    }

    /// The model's own scheduler decides; yielding is always worth a try.
    fn is_contended(&self) -> bool {
        true
    }

    fn now(&self) -> Instant {
        self.time()
    }

    fn rename(&self, _thread: &Thread, _name: &str) {}

    fn bind(&self, _thread: &Thread, _cpu: CpuId) {}

    fn notice(&self, _notice: Notice<'_>) {}
}

/// The thread that runs the callouts, as they see it.
#[derive(Clone, Debug)]
pub(crate) struct TimerHost(pub(crate) Host);

/// A thread that waits for callouts. Nobody drains from within one here, so that two are never taken for the same.
#[derive(Clone, Debug)]
pub(crate) struct Waiter(Thread);

impl PartialEq for Waiter {
    fn eq(&self, _other: &Self) -> bool {
        false
    }
}

impl sched::CalloutHost for TimerHost {
    type Thread = Waiter;

    fn current(&self) -> Waiter {
        Waiter(model::current())
    }

    fn unpark(&self, thread: &Waiter) {
        thread.0.unpark();
    }

    fn park_until(&self, deadline: Instant) {
        if deadline == Instant::MAX { model::park() } else { model::yield_now() }
    }

    fn now(&self) -> Instant {
        self.0.time()
    }
}
