//! The wakeup times of one CPU's sleepers: a pure data structure.
//!
//! Sorted, latest first, so that due items leave from the end; allocated once at full size. With a few dozen sleepers, moving entries on
//! insertion is cheaper than any cleverer shape.

use alloc::vec::Vec;

use ksync::time::Instant;

use crate::MAX_THREADS;

pub(crate) struct Timers<T> {
    /// Deadlines descend; equal ones leave in order of arrival.
    pending: Vec<(Instant, T)>,
}

impl<T> Timers<T> {
    pub(crate) fn new() -> Self {
        Self { pending: Vec::with_capacity(MAX_THREADS) }
    }

    pub(crate) fn insert(&mut self, deadline: Instant, item: T) {
        let at = self.pending.partition_point(|(other, _)| *other > deadline);
        self.pending.insert(at, (deadline, item));
    }

    /// Takes an item that is due at `now`.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<T> {
        let due = self.pending.last().is_some_and(|(deadline, _)| *deadline <= now);
        if due { self.pending.pop().map(|(_, item)| item) } else { None }
    }

    /// Forgets the first item that satisfies `unwanted`.
    pub(crate) fn remove(&mut self, unwanted: impl Fn(&T) -> bool) -> Option<T> {
        let at = self.pending.iter().position(|(_, item)| unwanted(item))?;
        Some(self.pending.remove(at).1)
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.pending.last().map(|(deadline, _)| *deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::{Instant, Timers};

    #[test]
    fn items_leave_in_order_of_deadline_and_equal_ones_in_order_of_arrival() {
        let mut timers = Timers::new();
        for (deadline, item) in [(5, 'd'), (1, 'a'), (3, 'b'), (3, 'c')] {
            timers.insert(Instant::from_secs(deadline), item);
        }
        assert_eq!(timers.next(), Some(Instant::from_secs(1)));
        assert_eq!(timers.pop_due(Instant::ZERO), None);
        let now = Instant::from_secs(3);
        assert_eq!(timers.pop_due(now), Some('a'));
        assert_eq!(timers.pop_due(now), Some('b'));
        assert_eq!(timers.pop_due(now), Some('c'));
        assert_eq!(timers.pop_due(now), None);
        assert_eq!(timers.remove(|item| *item == 'd'), Some('d'));
        assert_eq!(timers.next(), None);
    }
}
