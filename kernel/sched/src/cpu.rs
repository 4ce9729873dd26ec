//! One CPU as the scheduler sees it: [`Cpu`], its queue and what others may know of it without a lock.

use ksync::{SpinLock, atomic::AtomicBool};

use crate::{Platform, core_state::Queue};

/// One CPU.
pub(crate) struct Cpu<P: Platform> {
    /// `None` until the CPU takes part. A thread's own lock may be taken while holding this one, never the reverse.
    pub(crate) queue: SpinLock<Option<Queue<P>>>,
    /// The CPU should look at its queue when it can be preempted.
    pub(crate) resched: AtomicBool,
    /// A hint: its idle thread runs.
    pub(crate) idle: AtomicBool,
    pub(crate) online: AtomicBool,
    /// A hint: some thread is ready and waits for this CPU. Written under the queue's lock.
    pub(crate) contended: AtomicBool,
}

impl<P: Platform> Cpu<P> {
    /// Returns a CPU that does not take part yet.
    pub(crate) fn new() -> Self {
        let no = || AtomicBool::new(false);
        Self { queue: SpinLock::new(None), resched: no(), idle: no(), online: no(), contended: no() }
    }
}
