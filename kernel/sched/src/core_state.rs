//! The scheduler's shared state, thread creation, and queueing.

use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::fmt;

use ksync::{
    CachePadded, Held, SpinLock,
    atomic::{AtomicU32, Ordering},
    cpu::CpuId,
    irq,
    time::Instant,
};

use crate::{
    Affinity, MAX_THREADS, Platform, Priority, SpawnError,
    cpu::Cpu,
    runqueue::RunQueue,
    thread::{Name, Thread, ThreadId, ThreadInfo, ThreadLook, ThreadRef, Waiting},
    timers::Timers,
};

/// The scheduler; a handle that is cheap to clone.
pub struct Scheduler<P: Platform> {
    pub(crate) core: Arc<Core<P>>,
}

/// What every handle shares.
pub(crate) struct Core<P: Platform> {
    pub(crate) platform: P,
    pub(crate) cpus: Box<[CachePadded<Cpu<P>>]>,
    /// Protects: the list of living threads; allocated at full size.
    pub(crate) threads: SpinLock<Vec<Arc<Thread<P>>>>,
    /// Protects: threads that have ended and whose stack is to be freed; has room for more than can be on their way here.
    pub(crate) zombies: SpinLock<Vec<Arc<Thread<P>>>>,
    next_id: AtomicU32,
}

/// What a CPU's lock protects.
pub(crate) struct Queue<P: Platform> {
    pub(crate) ready: RunQueue<Arc<Thread<P>>>,
    pub(crate) timers: Timers<Arc<Thread<P>>>,
    pub(crate) current: Arc<Thread<P>>,
    pub(crate) idle: Arc<Thread<P>>,
    /// The thread whose registers have just been saved, until its successor has released it.
    pub(crate) previous: Option<Arc<Thread<P>>>,
    /// Where `previous` goes. Decided before the switch: once `previous` is released it may run elsewhere, and its state means nothing.
    pub(crate) destiny: Destiny,
    /// `current` has a starved thread's turn, which nobody cuts short.
    pub(crate) turn: bool,
    /// When `current` has to share with its equals.
    pub(crate) slice_end: Instant,
    /// When `current` was switched to.
    pub(crate) since: Instant,
    /// What the timer is set to.
    pub(crate) armed: Instant,
}

/// What becomes of a thread that was switched away from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Destiny {
    /// It sleeps, or is queued already.
    Stays,
    /// It is ready, but has to run on another CPU.
    Moves,
    /// It has ended.
    Ends,
}

impl<P: Platform> Queue<P> {
    /// Whether a thread of `priority` that becomes ready displaces the current one.
    pub(crate) fn yields_to(&self, priority: Priority) -> bool {
        self.current.is_idle() || (!self.turn && priority > self.current.priority)
    }

    /// Returns when this CPU has to be interrupted next.
    pub(crate) fn next_event(&self) -> Instant {
        let running = self.current.priority;
        let shares = self.turn || self.ready.best().is_some_and(|best| best >= running);
        let slice = if shares { self.slice_end } else { Instant::MAX };
        let starvation = self.ready.next_starvation(running).unwrap_or(Instant::MAX);
        let timer = self.timers.next().unwrap_or(Instant::MAX);
        slice.min(starvation).min(timer)
    }

    /// Sets this CPU's timer, if it is set too late. Too early only costs an interrupt, after which it is set again.
    pub(crate) fn arm(&mut self, platform: &P) {
        let next = self.next_event();
        if next < self.armed {
            self.armed = next;
            platform.arm_timer(next);
        }
    }
}

impl<P: Platform> Scheduler<P> {
    /// Returns a scheduler without CPUs; each joins by [`Scheduler::adopt_cpu`].
    ///
    /// # Context
    /// Boot; allocates everything that wakeups will need.
    pub fn new(platform: P) -> Self {
        let cpus = (0..platform.cpus()).map(|_| CachePadded::new(Cpu::new())).collect();
        Self::from_core(Arc::new(Core {
            platform,
            cpus,
            threads: SpinLock::new(Vec::with_capacity(MAX_THREADS)),
            zombies: SpinLock::new(Vec::with_capacity(2 * MAX_THREADS)),
            next_id: AtomicU32::new(0),
        }))
    }

    pub(crate) fn from_core(core: Arc<Core<P>>) -> Self {
        Self { core }
    }

    /// Returns the machine underneath.
    #[must_use]
    pub fn platform(&self) -> &P {
        &self.core.platform
    }

    /// Takes the calling CPU in: its present stack becomes its idle thread, which goes on in [`Scheduler::run_idle`].
    ///
    /// # Errors
    /// [`SpawnError`] if there are too many threads.
    ///
    /// # Context
    /// Boot, once per CPU.
    ///
    /// # Panics
    /// If the CPU has been adopted before.
    pub fn adopt_cpu(&self) -> Result<(), SpawnError> {
        let core = &self.core;
        let cpu = irq::without_interrupts(|| core.platform.current_cpu());
        let context = core.platform.boot_context();
        let name = alloc::format!("idle: cpu{cpu}");
        let affinity = Affinity::Bound(cpu);
        let idle = Thread::new(core.new_id(), &name, Priority::Idle, affinity, cpu, context, None);
        core.list(&idle)?;
        idle.on_cpu.store(true, Ordering::Relaxed);
        let now = core.platform.now();
        let queue = Queue {
            ready: RunQueue::new(),
            timers: Timers::new(),
            current: idle.clone(),
            idle,
            previous: None,
            destiny: Destiny::Stays,
            turn: false,
            slice_end: Instant::MAX,
            since: now,
            armed: Instant::MAX,
        };
        let here = &core.cpus[cpu.index()];
        let before = here.queue.lock().replace(queue);
        assert!(before.is_none(), "CPU {cpu} was adopted twice");
        here.idle.store(true, Ordering::Relaxed);
        // ORDERING: release pairs with the acquire in `Core::is_online`: whoever sees the CPU finds its queue.
        here.online.store(true, Ordering::Release);
        Ok(())
    }

    /// Starts a thread.
    ///
    /// # Errors
    /// [`SpawnError`] when there is no stack, no room, or no such CPU.
    ///
    /// # Context
    /// Thread context; allocates. A thread of higher priority runs before this returns.
    pub fn spawn(
        &self,
        name: &str,
        priority: Priority,
        affinity: Affinity,
        entry: Box<dyn FnOnce() + Send>,
    ) -> Result<ThreadRef<P>, SpawnError> {
        let core = &self.core;
        core.reap();
        let home = core.home_for(affinity)?;
        let context = core.platform.new_context().ok_or(SpawnError::NoStack)?;
        let thread = Thread::new(core.new_id(), name, priority, affinity, home, context, Some(entry));
        if let Err(full) = core.list(&thread) {
            core.platform.free_context(&context);
            return Err(full);
        }
        core.wake(&thread, |_| true);
        Ok(ThreadRef { core: core.clone(), thread })
    }

    /// Returns the calling thread.
    ///
    /// # Context
    /// Thread context, on an adopted CPU.
    ///
    /// # Panics
    /// If the CPU has not been adopted.
    #[must_use]
    pub fn current(&self) -> ThreadRef<P> {
        ThreadRef { core: self.core.clone(), thread: self.core.current() }
    }

    /// Returns the running thread's number and name for a trap report; `None` if that would mean waiting for a lock.
    ///
    /// # Context
    /// Any, including NMI: never waits.
    #[must_use]
    pub fn try_current_name(&self) -> Option<(ThreadId, Name)> {
        self.try_name_on(self.core.platform.current_cpu())
    }

    /// As [`Scheduler::try_current_name`], of the thread that runs on `cpu`.
    ///
    /// # Context
    /// Any, including NMI: never waits.
    #[must_use]
    pub fn try_name_on(&self, cpu: CpuId) -> Option<(ThreadId, Name)> {
        let queue = self.core.cpus.get(cpu.index())?.queue.try_lock()?;
        let current = &queue.as_ref()?.current;
        let name = *current.name.try_lock()?;
        Some((current.id, name))
    }

    /// Returns every living thread's line of `show threads`, oldest first.
    ///
    /// # Context
    /// Thread context; allocates.
    #[must_use]
    pub fn threads(&self) -> Vec<ThreadInfo> {
        let mut copy = Vec::with_capacity(MAX_THREADS);
        copy.extend(self.core.threads.lock().iter().cloned());
        copy.iter().map(|thread| thread.info()).collect()
    }

    /// Returns the living thread with the lowest number above `after`; `None` behind the last. Called again and again with the
    /// number it returned, it goes through all of them.
    ///
    /// # Errors
    /// [`Held`] if the list is locked by a CPU that has been stopped.
    ///
    /// # Context
    /// Any, also the debugger in a world that stands still: waits for nobody who does not run, allocates nothing.
    pub fn look(&self, after: Option<ThreadId>) -> Result<Option<ThreadLook<P>>, Held> {
        let next = {
            let threads = self.core.threads.look()?;
            let later = threads.iter().filter(|thread| after.is_none_or(|after| thread.id > after));
            later.min_by_key(|thread| thread.id).cloned()
        };
        Ok(next.map(|thread| thread.look()))
    }

    /// Calls `visit` with the name of each of the scheduler's locks and whether somebody holds it.
    ///
    /// # Context
    /// Any; never waits.
    pub fn locks(&self, visit: &mut dyn FnMut(fmt::Arguments<'_>, bool)) {
        visit(format_args!("sched threads"), self.core.threads.is_held());
        visit(format_args!("sched zombies"), self.core.zombies.is_held());
        for (index, cpu) in self.core.cpus.iter().enumerate().filter(|(index, _)| self.core.is_online(*index)) {
            visit(format_args!("sched run queue {index}"), cpu.queue.is_held());
        }
    }

    /// Returns the CPUs that run threads.
    #[must_use]
    pub fn online_cpus(&self) -> usize {
        let cpus = 0..self.core.cpus.len();
        cpus.filter(|index| self.core.is_online(*index)).count()
    }
}

impl<P: Platform> Core<P> {
    fn new_id(&self) -> ThreadId {
        ThreadId(self.next_id.fetch_add(1, Ordering::Relaxed))
    }

    fn list(&self, thread: &Arc<Thread<P>>) -> Result<(), SpawnError> {
        let mut threads = self.threads.lock();
        // Zombies still hold a place, for the list of zombies has no more room than this one.
        if threads.len() + self.zombies.lock().len() >= MAX_THREADS {
            return Err(SpawnError::TooManyThreads);
        }
        threads.push(thread.clone());
        Ok(())
    }

    pub(crate) fn is_online(&self, cpu: usize) -> bool {
        // ORDERING: acquire pairs with the release in `Scheduler::adopt_cpu`.
        self.cpus.get(cpu).is_some_and(|cpu| cpu.online.load(Ordering::Acquire))
    }

    fn home_for(&self, affinity: Affinity) -> Result<CpuId, SpawnError> {
        match affinity {
            Affinity::Bound(cpu) if self.is_online(cpu.index()) => Ok(cpu),
            Affinity::Bound(cpu) => Err(SpawnError::NoSuchCpu(cpu)),
            Affinity::Any => Ok(irq::without_interrupts(|| self.platform.current_cpu())),
        }
    }

    /// Returns the thread that runs on the calling CPU.
    pub(crate) fn current(&self) -> Arc<Thread<P>> {
        let _off = irq::disable();
        let here = &self.cpus[self.platform.current_cpu().index()];
        let queue = here.queue.lock();
        queue.as_ref().expect("the CPU was adopted at boot").current.clone()
    }

    /// Decides where a thread that has just become ready goes. Under the thread's lock.
    pub(crate) fn choose_cpu(&self, thread: &Thread<P>, waiting: &mut Waiting<P>) -> CpuId {
        // ORDERING: acquire pairs with the release in `finish_switch`: if the flag is clear, the registers are saved, and any CPU that
        // gets the thread from us sees them.
        if !thread.on_cpu.load(Ordering::Acquire) {
            waiting.cpu = match waiting.affinity {
                Affinity::Bound(cpu) => cpu,
                Affinity::Any => self.idle_cpu(waiting.cpu).unwrap_or(waiting.cpu),
            };
        }
        waiting.cpu
    }

    /// Returns an idle CPU, `preferred` if it is.
    pub(crate) fn idle_cpu(&self, preferred: CpuId) -> Option<CpuId> {
        let is_idle = |index: &usize| self.cpus[*index].idle.load(Ordering::Relaxed) && self.is_online(*index);
        if is_idle(&preferred.index()) {
            return Some(preferred);
        }
        let found = (0..self.cpus.len()).find(is_idle)?;
        u16::try_from(found).ok().map(CpuId)
    }

    /// Queues a ready thread on `target`, telling that CPU if it should look. Returns whether the calling CPU should be preempted.
    pub(crate) fn enqueue(&self, thread: Arc<Thread<P>>, target: CpuId) -> bool {
        let _off = irq::disable();
        let here = self.platform.current_cpu();
        let there = &self.cpus[target.index()];
        let mut queue = there.queue.lock();
        let Some(owned) = queue.as_mut() else { unreachable!("threads are only sent to CPUs that were adopted") };
        let priority = thread.priority;
        owned.ready.push_back(priority, thread, self.platform.now());
        there.contended.store(true, Ordering::Relaxed);
        let displaces = owned.yields_to(priority);
        if displaces {
            // Inside the lock: the CPU clears the flag under it when it picks.
            there.resched.store(true, Ordering::Relaxed);
            // Taken: the next thread that looks for an idle CPU finds another.
            there.idle.store(false, Ordering::Relaxed);
        }
        if target == here {
            owned.arm(&self.platform);
            return displaces;
        }
        let timer_is_late = owned.next_event() < owned.armed;
        if timer_is_late {
            there.resched.store(true, Ordering::Relaxed);
        }
        drop(queue);
        if displaces || timer_is_late {
            self.platform.resched_ipi(target);
        }
        false
    }

    /// Frees what ended threads have left behind.
    pub(crate) fn reap(&self) {
        loop {
            let zombie = self.zombies.lock().pop();
            let Some(zombie) = zombie else { return };
            self.platform.free_context(&zombie.context);
        }
    }
}

impl<P: Platform> Clone for Scheduler<P> {
    fn clone(&self) -> Self {
        Self::from_core(self.core.clone())
    }
}

impl<P: Platform> fmt::Debug for Scheduler<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scheduler").field("cpus", &self.core.cpus.len()).finish_non_exhaustive()
    }
}
