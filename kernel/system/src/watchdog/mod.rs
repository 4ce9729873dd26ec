//! The software watchdog: a heartbeat thread on every CPU, judged in the timer interrupts of that CPU and its neighbour; and the
//! interrupt threads, judged by the boot CPU.
//!
//! When a CPU's threads have not run for `debug.watchdog` seconds, an interrupt thread has had work and has not got on with it for as
//! long, or a shutdown is not over when it said it would be, the machine panics: reason and backtrace are printed, every card's DMA is
//! stopped, the dump is written, the machine restarts. The default is long and is counted in looks ([`shutdown::Watch`]), so that
//! a slow or suspended emulator does not fire it.
//!
//! A machine with one CPU that spins with interrupts off is beyond this watchdog; [`mod@hardware`] is the one that sees it.

pub(crate) mod hardware;
mod registers;

use alloc::{boxed::Box, format, string::String};
use core::{
    fmt::{self, Write},
    sync::atomic::Ordering,
    time::Duration,
};

use arrayvec::ArrayString;
use ksync::{atomic::AtomicU64, cpu::CpuId, time::Instant};
use machine::{console, kdb, percpu, time};
use shutdown::{Alarm, Progress, Roll, Watch};

use crate::{
    culprit,
    knobs::{self, Access, Knob},
    lines,
    threads::{self, Class},
};

/// Looks without a heartbeat before the alarm, a second apart, unless set otherwise.
const DEFAULT_LIMIT: u32 = 60;
/// The longest that can be set: an hour.
const LONGEST: u32 = 3600;
/// Time between two heartbeats.
const PERIOD: Duration = Duration::from_secs(1);

/// Looks in a row at an interrupt thread that has not got on, before the hardware is not fed any more.
const PATIENCE: u32 = 5;

static WATCH: Watch = Watch::new(DEFAULT_LIMIT);
static ROLL: Roll = Roll::new();
/// The interrupt threads, in the order of their lines. Used by the boot CPU alone, as the next.
static THREADS: [Progress; lines::MAX_LINES] = [const { Progress::new() }; lines::MAX_LINES];
/// When the boot CPU makes its round again, in nanoseconds since boot.
static NEXT_ROUND: AtomicU64 = AtomicU64::new(0);

/// The watchdog's settings.
pub(crate) const KNOBS: &[Knob] = &[
    Knob {
        name: "debug.watchdog",
        description: "seconds a CPU or an interrupt thread may stand still before the machine restarts; 0: no matter how long",
        get: || format!("{}", WATCH.limit()),
        access: Access::Setting(set_limit),
    },
    hardware::KNOB,
];

fn set_limit(text: &str) -> Result<(), String> {
    WATCH.set_limit(knobs::number(text, 0, LONGEST)?);
    Ok(())
}

/// Starts a heartbeat on every CPU. Context: the first thread.
pub(crate) fn start() {
    for cpu in percpu::online() {
        let beat = move || -> ! {
            loop {
                WATCH.beat(cpu);
                // With the other things that are done once a second.
                let now = time::now();
                threads::sleep(now.next_multiple_of(PERIOD).saturating_duration_since(now));
            }
        };
        // Without a heartbeat the CPU is not judged; `spawn` has said why there is none.
        let _ = threads::spawn(&format!("watchdog {cpu}"), Class::Callout, Some(cpu), Box::new(move || beat()));
    }
}

/// States after what time the shutdown under way has to be over.
pub(crate) fn bound_shutdown(span: Duration) {
    hardware::bound_shutdown(span);
    WATCH.set_bound(u32::try_from(span.as_secs()).unwrap_or(u32::MAX).saturating_add(1));
}

/// Looks after this CPU and its neighbour; the boot CPU also after the interrupt threads and the hardware. Timer interrupt.
pub(crate) fn look(now: Instant) {
    let me = percpu::current_cpu();
    if let Some(alarm) = WATCH.look(me, neighbour(me), now) {
        raise(alarm);
    }
    if me == CpuId::BOOT && now.as_nanos() >= NEXT_ROUND.load(Ordering::Relaxed) {
        NEXT_ROUND.store((now + PERIOD).as_nanos(), Ordering::Relaxed);
        round(now);
    }
}

/// Once a second: does every interrupt thread get on, does every CPU live? Then the hardware is fed.
fn round(now: Instant) {
    let (limit, mut slowest) = (WATCH.limit(), 0);
    for (event, progress) in lines::events().zip(&THREADS) {
        let (passes, has_work) = event.progress();
        let looks = progress.look(passes, has_work);
        slowest = slowest.max(looks);
        if limit > 0
            && looks >= limit
            && let Some(alarm) = WATCH.tell(Alarm::Stuck { irq: event.irq(), looks })
        {
            raise(alarm);
        }
    }
    hardware::feed(now, || slowest < PATIENCE && WATCH.have_all_beaten(|| percpu::online().filter(runs), &ROLL));
}

/// Ends the machine with the reason, and the place of who is to blame.
fn raise(alarm: Alarm) {
    match alarm {
        Alarm::Silent { cpu, looks } => {
            let name = fmt::from_fn(|f| threads::write_name_on(cpu, f));
            // This CPU's own place is in the report.
            kdb::print_place_of(cpu, &name);
            panic!("watchdog timeout: no thread has run on cpu {cpu} for {looks} seconds")
        }
        Alarm::Stuck { irq, looks } => {
            let mut name = ArrayString::<16>::new();
            // A number and five letters fit.
            let _ = write!(name, "irq{irq}:");
            culprit::explain_thread("watchdog", &name, &mut |line| console::message(format_args!("{line}\n")));
            panic!("watchdog timeout: the thread of irq {irq} has not got on for {looks} seconds")
        }
        Alarm::Overdue { looks } => panic!("watchdog timeout: the shutdown is not over after {looks} seconds"),
    }
}

/// Whether a CPU takes part: one that was parked does not, and is not missed.
fn runs(cpu: &CpuId) -> bool {
    // ORDERING: acquire pairs with the release of the CPU that parks: a parked CPU beats no more and is not missed.
    !percpu::block(*cpu).parked.load(Ordering::Acquire)
}

/// Returns the next CPU that runs, which is this one if no other does.
fn neighbour(me: CpuId) -> CpuId {
    let behind = percpu::online().filter(runs).find(|cpu| *cpu > me);
    behind.or_else(|| percpu::online().find(runs)).unwrap_or(me)
}

/// Writes `show watchdog`.
pub(crate) fn show(out: &mut dyn Write) -> fmt::Result {
    let (cpus, threads) = (percpu::online().filter(runs).count(), lines::events().count());
    match WATCH.limit() {
        0 => writeln!(out, "software: off")?,
        limit => {
            writeln!(out, "software: {limit} s; watches {cpus} CPUs and the threads of {threads} interrupt lines")?;
        }
    }
    hardware::show(out)
}
