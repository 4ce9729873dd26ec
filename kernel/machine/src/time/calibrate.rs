//! Finding the time stamp counter's frequency. Thread context at boot, bootstrap processor.

use super::{
    Reading,
    convert::{PIT_HZ, PM_TIMER_HZ, Scale, agree, cpuid_hz, measured_hz, median},
    source::{Hpet, PmTimer, pit_countdown, tsc_ordered},
};
use crate::{
    acpi::Fadt,
    ports::{CpuPorts, PortIo},
};

/// What the frequency was measured against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reference {
    /// CPUID leaves 15h and 16h state it.
    Cpuid,
    /// The HPET's main counter.
    Hpet,
    /// The ACPI PM timer.
    PmTimer,
    /// PIT channel 2.
    Pit,
}

/// A frequency and where it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Calibration {
    /// In Hz.
    pub hz: u64,
    /// Measured against.
    pub reference: Reference,
    /// The three measurements, in Hz.
    pub samples: [u64; 3],
}

/// Length of one measurement, as a fraction of a second: short, since the boot waits for it; [`Reading`] makes up for it.
const WINDOWS_PER_SECOND: u64 = 500;
/// The same for the PIT, which can only be read by counting down.
const PIT_WINDOWS_PER_SECOND: u64 = 100;
/// Measurements tried before a disagreeing reference is given up.
const ROUNDS: usize = 3;

/// The frequency by the first reference that yields agreeing measurements.
pub(super) fn run(hpet: Option<&Hpet>, fadt: &Fadt) -> Option<(Calibration, Scale)> {
    let calibration = by_cpuid()
        .or_else(|| hpet.and_then(|hpet| by_measuring(Reference::Hpet, || against_hpet(hpet))))
        .or_else(|| {
            let timer = PmTimer::find(fadt, &CpuPorts)?;
            by_measuring(Reference::PmTimer, || against_pm_timer(&timer, &CpuPorts))
        })
        .or_else(|| by_measuring(Reference::Pit, || against_pit(&CpuPorts)))?;
    Some((calibration, Scale::new(calibration.hz)?))
}

fn by_cpuid() -> Option<Calibration> {
    let highest = raw_cpuid::cpuid!(0).eax;
    if highest < 0x15 {
        return None;
    }
    let leaf = raw_cpuid::cpuid!(0x15);
    let base_mhz = if highest >= 0x16 { raw_cpuid::cpuid!(0x16).eax & 0xFFFF } else { 0 };
    let hz = cpuid_hz(leaf.eax, leaf.ebx, leaf.ecx, base_mhz)?;
    Scale::new(hz)?;
    Some(Calibration { hz, reference: Reference::Cpuid, samples: [hz; 3] })
}

fn by_measuring(reference: Reference, mut measure: impl FnMut() -> Option<u64>) -> Option<Calibration> {
    let mut best = None;
    for _ in 0..ROUNDS {
        let samples = [measure()?, measure()?, measure()?];
        let calibration = Calibration { hz: median(samples), reference, samples };
        if agree(samples) {
            return Some(calibration);
        }
        best = Some(calibration);
    }
    // A busy host disturbs every round under emulation; the median of the last one is still the best there is.
    best
}

/// The frequency of the time stamp counter against a counter of `hz`, over one window.
fn against(mut count: impl FnMut() -> u32, elapsed: impl Fn(u32, u32) -> u32, hz: u64) -> Option<u64> {
    let window = u32::try_from(hz / WINDOWS_PER_SECOND).ok()?;
    let from = Reading::take(tsc_ordered, &mut count);
    while elapsed(from.reference, count()) < window {
        core::hint::spin_loop();
    }
    let to = Reading::take(tsc_ordered, &mut count);
    measured_hz(to.clock.wrapping_sub(from.clock), u64::from(elapsed(from.reference, to.reference)), hz)
}

fn against_hpet(hpet: &Hpet) -> Option<u64> {
    against(|| hpet.count(), |from, to| to.wrapping_sub(from), hpet.hz())
}

fn against_pm_timer(timer: &PmTimer, ports: &impl PortIo) -> Option<u64> {
    against(|| timer.count(ports), |from, to| timer.elapsed(from, to), PM_TIMER_HZ)
}

fn against_pit(ports: &impl PortIo) -> Option<u64> {
    let window = u16::try_from(PIT_HZ / PIT_WINDOWS_PER_SECOND).ok()?;
    let (from, mut to) = (tsc_ordered(), 0);
    let done = pit_countdown(ports, window, || to = tsc_ordered());
    done.then(|| measured_hz(to.wrapping_sub(from), u64::from(window), PIT_HZ)).flatten()
}
