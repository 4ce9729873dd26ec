//! Tokens and the hand-over between CPUs, in every interleaving (`--cfg loom`) and on real threads.

mod cpus;

use std::{
    boxed::Box,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
    },
};

use cpus::Parallel;
use ksync::{cpu::CpuId, model};
use sched::{Affinity, Callouts, Priority, Scheduler, ThreadRef};

type Flag = Arc<AtomicBool>;

/// Boots CPU 0, runs `body` as a thread on it, and CPU 1's `boot` in parallel with that thread.
///
/// CPU 1 is started by the thread itself, because CPU 0 would otherwise be done with the thread before there is a CPU 1.
fn on_two_cpus(
    body: impl FnOnce(&Scheduler<Parallel>) + Send + 'static,
    affinity: Affinity,
    boot: impl FnOnce(&Scheduler<Parallel>, ThreadRef<Parallel>, &Flag) + Send + 'static,
) -> Scheduler<Parallel> {
    let scheduler = Parallel::boot(2);
    scheduler.platform().become_cpu(0);
    scheduler.adopt_cpu().unwrap();
    let done = Flag::default();
    let thread = {
        let (scheduler, done) = (scheduler.clone(), done.clone());
        Box::new(move || {
            let me = scheduler.current();
            let other = (scheduler.clone(), done.clone());
            scheduler.platform().start_host(move || {
                let (scheduler, done) = other;
                scheduler.platform().become_cpu(1);
                boot(&scheduler, me, &done);
            });
            body(&scheduler);
            done.store(true, SeqCst);
            scheduler.platform().kick_all();
        })
    };
    scheduler.spawn("thread", Priority::Normal, affinity, thread).unwrap();
    scheduler.run_idle(|| done.load(SeqCst));
    scheduler.platform().join_hosts();
    scheduler
}

#[test]
fn an_unpark_is_not_lost_however_it_meets_the_park() {
    model::check(|| {
        let sleeper = |scheduler: &Scheduler<Parallel>| scheduler.park();
        on_two_cpus(sleeper, Affinity::Bound(CpuId(0)), |_, thread, _| thread.unpark());
    });
}

#[test]
fn a_thread_woken_while_it_is_switched_out_never_runs_on_unsaved_registers() {
    model::check(|| {
        let sleeper = |scheduler: &Scheduler<Parallel>| scheduler.park();
        on_two_cpus(sleeper, Affinity::Any, |scheduler, thread, done| {
            scheduler.adopt_cpu().unwrap();
            // This CPU is idle, so it gets the thread, unless that is still being saved over there.
            thread.unpark();
            drop(thread);
            scheduler.run_idle(|| done.load(SeqCst));
        });
    });
}

#[test]
fn a_stack_is_freed_only_after_its_thread_has_left_it() {
    model::check(|| {
        let mayfly = |_: &Scheduler<Parallel>| ();
        let scheduler = on_two_cpus(mayfly, Affinity::Bound(CpuId(0)), |scheduler, thread, _| {
            drop(thread);
            // Reaps whatever there is.
            scheduler.run_idle(|| true);
        });
        scheduler.run_idle(|| true);
        assert_eq!(scheduler.platform().0.freed.load(SeqCst), 1);
    });
}

/// Callouts on plain threads of the model: only the protocol, no scheduler below.
#[derive(Clone)]
struct Plain;

impl sched::CalloutHost for Plain {
    type Thread = Handle;

    fn current(&self) -> Handle {
        Handle(model::current())
    }

    fn unpark(&self, thread: &Handle) {
        thread.0.unpark();
    }

    fn park_until(&self, _deadline: ksync::time::Instant) {
        model::park();
    }

    fn now(&self) -> ksync::time::Instant {
        ksync::time::Instant::ZERO
    }
}

#[derive(Clone)]
struct Handle(model::Thread);

impl PartialEq for Handle {
    /// In these scenarios nobody drains from within a callout.
    fn eq(&self, _other: &Self) -> bool {
        false
    }
}

#[test]
fn a_drained_callout_does_not_run_any_more_though_it_rearms_itself() {
    model::check(|| {
        let callouts = Callouts::new(Plain);
        let memory = Arc::new(model::RaceCell::new());
        let runs = Arc::new(AtomicU32::new(0));
        let callout = {
            let (memory, runs) = (memory.clone(), runs.clone());
            callouts.create(move |me| {
                memory.write();
                if runs.fetch_add(1, SeqCst) == 0 {
                    let _ = me.schedule(ksync::time::Instant::ZERO);
                }
            })
        };
        callout.schedule(ksync::time::Instant::ZERO).unwrap();
        let runner = {
            let callouts = callouts.clone();
            model::spawn(move || callouts.run())
        };
        callout.drain();
        memory.write();
        assert_eq!(callout.schedule(ksync::time::Instant::ZERO), Err(sched::Drained));
        assert_eq!(Arc::strong_count(&memory), 1, "the function went with what it owned");
        callouts.stop();
        runner.join().unwrap();
    });
}
