//! The kernel's clock: [`now`], [`delay`], and how their frequency was found.
//!
//! The time stamp counter, scaled, if it proves itself: its frequency from CPUID or against HPET, PM timer or PIT (three
//! measurements that agree), and no processor's counter seen behind another's ([`warp`]). Otherwise the HPET's counter. All state
//! is a few atomics written at boot (and once more if a later processor disqualifies the TSC), so `now` is lock-free and usable in
//! any context, NMI included.

mod calibrate;
pub mod convert;
mod reading;
pub mod source;
pub mod warp;

use core::{
    sync::atomic::{AtomicU8, AtomicU64, Ordering},
    time::Duration,
};

use ksync::{Once, time::Instant};

pub use calibrate::{Calibration, Reference};
use convert::{Scale, scaled};
pub(crate) use reading::Reading;
use source::{Hpet, tsc};

use crate::entry;

const NONE: u8 = 0;
const TSC: u8 = 1;
const HPET: u8 = 2;

static SOURCE: AtomicU8 = AtomicU8::new(NONE);
static TSC_BASE: AtomicU64 = AtomicU64::new(0);
static TSC_MULTIPLIER: AtomicU64 = AtomicU64::new(0);
static TSC_HZ: AtomicU64 = AtomicU64::new(0);
static KEPT_HPET: Once<(Hpet, Scale)> = Once::new();
/// HPET counts (widened) at instant zero of the HPET clock, and nanoseconds to add.
static HPET_ZERO: AtomicU64 = AtomicU64::new(0);
static HPET_OFFSET: AtomicU64 = AtomicU64::new(0);
/// Widens a 32-bit HPET: the last widened value seen.
static HPET_LAST: AtomicU64 = AtomicU64::new(0);

/// The machine has no usable clock at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoClock;

/// Which clock runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockSource {
    /// None yet: time stands still.
    None,
    /// The time stamp counter.
    Tsc,
    /// The HPET.
    Hpet,
}

/// The clock in use.
#[must_use]
pub fn clock_source() -> ClockSource {
    match SOURCE.load(Ordering::Acquire) {
        TSC => ClockSource::Tsc,
        HPET => ClockSource::Hpet,
        _ => ClockSource::None,
    }
}

/// Calibrates and starts the clock, whose zero is the hand-over by the boot loader. Thread context at boot, once, bootstrap processor.
pub fn init(hpet_address: Option<u64>, fadt: &crate::acpi::Fadt) -> Result<Calibration, NoClock> {
    if let Some(hpet) = hpet_address.and_then(Hpet::start)
        && let Some(scale) = Scale::new(hpet.hz())
    {
        KEPT_HPET.call_once(|| (hpet, scale));
    }
    let hpet = KEPT_HPET.get().map(|(hpet, _)| hpet);
    if let Some((calibration, scale)) = calibrate::run(hpet, fadt) {
        // Zero is when the loader handed over, so that a stamp is the time the boot has taken.
        TSC_BASE.store(entry::counter(), Ordering::Relaxed);
        TSC_MULTIPLIER.store(scale.multiplier(), Ordering::Relaxed);
        TSC_HZ.store(scale.hz(), Ordering::Relaxed);
        // ORDERING: release pairs with the acquire in `now`: who sees the source sees its parameters.
        SOURCE.store(TSC, Ordering::Release);
        return Ok(calibration);
    }
    let hpet = hpet.ok_or(NoClock)?;
    start_hpet(0);
    Ok(Calibration { hz: hpet.hz(), reference: Reference::Hpet, samples: [hpet.hz(); 3] })
}

/// The HPET's count in 64 bits. A 32-bit counter wraps in 5 minutes at the slowest usual rate; the scheduler's timers read the
/// clock far more often than that.
fn hpet_count(hpet: &Hpet) -> u64 {
    hpet.count64().unwrap_or_else(|| {
        // ORDERING: relaxed; a single word that only moves forward.
        let last = HPET_LAST.load(Ordering::Relaxed);
        let step = hpet.count().wrapping_sub(last as u32);
        // Another processor may have read a later value meanwhile; a huge step is a small step back.
        let wide = if step > u32::MAX / 2 { last } else { last + u64::from(step) };
        HPET_LAST.fetch_max(wide, Ordering::Relaxed);
        wide
    })
}

fn start_hpet(offset: u64) -> bool {
    let Some((hpet, _)) = KEPT_HPET.get() else { return false };
    HPET_ZERO.store(hpet_count(hpet), Ordering::Relaxed);
    HPET_OFFSET.store(offset, Ordering::Relaxed);
    // ORDERING: release pairs with the acquire in `now`.
    SOURCE.store(HPET, Ordering::Release);
    true
}

/// Time since the boot loader handed over. Any context; monotonic per processor, and across processors as far as [`warp`] checked.
#[inline]
#[must_use]
pub fn now() -> Instant {
    // ORDERING: acquire pairs with the release in `init` and `start_hpet`.
    match SOURCE.load(Ordering::Acquire) {
        TSC => {
            let counts = tsc().wrapping_sub(TSC_BASE.load(Ordering::Relaxed));
            Instant::from_nanos(scaled(counts, TSC_MULTIPLIER.load(Ordering::Relaxed)))
        }
        HPET => hpet_now(),
        _ => Instant::ZERO,
    }
}

#[cold]
fn hpet_now() -> Instant {
    let Some((hpet, scale)) = KEPT_HPET.get() else { return Instant::ZERO };
    let counts = hpet_count(hpet).saturating_sub(HPET_ZERO.load(Ordering::Relaxed));
    Instant::from_nanos(HPET_OFFSET.load(Ordering::Relaxed) + scale.nanos(counts))
}

/// Spins for at least `duration`. Any context; meant for microseconds, never on the data path.
pub fn delay(duration: Duration) {
    if clock_source() == ClockSource::None {
        // Before calibration: every port access takes about a microsecond on a PC.
        for _ in 0..duration.as_micros() {
            let _ = crate::ports::PortIo::read8(&crate::ports::CpuPorts, 0x80);
        }
        return;
    }
    let end = now() + duration;
    while now() < end {
        core::hint::spin_loop();
    }
}

/// Waits for `window` by the clock, and returns how long that was by the clock and by the HPET, which is another. `None` without a
/// second clock. Thread context.
#[must_use]
pub fn compare(window: Duration) -> Option<(Duration, Duration)> {
    /// How often a reading is tried again because something came in between.
    const TRIES: u32 = 100;
    /// How far apart the readings of two clocks may be to count as one.
    const TOGETHER: Duration = Duration::from_micros(20);
    let (hpet, scale) = KEPT_HPET.get().filter(|_| clock_source() == ClockSource::Tsc)?;
    let both = || {
        let mut last = (now(), hpet_count(hpet));
        for _ in 0..TRIES {
            let before = now();
            last = (before, hpet_count(hpet));
            if now().saturating_duration_since(before) < TOGETHER {
                break;
            }
        }
        last
    };
    let (start, count) = both();
    delay(window);
    let (end, later) = both();
    let by_hpet = Duration::from_nanos(scale.nanos(later.wrapping_sub(count)));
    Some((end.saturating_duration_since(start), by_hpet))
}

/// The time stamp counter's rate in Hz if it is the clock.
#[must_use]
pub fn tsc_hz() -> Option<u64> {
    (clock_source() == ClockSource::Tsc).then(|| TSC_HZ.load(Ordering::Relaxed))
}

/// The time stamp counter's value at an instant; for TSC-deadline timers. `None` unless the TSC is the clock.
#[must_use]
pub fn tsc_at(instant: Instant) -> Option<u64> {
    let scale = Scale::new(tsc_hz()?)?;
    Some(TSC_BASE.load(Ordering::Relaxed).saturating_add(scale.counts(instant.as_nanos())))
}

/// Returns whether the processor promises that its time stamp counter runs at one rate, whatever state it is in.
#[must_use]
pub fn is_invariant() -> bool {
    // SDM volume 3, 18.17.1.
    raw_cpuid::cpuid!(0x8000_0000).eax >= 0x8000_0007 && raw_cpuid::cpuid!(0x8000_0007).edx & (1 << 8) != 0
}

/// Gives the TSC up for the HPET, continuing from the current time; a processor's counter was behind another's. False if there is
/// no HPET to fall back to (the TSC then stays, and the warp is on record).
pub(crate) fn distrust_tsc() -> bool {
    if clock_source() != ClockSource::Tsc {
        return true;
    }
    let at = now().as_nanos();
    start_hpet(at)
}
