//! The software watchdog: a heartbeat thread on every CPU, judged in the timer interrupts of that CPU and its neighbour.
//!
//! When a CPU's threads have not run for `debug.watchdog` seconds, or a shutdown is not over when it said it would be, the machine
//! panics: reason and backtrace are printed, every card's DMA is stopped, the dump is written, the machine restarts. The default
//! is long and is counted in looks ([`shutdown::Watch`]), so that a slow or suspended emulator does not fire it.
//!
//! A machine with one CPU that spins with interrupts off is beyond this watchdog: only hardware sees that.

use alloc::{boxed::Box, format, string::String};
use core::{fmt, sync::atomic::Ordering, time::Duration};

use ksync::{cpu::CpuId, time::Instant};
use machine::{kdb, percpu};
use shutdown::{Alarm, Watch};

use crate::{
    knobs::{self, Access, Knob},
    threads::{self, Class},
};

/// Looks without a heartbeat before the alarm, a second apart, unless set otherwise.
const DEFAULT_LIMIT: u32 = 60;
/// The longest that can be set: an hour.
const LONGEST: u32 = 3600;
/// Time between two heartbeats.
const PERIOD: Duration = Duration::from_secs(1);

static WATCH: Watch = Watch::new(DEFAULT_LIMIT);

/// The watchdog's settings.
pub(crate) const KNOBS: &[Knob] = &[Knob {
    name: "debug.watchdog",
    description: "seconds a CPU's threads may stand still before the machine restarts; 0: no matter how long",
    get: || format!("{}", WATCH.limit()),
    access: Access::Setting(set_limit),
}];

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
                threads::sleep(PERIOD);
            }
        };
        // Without a heartbeat the CPU is not judged; `spawn` has said why there is none.
        let _ = threads::spawn(&format!("watchdog {cpu}"), Class::Callout, Some(cpu), Box::new(move || beat()));
    }
}

/// States after what time the shutdown under way has to be over.
pub(crate) fn bound_shutdown(span: Duration) {
    WATCH.set_bound(u32::try_from(span.as_secs()).unwrap_or(u32::MAX).saturating_add(1));
}

/// Looks after this CPU and its neighbour. Timer interrupt.
pub(crate) fn look(now: Instant) {
    let me = percpu::current_cpu();
    match WATCH.look(me, neighbour(me), now) {
        None => {}
        Some(Alarm::Silent { cpu, looks }) => {
            let name = fmt::from_fn(|f| threads::write_name_on(cpu, f));
            // This CPU's own place is in the report.
            kdb::print_place_of(cpu, &name);
            panic!("watchdog timeout: no thread has run on cpu {cpu} for {looks} seconds")
        }
        Some(Alarm::Overdue { looks }) => panic!("watchdog timeout: the shutdown is not over after {looks} seconds"),
    }
}

/// Returns the next CPU that runs, which is this one if no other does.
fn neighbour(me: CpuId) -> CpuId {
    // ORDERING: acquire pairs with the release of the CPU that parks: a parked CPU beats no more and is not missed.
    let runs = |cpu: &CpuId| !percpu::block(*cpu).parked.load(Ordering::Acquire);
    let behind = percpu::online().filter(runs).find(|cpu| *cpu > me);
    behind.or_else(|| percpu::online().find(runs)).unwrap_or(me)
}
