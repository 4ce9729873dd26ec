//! Arithmetic of clocks: frequencies from measurements, counts to nanoseconds. Pure; any context.

/// PM timer frequency in Hz (ACPI 6.5, 4.8.3.3).
pub const PM_TIMER_HZ: u64 = 3_579_545;
/// PIT frequency in Hz, the same crystal divided by three.
pub const PIT_HZ: u64 = 1_193_182;
/// Nanoseconds in a second.
pub const NANOS: u64 = 1_000_000_000;

/// Multiplies counts to nanoseconds: `ns = counts * multiplier >> 32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scale {
    multiplier: u64,
    hz: u64,
}

impl Scale {
    /// For a counter of `hz`; `None` outside 1 kHz to 100 GHz, where a measurement is nonsense.
    #[must_use]
    pub fn new(hz: u64) -> Option<Self> {
        if !(1_000..=100_000_000_000).contains(&hz) {
            return None;
        }
        let multiplier = u64::try_from((u128::from(NANOS) << 32) / u128::from(hz)).ok()?;
        Some(Self { multiplier, hz })
    }

    /// The frequency in Hz.
    #[must_use]
    pub const fn hz(self) -> u64 {
        self.hz
    }

    /// Nanoseconds in `counts`. Exact to one part in 2^32; does not overflow within 500 years.
    #[inline]
    #[must_use]
    pub const fn nanos(self, counts: u64) -> u64 {
        ((counts as u128 * self.multiplier as u128) >> 32) as u64
    }

    /// Counts in `nanos`, rounded up, saturating.
    #[inline]
    #[must_use]
    pub const fn counts(self, nanos: u64) -> u64 {
        let exact = (nanos as u128 * self.hz as u128).div_ceil(NANOS as u128);
        if exact > u64::MAX as u128 { u64::MAX } else { exact as u64 }
    }

    /// The multiplier, for storage in one atomic word.
    #[must_use]
    pub const fn multiplier(self) -> u64 {
        self.multiplier
    }
}

/// Nanoseconds in `counts` at a stored multiplier.
#[inline]
#[must_use]
pub const fn scaled(counts: u64, multiplier: u64) -> u64 {
    ((counts as u128 * multiplier as u128) >> 32) as u64
}

/// Frequency of a counter that advanced `counts` while a reference of `reference_hz` advanced `reference`.
#[must_use]
pub fn measured_hz(counts: u64, reference: u64, reference_hz: u64) -> Option<u64> {
    if reference == 0 {
        return None;
    }
    u64::try_from(u128::from(counts) * u128::from(reference_hz) / u128::from(reference)).ok()
}

/// Time stamp counter frequency by CPUID leaves 15h (`denominator`, `numerator`, `crystal` in Hz) and 16h (`base_mhz`).
///
/// Leaf 15h without a crystal frequency is completed from the base frequency, as SDM volume 3, 19.7.3 shows.
#[must_use]
pub fn cpuid_hz(denominator: u32, numerator: u32, crystal: u32, base_mhz: u32) -> Option<u64> {
    if denominator == 0 || numerator == 0 {
        return None;
    }
    if crystal != 0 {
        return Some(u64::from(crystal) * u64::from(numerator) / u64::from(denominator));
    }
    (base_mhz != 0).then(|| u64::from(base_mhz) * 1_000_000)
}

/// Distance between two readings of a counter `bits` wide that may have wrapped once.
#[must_use]
pub const fn elapsed(from: u32, to: u32, bits: u32) -> u32 {
    let mask = if bits >= 32 { u32::MAX } else { (1 << bits) - 1 };
    to.wrapping_sub(from) & mask
}

/// The middle of three: one measurement disturbed by a pause of the whole machine does not decide.
#[must_use]
pub fn median(mut samples: [u64; 3]) -> u64 {
    samples.sort_unstable();
    samples[1]
}

/// True if the samples lie within one percent of their median.
#[must_use]
pub fn agree(samples: [u64; 3]) -> bool {
    let middle = median(samples);
    samples.iter().all(|&sample| sample.abs_diff(middle) <= middle / 100)
}

#[cfg(test)]
mod tests {
    use super::{NANOS, PM_TIMER_HZ, Scale, agree, cpuid_hz, elapsed, measured_hz, median};

    #[test]
    fn nanoseconds_do_not_drift_over_a_year() {
        for hz in [1_000_000u64, 14_318_180, 2_399_987_654, 5_000_000_000] {
            let scale = Scale::new(hz).unwrap();
            let year = 365 * 86_400;
            let off = scale.nanos(hz * year).abs_diff(NANOS * year);
            assert!(off < NANOS, "{hz} Hz is off by {off} ns a year");
        }
    }

    #[test]
    fn counts_round_up_so_that_a_timer_never_fires_early() {
        let scale = Scale::new(1_500).unwrap();
        assert_eq!((scale.counts(0), scale.counts(1), scale.counts(666_666), scale.counts(666_667)), (0, 1, 1, 2));
        assert_eq!(Scale::new(100_000_000_000).unwrap().counts(u64::MAX), u64::MAX);
    }

    #[test]
    fn frequencies_of_nonsense_are_refused() {
        assert!(Scale::new(0).is_none() && Scale::new(999).is_none() && Scale::new(u64::MAX).is_none());
        assert_eq!(measured_hz(5, 0, PM_TIMER_HZ), None);
    }

    #[test]
    fn a_measurement_over_ten_milliseconds_gives_the_frequency() {
        assert_eq!(measured_hz(24_000_000, PM_TIMER_HZ / 100, PM_TIMER_HZ), Some(2_400_030_171));
    }

    #[test]
    fn cpuid_gives_the_frequency_with_and_without_a_crystal() {
        assert_eq!(cpuid_hz(2, 216, 24_000_000, 0), Some(2_592_000_000));
        assert_eq!(cpuid_hz(2, 216, 0, 2_600), Some(2_600_000_000));
        assert_eq!((cpuid_hz(0, 0, 0, 2_600), cpuid_hz(2, 216, 0, 0)), (None, None));
    }

    #[test]
    fn a_24_bit_timer_may_wrap_once() {
        assert_eq!(elapsed(0x00FF_FFF0, 0x10, 24), 0x20);
        assert_eq!(elapsed(0xFFFF_FFF0, 0x10, 32), 0x20);
    }

    #[test]
    fn one_disturbed_sample_is_outvoted_but_noticed() {
        assert_eq!(median([1_000, 5_000, 1_001]), 1_001);
        assert!(agree([1_000, 1_005, 1_001]) && !agree([1_000, 5_000, 1_001]));
    }
}
