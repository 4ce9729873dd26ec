//! Which sequence numbers have arrived: [`Seen`], one bit each.

/// A growing set of numbers that begin at zero and come nearly in order.
#[derive(Debug, Default)]
pub(super) struct Seen {
    words: Vec<u64>,
}

impl Seen {
    /// Adds `number`; returns whether it is new.
    pub(super) fn insert(&mut self, number: u64) -> bool {
        let Ok(index) = usize::try_from(number / 64) else { return false };
        if index >= self.words.len() {
            self.words.resize(index + 1, 0);
        }
        let bit = 1 << (number % 64);
        let Some(word) = self.words.get_mut(index) else { return false };
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_new_once() {
        let mut seen = Seen::default();
        for number in [0, 63, 64, 5, 1000] {
            assert!(seen.insert(number));
            assert!(!seen.insert(number));
        }
        assert!(seen.insert(999));
    }
}
