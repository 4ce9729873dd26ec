//! Sleeping and waking: the token, the timer, and the end of a thread.
//!
//! A thread's lock decides between "take the token" and "go to sleep", and between "leave a token" and "wake": one of the two
//! parties always sees the other. Once marked asleep, a thread may be woken and queued before its CPU has switched away
//! from it; it is then queued on that very CPU (`on_cpu`), which finds it there and just goes on.

use alloc::sync::Arc;
use core::time::Duration;

use ksync::{cpu::CpuId, irq, time::Instant};

use crate::{
    Affinity, Platform, Scheduler, SpawnError,
    core_state::Core,
    switch::Why,
    thread::{State, Thread, Waiting},
};

impl<P: Platform> Scheduler<P> {
    /// Sleeps until [`crate::ThreadRef::unpark`]; returns at once if one came first. May return early: look again at what you waited for.
    ///
    /// # Context
    /// Thread context, no lock held; blocks.
    pub fn park(&self) {
        self.core.sleep(State::Parked, None);
    }

    /// As [`Scheduler::park`], but no longer than until `deadline`.
    ///
    /// # Context
    /// Thread context, no lock held; blocks.
    pub fn park_until(&self, deadline: Instant) {
        self.core.sleep(State::Parked, Some(deadline));
    }

    /// Sleeps for `span` whatever happens; a token that comes meanwhile is kept for the next park.
    ///
    /// # Context
    /// Thread context, no lock held; blocks.
    pub fn sleep(&self, span: Duration) {
        let deadline = self.core.platform.now() + span;
        while self.core.platform.now() < deadline {
            self.core.sleep(State::Sleeping, Some(deadline));
        }
    }

    pub(crate) fn join(&self, thread: &Arc<Thread<P>>) {
        let me = self.core.current();
        debug_assert!(!Arc::ptr_eq(&me, thread), "a thread cannot wait for its own end");
        loop {
            {
                let mut waiting = thread.waiting.lock();
                if waiting.state == State::Exited {
                    break;
                }
                if !waiting.joiners.iter().any(|other| Arc::ptr_eq(other, &me)) {
                    waiting.joiners.push(me.clone());
                }
            }
            self.park();
        }
        self.core.reap();
    }
}

impl<P: Platform> Core<P> {
    /// Puts the current thread to sleep in `state`.
    fn sleep(&self, state: State, deadline: Option<Instant>) {
        debug_assert!(irq::interrupts_enabled(), "sleeping with a lock held");
        let _off = irq::disable();
        let me = self.current();
        {
            let mut waiting = me.waiting.lock();
            if state == State::Parked && core::mem::take(&mut waiting.token) {
                return;
            }
            if deadline.is_some_and(|deadline| deadline <= self.platform.now()) {
                return;
            }
            waiting.state = state;
        }
        let timer_cpu = self.platform.current_cpu();
        // A deadline at the end of time is none.
        let deadline = deadline.filter(|deadline| *deadline < Instant::MAX);
        if let Some(deadline) = deadline {
            self.with_timers(timer_cpu, |queue| queue.timers.insert(deadline, me.clone()));
        }
        self.schedule(Why::Block);
        if deadline.is_some() {
            self.with_timers(timer_cpu, |queue| queue.timers.remove(|sleeper| Arc::ptr_eq(sleeper, &me)));
        }
    }

    fn with_timers<R>(&self, cpu: CpuId, f: impl FnOnce(&mut crate::core_state::Queue<P>) -> R) {
        if let Some(queue) = self.cpus[cpu.index()].queue.lock().as_mut() {
            f(queue);
        }
    }

    /// Wakes `thread` or leaves it a token.
    pub(crate) fn unpark(&self, thread: &Arc<Thread<P>>) {
        self.wake(thread, |waiting| {
            let parked = waiting.state == State::Parked;
            waiting.token |= !parked;
            parked
        });
    }

    /// A sleeper's deadline has passed; leaves no token. In interrupt context.
    pub(crate) fn time_is_up(&self, thread: &Arc<Thread<P>>) {
        self.wake(thread, |waiting| matches!(waiting.state, State::Parked | State::Sleeping));
    }

    /// Makes `thread` ready if `wanted` says so, and gives way to it if the caller can and should.
    pub(crate) fn wake(&self, thread: &Arc<Thread<P>>, wanted: impl FnOnce(&mut Waiting<P>) -> bool) {
        let could_switch = irq::interrupts_enabled();
        // Between "ready" and "queued" the waker must not be preempted, or the woken thread waits for a turn of its waker.
        let off = irq::disable();
        let target = {
            let mut waiting = thread.waiting.lock();
            if !wanted(&mut waiting) {
                return;
            }
            waiting.state = State::Ready;
            self.choose_cpu(thread, &mut waiting)
        };
        let preempt = self.enqueue(thread.clone(), target) && !self.platform.in_interrupt();
        if preempt && !could_switch {
            // A lock is held: the interrupt comes as soon as it is released.
            self.platform.resched_ipi(self.platform.current_cpu());
        }
        drop(off);
        if preempt && could_switch {
            self.preempt();
        }
    }

    pub(crate) fn bind(&self, thread: &Arc<Thread<P>>, cpu: CpuId) -> Result<(), SpawnError> {
        if !self.is_online(cpu.index()) {
            return Err(SpawnError::NoSuchCpu(cpu));
        }
        thread.waiting.lock().affinity = Affinity::Bound(cpu);
        Ok(())
    }
}
