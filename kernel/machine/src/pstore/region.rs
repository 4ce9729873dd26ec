//! Where the region lies and how it is divided. Pure, host-tested.
//!
//! | page | what |
//! |---|---|
//! | 0 | magic and size; then, in one word, number of the run (high half) and CRC-32 over all of it (low half) |
//! | from 1 | two halves, each a shutdown transcript and a crash dump |
//!
//! A run writes into the half that its number selects (odd or even) while the other still holds what the run before left: nothing
//! has to be copied, and a run that ends before it wrote anything does not lose what it found.

use core::sync::atomic::{AtomicU64, Ordering};

use super::record::Kind;
use crate::{boot::UsableRange, frame::FRAME_SIZE};

/// "SlPstor1"; the last character is the layout's version.
const MAGIC: u64 = u64::from_le_bytes(*b"SlPstor1");
/// Where regions may begin: multiples of this, from [`FIRST`] on. The loader puts the kernel at 16 MiB and its tables behind it;
/// firmware works below 16 MiB and downwards from the end of memory.
const STEP: u64 = 16 << 20;
const FIRST: u64 = 32 << 20;
/// Nothing is looked for from here on.
const LIMIT: u64 = 4 << 30;
/// Octets of a region, and of one on a machine with less memory than [`SMALL_MACHINE`].
const SIZE: u64 = 512 * 1024;
const SMALL_SIZE: u64 = 256 * 1024;
const SMALL_MACHINE: u64 = 128 << 20;
/// Octets in front of the halves.
const HEADER: usize = FRAME_SIZE as usize;
/// Octets of a transcript's place.
const TRANSCRIPT: usize = 16 * 1024;

/// A region's first page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Octets of the whole region.
    pub(super) size: u64,
    /// The number of the run that wrote last; never 0.
    pub(super) run: u32,
}

impl Header {
    fn crc(self) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        [MAGIC, self.size, self.run.into()].iter().for_each(|word| hasher.update(&word.to_le_bytes()));
        hasher.finalize()
    }

    /// The words as they are in memory.
    pub(super) fn words(self) -> [u64; 3] {
        [MAGIC, self.size, u64::from(self.run) << 32 | u64::from(self.crc())]
    }

    /// Reads a header; `None` for anything that is none.
    pub(super) fn of_words(words: [u64; 3]) -> Option<Self> {
        let header = Self { size: words[1], run: (words[2] >> 32) as u32 };
        let sane = (SMALL_SIZE..=SIZE).contains(&header.size) && header.size.is_multiple_of(FRAME_SIZE);
        (sane && header.run != 0 && words == header.words()).then_some(header)
    }

    /// The header that the next run puts in its place.
    pub(super) fn next(self) -> Self {
        // Odd and even always take turns: they select the half.
        Self { run: self.run.checked_add(1).unwrap_or(2), ..self }
    }

    /// Writes it: the last word validates the others, so an old header stays valid until that word is replaced.
    pub(super) fn write(self, words: &[AtomicU64]) {
        for (word, value) in words.iter().zip(self.words()) {
            // ORDERING: read by the next run only.
            word.store(value, Ordering::Relaxed);
        }
    }
}

/// Where the region is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Physical address.
    pub(super) start: u64,
    /// What this run writes there.
    pub(super) header: Header,
    /// What it finds there; `None` after a cold start.
    pub(super) found: Option<Header>,
}

impl Place {
    /// The frames that nobody else may have.
    pub(super) fn range(&self) -> UsableRange {
        UsableRange { start: self.start, end: self.start + self.header.size }
    }
}

/// The places of `usable` memory where a region of `size` octets could begin.
pub(super) fn candidates(usable: &[UsableRange], size: u64) -> impl Iterator<Item = u64> {
    let free = move |start: &u64| usable.iter().any(|range| range.start <= *start && start + size <= range.end);
    (FIRST..LIMIT).step_by(STEP as usize).filter(free)
}

/// Chooses the place: where the newest region of an earlier run is, else the lowest free one.
pub(super) fn choose(usable: &[UsableRange], look: impl Fn(u64) -> Option<Header>) -> Option<Place> {
    let found = candidates(usable, SMALL_SIZE)
        .filter_map(|start| Some((start, look(start)?)))
        .filter(|(start, header)| candidates(usable, header.size).any(|candidate| candidate == *start))
        .max_by_key(|(_, header)| header.run);
    if let Some((start, header)) = found {
        return Some(Place { start, header: header.next(), found: Some(header) });
    }
    let total: u64 = usable.iter().map(|range| range.end - range.start).sum();
    let size = if total < SMALL_MACHINE { SMALL_SIZE } else { SIZE };
    let start = candidates(usable, size).next()?;
    Some(Place { start, header: Header { size, run: 1 }, found: None })
}

/// Where in a region of `size` octets run `run` has its record of `kind`: octets from the region's start.
pub(super) fn part(size: u64, run: u32, kind: Kind) -> core::ops::Range<usize> {
    let half = (size as usize).saturating_sub(HEADER) / 2;
    let start = HEADER + if run.is_multiple_of(2) { 0 } else { half };
    match kind {
        Kind::Transcript => start..start + TRANSCRIPT.min(half),
        Kind::Dump => start + TRANSCRIPT.min(half)..start + half,
    }
}

#[cfg(test)]
mod tests {
    use super::{FIRST, Header, Kind, Place, SIZE, SMALL_SIZE, STEP, UsableRange, choose, part};

    const MIB: u64 = 1 << 20;

    fn range(start: u64, end: u64) -> UsableRange {
        UsableRange { start: start * MIB, end: end * MIB }
    }

    fn nothing(_: u64) -> Option<Header> {
        None
    }

    #[test]
    fn a_header_is_read_as_written_and_any_flipped_bit_is_noticed() {
        let header = Header { size: SIZE, run: 41 };
        assert_eq!(Header::of_words(header.words()), Some(header));
        for bit in 0..192 {
            let mut words = header.words();
            words[bit / 64] ^= 1 << (bit % 64);
            assert_eq!(Header::of_words(words), None, "bit {bit}");
        }
        assert_eq!(Header::of_words([0; 3]), None);
        assert_eq!(Header { size: SIZE, run: u32::MAX }.next().run, 2);
    }

    #[test]
    fn a_cold_machine_gets_the_lowest_free_place() {
        let place = choose(&[range(1, 20), range(33, 250)], nothing).unwrap();
        assert_eq!((place.start, place.header, place.found), (48 * MIB, Header { size: SIZE, run: 1 }, None));
        let small = choose(&[range(1, 8), range(20, 60)], nothing).unwrap();
        assert_eq!((small.start, small.header.size), (FIRST, SMALL_SIZE));
    }

    #[test]
    fn a_machine_without_a_free_place_has_no_region() {
        assert_eq!(choose(&[range(1, 32)], nothing), None);
        assert_eq!(choose(&[UsableRange { start: FIRST, end: FIRST + 4096 }], nothing), None);
        assert_eq!(choose(&[], nothing), None);
    }

    #[test]
    fn the_newest_region_of_an_earlier_run_is_found_wherever_it_is() {
        let regions = [(48, 3), (64, 9), (80, 4)];
        let look = |start: u64| {
            let (_, run) = regions.into_iter().find(|(at, _)| at * MIB == start)?;
            Some(Header { size: SMALL_SIZE, run })
        };
        let place = choose(&[range(1, 250)], look).unwrap();
        let expected = Header { size: SMALL_SIZE, run: 10 };
        let found = Some(Header { size: SMALL_SIZE, run: 9 });
        assert_eq!(place, Place { start: 64 * MIB, header: expected, found });
    }

    #[test]
    fn a_region_that_is_no_longer_free_as_a_whole_is_left_alone() {
        let look = |start: u64| (start == FIRST).then_some(Header { size: SIZE, run: 5 });
        let usable = [UsableRange { start: FIRST, end: FIRST + SMALL_SIZE }, range(40, 250)];
        assert_eq!(choose(&usable, look).unwrap().start, FIRST + STEP);
    }

    #[test]
    fn the_parts_of_two_runs_in_a_row_do_not_overlap_and_fill_the_region() {
        for size in [SIZE, SMALL_SIZE] {
            let mut parts: std::vec::Vec<_> =
                [6, 7].into_iter().flat_map(|run| Kind::ALL.map(|kind| part(size, run, kind))).collect();
            parts.sort_by_key(|part| part.start);
            assert!(parts.windows(2).all(|pair| pair[0].end == pair[1].start), "{parts:?}");
            assert_eq!((parts[0].start, parts[3].end as u64), (4096, size));
            assert!(parts.iter().all(|part| part.start.is_multiple_of(64) && part.len() > 4096), "{parts:?}");
            assert_eq!(part(size, 6, Kind::Dump), part(size, 8, Kind::Dump));
        }
    }
}
