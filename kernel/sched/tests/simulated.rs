//! The scheduler's promises on a machine with simulated CPUs and time.

#![cfg(not(any(loom, shuttle)))]

mod sim;

use std::{
    boxed::Box,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
    },
    time::Duration,
    vec::Vec,
};

use ksync::{cpu::CpuId, time::Instant};
use sched::{
    Affinity, Callouts, Drained, Platform, Priority, SLICE, STARVATION, Scheduler, SpawnError, TURN, ThreadRef,
    ThreadState,
};
use sim::{Sim, simulate, simulate_with_stacks};

const MS: Duration = Duration::from_millis(1);
const BOOT: Affinity = Affinity::Bound(CpuId(0));

/// What happened when, in milliseconds.
#[derive(Clone, Default)]
struct Diary(Arc<Mutex<Vec<(u64, &'static str)>>>);

impl Diary {
    fn note(&self, sim: &Sim, what: &'static str) {
        self.0.lock().unwrap().push((sim.now().as_millis(), what));
    }

    fn read(&self) -> Vec<(u64, &'static str)> {
        self.0.lock().unwrap().clone()
    }
}

fn spawn(
    scheduler: &Scheduler<Sim>,
    name: &str,
    priority: Priority,
    affinity: Affinity,
    body: impl FnOnce() + Send + 'static,
) -> ThreadRef<Sim> {
    scheduler.spawn(name, priority, affinity, Box::new(body)).expect("there is room")
}

#[test]
fn a_woken_thread_of_higher_priority_runs_at_once() {
    simulate(1, |sim, scheduler| {
        let diary = Diary::default();
        let intr = {
            let (sim, scheduler, diary) = (sim.clone(), scheduler.clone(), diary.clone());
            spawn(&scheduler.clone(), "irq10: em0", Priority::Interrupt, BOOT, move || {
                scheduler.park();
                diary.note(&sim, "intr");
            })
        };
        diary.note(&sim, "before");
        intr.unpark();
        diary.note(&sim, "after");
        assert_eq!(diary.read(), [(0, "before"), (0, "intr"), (0, "after")]);
    });
}

#[test]
fn an_interrupt_preempts_the_thread_it_met_and_the_rest_of_its_slice_is_kept() {
    simulate(1, |sim, scheduler| {
        let diary = Diary::default();
        let intr = {
            let (sim, scheduler, diary) = (sim.clone(), scheduler.clone(), diary.clone());
            spawn(&scheduler.clone(), "irq10: em0", Priority::Interrupt, BOOT, move || {
                scheduler.park();
                diary.note(&sim, "intr");
                sim.work(2 * MS);
            })
        };
        let worker = |name: &'static str| {
            let (sim, diary) = (sim.clone(), diary.clone());
            spawn(&scheduler, name, Priority::Normal, BOOT, move || {
                sim.work(4 * MS);
                diary.note(&sim, name);
            })
        };
        let (a, b) = (worker("a"), worker("b"));
        sim.interrupt_at(sim.now() + MS, 0, move || intr.unpark());
        a.join();
        b.join();
        // "a" goes on after the interrupt; it is not sent behind "b".
        assert_eq!(diary.read(), [(1, "intr"), (6, "a"), (10, "b")]);
    });
}

#[test]
fn equals_share_the_cpu_in_slices() {
    simulate(1, |sim, scheduler| {
        let diary = Diary::default();
        let worker = |name: &'static str| {
            let (sim, diary) = (sim.clone(), diary.clone());
            spawn(&scheduler, name, Priority::Normal, BOOT, move || {
                for _ in 0..2 {
                    sim.work(SLICE / 2);
                    diary.note(&sim, name);
                    sim.work(SLICE / 2);
                }
            })
        };
        let (a, b) = (worker("a"), worker("b"));
        a.join();
        b.join();
        // In the middle of each slice.
        assert_eq!(diary.read(), [(5, "a"), (15, "b"), (25, "a"), (35, "b")]);
    });
}

#[test]
fn a_token_is_kept_and_two_are_one() {
    simulate(1, |_, scheduler| {
        let me = scheduler.current();
        me.unpark();
        me.unpark();
        scheduler.park();
        let before = scheduler.platform().now();
        scheduler.park_until(before + 5 * MS);
        assert_eq!(scheduler.platform().now(), before + 5 * MS, "the second park found no token");
    });
}

#[test]
fn park_until_returns_when_unparked_or_when_time_is_up() {
    simulate(1, |sim, scheduler| {
        let me = scheduler.current();
        let start = sim.now();
        let waker = me.clone();
        sim.interrupt_at(start + 3 * MS, 0, move || waker.unpark());
        scheduler.park_until(start + 50 * MS);
        assert_eq!(sim.now(), start + 3 * MS);
        scheduler.park_until(start + 50 * MS);
        assert_eq!(sim.now(), start + 50 * MS);
        scheduler.park_until(start);
        assert_eq!(sim.now(), start + 50 * MS, "a deadline in the past does not block");
    });
}

#[test]
fn sleep_lasts_its_span_and_keeps_a_token_for_later() {
    simulate(1, |sim, scheduler| {
        let me = scheduler.current();
        let start = sim.now();
        let waker = me.clone();
        sim.interrupt_at(start + 3 * MS, 0, move || waker.unpark());
        scheduler.sleep(10 * MS);
        assert_eq!(sim.now(), start + 10 * MS);
        scheduler.park();
        assert_eq!(sim.now(), start + 10 * MS, "the token of the third millisecond");
    });
}

#[test]
fn a_flood_in_an_interrupt_thread_does_not_lock_the_console_out() {
    simulate(1, |sim, scheduler| {
        let over = Arc::new(AtomicBool::new(false));
        let flood = {
            let (sim, over) = (sim.clone(), over.clone());
            spawn(&scheduler, "irq10: em0", Priority::Interrupt, BOOT, move || {
                while !over.load(SeqCst) {
                    sim.work(MS / 10);
                }
            })
        };
        let start = sim.now();
        // The console's own work: ten milliseconds, in turns.
        sim.work(10 * TURN);
        let took = sim.now().saturating_duration_since(start);
        assert!(took >= 10 * STARVATION, "the flood has nearly all of the CPU: {took:?}");
        assert!(took <= 11 * (STARVATION + TURN), "but the console advances: {took:?}");
        over.store(true, SeqCst);
        flood.join();
    });
}

#[test]
fn idle_cpus_halt_and_are_left_alone() {
    simulate(4, |sim, scheduler| {
        let before: u64 = (0..4).map(|cpu| sim.interrupts(cpu)).sum();
        scheduler.sleep(Duration::from_secs(60));
        let after: u64 = (0..4).map(|cpu| sim.interrupts(cpu)).sum();
        assert!(after - before <= 4, "{} interrupts in an idle minute", after - before);
    });
}

#[test]
fn ready_threads_spread_over_idle_cpus_but_bound_ones_stay() {
    simulate(4, |sim, scheduler| {
        let start = sim.now();
        let places = Arc::new(Mutex::new(Vec::new()));
        let worker = |affinity| {
            let (sim, places) = (sim.clone(), places.clone());
            spawn(&scheduler, "worker", Priority::Normal, affinity, move || {
                places.lock().unwrap().push(sim.current_cpu().0);
                sim.work(10 * MS);
            })
        };
        let free: Vec<_> = (0..4).map(|_| worker(Affinity::Any)).collect();
        free.iter().for_each(ThreadRef::join);
        assert_eq!(sim.now(), start + 10 * MS, "four at once");
        places.lock().unwrap().clear();
        let bound: Vec<_> = (0..4).map(|_| worker(Affinity::Bound(CpuId(2)))).collect();
        bound.iter().for_each(ThreadRef::join);
        assert_eq!(sim.now(), start + 50 * MS, "four in a row");
        assert_eq!(*places.lock().unwrap(), [2; 4]);
    });
}

#[test]
fn a_preempted_thread_moves_to_a_cpu_that_is_idle() {
    simulate(2, |sim, scheduler| {
        let me = scheduler.current();
        let home = sim.current_cpu();
        let intr = {
            let sim = sim.clone();
            let body = move || sim.work(20 * MS);
            spawn(&scheduler, "irq10: em0", Priority::Interrupt, Affinity::Bound(home), body)
        };
        let start = sim.now();
        sim.work(5 * MS);
        assert_eq!(sim.now(), start + 5 * MS, "it did not wait for the interrupt thread");
        assert_ne!(sim.current_cpu(), home);
        intr.join();
        assert_eq!(me.info().state, ThreadState::Running);
    });
}

#[test]
fn binding_moves_a_thread() {
    simulate(2, |sim, scheduler| {
        let me = scheduler.current();
        for cpu in [1, 0, 1] {
            me.bind(CpuId(cpu)).unwrap();
            scheduler.yield_now();
            assert_eq!(sim.current_cpu(), CpuId(cpu));
        }
        assert_eq!(me.bind(CpuId(9)), Err(SpawnError::NoSuchCpu(CpuId(9))));
    });
}

#[test]
fn ended_threads_are_joined_reaped_and_gone_from_the_list() {
    simulate(2, |sim, scheduler| {
        let child = {
            let sim = sim.clone();
            spawn(&scheduler, "child", Priority::Normal, Affinity::Any, move || sim.work(3 * MS))
        };
        assert!(scheduler.threads().iter().any(|thread| thread.name.as_str() == "child"));
        child.join();
        assert!(child.has_exited());
        child.join();
        assert!(!scheduler.threads().iter().any(|thread| thread.name.as_str() == "child"));
        sim.work(MS);
        let again = spawn(&scheduler, "next", Priority::Normal, Affinity::Any, || {});
        again.join();
        assert!(sim.freed_stacks() >= 1);
        let info = child.info();
        assert_eq!(info.state, ThreadState::Exited);
        assert!(info.runtime >= 3 * MS && info.switches >= 1, "{info:?}");
    });
}

#[test]
fn exhaustion_is_an_error_and_stacks_come_back() {
    simulate_with_stacks(1, 3, |_, scheduler| {
        let refused = scheduler.spawn("lost", Priority::Normal, Affinity::Bound(CpuId(5)), Box::new(|| {}));
        assert_eq!(refused.unwrap_err(), SpawnError::NoSuchCpu(CpuId(5)));
        for _ in 0..10 {
            let first = spawn(&scheduler, "a", Priority::Normal, Affinity::Any, || {});
            let second = spawn(&scheduler, "b", Priority::Normal, Affinity::Any, || {});
            let refused = scheduler.spawn("c", Priority::Normal, Affinity::Any, Box::new(|| {}));
            assert_eq!(refused.unwrap_err(), SpawnError::NoStack);
            first.join();
            second.join();
        }
    });
}

#[test]
fn too_many_threads_are_refused() {
    simulate_with_stacks(1, usize::MAX, |_, scheduler| {
        let all: Vec<_> = std::iter::from_fn(|| {
            let parked = scheduler.clone();
            let body = Box::new(move || parked.park());
            scheduler.spawn("one of many", Priority::Normal, Affinity::Any, body).ok()
        })
        .collect();
        assert_eq!(scheduler.threads().len(), sched::MAX_THREADS);
        all.iter().for_each(ThreadRef::unpark);
        all.iter().for_each(ThreadRef::join);
        assert_eq!(scheduler.threads().len(), 2);
    });
}

#[test]
fn tokens_passed_around_by_many_threads_on_four_cpus_all_arrive() {
    simulate(4, |sim, scheduler| {
        const THREADS: usize = 12;
        const ROUNDS: u32 = 50;
        let ring: Arc<Mutex<Vec<ThreadRef<Sim>>>> = Arc::default();
        let passed = Arc::new(AtomicU32::new(0));
        let threads: Vec<_> = (0..THREADS)
            .map(|me| {
                let (sim, scheduler2) = (sim.clone(), scheduler.clone());
                let (ring, passed) = (ring.clone(), passed.clone());
                let priority = [Priority::Normal, Priority::Netisr, Priority::Interrupt][me % 3];
                let affinity = if me % 4 == 3 { Affinity::Bound(CpuId(1)) } else { Affinity::Any };
                spawn(&scheduler, "passer", priority, affinity, move || {
                    for round in 0..ROUNDS {
                        scheduler2.park();
                        passed.fetch_add(1, SeqCst);
                        sim.work(Duration::from_micros((me as u64 * 7 + u64::from(round)) % 13 * 10));
                        let next = ring.lock().unwrap()[(me + 1) % THREADS].clone();
                        next.unpark();
                    }
                })
            })
            .collect();
        *ring.lock().unwrap() = threads.clone();
        threads[0].unpark();
        threads.iter().for_each(ThreadRef::join);
        assert_eq!(passed.load(SeqCst), ROUNDS * u32::try_from(THREADS).unwrap());
    });
}

fn callouts(scheduler: &Scheduler<Sim>) -> (Callouts<Scheduler<Sim>>, ThreadRef<Sim>) {
    let callouts = Callouts::new(scheduler.clone());
    let runner = callouts.clone();
    let thread = spawn(scheduler, "callout", Priority::Realtime, Affinity::Any, move || runner.run());
    (callouts, thread)
}

#[test]
fn callouts_run_in_order_of_their_time_and_can_be_moved_and_cancelled() {
    simulate(1, |sim, scheduler| {
        let (callouts, thread) = callouts(&scheduler);
        let diary = Diary::default();
        let make = |name: &'static str| {
            let (sim, diary) = (sim.clone(), diary.clone());
            callouts.create(move |_| diary.note(&sim, name))
        };
        let (a, b, c) = (make("a"), make("b"), make("c"));
        let start = sim.now();
        a.schedule(start + 30 * MS).unwrap();
        b.schedule(start + 20 * MS).unwrap();
        c.schedule(start + 10 * MS).unwrap();
        a.schedule(start + 5 * MS).unwrap();
        assert!(b.cancel());
        assert!(!b.cancel());
        scheduler.sleep(100 * MS);
        assert_eq!(diary.read(), [(5, "a"), (10, "c")]);
        callouts.stop();
        thread.join();
    });
}

#[test]
fn a_callout_that_rearms_itself_is_periodic_until_drained() {
    simulate(2, |sim, scheduler| {
        let (callouts, thread) = callouts(&scheduler);
        let runs = Arc::new(AtomicU32::new(0));
        let tick = {
            let (sim, runs) = (sim.clone(), runs.clone());
            callouts.create(move |me| {
                runs.fetch_add(1, SeqCst);
                let _ = me.schedule(sim.now() + 10 * MS);
            })
        };
        tick.schedule(Instant::ZERO).unwrap();
        scheduler.sleep(95 * MS);
        assert_eq!(runs.load(SeqCst), 10);
        tick.drain();
        assert_eq!(tick.schedule(Instant::ZERO), Err(Drained));
        scheduler.sleep(100 * MS);
        assert_eq!(runs.load(SeqCst), 10);
        callouts.stop();
        thread.join();
    });
}

#[test]
fn drain_waits_for_the_run_in_progress() {
    simulate(2, |sim, scheduler| {
        let (callouts, thread) = callouts(&scheduler);
        let slow = {
            let sim = sim.clone();
            callouts.create(move |_| sim.work(20 * MS))
        };
        let start = sim.now();
        slow.schedule(start).unwrap();
        sim.work(5 * MS);
        slow.drain();
        assert_eq!(sim.now(), start + 20 * MS);
        callouts.stop();
        thread.join();
    });
}

#[test]
fn a_callout_may_drain_itself() {
    simulate(1, |sim, scheduler| {
        let (callouts, thread) = callouts(&scheduler);
        let runs = Arc::new(AtomicU32::new(0));
        let once = {
            let runs = runs.clone();
            callouts.create(move |me| {
                runs.fetch_add(1, SeqCst);
                me.drain();
                assert_eq!(me.schedule(Instant::ZERO), Err(Drained));
            })
        };
        once.schedule(sim.now()).unwrap();
        scheduler.sleep(10 * MS);
        assert_eq!(runs.load(SeqCst), 1);
        callouts.stop();
        thread.join();
    });
}

#[test]
fn a_look_at_the_threads_goes_through_all_of_them_in_order_of_their_numbers() {
    simulate(2, |_, scheduler| {
        let sleeper = {
            let scheduler = scheduler.clone();
            spawn(&scheduler.clone(), "sleeper", Priority::Normal, BOOT, move || scheduler.sleep(50 * MS))
        };
        // Meanwhile it runs, and goes to sleep.
        scheduler.sleep(MS);
        let (mut looks, mut after) = (Vec::new(), None);
        while let Some(look) = scheduler.look(after).unwrap() {
            after = Some(look.id);
            looks.push((look.id, look.name.unwrap(), look.state.unwrap()));
        }
        let threads: Vec<_> = scheduler.threads().iter().map(|thread| (thread.id, thread.name, thread.state)).collect();
        assert_eq!(looks.len(), threads.len());
        assert!(looks.is_sorted_by_key(|(id, ..)| *id));
        assert!(threads.iter().all(|thread| looks.contains(thread)));
        assert!(looks.iter().any(|(_, name, state)| &**name == "sleeper" && *state == ThreadState::Sleeping));
        sleeper.join();
    });
}

#[test]
fn a_look_at_the_callouts_shows_the_next_one_first_and_what_each_is() {
    simulate(1, |sim, scheduler| {
        let callouts = Callouts::new(scheduler.clone());
        let (late, soon) = (callouts.create(|_| ()), callouts.create(|_| ()));
        late.schedule(sim.now() + 20 * MS).unwrap();
        soon.schedule(sim.now() + 10 * MS).unwrap();
        let first = callouts.look(0).unwrap().unwrap();
        assert_eq!(first.at, sim.now() + 10 * MS);
        assert!(first.what.contains("simulated::a_look_at_the_callouts"), "{}", first.what);
        assert_eq!(callouts.look(1).unwrap().unwrap().at, sim.now() + 20 * MS);
        assert_eq!(callouts.look(2), Ok(None));
        assert_eq!(callouts.running(), Ok(None));
    });
}
