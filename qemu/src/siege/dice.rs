//! Numbers that look random and are the same for the same seed: [`Dice`] (SplitMix64, Steele, Lea and Flood 2014).

use std::{
    ops::Range,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// A source of numbers.
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    /// Makes the dice of a seed; neighbouring seeds have nothing in common.
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number of `range`, which is not empty.
    pub(super) fn number(&mut self, range: Range<u64>) -> u64 {
        let span = range.end.saturating_sub(range.start).max(1);
        range.start + self.next() % span
    }

    /// Returns a time below `limit`, to the microsecond.
    pub(super) fn time(&mut self, limit: Duration) -> Duration {
        Duration::from_micros(self.number(0..u64::try_from(limit.as_micros()).unwrap_or(u64::MAX)))
    }

    /// Returns one of `choices`, which are not empty.
    pub(super) fn one_of<T: Copy>(&mut self, choices: &[T]) -> Option<T> {
        let index = usize::try_from(self.number(0..choices.len() as u64)).unwrap_or_default();
        choices.get(index).copied()
    }
}

/// Returns a seed that nobody has asked for.
#[must_use]
pub fn any_seed() -> u64 {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // Few digits, as somebody may have to type it.
    u64::from(time.subsec_micros()) + 1_000_000 * (time.as_secs() % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_its_numbers_and_its_neighbour_has_others() {
        let numbers = |seed| {
            let mut dice = Dice::new(seed);
            [0; 8].map(|_| dice.number(0..1000))
        };
        assert_eq!(numbers(7), numbers(7));
        assert_ne!(numbers(7), numbers(8));
        assert!(numbers(9).iter().all(|number| *number < 1000));
    }

    #[test]
    fn every_choice_comes_up() {
        let mut dice = Dice::new(1);
        let mut seen = [false; 3];
        for _ in 0..100 {
            seen[dice.one_of(&[0_usize, 1, 2]).unwrap()] = true;
        }
        assert_eq!(seen, [true; 3]);
        assert_eq!(dice.one_of::<u8>(&[]), None);
    }
}
