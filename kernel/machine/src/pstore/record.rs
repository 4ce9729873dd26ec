//! One record: text that is whole at every instant. Pure, host-tested.
//!
//! | words | what |
//! |---|---|
//! | 0 | which kind of record, and that it is one |
//! | 1 | format version (high half) and number of the run that writes it (low half) |
//! | 2 | the commit: length of the text, a bit for "finished" (high half), CRC-32 (low half) |
//! | 3 to 7 | nothing; the text begins with a cache line of its own |
//! | from 8 | the text, UTF-8 |
//!
//! Text is written first and the commit after it, in one store, so whenever the machine is reset the record holds exactly what was
//! committed. The CRC covers words 0 and 1, the text, and whether it is finished.

use core::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

use crc32fast::Hasher;

/// Words in front of the text: one cache line.
const HEADER: usize = 8;
const WORD: usize = 8;
/// The format, raised when its meaning changes; another one is taken for damage.
const VERSION: u64 = 1;
/// Set in the length of a finished record.
const FINISHED: u32 = 1 << 31;
/// Goes over the CRC of a finished record, so that the bit is covered too.
const FINISHED_MASK: u32 = 0x5A5A_5A5A;

/// What a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The shutdown's transcript.
    Transcript,
    /// The crash dump, as `crashdump` lines.
    Dump,
}

impl Kind {
    /// All kinds, in the order of their places.
    pub(super) const ALL: [Self; 2] = [Self::Transcript, Self::Dump];

    const fn magic(self) -> u64 {
        match self {
            Self::Transcript => u64::from_le_bytes(*b"SlShutdn"),
            Self::Dump => u64::from_le_bytes(*b"SlCrDump"),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Transcript => "shutdown transcript",
            Self::Dump => "crash dump",
        })
    }
}

/// What an earlier run left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The text; only its whole lines if it is [`cut`](Self::cut).
    pub text: &'a str,
    /// The writer did not come to its end.
    pub cut: bool,
    /// The number of the run that wrote it.
    pub run: u32,
}

/// The record's checksum is wrong, or its words make no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Damaged;

/// The third word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Commit {
    len: u32,
    finished: bool,
    /// Of the unfinished record; the mask is added on the way into the word.
    crc: u32,
}

impl Commit {
    fn to_word(self) -> u64 {
        let (flag, mask) = if self.finished { (FINISHED, FINISHED_MASK) } else { (0, 0) };
        u64::from(self.len | flag) << 32 | u64::from(self.crc ^ mask)
    }

    fn of_word(word: u64) -> Self {
        let (high, crc) = ((word >> 32) as u32, word as u32);
        let finished = high & FINISHED != 0;
        Self { len: high & !FINISHED, finished, crc: if finished { crc ^ FINISHED_MASK } else { crc } }
    }
}

/// The CRC over `octets` behind what gave `crc`.
fn extend(crc: u32, octets: &[u8]) -> u32 {
    let mut hasher = Hasher::new_with_initial(crc);
    hasher.update(octets);
    hasher.finalize()
}

/// The second word.
fn identity(run: u32) -> u64 {
    VERSION << 32 | u64::from(run)
}

/// A place that is being written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot<'a> {
    kind: Kind,
    words: &'a [AtomicU64],
}

impl<'a> Slot<'a> {
    /// A record of `kind` in `words`, of which there must be more than the header takes.
    pub(super) fn new(kind: Kind, words: &'a [AtomicU64]) -> Self {
        Self { kind, words }
    }

    /// Octets of text that fit.
    fn capacity(&self) -> usize {
        (self.words.len().saturating_sub(HEADER) * WORD).min(FINISHED as usize - 1)
    }

    fn header(&self) -> &'a [AtomicU64] {
        self.words.get(..HEADER).unwrap_or_default()
    }

    // ORDERING (all loads and stores here): one writer, and the next reader is the next run; the order in memory is what `flush`
    // enforces between text and commit.
    fn load(&self, index: usize) -> u64 {
        self.words.get(index).map_or(0, |word| word.load(Ordering::Relaxed))
    }

    fn store(&self, index: usize, value: u64) {
        if let Some(word) = self.words.get(index) {
            word.store(value, Ordering::Relaxed);
        }
    }

    fn commit(&self, commit: Commit, flush: &dyn Fn(&[AtomicU64])) {
        self.store(2, commit.to_word());
        flush(self.header());
    }

    /// Makes an empty record of run `run`. `flush` brings words from the cache to memory before it returns.
    pub(super) fn begin(&self, run: u32, flush: &dyn Fn(&[AtomicU64])) {
        self.store(0, 0);
        flush(self.header());
        let words = [self.kind.magic(), identity(run)];
        let crc = words.iter().fold(0, |crc, word| extend(crc, &word.to_le_bytes()));
        self.store(1, words[1]);
        self.store(2, Commit { len: 0, finished: false, crc }.to_word());
        self.store(0, words[0]);
        flush(self.header());
    }

    /// Returns the octets of text so far.
    pub(super) fn len(&self) -> usize {
        Commit::of_word(self.load(2)).len as usize
    }

    /// Returns how many octets of text still fit.
    pub(super) fn room(&self) -> usize {
        self.capacity().saturating_sub(self.len())
    }

    /// Copies text from octet `at` on into `out` and returns how many octets.
    pub(super) fn copy(&self, at: usize, out: &mut [u8]) -> usize {
        let count = self.len().saturating_sub(at).min(out.len());
        for (octet, at) in out.iter_mut().take(count).zip(at..) {
            *octet = self.load(HEADER + at / WORD).to_le_bytes()[at % WORD];
        }
        count
    }

    /// Writes `text` behind what is there; a finished record is open again.
    ///
    /// # Errors
    /// When not all of it fits; what does is written.
    pub(super) fn append(&self, text: &str, flush: &dyn Fn(&[AtomicU64])) -> fmt::Result {
        let commit = Commit::of_word(self.load(2));
        let start = commit.len as usize;
        let room = self.capacity().saturating_sub(start);
        let taken = text.get(..text.floor_char_boundary(room)).unwrap_or_default().as_bytes();
        for (at, octet) in (start..).zip(taken) {
            let (index, shift) = (HEADER + at / WORD, at % WORD * 8);
            self.store(index, self.load(index) & !(0xFF << shift) | u64::from(*octet) << shift);
        }
        let end = start + taken.len();
        flush(self.words.get(HEADER + start / WORD..HEADER + end.div_ceil(WORD)).unwrap_or_default());
        self.commit(Commit { len: end as u32, finished: false, crc: extend(commit.crc, taken) }, flush);
        if taken.len() < text.len() { Err(fmt::Error) } else { Ok(()) }
    }

    /// Marks the record as finished.
    pub(super) fn finish(&self, flush: &dyn Fn(&[AtomicU64])) {
        self.commit(Commit { finished: true, ..Commit::of_word(self.load(2)) }, flush);
    }
}

/// Reads the record of `kind` that run `run` left in `octets`; `None` if it wrote nothing.
///
/// # Errors
/// [`Damaged`]: nothing of it can be trusted.
pub(super) fn read(octets: &[u8], kind: Kind, run: u32) -> Result<Option<Record<'_>>, Damaged> {
    let word = |index: usize| octets.get(index * WORD..)?.first_chunk().map(|octets| u64::from_le_bytes(*octets));
    let words = [word(0).ok_or(Damaged)?, word(1).ok_or(Damaged)?];
    let commit = Commit::of_word(word(2).ok_or(Damaged)?);
    let text = octets.get(HEADER * WORD..).and_then(|text| text.get(..commit.len as usize)).ok_or(Damaged)?;
    let crc = words.iter().fold(0, |crc, word| extend(crc, &word.to_le_bytes()));
    if words != [kind.magic(), identity(run)] || extend(crc, text) != commit.crc {
        return Err(Damaged);
    }
    let text = core::str::from_utf8(text).map_err(|_| Damaged)?;
    if text.is_empty() {
        return Ok(None);
    }
    let cut = !commit.finished;
    let whole = if cut { text.get(..text.rfind('\n').map_or(0, |at| at + 1)).unwrap_or_default() } else { text };
    Ok(Some(Record { text: whole, cut, run }))
}

#[cfg(test)]
mod tests;
