//! How much a thread does in one run, by how much waits for it: [`Overload`].

/// Batches in a run, at most: what a run costs beside its packets is spread over so many.
const BATCHES: usize = 4;
/// The same under overload. What a device is told of at once an emulator sends within the register write, under a lock for which its receiving
/// loop waits: in larger pieces they are less in each other's way.
const BATCHES_UNDER_OVERLOAD: usize = 8;
/// Frames that wait in the ring when overload begins: most of the smallest usual one.
const BEGINS: usize = 1080;
/// Frames that wait in the ring as long as it lasts.
const LASTS: usize = super::BACKLOG;

/// Whether more comes to a ring than its thread forwards.
#[derive(Debug, Default)]
pub(super) struct Overload {
    is_on: bool,
}

impl Overload {
    /// Returns how many batches the next run may have. `has_backlog` says whether at least so many frames wait; it is asked once.
    #[inline]
    pub(super) fn batches(&mut self, has_backlog: impl FnOnce(usize) -> bool) -> usize {
        self.is_on = has_backlog(if self.is_on { LASTS } else { BEGINS });
        if self.is_on { BATCHES_UNDER_OVERLOAD } else { BATCHES }
    }
}

#[cfg(test)]
mod tests {
    use e1000::Config;

    use super::*;

    #[test]
    fn overload_begins_with_a_full_ring_and_lasts_until_it_is_nearly_served() {
        let mut overload = Overload::default();
        let runs =
            [0, 1079, 1080, 1079, 128, 127, 1079, 1080].map(|waiting| overload.batches(|frames| waiting >= frames));
        assert_eq!(runs, [4, 4, 8, 8, 8, 4, 4, 8]);
    }

    #[test]
    fn every_usual_ring_can_be_so_full() {
        // A thread under overload gives three quarters back at once, and so many come.
        for queues in [1, 2] {
            let [rx, _] = Config::descriptors(queues).map(usize::from);
            assert!(BEGINS <= rx * 3 / 4, "{queues}");
        }
    }
}
