//! The local APIC timer as a one-shot alarm per processor: [`arm`] a deadline, get one interrupt at or after it.
//!
//! TSC-deadline mode where CPUID has it and the TSC is the clock; otherwise a count, calibrated once on the bootstrap processor
//! (all local timers of a machine run off the same clock). A deadline farther than the counter reaches fires early; the handler
//! looks at the clock and arms again, so callers need not know. Source: SDM volume 3, 11.5.4.

mod count;

use core::{
    sync::atomic::{AtomicU8, AtomicU64, Ordering},
    time::Duration,
};

use ksync::{Once, cpu::CpuId, time::Instant};

use crate::{
    apic::{self, regs::IA32_TSC_DEADLINE},
    irq::{self, vectors},
    msr,
    percpu::{self, CpuBlock},
    time::{
        self, Reading,
        convert::{Scale, measured_hz},
    },
};

/// Called in interrupt context, acknowledged, interrupts off. It may switch threads.
pub type ExpiryHook = fn(now: Instant);

const COUNT: u8 = 0;
const DEADLINE: u8 = 1;

static METHOD: AtomicU8 = AtomicU8::new(COUNT);
/// Rate of the count after the divider, in Hz.
static RATE: AtomicU64 = AtomicU64::new(0);
static HOOK: Once<ExpiryHook> = Once::new();

/// What drives the alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Counting down at this many Hz.
    Count(u64),
    /// Comparing with the time stamp counter.
    TscDeadline,
}

/// The timer could not be calibrated: it does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimerStopped;

/// Calibrates on the bootstrap processor and registers the interrupt. Thread context at boot, once, after the clock runs.
pub fn init() -> Result<Method, TimerStopped> {
    irq::set_system_handler(vectors::TIMER, |_| on_interrupt());
    let deadline_mode = raw_cpuid::cpuid!(1).ecx & (1 << 24) != 0;
    if deadline_mode && time::tsc_hz().is_some() {
        METHOD.store(DEADLINE, Ordering::Relaxed);
        init_cpu();
        return Ok(Method::TscDeadline);
    }
    let rate = calibrate().ok_or(TimerStopped)?;
    RATE.store(rate, Ordering::Relaxed);
    init_cpu();
    Ok(Method::Count(rate))
}

/// Sets the executing processor's timer entry up; it stays silent until [`arm`].
pub fn init_cpu() {
    let apic = apic::local();
    if METHOD.load(Ordering::Relaxed) == DEADLINE {
        apic.timer_deadline(vectors::TIMER);
        // The entry's write must be done before the first deadline is (SDM volume 3, 11.5.4.1): xAPIC memory and MSR writes are
        // not ordered with each other.
        // SAFETY: a fence touches nothing.
        unsafe { core::arch::asm!("mfence", options(nostack, preserves_flags)) };
    } else {
        apic.timer_one_shot(vectors::TIMER);
    }
}

/// Measures for a millisecond by the clock, each end read as closely as may be, since the boot waits for it. An error makes a timer
/// fire early, and then it is armed again; or late by so much.
fn calibrate() -> Option<u64> {
    const WINDOW: Duration = Duration::from_millis(1);
    let apic = apic::local();
    // Masked, so that running out raises nothing; only the count matters.
    apic.timer_one_shot_masked();
    apic.timer_start(u32::MAX);
    let read = || Reading::take(|| time::now().as_nanos(), || apic.timer_left());
    let from = read();
    time::delay(WINDOW);
    let to = read();
    apic.timer_mask();
    let counts = from.reference.checked_sub(to.reference)?;
    let rate = measured_hz(u64::from(counts), to.clock.saturating_sub(from.clock), 1_000_000_000)?;
    Scale::new(rate).map(Scale::hz)
}

/// Installs what happens on expiry; the first call wins.
pub fn set_hook(hook: ExpiryHook) {
    HOOK.call_once(|| hook);
}

/// Asks for an interrupt on this processor at `deadline`, replacing an earlier request. A deadline in the past fires at once.
///
/// Any context on this processor with interrupts off, or a thread that cannot move to another.
pub fn arm(deadline: Instant) {
    if METHOD.load(Ordering::Relaxed) == DEADLINE {
        // Zero would disarm; a past value fires at once.
        let at = time::tsc_at(deadline).unwrap_or(1).max(1);
        // SAFETY: CPUID said the register exists; it only times an interrupt.
        unsafe { msr::write(IA32_TSC_DEADLINE, at) };
        return;
    }
    let ahead = deadline.saturating_duration_since(time::now());
    apic::local().timer_start(count::ticks(ahead, RATE.load(Ordering::Relaxed)));
}

/// Forgets the request. The interrupt may already be on its way.
pub fn disarm() {
    if METHOD.load(Ordering::Relaxed) == DEADLINE {
        // SAFETY: as in `arm`; zero disarms.
        unsafe { msr::write(IA32_TSC_DEADLINE, 0) };
    } else {
        apic::local().timer_start(0);
    }
}

fn on_interrupt() {
    let block = percpu::this_block();
    CpuBlock::bump(&block.timer_ticks);
    let now = time::now();
    crate::acpi::on_timer(now);
    if let Some(hook) = HOOK.get() {
        hook(now);
    }
}

/// Timer interrupts a processor has taken.
#[must_use]
pub fn expiries(cpu: CpuId) -> u64 {
    percpu::block(cpu).timer_ticks.load(Ordering::Relaxed)
}

/// Goes back to counting, because the TSC is no longer the clock. While processors start; each calls [`init_cpu`] afterwards.
pub(crate) fn leave_deadline_mode() {
    if METHOD.load(Ordering::Relaxed) == DEADLINE {
        if let Some(rate) = calibrate() {
            RATE.store(rate, Ordering::Relaxed);
        }
        METHOD.store(COUNT, Ordering::Relaxed);
    }
    init_cpu();
}
