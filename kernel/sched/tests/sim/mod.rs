//! A machine with simulated CPUs and simulated time: deterministic, one step at a time.
//!
//! Threads of the scheduler are threads of the host, but only the CPU that holds the baton executes. A CPU gives the baton away when it
//! halts ([`sched::Platform::idle`]) or spends time ([`Sim::work`]); when nobody can go on, the clock jumps to the next event.
//! Interrupts (timer, reschedule, devices) are delivered at those same points. A machine in which nothing can ever
//! happen again is a deadlock and fails the test.

use std::{
    boxed::Box,
    cell::Cell,
    panic::AssertUnwindSafe,
    sync::{
        Arc, Condvar, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    thread,
    time::Duration,
    vec::Vec,
};

use ksync::{cpu::CpuId, time::Instant};
use sched::{Affinity, Platform, Priority, Scheduler};

/// A simulated machine's handle; the scheduler's platform.
#[derive(Clone)]
pub(crate) struct Sim(Arc<Machine>);

struct Machine {
    state: Mutex<State>,
    turn: Condvar,
    scheduler: OnceLock<Scheduler<Sim>>,
    failed: mpsc::Sender<String>,
}

struct State {
    now: u64,
    cpus: Vec<Cpu>,
    baton: Option<usize>,
    devices: Vec<Device>,
    stacks: usize,
    freed: usize,
}

type Handler = Box<dyn FnOnce() + Send>;

struct Device {
    at: u64,
    cpu: usize,
    handler: Handler,
}

#[derive(Default)]
struct Cpu {
    /// When the work in progress ends; `None` while the CPU halts.
    busy_until: Option<u64>,
    booting: bool,
    ipi: bool,
    timer: Option<u64>,
    in_interrupt: bool,
    interrupts: u64,
}

/// A host thread that stands for a stack.
#[derive(Clone, Copy)]
pub(crate) struct Context(&'static Stack);

struct Stack {
    cpu: AtomicUsize,
    go: AtomicBool,
    host: OnceLock<thread::Thread>,
}

thread_local! {
    static CURRENT: Cell<Option<Context>> = const { Cell::new(None) };
}

impl Stack {
    fn leak(cpu: usize) -> &'static Self {
        Box::leak(Box::new(Self { cpu: AtomicUsize::new(cpu), go: AtomicBool::new(false), host: OnceLock::new() }))
    }

    fn wait_to_go(&self) {
        while !self.go.swap(false, SeqCst) {
            thread::park();
        }
    }

    fn let_go(&self) {
        self.go.store(true, SeqCst);
        self.host.get().expect("the stack has a host thread").unpark();
    }
}

fn here() -> usize {
    CURRENT.with(|current| current.get().expect("runs on a simulated CPU").0.cpu.load(SeqCst))
}

/// Runs `test` as a thread of normal priority on a machine with `cpus` CPUs.
///
/// # Panics
/// With the test's panic, or if the machine deadlocks.
pub(crate) fn simulate(cpus: usize, test: impl FnOnce(Sim, Scheduler<Sim>) + Send + 'static) {
    simulate_with_stacks(cpus, 64, test);
}

/// As [`simulate`], with memory for `stacks` threads (the test's own included).
pub(crate) fn simulate_with_stacks(
    cpus: usize,
    stacks: usize,
    test: impl FnOnce(Sim, Scheduler<Sim>) + Send + 'static,
) {
    let (failed, outcome) = mpsc::channel();
    let booting = || Cpu { booting: true, ..Cpu::default() };
    let sim = Sim(Arc::new(Machine {
        state: Mutex::new(State {
            now: 0,
            cpus: (0..cpus).map(|_| booting()).collect(),
            baton: None,
            devices: Vec::new(),
            stacks,
            freed: 0,
        }),
        turn: Condvar::new(),
        scheduler: OnceLock::new(),
        failed: failed.clone(),
    }));
    let scheduler = Scheduler::new(sim.clone());
    assert!(sim.0.scheduler.set(scheduler.clone()).is_ok());
    let body = {
        let (sim, scheduler) = (sim.clone(), scheduler.clone());
        move || {
            test(sim, scheduler);
            let _ = failed.send(String::new());
        }
    };
    let mut body = Some(body);
    for cpu in (0..cpus).rev() {
        let (sim, scheduler) = (sim.clone(), scheduler.clone());
        let first: Option<Handler> = if cpu == 0 { body.take().map(|body| Box::new(body) as Handler) } else { None };
        thread::spawn(move || {
            let stack = Stack::leak(cpu);
            stack.host.set(thread::current()).unwrap();
            CURRENT.with(|current| current.set(Some(Context(stack))));
            sim.wait_turn(cpu);
            scheduler.adopt_cpu().unwrap();
            if let Some(body) = first {
                // The others boot first: each halts in its idle loop.
                sim.work(Duration::from_nanos(1));
                scheduler.spawn("test", Priority::Normal, Affinity::Any, body).unwrap();
            }
            scheduler.run_idle(|| false);
        });
    }
    sim.start();
    let message = outcome.recv_timeout(Duration::from_secs(30)).expect("the simulation goes on");
    assert!(message.is_empty(), "{message}");
}

impl Sim {
    fn start(&self) {
        let mut state = self.0.state.lock().unwrap();
        state.baton = Some(0);
        self.0.turn.notify_all();
    }

    /// Spends time on the CPU; interrupts and preemption happen meanwhile, and do not count.
    pub(crate) fn work(&self, span: Duration) {
        let mut left = nanos(span);
        loop {
            let cpu = here();
            let begun = self.give_baton(cpu, Some(left));
            let now = self.now().as_nanos();
            left = left.saturating_sub(now - begun);
            self.serve_interrupts(cpu);
            if left == 0 {
                return;
            }
        }
    }

    /// Interrupts `cpu` at `at` and runs `handler` there in interrupt context.
    pub(crate) fn interrupt_at(&self, at: Instant, cpu: u16, handler: impl FnOnce() + Send + 'static) {
        let device = Device { at: at.as_nanos(), cpu: usize::from(cpu), handler: Box::new(handler) };
        self.0.state.lock().unwrap().devices.push(device);
    }

    /// Returns how many interrupts `cpu` has served.
    pub(crate) fn interrupts(&self, cpu: usize) -> u64 {
        self.0.state.lock().unwrap().cpus[cpu].interrupts
    }

    pub(crate) fn freed_stacks(&self) -> usize {
        self.0.state.lock().unwrap().freed
    }

    /// Lets other CPUs go on until this one has done `work`, or is interrupted; returns when it began.
    fn give_baton(&self, cpu: usize, work: Option<u64>) -> u64 {
        let begun = {
            let mut state = self.0.state.lock().unwrap();
            let begun = state.now;
            state.cpus[cpu].busy_until = work.map(|work| begun + work);
            state.baton = None;
            if !state.pass_baton() {
                let _ = self.0.failed.send("deadlock: nothing will ever happen again".into());
            }
            self.0.turn.notify_all();
            begun
        };
        self.wait_turn(cpu);
        begun
    }

    fn wait_turn(&self, cpu: usize) {
        let mut state = self.0.state.lock().unwrap();
        while state.baton != Some(cpu) {
            state = self.0.turn.wait(state).unwrap();
        }
        state.cpus[cpu].booting = false;
    }

    /// Delivers what is pending at `cpu`, as at the end of an instruction.
    fn serve_interrupts(&self, cpu: usize) {
        let scheduler = self.0.scheduler.get().expect("the machine has booted");
        let (timer, ipi, handlers) = {
            let mut state = self.0.state.lock().unwrap();
            let handlers = state.take_devices(cpu);
            let now = state.now;
            let own = &mut state.cpus[cpu];
            let timer = own.timer.take_if(|at| *at <= now).is_some();
            let ipi = std::mem::take(&mut own.ipi);
            own.in_interrupt = true;
            own.interrupts += u64::from(timer) + u64::from(ipi) + handlers.len() as u64;
            (timer, ipi, handlers)
        };
        let any = timer || ipi || !handlers.is_empty();
        handlers.into_iter().for_each(|handler| handler());
        if timer {
            scheduler.timer_expired();
        }
        self.0.state.lock().unwrap().cpus[cpu].in_interrupt = false;
        if any {
            scheduler.preempt();
        }
    }
}

impl State {
    /// Gives the baton to the first CPU that can go on, letting time pass if there is none now. False if there never will be one.
    fn pass_baton(&mut self) -> bool {
        loop {
            let can_go_on = (0..self.cpus.len())
                .find(|cpu| self.next_event(*cpu) <= Some(self.now) && self.next_event(*cpu).is_some());
            if can_go_on.is_some() {
                self.baton = can_go_on;
                return true;
            }
            let Some(next) = (0..self.cpus.len()).filter_map(|cpu| self.next_event(cpu)).min() else {
                return false;
            };
            self.now = next;
        }
    }

    /// When `cpu` has something to do.
    fn next_event(&self, cpu: usize) -> Option<u64> {
        let own = &self.cpus[cpu];
        let now = (own.ipi || own.booting).then_some(self.now);
        let devices = self.devices.iter().filter(|device| device.cpu == cpu).map(|device| device.at);
        devices.chain(now).chain(own.timer).chain(own.busy_until).min()
    }

    fn take_devices(&mut self, cpu: usize) -> Vec<Handler> {
        let now = self.now;
        let due = self.devices.extract_if(.., |device| device.cpu == cpu && device.at <= now);
        due.map(|device| device.handler).collect()
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).expect("a short span")
}

impl Platform for Sim {
    type Context = Context;

    fn cpus(&self) -> usize {
        self.0.state.lock().unwrap().cpus.len()
    }

    fn current_cpu(&self) -> CpuId {
        CpuId(u16::try_from(here()).expect("few CPUs"))
    }

    fn now(&self) -> Instant {
        Instant::from_nanos(self.0.state.lock().unwrap().now)
    }

    fn new_context(&self) -> Option<Context> {
        let mut state = self.0.state.lock().unwrap();
        state.stacks = state.stacks.checked_sub(1)?;
        drop(state);
        let stack = Stack::leak(0);
        let scheduler = self.0.scheduler.get().expect("the machine has booted").clone();
        let failed = self.0.failed.clone();
        let host = thread::spawn(move || {
            CURRENT.with(|current| current.set(Some(Context(stack))));
            stack.wait_to_go();
            let run = std::panic::catch_unwind(AssertUnwindSafe(|| scheduler.thread_main()));
            if let Err(panic) = run {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).into()));
                let _ = failed.send(text.unwrap_or_else(|| "a thread panicked".into()));
            }
        });
        stack.host.set(host.thread().clone()).unwrap();
        Some(Context(stack))
    }

    fn boot_context(&self) -> Context {
        CURRENT.with(Cell::get).expect("runs on a simulated CPU")
    }

    fn free_context(&self, _context: &Context) {
        let mut state = self.0.state.lock().unwrap();
        state.stacks += 1;
        state.freed += 1;
    }

    fn switch(&self, previous: &Context, next: &Context) {
        self.switch_last(previous, next);
        previous.0.wait_to_go();
    }

    fn switch_last(&self, previous: &Context, next: &Context) {
        next.0.cpu.store(previous.0.cpu.load(SeqCst), SeqCst);
        next.0.let_go();
    }

    fn resched_ipi(&self, cpu: CpuId) {
        self.0.state.lock().unwrap().cpus[cpu.index()].ipi = true;
    }

    fn arm_timer(&self, deadline: Instant) {
        self.0.state.lock().unwrap().cpus[here()].timer = Some(deadline.as_nanos());
    }

    fn in_interrupt(&self) -> bool {
        self.0.state.lock().unwrap().cpus[here()].in_interrupt
    }

    fn idle(&self) {
        let cpu = here();
        self.give_baton(cpu, None);
        // The interrupt that ended the halt; it may switch away and come back here, on the same CPU.
        self.serve_interrupts(cpu);
    }
}
