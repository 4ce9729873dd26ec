//! The program headers of our own ELF file, to learn which pages hold code, which hold constants, and which build it is. Pure, host-tested.
//!
//! Source: System V ABI, chapter 5 (program header), 64-bit little endian.

use core::ops::Range;

const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;
const PT_GNU_RELRO: u32 = 0x6474_E552;
const EXECUTE: u32 = 1;
const WRITE: u32 = 2;
const HEADER_SIZE: usize = 56;
const PAGE: u64 = 4096;

/// The running kernel's file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Image<'a> {
    headers: &'a [u8],
    offset: u64,
}

/// One program header, at the address it runs at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Segment {
    kind: u32,
    flags: u32,
    start: u64,
    end: u64,
}

impl<'a> Image<'a> {
    /// Finds the program headers; `offset` is added to each address of the file. `None` if this is no 64-bit ELF file.
    pub(crate) fn parse(file: &'a [u8], offset: u64) -> Option<Self> {
        if file.get(..6)? != b"\x7FELF\x02\x01" || usize::from(u16_at(file, 54)?) != HEADER_SIZE {
            return None;
        }
        let start = usize::try_from(u64_at(file, 32)?).ok()?;
        let len = usize::from(u16_at(file, 56)?) * HEADER_SIZE;
        Some(Self { headers: file.get(start..start.checked_add(len)?)?, offset })
    }

    /// Finds the octets of the notes in the file that [`parse`](Self::parse) took.
    pub(crate) fn notes(&self, file: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.headers.chunks_exact(HEADER_SIZE).filter_map(move |header| {
            let start = usize::try_from(u64_at(header, 8)?).ok()?;
            let len = usize::try_from(u64_at(header, 32)?).ok()?;
            let is_note = u32_at(header, 0)? == PT_NOTE;
            file.get(start..start.checked_add(len)?).filter(|_| is_note)
        })
    }

    /// Returns what follows the last segment in the file that [`parse`](Self::parse) took: nothing of the running kernel.
    pub(crate) fn behind<'f>(&self, file: &'f [u8]) -> &'f [u8] {
        let ends = self.headers.chunks_exact(HEADER_SIZE).filter_map(|header| {
            let (start, len) = (u64_at(header, 8)?, u64_at(header, 32)?);
            usize::try_from(start.checked_add(len)?).ok()
        });
        file.get(ends.max().unwrap_or(0)..).unwrap_or(&[])
    }

    fn segments(&self) -> impl Iterator<Item = Segment> {
        let offset = self.offset;
        self.headers.chunks_exact(HEADER_SIZE).filter_map(move |header| {
            let start = u64_at(header, 16)?.wrapping_add(offset);
            let end = start.checked_add(u64_at(header, 40)?)?;
            Some(Segment { kind: u32_at(header, 0)?, flags: u32_at(header, 4)?, start, end })
        })
    }

    /// Returns the pages between the first and the last octet of the image: a quick test before the exact ones.
    pub(crate) fn span(&self) -> Range<u64> {
        let loads = || self.segments().filter(|segment| segment.kind == PT_LOAD).map(|segment| segment.pages());
        let start = loads().map(|pages| pages.start).min().unwrap_or(0);
        start..loads().map(|pages| pages.end).max().unwrap_or(start)
    }

    /// Returns the first address of each page of the segments that are never written.
    pub(crate) fn fixed_pages(&self) -> impl Iterator<Item = u64> {
        self.segments()
            .filter(|segment| segment.kind == PT_LOAD && segment.flags & WRITE == 0)
            .flat_map(|segment| segment.pages().step_by(PAGE as usize))
    }

    /// Returns whether some executable segment has a page in common with `len` octets from `start`.
    pub(crate) fn is_code(&self, start: u64, len: u64) -> bool {
        self.segments().any(|segment| {
            segment.kind == PT_LOAD && segment.flags & EXECUTE != 0 && overlaps(&segment.pages(), start, len)
        })
    }

    /// Returns whether the range lies in the image and holds only what is never written once the kernel runs.
    pub(crate) fn is_constant(&self, start: u64, len: u64) -> bool {
        let mut inside = false;
        let mut writable = false;
        for segment in
            self.segments().filter(|segment| segment.kind == PT_LOAD && overlaps(&segment.pages(), start, len))
        {
            inside = true;
            writable |= segment.flags & WRITE != 0;
        }
        let relro = self.segments().any(|segment| {
            // Only pages that lie wholly in the relocated constants: the last one may share its page with data.
            segment.kind == PT_GNU_RELRO && segment.start <= start && start + len <= segment.end / PAGE * PAGE
        });
        relro || (inside && !writable)
    }
}

impl Segment {
    fn pages(&self) -> Range<u64> {
        self.start / PAGE * PAGE..self.end.next_multiple_of(PAGE)
    }
}

fn overlaps(range: &Range<u64>, start: u64, len: u64) -> bool {
    range.start < start + len && start < range.end
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::{EXECUTE, HEADER_SIZE, Image, PT_GNU_RELRO, PT_LOAD, PT_NOTE, WRITE};

    fn file(segments: &[(u32, u32, u64, u64)]) -> Vec<u8> {
        let mut file = std::vec![0_u8; 64];
        file[..6].copy_from_slice(b"\x7FELF\x02\x01");
        file[32] = 64;
        file[54] = HEADER_SIZE as u8;
        file[56] = segments.len() as u8;
        for (kind, flags, start, len) in segments {
            let mut header = [0_u8; HEADER_SIZE];
            header[..4].copy_from_slice(&kind.to_le_bytes());
            header[4..8].copy_from_slice(&flags.to_le_bytes());
            header[16..24].copy_from_slice(&start.to_le_bytes());
            header[40..48].copy_from_slice(&len.to_le_bytes());
            file.extend_from_slice(&header);
        }
        file
    }

    #[test]
    fn code_constants_and_data_are_told_apart_by_page() {
        let file = file(&[
            (PT_LOAD, 4, 0, 0x1800),
            (PT_LOAD, 4 | EXECUTE, 0x2800, 0x1000),
            (PT_LOAD, 4 | WRITE, 0x4000, 0x3000),
            (PT_GNU_RELRO, 4, 0x4000, 0x1800),
        ]);
        let image = Image::parse(&file, 0x10_0000).expect("a good file");
        assert!(image.is_constant(0x10_1000, 0x1000), "read-only data");
        assert!(image.is_code(0x10_2000, 0x1000) && image.is_code(0x10_3000, 0x1000));
        assert!(!image.is_code(0x10_4000, 0x1000) && image.is_constant(0x10_4000, 0x1000), "relocated constants");
        assert_eq!(image.span(), 0x10_0000..0x10_7000);
        assert_eq!(image.fixed_pages().collect::<Vec<_>>(), [0x10_0000, 0x10_1000, 0x10_2000, 0x10_3000]);
        assert!(!image.is_constant(0x10_5000, 0x1000), "shares its page with data");
        assert!(!image.is_constant(0x20_0000, 0x1000) && !image.is_code(0x20_0000, 0x1000), "not the image");
    }

    #[test]
    fn notes_are_found_in_the_file_where_they_are_whole() {
        let mut file = file(&[(PT_LOAD, 4, 0, 8), (PT_NOTE, 4, 0, 8), (PT_NOTE, 4, 0, 8)]);
        let end = file.len();
        file.extend_from_slice(b"a note");
        for (index, (start, len)) in [(0, 4), (end, 6), (end, 7)].into_iter().enumerate() {
            let header = 64 + index * HEADER_SIZE;
            file[header + 8] = start as u8;
            file[header + 32] = len;
        }
        let image = Image::parse(&file, 0).expect("a good file");
        assert_eq!(image.notes(&file).collect::<Vec<_>>(), [b"a note"]);
    }

    #[test]
    fn what_is_behind_the_last_segment_is_not_the_kernel() {
        let mut file = file(&[(PT_LOAD, 4, 0, 8), (PT_LOAD, 4, 0, 8)]);
        file.extend_from_slice(b"constantsvariablesattached");
        for (index, (start, len)) in [(185_u64, 9_u64), (176, 9)].into_iter().enumerate() {
            let header = 64 + index * HEADER_SIZE;
            file[header + 8..header + 16].copy_from_slice(&start.to_le_bytes());
            file[header + 32..header + 40].copy_from_slice(&len.to_le_bytes());
        }
        let image = Image::parse(&file, 0).expect("a good file");
        assert_eq!(image.behind(&file), b"attached");
        assert_eq!(image.behind(&file[..180]), b"", "a file that ends within a segment");
    }

    #[test]
    fn a_truncated_or_foreign_file_is_refused() {
        let good = file(&[(PT_LOAD, 5, 0, 0x1000)]);
        assert!(Image::parse(&good[..good.len() - 1], 0).is_none());
        assert!(Image::parse(&good[..40], 0).is_none());
        assert!(Image::parse(b"not an ELF file", 0).is_none());
    }
}
