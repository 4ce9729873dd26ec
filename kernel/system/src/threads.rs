//! The scheduler as the rest of the system sees it: threads, sleep and wake, on this machine.
//!
//! [`Hardware`] puts `machine` under `sched`; [`Threads`] puts `sched` under `ithread`. Everything else calls the functions
//! here. Nothing is unsafe: `machine::thread` checks what a switch demands.

use alloc::boxed::Box;
use core::{
    fmt::{self, Write},
    time::Duration,
};

use ithread::Notice;
use ksync::{Held, Once, cpu::CpuId, time::Instant};
use machine::{cpu, hooks, ipi, percpu, thread::ThreadContext, time, timer};
use sched::{Affinity, Callout, Callouts, Platform, Priority, Scheduler, ThreadRef};

use crate::watchdog;

/// The kernel's scheduler.
pub type KernelScheduler = Scheduler<Hardware>;
/// A handle on a thread.
pub(crate) type Thread = ThreadRef<Hardware>;

/// Callouts of this kernel.
pub(crate) type KernelCallouts = Callouts<KernelScheduler>;
/// One of them.
pub(crate) type KernelCallout = Callout<KernelScheduler>;

static SCHEDULER: Once<KernelScheduler> = Once::new();

/// This machine, as the scheduler needs it.
#[derive(Debug)]
pub struct Hardware;

impl Platform for Hardware {
    type Context = &'static ThreadContext;

    fn cpus(&self) -> usize {
        ksync::cpu::MAX_CPUS
    }

    #[inline]
    fn current_cpu(&self) -> CpuId {
        percpu::current_cpu()
    }

    #[inline]
    fn now(&self) -> Instant {
        time::now()
    }

    fn new_context(&self) -> Option<Self::Context> {
        ThreadContext::create(first_steps, 0).ok()
    }

    fn boot_context(&self) -> Self::Context {
        ThreadContext::boot()
    }

    fn free_context(&self, context: &Self::Context) {
        context.release();
    }

    #[inline]
    fn switch(&self, previous: &Self::Context, next: &Self::Context) {
        machine::thread::switch(previous, next);
    }

    fn resched_ipi(&self, cpu: CpuId) {
        ipi::reschedule(cpu);
    }

    fn arm_timer(&self, deadline: Instant) {
        timer::arm(deadline);
    }

    #[inline]
    fn in_interrupt(&self) -> bool {
        percpu::in_interrupt()
    }

    fn idle(&self) {
        cpu::enable_interrupts_and_halt();
        cpu::disable_interrupts();
    }
}

/// Where every thread begins, on its own stack, interrupts off.
extern "C" fn first_steps(_: usize) -> ! {
    if let Some(scheduler) = SCHEDULER.get() {
        scheduler.thread_main();
    }
    unreachable!("a thread that has ended was resumed")
}

/// Makes the scheduler and wires the machine's interrupts to it; later calls return the same one.
///
/// # Context
/// The boot CPU, before any thread.
pub fn scheduler() -> &'static KernelScheduler {
    SCHEDULER.call_once(|| {
        timer::set_hook(|now| {
            watchdog::look(now);
            with(KernelScheduler::timer_expired);
        });
        hooks::set_interrupt_exit(|| with(KernelScheduler::preempt));
        hooks::set_thread_name(write_name);
        Scheduler::new(Hardware)
    })
}

fn with(act: fn(&KernelScheduler)) {
    if let Some(scheduler) = SCHEDULER.get() {
        act(scheduler);
    }
}

/// Writes the running thread's name for a trap report. Takes no lock it could have to wait for.
fn write_name(out: &mut dyn Write) -> fmt::Result {
    match SCHEDULER.get().and_then(KernelScheduler::try_current_name) {
        Some((id, name)) => write!(out, "{} ({name})", id.0),
        None => out.write_str("unknown"),
    }
}

/// What a thread is for, which decides what it may interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Timed work: ARP, links, watchdogs.
    Callout,
    /// Deferred packet processing.
    Netisr,
    /// The shutdown sequencer: above the work it ends, below interrupt threads, which it waits for.
    Shutdown,
    /// The console and the rest.
    Normal,
}

impl Class {
    const fn priority(self) -> Priority {
        match self {
            Self::Callout | Self::Shutdown => Priority::Realtime,
            Self::Netisr => Priority::Netisr,
            Self::Normal => Priority::Normal,
        }
    }
}

/// Starts a thread; says why if it cannot.
pub(crate) fn spawn(name: &str, class: Class, cpu: Option<CpuId>, body: Box<dyn FnOnce() + Send>) -> Option<Thread> {
    start(name, class.priority(), cpu, body)
}

fn start(name: &str, priority: Priority, cpu: Option<CpuId>, body: Box<dyn FnOnce() + Send>) -> Option<Thread> {
    let affinity = cpu.map_or(Affinity::Any, Affinity::Bound);
    match scheduler().spawn(name, priority, affinity, body) {
        Ok(thread) => Some(thread),
        Err(error) => {
            log::error!("sched: thread {name} not started: {error}");
            None
        }
    }
}

/// Makes a set of callouts; some thread has to run it.
pub(crate) fn callouts() -> KernelCallouts {
    Callouts::new(scheduler().clone())
}

/// Returns the calling thread.
pub(crate) fn current() -> Thread {
    scheduler().current()
}

/// Wakes a thread, or makes its next park return at once. Any context.
pub(crate) fn unpark(thread: &Thread) {
    thread.unpark();
}

/// Sleeps until woken. Thread context; may return early.
pub(crate) fn park() {
    scheduler().park();
}

/// As [`park`], but no longer than until `deadline`.
pub(crate) fn park_until(deadline: Instant) {
    scheduler().park_until(deadline);
}

/// Sleeps for `span` whatever happens.
pub(crate) fn sleep(span: Duration) {
    scheduler().sleep(span);
}

/// Lets threads of the same priority run.
pub(crate) fn yield_now() {
    scheduler().yield_now();
}

/// Writes the number and name of the thread that runs on `cpu`. Any context: never waits.
pub(crate) fn write_name_on(cpu: CpuId, out: &mut dyn Write) -> fmt::Result {
    match SCHEDULER.get().and_then(|scheduler| scheduler.try_name_on(cpu)) {
        Some((id, name)) => write!(out, "{} ({name})", id.0),
        None => out.write_str("unknown"),
    }
}

/// A thread as it is found without waiting.
pub(crate) type ThreadLook = sched::ThreadLook<Hardware>;

/// The threads, by number, as far as their list is not locked by a CPU that has been stopped.
pub(crate) fn all() -> impl Iterator<Item = Result<ThreadLook, Held>> {
    let mut after = Ok(None);
    core::iter::from_fn(move || {
        let next = scheduler().look(after.ok()?).transpose()?;
        after = next.as_ref().map(|look| Some(look.id)).map_err(|_| Held);
        Some(next)
    })
}

/// Writes `show threads`.
pub(crate) fn show(out: &mut dyn Write) -> fmt::Result {
    writeln!(
        out,
        "{:>4} {:<28} {:>4} {:<9} {:<9} {:>12} {:>14}",
        "id", "name", "cpu", "priority", "state", "switches", "runtime us"
    )?;
    for thread in all() {
        let Ok(thread) = thread else { return writeln!(out, "the list is locked by a CPU that was stopped") };
        write!(out, "{:>4} {:<28} ", thread.id.0, thread.name.as_deref().unwrap_or("?"))?;
        match thread.cpu.zip(thread.state) {
            Some((cpu, state)) => write!(out, "{cpu:>4} {:<9} {state:<9}", thread.priority)?,
            None => write!(out, "{:>4} {:<9} {:<9}", "?", thread.priority, "?")?,
        }
        writeln!(out, " {:>12} {:>14}", thread.switches, thread.runtime.as_micros())?;
    }
    Ok(())
}

/// The scheduler as interrupt events see it.
#[derive(Debug)]
pub(crate) struct Threads;

impl ithread::Scheduler for Threads {
    type Thread = Thread;

    fn current(&self) -> Thread {
        current()
    }

    fn spawn(&self, name: &str, cpu: Option<CpuId>, body: Box<dyn FnOnce() + Send>) -> Option<Thread> {
        start(name, Priority::Interrupt, cpu, body)
    }

    #[inline]
    fn unpark(&self, thread: &Thread) {
        thread.unpark();
    }

    fn park(&self) {
        park();
    }

    fn park_until(&self, deadline: Instant) {
        park_until(deadline);
    }

    fn sleep(&self, span: Duration) {
        sleep(span);
    }

    #[inline]
    fn yield_now(&self) {
        yield_now();
    }

    #[inline]
    fn is_contended(&self) -> bool {
        scheduler().is_contended()
    }

    #[inline]
    fn now(&self) -> Instant {
        time::now()
    }

    fn rename(&self, thread: &Thread, name: &str) {
        thread.rename(name);
    }

    fn bind(&self, thread: &Thread, cpu: CpuId) {
        if let Err(error) = thread.bind(cpu) {
            log::warn!("sched: {error}");
        }
    }

    fn notice(&self, notice: Notice<'_>) {
        log::warn!("{notice}");
    }
}
