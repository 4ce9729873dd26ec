//! The header, and taking sections and numbers out of octets.

use core::ops::Range;

/// What a table begins with. The two octets at its ends occur in no text, so no configuration contains it.
pub(crate) const MAGIC: &[u8; 8] = b"\xFFSLSYM1\xFF";

/// Octets of a build id in the header; the linker's SHA-1 fills them, a shorter one is followed by zeros.
pub(crate) const BUILD_ID_SIZE: usize = 20;

/// Octets of the header: the magic, the build id's length (32 bits), the build id, and an offset and a length for each section.
pub(crate) const HEADER_SIZE: usize = MAGIC.len() + 4 + BUILD_ID_SIZE + SECTIONS * 8;

/// Sections in the order of the header.
pub(crate) const SECTIONS: usize = 6;

/// Where a section's entry is in the header.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Section {
    Symbols,
    Names,
    Blocks,
    Rows,
    WordEnds,
    Text,
}

/// Octets of an entry in *symbols* and *blocks*, and rows a block holds at most.
pub(crate) const SYMBOL_SIZE: usize = 12;
pub(crate) const BLOCK_SIZE: usize = 8;
pub(crate) const ROWS_PER_BLOCK: usize = 64;

/// Words a name has at most; the encoder joins the rest of a longer one.
pub(crate) const MAX_WORDS: usize = 128;

impl Section {
    /// Where the section's offset is in the header; its length follows.
    pub(crate) const fn header_offset(self) -> usize {
        MAGIC.len() + 4 + BUILD_ID_SIZE + self as usize * 8
    }

    /// Returns the section that the header in `bytes` speaks of, if it lies in there.
    pub(crate) fn of(self, bytes: &[u8]) -> Option<&[u8]> {
        let start = u32_at(bytes, self.header_offset())? as usize;
        let len = u32_at(bytes, self.header_offset() + 4)? as usize;
        bytes.get(start..start.checked_add(len)?)
    }
}

/// Returns the number at `offset`.
pub(crate) fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    let range: Range<usize> = offset..offset.checked_add(4)?;
    Some(u32::from_le_bytes(bytes.get(range)?.try_into().ok()?))
}

/// Returns the `index`th number of an array.
pub(crate) fn nth_u32(bytes: &[u8], index: usize) -> Option<u32> {
    u32_at(bytes, index.checked_mul(4)?)
}

/// Returns how many of `count` sorted entries begin at or before `address`; `start` reads one's address.
pub(crate) fn count_up_to(count: usize, address: u32, start: impl Fn(usize) -> Option<u32>) -> usize {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        if start(middle).is_some_and(|start| start <= address) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}
