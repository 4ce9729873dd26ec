//! A thread as the scheduler sees it, and the handle that others hold.

use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::{fmt, time::Duration};

use arrayvec::ArrayString;
use ksync::{
    SpinLock,
    atomic::{AtomicBool, Ordering},
    counter::Counter,
    cpu::CpuId,
};

use crate::{
    Affinity, Platform, Priority,
    core_state::{Core, Scheduler},
};

/// A thread's name; longer ones are cut.
pub type Name = ArrayString<47>;

/// A thread's number; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ThreadId(pub u32);

/// What a thread runs first.
pub(crate) type Entry = Box<dyn FnOnce() + Send>;

/// Where a thread stands; under its lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Running, or on the run queue of a CPU, or about to be.
    Ready,
    /// Waits for a token.
    Parked,
    /// Waits for its timer and nothing else.
    Sleeping,
    /// Will never run again.
    Exited,
}

/// What a thread's lock protects. Nobody takes a run queue's lock while holding it.
pub(crate) struct Waiting<P: Platform> {
    pub(crate) state: State,
    /// An unpark that came before its park.
    pub(crate) token: bool,
    pub(crate) affinity: Affinity,
    /// The CPU it runs on, is queued on, or ran on last.
    pub(crate) cpu: CpuId,
    pub(crate) joiners: Vec<Arc<Thread<P>>>,
}

/// One thread.
pub(crate) struct Thread<P: Platform> {
    pub(crate) id: ThreadId,
    pub(crate) priority: Priority,
    pub(crate) name: SpinLock<Name>,
    pub(crate) context: P::Context,
    pub(crate) waiting: SpinLock<Waiting<P>>,
    /// A CPU executes it, or is still saving its registers.
    pub(crate) on_cpu: AtomicBool,
    pub(crate) entry: SpinLock<Option<Entry>>,
    // Written by the CPU it runs on, under that CPU's run queue lock.
    pub(crate) switches: Counter,
    pub(crate) runtime: Counter,
}

impl<P: Platform> Thread<P> {
    pub(crate) fn new(
        id: ThreadId,
        name: &str,
        priority: Priority,
        affinity: Affinity,
        cpu: CpuId,
        context: P::Context,
        entry: Option<Entry>,
    ) -> Arc<Self> {
        Arc::new(Self {
            id,
            priority,
            name: SpinLock::new(bounded(name)),
            context,
            waiting: SpinLock::new(Waiting { state: State::Ready, token: false, affinity, cpu, joiners: Vec::new() }),
            on_cpu: AtomicBool::new(false),
            entry: SpinLock::new(entry),
            switches: Counter::new(),
            runtime: Counter::new(),
        })
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.priority == Priority::Idle
    }

    /// Looks at the thread; what is locked by a CPU that has been stopped stays unknown.
    pub(crate) fn look(&self) -> ThreadLook<P> {
        let waiting = self.waiting.look().ok().map(|waiting| (waiting.state, waiting.cpu));
        ThreadLook {
            id: self.id,
            priority: self.priority,
            name: self.name.look().ok().map(|name| *name),
            cpu: waiting.map(|(_, cpu)| cpu),
            state: waiting.map(|(state, _)| self.shown(state)),
            switches: self.switches.get(),
            runtime: Duration::from_nanos(self.runtime.get()),
            context: self.context,
        }
    }

    fn shown(&self, state: State) -> ThreadState {
        // ORDERING: relaxed; a listing is old when it is printed.
        let running = self.on_cpu.load(Ordering::Relaxed);
        match state {
            State::Ready if running => ThreadState::Running,
            State::Ready => ThreadState::Ready,
            State::Parked => ThreadState::Parked,
            State::Sleeping => ThreadState::Sleeping,
            State::Exited => ThreadState::Exited,
        }
    }

    pub(crate) fn info(&self) -> ThreadInfo {
        let (state, cpu, affinity) = {
            let waiting = self.waiting.lock();
            (waiting.state, waiting.cpu, waiting.affinity)
        };
        let name = *self.name.lock();
        ThreadInfo {
            id: self.id,
            name,
            priority: self.priority,
            cpu,
            affinity,
            state: self.shown(state),
            switches: self.switches.get(),
            runtime: Duration::from_nanos(self.runtime.get()),
        }
    }
}

/// What a thread is doing, for `show threads`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThreadState {
    /// On a CPU.
    Running,
    /// Waiting for a CPU.
    Ready,
    /// Waiting to be woken.
    Parked,
    /// Waiting for time to pass.
    Sleeping,
    /// Over.
    Exited,
}

impl fmt::Display for ThreadState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Running => "running",
            Self::Ready => "ready",
            Self::Parked => "parked",
            Self::Sleeping => "sleeping",
            Self::Exited => "exited",
        })
    }
}

/// One line of `show threads`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadInfo {
    /// The number.
    pub id: ThreadId,
    /// The name.
    pub name: Name,
    /// The priority.
    pub priority: Priority,
    /// The CPU it runs on or ran on last.
    pub cpu: CpuId,
    /// Where it may run.
    pub affinity: Affinity,
    /// What it is doing.
    pub state: ThreadState,
    /// How often it was switched to.
    pub switches: u64,
    /// How long it has run, up to its last switch.
    pub runtime: Duration,
}

/// A thread as it is found without waiting, in [`Scheduler::look`].
pub struct ThreadLook<P: Platform> {
    /// The number.
    pub id: ThreadId,
    /// The priority.
    pub priority: Priority,
    /// The name; `None` if it is locked.
    pub name: Option<Name>,
    /// The CPU it runs on or ran on last; `None` if that is locked.
    pub cpu: Option<CpuId>,
    /// What it is doing; `None` if that is locked.
    pub state: Option<ThreadState>,
    /// How often it was switched to.
    pub switches: u64,
    /// How long it has run, up to its last switch.
    pub runtime: Duration,
    /// Its stack and saved registers.
    pub context: P::Context,
}

impl<P: Platform> fmt::Debug for ThreadLook<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadLook").field("id", &self.id).field("name", &self.name).finish_non_exhaustive()
    }
}

/// A handle on a thread: wakes it, waits for its end.
pub struct ThreadRef<P: Platform> {
    pub(crate) core: Arc<Core<P>>,
    pub(crate) thread: Arc<Thread<P>>,
}

impl<P: Platform> ThreadRef<P> {
    /// Returns the number.
    #[must_use]
    pub fn id(&self) -> ThreadId {
        self.thread.id
    }

    /// Wakes the thread, or makes its next park return at once. Two unparks before a park are one.
    ///
    /// # Context
    /// Any, including interrupt context; does not block or allocate. May switch at once if the thread is of higher priority
    /// and the caller has interrupts on.
    pub fn unpark(&self) {
        self.core.unpark(&self.thread);
    }

    /// Waits for the thread to end.
    ///
    /// # Context
    /// Thread context; blocks. Not by the thread itself.
    pub fn join(&self) {
        let scheduler = Scheduler::from_core(self.core.clone());
        scheduler.join(&self.thread);
    }

    /// Returns whether the thread has ended.
    #[must_use]
    pub fn has_exited(&self) -> bool {
        self.thread.waiting.lock().state == State::Exited
    }

    /// Changes the name.
    pub fn rename(&self, name: &str) {
        *self.thread.name.lock() = bounded(name);
    }

    /// Binds the thread to `cpu`; it moves when it next wakes or is next switched out.
    ///
    /// # Errors
    /// [`crate::SpawnError::NoSuchCpu`] if that CPU does not run threads.
    pub fn bind(&self, cpu: CpuId) -> Result<(), crate::SpawnError> {
        self.core.bind(&self.thread, cpu)
    }

    /// Returns the thread's line of `show threads`.
    #[must_use]
    pub fn info(&self) -> ThreadInfo {
        self.thread.info()
    }
}

impl<P: Platform> Clone for ThreadRef<P> {
    fn clone(&self) -> Self {
        Self { core: self.core.clone(), thread: self.thread.clone() }
    }
}

impl<P: Platform> PartialEq for ThreadRef<P> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.thread, &other.thread)
    }
}

impl<P: Platform> Eq for ThreadRef<P> {}

impl<P: Platform> fmt::Debug for ThreadRef<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ThreadRef").field(&self.thread.id.0).finish()
    }
}

/// Cuts `text` to the length of a [`Name`], at a character boundary.
pub(crate) fn bounded(text: &str) -> Name {
    let mut name = Name::new();
    for c in text.chars() {
        if name.try_push(c).is_err() {
            break;
        }
    }
    name
}
