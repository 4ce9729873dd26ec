//! The ready threads of one CPU, in order: a pure data structure.
//!
//! One FIFO per priority, allocated once at full size, so that a wakeup in interrupt context allocates nothing. The order is the
//! priority, then the time of arrival; except that an item that has waited [`STARVATION`] is owed a turn.

use alloc::collections::VecDeque;

use ksync::time::Instant;

use crate::{MAX_THREADS, Priority, STARVATION};

/// An item and since when it has been ready.
struct Ready<T> {
    item: T,
    since: Instant,
}

/// Why an item was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// It was first.
    First,
    /// It had waited too long.
    Starved,
}

pub(crate) struct RunQueue<T> {
    /// Indexed by priority.
    levels: [VecDeque<Ready<T>>; Priority::COUNT],
}

impl<T> RunQueue<T> {
    pub(crate) fn new() -> Self {
        Self { levels: core::array::from_fn(|_| VecDeque::with_capacity(MAX_THREADS)) }
    }

    /// Queues behind its equals.
    pub(crate) fn push_back(&mut self, priority: Priority, item: T, since: Instant) {
        self.levels[priority as usize].push_back(Ready { item, since });
    }

    /// Queues before its equals: it was preempted and has part of its slice left.
    pub(crate) fn push_front(&mut self, priority: Priority, item: T, since: Instant) {
        self.levels[priority as usize].push_front(Ready { item, since });
    }

    /// Takes the item whose turn it is at `now`.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<(T, Reason)> {
        let top = self.levels.iter().rposition(|level| !level.is_empty())?;
        for level in self.levels[..top].iter_mut().rev() {
            if level.front().is_some_and(|ready| ready.since + STARVATION <= now) {
                return level.pop_front().map(|ready| (ready.item, Reason::Starved));
            }
        }
        self.levels[top].pop_front().map(|ready| (ready.item, Reason::First))
    }

    /// Takes the first item that satisfies `wanted`, highest priority first.
    pub(crate) fn take(&mut self, wanted: impl Fn(&T) -> bool) -> Option<T> {
        for level in self.levels.iter_mut().rev() {
            if let Some(index) = level.iter().position(|ready| wanted(&ready.item)) {
                return level.remove(index).map(|ready| ready.item);
            }
        }
        None
    }

    /// Returns the highest priority that is ready.
    pub(crate) fn best(&self) -> Option<Priority> {
        const ALL: [Priority; Priority::COUNT] =
            [Priority::Idle, Priority::Normal, Priority::Netisr, Priority::Realtime, Priority::Interrupt];
        let top = self.levels.iter().rposition(|level| !level.is_empty())?;
        Some(ALL[top])
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.levels.iter().all(VecDeque::is_empty)
    }

    /// Returns when the first item that waits below `running` will have starved.
    pub(crate) fn next_starvation(&self, running: Priority) -> Option<Instant> {
        let below = self.levels[..running as usize].iter();
        below.filter_map(|level| level.front()).map(|ready| ready.since + STARVATION).min()
    }
}

#[cfg(test)]
mod tests {
    use super::{Instant, Priority, Reason, RunQueue, STARVATION};

    const T0: Instant = Instant::ZERO;

    #[test]
    fn the_highest_priority_goes_first_and_equals_in_order_of_arrival() {
        let mut queue = RunQueue::new();
        queue.push_back(Priority::Normal, 1, T0);
        queue.push_back(Priority::Interrupt, 2, T0);
        queue.push_back(Priority::Interrupt, 3, T0);
        queue.push_front(Priority::Normal, 4, T0);
        assert_eq!(queue.best(), Some(Priority::Interrupt));
        let order: [_; 4] = core::array::from_fn(|_| queue.pop(T0).expect("four were pushed").0);
        assert_eq!(order, [2, 3, 4, 1]);
        assert!(queue.is_empty() && queue.pop(T0).is_none());
    }

    #[test]
    fn an_item_that_waited_too_long_is_owed_a_turn() {
        let mut queue = RunQueue::new();
        queue.push_back(Priority::Normal, 1, T0);
        let late = T0 + STARVATION;
        assert_eq!(queue.next_starvation(Priority::Interrupt), Some(late));
        assert_eq!(queue.next_starvation(Priority::Normal), None);
        queue.push_back(Priority::Interrupt, 2, late);
        queue.push_back(Priority::Interrupt, 3, late);
        assert_eq!(queue.pop(late), Some((1, Reason::Starved)));
        queue.push_back(Priority::Normal, 1, late);
        assert_eq!(queue.pop(late), Some((2, Reason::First)));
    }

    #[test]
    fn take_finds_an_item_anywhere() {
        let mut queue = RunQueue::new();
        queue.push_back(Priority::Normal, 1, T0);
        queue.push_back(Priority::Normal, 2, T0);
        assert_eq!(queue.take(|item| *item == 2), Some(2));
        assert_eq!(queue.take(|item| *item == 2), None);
        assert_eq!(queue.pop(T0), Some((1, Reason::First)));
    }
}
