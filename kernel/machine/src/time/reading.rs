//! Two counters at one moment, on a machine that may be paused between any two instructions.
//!
//! Key type: [`Reading`]. Two of them, a window apart, are a calibration. Context: any.

/// How often both counters are read for one [`Reading`].
const READINGS: usize = 5;

/// A clock and a reference at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    pub(crate) clock: u64,
    pub(crate) reference: u32,
}

impl Reading {
    /// Reads both: the reference between two looks at the clock, some times, and what lay closest together counts. A pause of the
    /// machine between two readings of hundreds of nanoseconds does no harm then.
    pub(crate) fn take(mut clock: impl FnMut() -> u64, mut reference: impl FnMut() -> u32) -> Self {
        let mut closest = u64::MAX;
        let mut reading = Self { clock: 0, reference: 0 };
        for _ in 0..READINGS {
            let before = clock();
            let count = reference();
            let apart = clock().wrapping_sub(before);
            if apart < closest {
                closest = apart;
                reading = Self { clock: before.wrapping_add(apart / 2), reference: count };
            }
        }
        reading
    }
}

#[cfg(test)]
mod tests {
    use super::Reading;

    #[test]
    fn of_several_readings_the_one_least_disturbed_counts() {
        // The reference is read 1000, 10 and 400 counts apart from the clock; the other two readings repeat the first.
        let mut clock = [0, 1000, 2000, 2010, 3000, 3400, 4000, 5000, 6000, 7000].into_iter();
        let mut reference = [1, 2, 3, 4, 5].into_iter();
        let reading = Reading::take(|| clock.next().unwrap(), || reference.next().unwrap());
        assert_eq!((reading.clock, reading.reference), (2005, 2));
    }
}
