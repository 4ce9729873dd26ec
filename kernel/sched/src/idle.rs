//! What a CPU does when nothing is ready: reap, steal, halt.

use alloc::sync::Arc;

use ksync::{atomic::Ordering, cpu::CpuId, irq};

use crate::{Affinity, Platform, Scheduler, core_state::Core, switch::Why, thread::Thread};

impl<P: Platform> Scheduler<P> {
    /// Runs the calling CPU's idle thread until `stop` says so (on a real machine: never).
    ///
    /// # Context
    /// The stack that called [`Scheduler::adopt_cpu`]; interrupts may be on or off.
    pub fn run_idle(&self, mut stop: impl FnMut() -> bool) {
        loop {
            self.core.reap();
            if stop() {
                return;
            }
            self.core.idle_once();
        }
    }
}

impl<P: Platform> Core<P> {
    /// Runs what is ready, or halts until an interrupt.
    fn idle_once(&self) {
        // From the look at the queue to the halt, interrupts stay off: one that makes a thread ready in between stays pending and ends
        // the halt at once. A remote CPU that queues something sees our idle thread running, under the queue's lock, and interrupts us.
        let _off = irq::disable();
        let cpu = self.platform.current_cpu();
        if !self.has_ready(cpu) && !self.steal(cpu) {
            self.platform.idle();
        }
        self.schedule(Why::Yield);
    }

    fn has_ready(&self, cpu: CpuId) -> bool {
        let queue = self.cpus[cpu.index()].queue.lock();
        queue.as_ref().is_some_and(|queue| !queue.ready.is_empty())
    }

    /// Takes a ready thread from another CPU; returns whether there was one.
    fn steal(&self, thief: CpuId) -> bool {
        for (index, victim) in self.cpus.iter().enumerate() {
            if index == thief.index() || !self.is_online(index) {
                continue;
            }
            let stolen = match victim.queue.lock().as_mut() {
                Some(queue) => queue.ready.take(|thread| may_move(thread)),
                None => None,
            };
            if let Some(thread) = stolen {
                thread.waiting.lock().cpu = thief;
                self.enqueue(thread, thief);
                return true;
            }
        }
        false
    }
}

/// Whether a queued thread may run on another CPU, now.
fn may_move<P: Platform>(thread: &Arc<Thread<P>>) -> bool {
    // ORDERING: acquire pairs with the release in `finish_switch`: its registers are saved, and we see them.
    let saved = !thread.on_cpu.load(Ordering::Acquire);
    saved && thread.waiting.lock().affinity == Affinity::Any
}
