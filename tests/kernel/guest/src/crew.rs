//! The other processors as a crew: they sleep until there is a job, do it, and say so.

use alloc::{format, string::String};
use core::time::Duration;

use ksync::{
    SpinLock,
    atomic::{AtomicU32, Ordering},
    cpu::CpuId,
};
use machine::{cpu, ipi, percpu, time};

/// What each processor does; gets its own number. Thread context, interrupts on.
pub(crate) type Job = fn(CpuId);

static JOB: SpinLock<Option<Job>> = SpinLock::new(None);
static ROUND: AtomicU32 = AtomicU32::new(0);
static DONE: AtomicU32 = AtomicU32::new(0);

/// Where the other processors enter.
pub(crate) fn enter(cpu: CpuId) -> ! {
    let mut seen = 0;
    loop {
        cpu::disable_interrupts();
        // ORDERING: acquire pairs with the release in `start`: the job is there.
        let round = ROUND.load(Ordering::Acquire);
        if round == seen {
            cpu::enable_interrupts_and_halt();
            continue;
        }
        cpu::enable_interrupts();
        seen = round;
        let job = *JOB.lock();
        if let Some(job) = job {
            job(cpu);
        }
        // ORDERING: release pairs with the acquire in `everywhere`: what the job wrote is seen.
        DONE.fetch_add(1, Ordering::Release);
    }
}

/// Lets every other processor begin with `job`.
pub(crate) fn start(job: Job) {
    *JOB.lock() = Some(job);
    DONE.store(0, Ordering::Relaxed);
    // ORDERING: release pairs with the acquire in `enter`.
    ROUND.fetch_add(1, Ordering::Release);
    for cpu in others() {
        ipi::reschedule(cpu);
    }
}

/// Runs `job` on every processor, this one included, and waits for all.
///
/// # Errors
/// When one is not done within `limit` of this one.
pub(crate) fn everywhere(job: Job, limit: Duration) -> Result<(), String> {
    start(job);
    job(percpu::current_cpu());
    let expected = others().count() as u32;
    let done = || {
        // ORDERING: acquire pairs with the release in `enter`.
        DONE.load(Ordering::Acquire)
    };
    if wait_until(limit, || done() == expected) {
        return Ok(());
    }
    Err(format!("{} of {expected} other processors did the job within {limit:?}", done()))
}

/// Whether every other processor has done the job of [`start`].
pub(crate) fn is_done() -> bool {
    // ORDERING: acquire pairs with the release in `enter`.
    DONE.load(Ordering::Acquire) == others().count() as u32
}

/// Every processor but the executing one.
pub(crate) fn others() -> impl Iterator<Item = CpuId> {
    let own = percpu::current_cpu();
    percpu::online().filter(move |cpu| *cpu != own)
}

/// Waits until `done` answers yes, at most for `limit`; returns the last answer.
pub(crate) fn wait_until(limit: Duration, done: impl Fn() -> bool) -> bool {
    let end = time::now() + limit;
    while !done() {
        if time::now() > end {
            return done();
        }
        core::hint::spin_loop();
    }
    true
}
