//! CPUs that really run in parallel, on loom's threads or the host's: for the hand-over between them.
//!
//! Every thread of the scheduler is a thread of the model, and a CPU is a permission to go on that is passed along by `switch`.
//! Saving and loading registers are writes to a `RaceCell`, so that loading what is still being saved fails the test.

use std::{
    boxed::Box,
    cell::Cell,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU16, AtomicU64, Ordering::SeqCst},
    },
    vec::Vec,
};

use ksync::{
    cpu::CpuId,
    model::{self, RaceCell},
    time::Instant,
};
use sched::{Platform, Scheduler};

#[derive(Clone, Copy)]
pub(crate) struct Context(&'static Saved);

struct Saved {
    registers: RaceCell,
    cpu: AtomicU16,
    /// Carries the CPU's own program order from one host thread to the next, hence one that loom sees.
    go: ksync::atomic::AtomicBool,
    host: OnceLock<model::Thread>,
}

impl Saved {
    fn leak(cpu: u16) -> &'static Self {
        Box::leak(Box::new(Self {
            registers: RaceCell::new(),
            cpu: AtomicU16::new(cpu),
            go: ksync::atomic::AtomicBool::new(false),
            host: OnceLock::new(),
        }))
    }

    fn wait_to_go(&self) {
        while !self.go.swap(false, ksync::atomic::Ordering::AcqRel) {
            model::park();
        }
    }

    fn let_go(&self) {
        self.go.swap(true, ksync::atomic::Ordering::AcqRel);
        self.host.get().expect("the context has a host thread").unpark();
    }
}

#[cfg(loom)]
loom::thread_local! {
    static CURRENT: Cell<Option<Context>> = Cell::new(None);
}
#[cfg(shuttle)]
shuttle::thread_local! {
    static CURRENT: Cell<Option<Context>> = Cell::new(None);
}
#[cfg(not(any(loom, shuttle)))]
std::thread_local! {
    static CURRENT: Cell<Option<Context>> = const { Cell::new(None) };
}

fn here() -> &'static Saved {
    CURRENT.with(|current| current.get().expect("runs on a simulated CPU").0)
}

#[derive(Clone)]
pub(crate) struct Parallel(pub(crate) Arc<Machine>);

#[derive(Default)]
pub(crate) struct Machine {
    cpus: usize,
    scheduler: OnceLock<Scheduler<Parallel>>,
    idle: Mutex<Vec<Option<model::Thread>>>,
    hosts: Mutex<Vec<model::JoinHandle<()>>>,
    pub(crate) freed: AtomicU64,
}

impl Parallel {
    pub(crate) fn boot(cpus: usize) -> Scheduler<Self> {
        let machine =
            Arc::new(Machine { cpus, idle: Mutex::new((0..cpus).map(|_| None).collect()), ..Machine::default() });
        let scheduler = Scheduler::new(Self(machine.clone()));
        assert!(machine.scheduler.set(scheduler.clone()).is_ok());
        scheduler
    }

    /// Makes the calling host thread the boot code of `cpu`.
    pub(crate) fn become_cpu(&self, cpu: u16) {
        let saved = Saved::leak(cpu);
        assert!(saved.host.set(model::current()).is_ok());
        CURRENT.with(|current| current.set(Some(Context(saved))));
        self.0.idle.lock().unwrap()[usize::from(cpu)] = Some(model::current());
    }

    /// Ends every halt.
    pub(crate) fn kick_all(&self) {
        let idle: Vec<_> = self.0.idle.lock().unwrap().iter().flatten().cloned().collect();
        for thread in idle {
            thread.unpark();
        }
    }

    /// Starts a host thread that [`Parallel::join_hosts`] waits for.
    pub(crate) fn start_host(&self, body: impl FnOnce() + Send + 'static) {
        let host = model::spawn(body);
        self.0.hosts.lock().unwrap().push(host);
    }

    pub(crate) fn join_hosts(&self) {
        loop {
            let host = self.0.hosts.lock().unwrap().pop();
            let Some(host) = host else { return };
            host.join().expect("the thread ended well");
        }
    }
}

impl Platform for Parallel {
    type Context = Context;

    fn cpus(&self) -> usize {
        self.0.cpus
    }

    fn current_cpu(&self) -> CpuId {
        CpuId(here().cpu.load(SeqCst))
    }

    fn now(&self) -> Instant {
        Instant::ZERO
    }

    fn new_context(&self) -> Option<Context> {
        let saved = Saved::leak(0);
        let scheduler = self.0.scheduler.get().expect("the machine has booted").clone();
        let host = model::spawn(move || {
            CURRENT.with(|current| current.set(Some(Context(saved))));
            saved.wait_to_go();
            scheduler.thread_main();
        });
        assert!(saved.host.set(host.thread().clone()).is_ok());
        self.0.hosts.lock().unwrap().push(host);
        Some(Context(saved))
    }

    fn boot_context(&self) -> Context {
        Context(here())
    }

    fn free_context(&self, context: &Context) {
        context.0.registers.write();
        self.0.freed.fetch_add(1, SeqCst);
    }

    fn switch(&self, previous: &Context, next: &Context) {
        self.switch_last(previous, next);
        previous.0.wait_to_go();
    }

    fn switch_last(&self, previous: &Context, next: &Context) {
        previous.0.registers.write();
        // Everything after this line is done by `next`: its own first act is to load its registers.
        next.0.registers.write();
        next.0.cpu.store(previous.0.cpu.load(SeqCst), SeqCst);
        next.0.let_go();
    }

    fn resched_ipi(&self, cpu: CpuId) {
        let idle = self.0.idle.lock().unwrap()[cpu.index()].clone();
        if let Some(idle) = idle {
            idle.unpark();
        }
    }

    fn arm_timer(&self, _deadline: Instant) {}

    fn in_interrupt(&self) -> bool {
        false
    }

    fn idle(&self) {
        model::park();
    }
}
