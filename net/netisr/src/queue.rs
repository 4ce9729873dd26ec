//! One CPU's queue: bounded, first in first out, with the wake-up decision under the same lock as the queue itself.
//!
//! Because "is the thread asleep" and "is the queue empty" are answered in one critical section, a wake-up cannot be lost: either the
//! thread sees the item before it decides to sleep, or the one who queued it sees that decision and wakes it. Any thread context.

use alloc::collections::VecDeque;

use ksync::SpinLock;

/// Packets a queue holds unless told otherwise (`net.isr.defaultqlimit`).
pub const DEFAULT_LIMIT: usize = 256;
/// Packets a queue may be told to hold (`net.isr.maxqlimit`).
pub const MAX_LIMIT: usize = 10_240;

/// Why an item was not queued; it is given back.
#[derive(Debug)]
pub(crate) enum Refusal<T> {
    Full(T),
    Closed(T),
}

/// What a queue has seen.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct QueueCounts {
    pub(crate) len: usize,
    pub(crate) watermark: usize,
    pub(crate) queued: u64,
    pub(crate) handled: u64,
    pub(crate) dropped: u64,
}

struct Items<T> {
    /// Its capacity is at least `limit`, so that pushing never allocates.
    items: VecDeque<(u16, T)>,
    limit: usize,
    /// Whether the thread is running or has been woken.
    awake: bool,
    closed: bool,
    counts: QueueCounts,
}

/// A queue of items, each with the number of its source.
pub(crate) struct Queue<T> {
    /// Protects: the queue, its counts, and whether its thread sleeps. Held across: a push, or moving a batch out.
    inner: SpinLock<Items<T>>,
}

impl<T> Queue<T> {
    pub(crate) fn new(limit: usize) -> Self {
        let limit = limit.clamp(1, MAX_LIMIT);
        let items = VecDeque::with_capacity(limit);
        let counts = QueueCounts::default();
        Self { inner: SpinLock::new(Items { items, limit, awake: false, closed: false, counts }) }
    }

    /// Appends an item. Returns whether the thread has to be woken.
    pub(crate) fn push(&self, source: u16, item: T) -> Result<bool, Refusal<T>> {
        let mut inner = self.inner.lock();
        if inner.closed {
            return Err(Refusal::Closed(item));
        }
        if inner.items.len() >= inner.limit {
            inner.counts.dropped += 1;
            return Err(Refusal::Full(item));
        }
        inner.items.push_back((source, item));
        inner.counts.queued += 1;
        inner.counts.watermark = inner.counts.watermark.max(inner.items.len());
        let wake = !inner.awake;
        inner.awake = true;
        Ok(wake)
    }

    /// Moves at most `limit` items out, in order. If there are none, the thread counts as asleep from now on.
    pub(crate) fn take(&self, limit: usize, mut sink: impl FnMut(u16, T)) -> usize {
        let mut inner = self.inner.lock();
        let count = inner.items.len().min(limit);
        for (source, item) in inner.items.drain(..count) {
            sink(source, item);
        }
        inner.counts.handled += count as u64;
        inner.awake = count != 0;
        count
    }

    /// Changes how many items may wait. Those over a lower limit stay; new ones are refused until there is room.
    pub(crate) fn set_limit(&self, limit: usize) {
        let limit = limit.clamp(1, MAX_LIMIT);
        // Memory is taken and given back outside the lock.
        let mut items = VecDeque::with_capacity(limit.max(self.counts().len));
        let mut inner = self.inner.lock();
        if items.capacity() >= inner.items.len().max(limit) {
            items.extend(inner.items.drain(..));
            core::mem::swap(&mut inner.items, &mut items);
            inner.limit = limit;
        } else {
            // The queue grew meanwhile beyond the new limit; its present room is larger than that.
            inner.limit = limit;
        }
        drop(inner);
        drop(items);
    }

    pub(crate) fn close(&self) {
        self.inner.lock().closed = true;
    }

    pub(crate) fn counts(&self) -> QueueCounts {
        let inner = self.inner.lock();
        QueueCounts { len: inner.items.len(), ..inner.counts }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, vec::Vec};

    use ksync::model::{check, park, spawn};

    use super::*;

    #[test]
    fn no_wake_up_is_lost() {
        check(|| {
            let queue = Arc::new(Queue::new(4));
            let server = {
                let queue = Arc::clone(&queue);
                spawn(move || {
                    let mut seen = Vec::new();
                    while seen.len() < 2 {
                        if queue.take(8, |_, item| seen.push(item)) == 0 {
                            park();
                        }
                    }
                    seen
                })
            };
            for item in 0..2 {
                if queue.push(0, item).expect("room") {
                    server.thread().unpark();
                }
            }
            assert_eq!(server.join().expect("the server ends"), [0, 1]);
        });
    }

    #[cfg(not(any(loom, shuttle)))]
    #[test]
    fn the_thread_is_woken_once_until_it_finds_the_queue_empty() {
        let queue = Queue::new(4);
        assert!(queue.push(0, 1).expect("room"));
        assert!(!queue.push(0, 2).expect("room"));
        assert_eq!(queue.take(8, |_, _| ()), 2);
        assert!(!queue.push(0, 3).expect("room"), "the thread is still up and will look again");
        assert_eq!(queue.take(8, |_, _| ()), 1);
        assert_eq!(queue.take(8, |_, _| ()), 0);
        assert!(queue.push(0, 4).expect("room"));
    }

    #[cfg(not(any(loom, shuttle)))]
    #[test]
    fn a_lower_limit_keeps_what_is_queued_and_refuses_more() {
        let queue = Queue::new(8);
        for item in 0..8 {
            queue.push(0, item).expect("room");
        }
        assert!(matches!(queue.push(0, 8), Err(Refusal::Full(8))));
        queue.set_limit(2);
        assert!(matches!(queue.push(0, 9), Err(Refusal::Full(9))));
        let mut seen = Vec::new();
        queue.take(7, |_, item| seen.push(item));
        queue.push(0, 10).expect("one of two places is free");
        assert!(matches!(queue.push(0, 11), Err(Refusal::Full(11))));
        queue.set_limit(100_000);
        for item in 12..100 {
            queue.push(0, item).expect("room");
        }
        queue.take(usize::MAX, |_, item| seen.push(item));
        let expected: Vec<i32> = (0..8).chain([10]).chain(12..100).collect();
        assert_eq!(seen, expected);
        let counts = queue.counts();
        assert_eq!((counts.queued, counts.handled, counts.dropped, counts.len), (97, 97, 3, 0));
    }
}
