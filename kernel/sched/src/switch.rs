//! Changing threads: the decision, the switch, and the hand-over afterwards.
//!
//! All of it with interrupts off. No `Arc` may live on the stack across the last switch of a thread (it would leak), hence the
//! decision is made in a function of its own that returns plain contexts.

use alloc::sync::Arc;

use ksync::{atomic::Ordering, cpu::CpuId, irq, time::Instant};

use crate::{
    Affinity, Platform, SLICE, Scheduler, TURN,
    core_state::{Core, Destiny, Queue},
    runqueue::Reason,
    thread::{State, Thread},
};

/// Why the current thread gives up the CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// It has marked itself parked or sleeping (and may have been woken since).
    Block,
    /// Its equals may go first.
    Yield,
    /// Somebody better came, or its slice is over.
    Preempt,
    /// It has ended.
    Exit,
}

impl<P: Platform> Scheduler<P> {
    /// Switches if this CPU was asked to.
    ///
    /// # Context
    /// The end of an interrupt handler, after the interrupt was acknowledged, if the interrupted code had interrupts enabled; on the
    /// interrupted thread's own stack. Also any thread context without locks.
    pub fn preempt(&self) {
        self.core.preempt();
    }

    /// Lets threads of the same priority run first, and starved ones.
    ///
    /// # Context
    /// Thread context, no lock held.
    pub fn yield_now(&self) {
        self.core.schedule(Why::Yield);
    }

    /// Returns whether some other thread is ready and waits for the calling CPU: if not, yielding would come to nothing. One load;
    /// the answer is a moment old, and a thread that has meanwhile been taken by another CPU may still be counted.
    ///
    /// # Context
    /// Thread context, bound to its CPU (else the answer may be about the CPU it was on).
    #[inline]
    #[must_use]
    pub fn is_contended(&self) -> bool {
        self.core.cpus[self.core.platform.current_cpu().index()].contended.load(Ordering::Relaxed)
    }

    /// Serves this CPU's timer: wakes due sleepers, ends slices.
    ///
    /// # Context
    /// The timer's interrupt handler; [`Scheduler::preempt`] follows on its way out.
    pub fn timer_expired(&self) {
        self.core.timer_expired();
    }

    /// Runs a new thread from its first instruction to its last; the platform's trampoline calls it.
    ///
    /// Returns only on a simulated platform.
    ///
    /// # Context
    /// The first switch to a context made by [`Platform::new_context`], interrupts off.
    pub fn thread_main(&self) {
        self.core.finish_switch();
        irq::enable();
        let entry = self.core.current().entry.lock().take();
        if let Some(entry) = entry {
            entry();
        }
        self.core.exit();
    }
}

impl<P: Platform> Core<P> {
    pub(crate) fn preempt(&self) {
        let _off = irq::disable();
        let here = &self.cpus[self.platform.current_cpu().index()];
        // ORDERING: relaxed; the flag is a hint to take the lock, which orders everything. A remote CPU's store is made visible by the
        // interrupt that follows it.
        if here.resched.load(Ordering::Relaxed) {
            self.schedule(Why::Preempt);
        }
    }

    /// Gives the CPU to whose turn it is; returns when it is the caller's turn again.
    pub(crate) fn schedule(&self, why: Why) {
        let _off = irq::disable();
        let Some((previous, next)) = self.decide(why) else {
            return;
        };
        if why == Why::Exit {
            self.platform.switch_last(&previous, &next);
            return;
        }
        self.platform.switch(&previous, &next);
        self.finish_switch();
    }

    /// Picks the next thread; `None` if it is the current one.
    fn decide(&self, why: Why) -> Option<(P::Context, P::Context)> {
        let cpu = self.platform.current_cpu();
        let here = &self.cpus[cpu.index()];
        let mut guard = here.queue.lock();
        let queue = guard.as_mut()?;
        here.resched.store(false, Ordering::Relaxed);
        let now = self.platform.now();
        let previous = queue.current.clone();
        let in_slice = why == Why::Preempt && now < queue.slice_end;
        if in_slice && queue.turn {
            queue.arm(&self.platform);
            return None;
        }
        queue.charge(now);
        if matches!(why, Why::Yield | Why::Preempt) && !previous.is_idle() {
            queue.put_back(&previous, cpu, in_slice, now);
        }
        let picked = queue.ready.pop(now);
        // ORDERING: relaxed; a hint, which costs a look at the queue at most.
        here.contended.store(!queue.ready.is_empty(), Ordering::Relaxed);
        let (next, reason) = picked.unwrap_or_else(|| (queue.idle.clone(), Reason::First));
        let same = Arc::ptr_eq(&next, &previous);
        queue.turn = reason == Reason::Starved;
        if !(same && in_slice) {
            queue.slice_end = now + if queue.turn { TURN } else { SLICE };
        }
        here.idle.store(next.is_idle(), Ordering::Relaxed);
        if !same {
            debug_assert!(!next.on_cpu.load(Ordering::Relaxed), "a thread on two CPUs");
            // ORDERING: relaxed; the queue's lock publishes it. Nobody else writes it while the thread is ready.
            next.on_cpu.store(true, Ordering::Relaxed);
            next.switches.bump();
        }
        let contexts = (previous.context, next.context);
        queue.current = next;
        queue.arm(&self.platform);
        if same {
            return None;
        }
        queue.previous = Some(previous);
        if why == Why::Exit {
            queue.destiny = Destiny::Ends;
        }
        Some(contexts)
    }

    /// Releases the thread that ran here before; the first act of whoever runs next.
    pub(crate) fn finish_switch(&self) {
        let cpu = self.platform.current_cpu();
        let (previous, destiny) = {
            let mut guard = self.cpus[cpu.index()].queue.lock();
            let Some(queue) = guard.as_mut() else { return };
            let destiny = core::mem::replace(&mut queue.destiny, Destiny::Stays);
            (queue.previous.take(), destiny)
        };
        let Some(previous) = previous else { return };
        // ORDERING: release pairs with the acquires in `choose_cpu` and `may_move`: the saved registers go with the flag.
        previous.on_cpu.store(false, Ordering::Release);
        match destiny {
            Destiny::Stays => self.offer(&previous, cpu),
            Destiny::Moves => {
                let target = self.choose_cpu(&previous, &mut previous.waiting.lock());
                self.enqueue(previous, target);
            }
            // From here on the reaper may free the stack: we are on another.
            Destiny::Ends => self.zombies.lock().push(previous),
        }
    }

    /// Tells an idle CPU that `previous`, which waits on `cpu`, could be stolen.
    fn offer(&self, previous: &Thread<P>, cpu: CpuId) {
        if previous.is_idle() {
            return;
        }
        let Some(idle) = self.idle_cpu(cpu).filter(|idle| *idle != cpu) else {
            return;
        };
        // A hint only: a thread that is woken just after this look stays here until this CPU is free, which costs time, not the wakeup.
        let could_move = {
            let waiting = previous.waiting.lock();
            waiting.state == State::Ready && waiting.affinity == Affinity::Any
        };
        if could_move {
            self.cpus[idle.index()].resched.store(true, Ordering::Relaxed);
            self.platform.resched_ipi(idle);
        }
    }

    fn timer_expired(&self) {
        let _off = irq::disable();
        let here = &self.cpus[self.platform.current_cpu().index()];
        let now = self.platform.now();
        loop {
            let due = match here.queue.lock().as_mut() {
                Some(queue) => {
                    queue.armed = Instant::MAX;
                    queue.timers.pop_due(now)
                }
                None => return,
            };
            let Some(sleeper) = due else { break };
            self.time_is_up(&sleeper);
        }
        let mut guard = here.queue.lock();
        let Some(queue) = guard.as_mut() else { return };
        if queue.must_share(now) {
            here.resched.store(true, Ordering::Relaxed);
        }
        queue.arm(&self.platform);
    }

    /// The current thread's end.
    fn exit(&self) {
        self.say_farewell();
        self.schedule(Why::Exit);
    }

    fn say_farewell(&self) {
        let me = self.current();
        self.threads.lock().retain(|other| !Arc::ptr_eq(other, &me));
        let joiners = {
            let mut waiting = me.waiting.lock();
            waiting.state = State::Exited;
            core::mem::take(&mut waiting.joiners)
        };
        for joiner in &joiners {
            self.unpark(joiner);
        }
    }
}

impl<P: Platform> Queue<P> {
    /// Adds the time since the last switch to the current thread's account.
    fn charge(&mut self, now: Instant) {
        let span = now.saturating_duration_since(self.since);
        let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        self.current.runtime.add(nanos);
        self.since = now;
    }

    /// Queues the thread that is giving way, unless it has to move to another CPU.
    fn put_back(&mut self, previous: &Arc<Thread<P>>, cpu: CpuId, in_slice: bool, now: Instant) {
        let affinity = previous.waiting.lock().affinity;
        if let Affinity::Bound(home) = affinity
            && home != cpu
        {
            self.destiny = Destiny::Moves;
        } else if in_slice {
            self.ready.push_front(previous.priority, previous.clone(), now);
        } else {
            self.ready.push_back(previous.priority, previous.clone(), now);
        }
    }

    /// Whether the current thread's time is over, for its equals or for a starved thread.
    fn must_share(&self, now: Instant) -> bool {
        let running = self.current.priority;
        let equal = self.ready.best().is_some_and(|best| best >= running);
        let slice_over = now >= self.slice_end && (equal || self.turn);
        let starving = self.ready.next_starvation(running).is_some_and(|at| at <= now);
        slice_over || (starving && !self.turn)
    }
}
