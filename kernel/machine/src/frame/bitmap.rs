//! The frame allocator's arithmetic: one bit per frame, 1 means free. Pure, host-tested.
//!
//! Single frames come from the top, runs from the bottom, so that neither fragments the other. Scans go word by word.

use super::{FRAME_SIZE, FrameError, RunRequest};

/// Frames below this one (1 MiB) are only given to runs that end below it.
const LOW_FRAMES: usize = 256;
const WORD: usize = u64::BITS as usize;

/// A [`RunRequest`] in frames, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    count: usize,
    alignment: usize,
    /// 0 for none.
    boundary: usize,
    /// The first frame beyond the allowed range.
    limit: usize,
}

impl Run {
    /// Checks `request` and converts it to frames.
    pub(super) fn from_request(request: &RunRequest) -> Result<Self, FrameError> {
        let boundary = request.boundary;
        let bad_boundary = boundary != 0 && (!boundary.is_power_of_two() || boundary < FRAME_SIZE);
        if request.frames == 0 || !request.alignment.is_power_of_two() || bad_boundary {
            return Err(FrameError::Impossible);
        }
        let run = Self {
            count: request.frames,
            alignment: (request.alignment / FRAME_SIZE).max(1) as usize,
            boundary: (boundary / FRAME_SIZE) as usize,
            limit: request.max_addr.checked_add(1).map_or(usize::MAX, |end| (end / FRAME_SIZE) as usize),
        };
        if run.boundary != 0 && run.count > run.boundary {
            return Err(FrameError::Impossible);
        }
        Ok(run)
    }

    /// Returns the first start at or above `from` that satisfies alignment and boundary.
    fn fit(&self, from: usize) -> Option<usize> {
        let start = from.checked_next_multiple_of(self.alignment)?;
        let last = start.checked_add(self.count - 1)?;
        if self.boundary == 0 || start / self.boundary == last / self.boundary {
            return Some(start);
        }
        // Both are powers of two, so the next boundary multiple rounded up to the alignment starts a span that fits.
        (last / self.boundary * self.boundary).checked_next_multiple_of(self.alignment)
    }
}

/// The bitmap over frames `0..frames`.
#[derive(Debug)]
pub(super) struct FrameBitmap<'a> {
    words: &'a mut [u64],
    frames: usize,
    free: usize,
    total: usize,
    /// No frame in a word above this one is free.
    top_word: usize,
}

impl<'a> FrameBitmap<'a> {
    /// Takes a zeroed bitmap: nothing is free.
    pub(super) fn new(words: &'a mut [u64], frames: usize) -> Self {
        let frames = frames.min(words.len() * WORD);
        Self { words, frames, free: 0, total: 0, top_word: 0 }
    }

    /// Adds frames `first..end` at boot.
    pub(super) fn add_free(&mut self, first: usize, end: usize) {
        let (mut frame, end) = (first, end.min(self.frames));
        while frame < end {
            let in_word = (WORD - frame % WORD).min(end - frame);
            if in_word == WORD && self.words.get(frame / WORD) == Some(&0) {
                // The boot adds a gigabyte or more.
                self.free_word(frame / WORD);
                self.total += WORD;
            } else {
                for frame in frame..frame + in_word {
                    if !self.is_free(frame) {
                        self.mark_free(frame);
                        self.total += 1;
                    }
                }
            }
            frame += in_word;
        }
    }

    fn free_word(&mut self, index: usize) {
        if let Some(word) = self.words.get_mut(index) {
            *word = u64::MAX;
            self.free += WORD;
            self.top_word = self.top_word.max(index);
        }
    }

    /// Frames that were ever added.
    pub(super) fn total(&self) -> usize {
        self.total
    }

    /// Frames free now.
    pub(super) fn free(&self) -> usize {
        self.free
    }

    /// Takes the highest free frame at or above 1 MiB.
    pub(super) fn allocate_one(&mut self) -> Option<usize> {
        loop {
            let word = *self.words.get(self.top_word)?;
            if word != 0 {
                let frame = self.top_word * WORD + (WORD - 1 - word.leading_zeros() as usize);
                if frame < LOW_FRAMES {
                    return None;
                }
                self.mark_used(frame);
                return Some(frame);
            }
            self.top_word = self.top_word.checked_sub(1)?;
        }
    }

    /// Takes the lowest run from frame `first` on and below `end` that satisfies `run`.
    pub(super) fn allocate_run_within(&mut self, run: &Run, first: usize, end: usize) -> Option<usize> {
        let limit = run.limit.min(self.frames);
        let floor = if limit <= LOW_FRAMES { 0 } else { LOW_FRAMES };
        let limit = limit.min(end);
        let mut start = run.fit(floor.max(first))?;
        while start.checked_add(run.count)? <= limit {
            match self.last_used(start, start + run.count) {
                None => {
                    (start..start + run.count).for_each(|frame| self.mark_used(frame));
                    return Some(start);
                }
                Some(used) => start = run.fit(used + 1)?,
            }
        }
        None
    }

    /// Gives a run back, all or nothing.
    pub(super) fn free_run(&mut self, first: usize, count: usize) -> Result<(), FrameError> {
        let end = first.checked_add(count).ok_or(FrameError::NotAllocated)?;
        if count == 0 || first == 0 || end > self.frames || (first..end).any(|frame| self.is_free(frame)) {
            return Err(FrameError::NotAllocated);
        }
        (first..end).for_each(|frame| self.mark_free(frame));
        Ok(())
    }

    /// Returns the highest frame of `first..end` that is not free.
    fn last_used(&self, first: usize, end: usize) -> Option<usize> {
        let mut upper = end;
        while upper > first {
            let index = (upper - 1) / WORD;
            let bits_below = upper - index * WORD;
            let mask = if bits_below == WORD { u64::MAX } else { (1 << bits_below) - 1 };
            let used = !self.words.get(index).copied().unwrap_or(0) & mask;
            if used != 0 {
                let frame = index * WORD + (WORD - 1 - used.leading_zeros() as usize);
                return (frame >= first).then_some(frame);
            }
            upper = index * WORD;
        }
        None
    }

    fn is_free(&self, frame: usize) -> bool {
        self.words.get(frame / WORD).is_some_and(|word| word & (1 << (frame % WORD)) != 0)
    }

    fn mark_free(&mut self, frame: usize) {
        if let Some(word) = self.words.get_mut(frame / WORD) {
            *word |= 1 << (frame % WORD);
            self.free += 1;
            self.top_word = self.top_word.max(frame / WORD);
        }
    }

    fn mark_used(&mut self, frame: usize) {
        if let Some(word) = self.words.get_mut(frame / WORD) {
            *word &= !(1 << (frame % WORD));
            self.free -= 1;
        }
    }
}

#[cfg(test)]
mod tests;
