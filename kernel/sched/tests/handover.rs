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
use sched::{Affinity, Callouts, Priority, Scheduler};

type Flag = Arc<AtomicBool>;

fn run_cpu(scheduler: &Scheduler<Parallel>, done: &Flag) {
    scheduler.run_idle(|| done.load(SeqCst));
}

/// The last act of a test's thread.
fn finish(scheduler: &Scheduler<Parallel>, done: &Flag) {
    done.store(true, SeqCst);
    scheduler.platform().kick_all();
}

#[test]
fn an_unpark_is_not_lost_however_it_meets_the_park() {
    model::check(|| {
        let scheduler = Parallel::boot(2);
        scheduler.platform().become_cpu(0);
        scheduler.adopt_cpu().unwrap();
        let done = Flag::default();
        let sleeper = {
            let (scheduler2, done) = (scheduler.clone(), done.clone());
            let body = move || {
                scheduler2.park();
                finish(&scheduler2, &done);
            };
            scheduler.spawn("sleeper", Priority::Normal, Affinity::Bound(CpuId(0)), Box::new(body)).unwrap()
        };
        let waker = {
            let platform = scheduler.platform().clone();
            model::spawn(move || {
                platform.become_cpu(1);
                sleeper.unpark();
            })
        };
        run_cpu(&scheduler, &done);
        waker.join().unwrap();
        scheduler.platform().join_hosts();
    });
}

#[test]
fn a_thread_woken_while_it_is_switched_out_never_runs_on_unsaved_registers() {
    model::check(|| {
        let scheduler = Parallel::boot(2);
        scheduler.platform().become_cpu(0);
        scheduler.adopt_cpu().unwrap();
        let done = Flag::default();
        let sleeper = {
            let (scheduler2, done) = (scheduler.clone(), done.clone());
            let body = move || {
                scheduler2.park();
                finish(&scheduler2, &done);
            };
            scheduler.spawn("sleeper", Priority::Normal, Affinity::Any, Box::new(body)).unwrap()
        };
        let other = {
            let (scheduler, done) = (scheduler.clone(), done.clone());
            model::spawn(move || {
                scheduler.platform().become_cpu(1);
                scheduler.adopt_cpu().unwrap();
                // This CPU wakes it, and is idle: it may get it, or steal it even before its first park.
                sleeper.unpark();
                run_cpu(&scheduler, &done);
            })
        };
        run_cpu(&scheduler, &done);
        other.join().unwrap();
        scheduler.platform().join_hosts();
    });
}

#[test]
fn a_stack_is_freed_only_after_its_thread_has_left_it() {
    model::check(|| {
        let scheduler = Parallel::boot(2);
        scheduler.platform().become_cpu(0);
        scheduler.adopt_cpu().unwrap();
        let done = Flag::default();
        let body = {
            let (scheduler, done) = (scheduler.clone(), done.clone());
            move || finish(&scheduler, &done)
        };
        scheduler.spawn("mayfly", Priority::Normal, Affinity::Any, Box::new(body)).unwrap();
        let other = {
            let (scheduler, done) = (scheduler.clone(), done.clone());
            model::spawn(move || {
                scheduler.platform().become_cpu(1);
                scheduler.adopt_cpu().unwrap();
                run_cpu(&scheduler, &done);
            })
        };
        run_cpu(&scheduler, &done);
        // One of the two has seen the last switch; the other may reap meanwhile.
        other.join().unwrap();
        scheduler.run_idle(|| true);
        scheduler.platform().join_hosts();
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
