//! From an address to a source line: sorted blocks of rows, each row the difference to the one before.
//!
//! A row holds from its address up to the next row's. The first number of a row is twice the distance from the row before, and
//! odd if the file's number follows; the line's difference comes last. In a block's first row, file and line count from zero.

use core::fmt;

use crate::{
    layout::{self, BLOCK_SIZE, ROWS_PER_BLOCK},
    table::Words,
    varint,
};

/// A source line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location<'a> {
    /// The file, relative to the checkout; `core/...` and such for Rust's library.
    pub file: &'a str,
    /// The line, from 1.
    pub line: u32,
}

impl fmt::Display for Location<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Lines<'a> {
    pub(crate) blocks: &'a [u8],
    pub(crate) rows: &'a [u8],
    pub(crate) words: Words<'a>,
}

/// One row; line 0 stands for code of which no line is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) address: u32,
    pub(crate) file: u32,
    pub(crate) line: u32,
}

impl Row {
    /// Takes the row after this one off the front of `bytes`.
    fn next(self, bytes: &mut &[u8]) -> Option<Self> {
        let distance = varint::take(bytes)?;
        let file = if distance & 1 == 1 { varint::take(bytes)? } else { self.file };
        let line = self.line.checked_add_signed(varint::take_signed(bytes)?)?;
        Some(Self { address: self.address.checked_add(distance >> 1)?, file, line })
    }
}

impl<'a> Lines<'a> {
    pub(crate) fn find(&self, address: u32) -> Option<Location<'a>> {
        let start = |index| layout::u32_at(self.blocks, index * BLOCK_SIZE);
        let index = layout::count_up_to(self.blocks.len() / BLOCK_SIZE, address, start).checked_sub(1)?;
        let mut row = Row { address: start(index)?, ..Row::default() };
        let mut bytes = self.rows.get(layout::u32_at(self.blocks, index * BLOCK_SIZE + 4)? as usize..)?;
        for count in 0..ROWS_PER_BLOCK {
            match row.next(&mut bytes) {
                Some(next) if next.address <= address => row = next,
                _ if count == 0 => return None,
                _ => break,
            }
        }
        if row.line == 0 {
            return None;
        }
        Some(Location { file: self.words.get(row.file)?, line: row.line })
    }
}
