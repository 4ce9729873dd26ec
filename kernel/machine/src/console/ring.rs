//! Two octet rings: [`Queue`] refuses what does not fit, [`History`] forgets its oldest lines. Pure, host-tested.

/// A bounded first-in first-out queue of octets; a push is all or nothing.
#[derive(Debug)]
pub(super) struct Queue<const N: usize> {
    octets: [u8; N],
    /// Total ever taken; `pushed - popped <= N`.
    popped: usize,
    /// Total ever put in.
    pushed: usize,
}

impl<const N: usize> Queue<N> {
    pub(super) const fn new() -> Self {
        Self { octets: [0; N], popped: 0, pushed: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pushed == self.popped
    }

    /// Puts all of `text` in, or nothing; text longer than the whole queue goes in when the queue is empty, cut.
    pub(super) fn push(&mut self, text: &[u8]) -> bool {
        let used = self.pushed - self.popped;
        let text = if used == 0 { text.get(..text.len().min(N)).unwrap_or_default() } else { text };
        if text.len() > N - used {
            return false;
        }
        for (at, octet) in (self.pushed..).zip(text) {
            self.octets[at % N] = *octet;
        }
        self.pushed += text.len();
        true
    }

    /// Takes up to `out.len()` octets.
    pub(super) fn pop(&mut self, out: &mut [u8]) -> usize {
        let count = out.len().min(self.pushed - self.popped);
        for (slot, at) in out.iter_mut().zip(self.popped..self.popped + count) {
            *slot = self.octets[at % N];
        }
        self.popped += count;
        count
    }
}

/// The last `N` octets of text, without the torn line at the front.
#[derive(Debug)]
pub(super) struct History<const N: usize> {
    octets: [u8; N],
    /// Total ever put in; positions count from the first octet ever.
    end: usize,
}

impl<const N: usize> History<N> {
    pub(super) const fn new() -> Self {
        Self { octets: [0; N], end: 0 }
    }

    /// Appends `text`, overwriting the oldest.
    pub(super) fn push(&mut self, text: &[u8]) {
        for octet in text {
            self.octets[self.end % N] = *octet;
            self.end += 1;
        }
    }

    /// Returns the position of the oldest whole line.
    pub(super) fn start(&self) -> usize {
        match self.end.checked_sub(N) {
            None | Some(0) => 0,
            // The octet before the oldest is gone, so the line it belonged to may be torn: skip to behind the first newline.
            Some(oldest) => {
                (oldest..self.end).find(|at| self.octets[at % N] == b'\n').map_or(oldest, |newline| newline + 1)
            }
        }
    }

    /// Returns the position of the first line that begins in the last `limit` octets.
    pub(super) fn last(&self, limit: usize) -> usize {
        let oldest = self.end.saturating_sub(limit.min(N));
        if oldest <= self.start() {
            return self.start();
        }
        // A line that begins exactly there counts; otherwise it is the next.
        let before = oldest - 1;
        (before..self.end).find(|at| self.octets[at % N] == b'\n').map_or(self.end, |newline| newline + 1)
    }

    /// Copies from `position` on and returns the position behind the copy and its length; what has been overwritten is skipped.
    pub(super) fn copy_from(&self, position: usize, out: &mut [u8]) -> (usize, usize) {
        let from = if position < self.end.saturating_sub(N) { self.start() } else { position };
        let count = out.len().min(self.end - from);
        for (slot, at) in out.iter_mut().zip(from..from + count) {
            *slot = self.octets[at % N];
        }
        (from + count, count)
    }

    /// Calls `reader` with everything, oldest first.
    pub(super) fn read(&self, mut reader: impl FnMut(&[u8])) {
        let mut position = self.start();
        let mut piece = [0; 128];
        loop {
            let (next, count) = self.copy_from(position, &mut piece);
            if count == 0 {
                return;
            }
            position = next;
            reader(piece.get(..count).unwrap_or_default());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::{History, Queue};

    fn text<const N: usize>(history: &History<N>) -> Vec<u8> {
        let mut text = Vec::new();
        history.read(|piece| text.extend_from_slice(piece));
        text
    }

    #[test]
    fn a_queue_keeps_order_across_its_end_and_refuses_what_does_not_fit() {
        let mut queue = Queue::<8>::new();
        let mut out = [0; 8];
        assert!(queue.push(b"abcde"));
        assert!(!queue.push(b"fghi"), "all or nothing");
        assert_eq!(queue.pop(&mut out[..3]), 3);
        assert!(queue.push(b"fghi"));
        assert_eq!(queue.pop(&mut out), 6);
        assert_eq!(&out[..6], b"defghi");
        assert!(queue.is_empty());
    }

    #[test]
    fn the_last_lines_begin_with_a_whole_one() {
        let mut history = History::<32>::new();
        history.push(b"one\ntwo\nthree\n");
        let last = |history: &History<32>, limit| {
            let mut out = [0; 32];
            let (_, count) = history.copy_from(history.last(limit), &mut out);
            out[..count].to_vec()
        };
        assert_eq!(last(&history, 100), b"one\ntwo\nthree\n");
        assert_eq!(last(&history, 10), b"two\nthree\n");
        assert_eq!(last(&history, 9), b"three\n");
        assert_eq!(last(&history, 3), b"");
        history.push(b"a line that is as long as this one\nend\n");
        assert_eq!(last(&history, 10), b"end\n");
        assert_eq!(last(&history, 4), b"end\n");
        assert_eq!(last(&history, 32), b"end\n");
    }

    #[test]
    fn text_longer_than_the_queue_does_not_block_it_for_ever() {
        let mut queue = Queue::<4>::new();
        assert!(queue.push(b"abcdef"));
        let mut out = [0; 8];
        assert_eq!(queue.pop(&mut out), 4);
    }

    #[test]
    fn history_starts_with_a_whole_line_after_it_wrapped() {
        let mut history = History::<16>::new();
        history.push(b"first\nsecond\n");
        assert_eq!(text(&history), b"first\nsecond\n");
        history.push(b"third\n");
        assert_eq!(text(&history), b"second\nthird\n");
    }

    #[test]
    fn a_reader_that_was_overtaken_continues_with_a_whole_line() {
        let mut history = History::<16>::new();
        history.push(b"first\nsecond\n");
        history.push(b"third line\n");
        let mut out = [0; 32];
        let (_, count) = history.copy_from(2, &mut out);
        assert_eq!(&out[..count], b"third line\n");
    }
}
