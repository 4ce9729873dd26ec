//! A table behind the kernel in one file: the boot loader loads the kernel's file whole and leaves it in memory, and the one other file
//! that it hands over is the user's configuration, which is to stay a text.
//!
//! The kernel comes first, then the table, then a footer of the table's length (32 bits), its checksum (64 bits, FNV-1a) and
//! eight octets to recognise it by. A file without a footer is a kernel and nothing else.

use crate::layout;

const FOOTER_MAGIC: &[u8; 8] = b"\xFFSLEND1\xFF";
const FOOTER_SIZE: usize = 4 + 8 + FOOTER_MAGIC.len();

/// The table's octets are not those that were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged;

/// The parts of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts<'a> {
    /// What precedes the table; the whole file if there is none, or where it begins can no longer be told.
    pub front: &'a [u8],
    /// The table's octets, if there are any.
    pub table: Result<Option<&'a [u8]>, Damaged>,
}

/// Takes a file apart.
#[must_use]
pub fn split(file: &[u8]) -> Parts<'_> {
    let Some((content, numbers)) = footer(file) else { return Parts { front: file, table: Ok(None) } };
    let len = layout::u32_at(numbers, 0).map_or(usize::MAX, |len| len as usize);
    let Some((front, table)) = content.len().checked_sub(len).and_then(|at| content.split_at_checked(at)) else {
        return Parts { front: file, table: Err(Damaged) };
    };
    let is_whole = numbers.get(4..) == Some(&checksum(table).to_le_bytes());
    Parts { front, table: if is_whole { Ok(Some(table)) } else { Err(Damaged) } }
}

/// Returns what precedes the footer, and its numbers.
fn footer(file: &[u8]) -> Option<(&[u8], &[u8])> {
    let (content, footer) = file.split_at_checked(file.len().checked_sub(FOOTER_SIZE)?)?;
    Some((content, footer.strip_suffix(FOOTER_MAGIC)?))
}

/// Source: the FNV-1a hash of 64 bits, by Fowler, Noll and Vo.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |sum, octet| (sum ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01B3))
}

/// Puts a table behind what is to precede it.
///
/// # Panics
/// When the table is larger than a table can be (4 GiB).
#[cfg(feature = "write")]
#[must_use]
pub fn join(front: &[u8], table: &[u8]) -> alloc::vec::Vec<u8> {
    let len = u32::try_from(table.len()).expect("a table's offsets are of 32 bits");
    [front, table, &len.to_le_bytes(), &checksum(table).to_le_bytes(), FOOTER_MAGIC].concat()
}

#[cfg(all(test, feature = "write"))]
mod tests {
    use super::{Damaged, FOOTER_MAGIC, FOOTER_SIZE, Parts, join, split};
    use crate::layout::MAGIC;

    const KERNEL: &[u8] = b"\x7FELF and so on";

    fn table() -> std::vec::Vec<u8> {
        [&MAGIC[..], &[0x55; 100]].concat()
    }

    #[test]
    fn what_was_joined_is_split() {
        let file = join(KERNEL, &table());
        assert_eq!(split(&file), Parts { front: KERNEL, table: Ok(Some(&table())) });
        let file = join(b"", &table());
        assert_eq!(split(&file), Parts { front: b"", table: Ok(Some(&table())) });
    }

    #[test]
    fn a_file_without_a_table_is_all_kernel() {
        for file in [&b""[..], b"x", KERNEL, &MAGIC[..], &[0xFF; 64]] {
            assert_eq!(split(file), Parts { front: file, table: Ok(None) });
        }
    }

    #[test]
    fn damage_to_any_octet_of_table_or_footer_is_seen() {
        let file = join(KERNEL, &table());
        let length = file.len() - FOOTER_SIZE..file.len() - FOOTER_SIZE + 4;
        for index in KERNEL.len()..file.len() {
            let mut damaged = file.clone();
            damaged[index] ^= 0x10;
            let parts = split(&damaged);
            if index >= file.len() - FOOTER_MAGIC.len() {
                assert_eq!(parts, Parts { front: &damaged, table: Ok(None) }, "octet {index}");
            } else {
                assert_eq!(parts.table, Err(Damaged), "octet {index}");
                assert!(parts.front == KERNEL || length.contains(&index), "octet {index}");
            }
        }
    }

    #[test]
    fn a_file_cut_short_has_no_table() {
        let file = join(KERNEL, &table());
        for len in 0..file.len() {
            assert_eq!(split(&file[..len]), Parts { front: &file[..len], table: Ok(None) }, "cut to {len} octets");
        }
    }
}
