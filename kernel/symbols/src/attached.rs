//! A table behind a configuration in one file: the boot loader hands the kernel one extra file and no more.
//!
//! The configuration comes first, then the table, then a footer of the table's length (32 bits), its checksum (64 bits, FNV-1a) and
//! eight octets to recognise it by. A file without a footer is a configuration and nothing else.

use crate::layout::{self, MAGIC};

const FOOTER_MAGIC: &[u8; 8] = b"\xFFSLEND1\xFF";
const FOOTER_SIZE: usize = 4 + 8 + FOOTER_MAGIC.len();

/// The table's octets are not those that were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged;

/// The parts of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts<'a> {
    /// The configuration, whatever happened to what follows it.
    pub configuration: &'a [u8],
    /// The table's octets, if there are any.
    pub table: Result<Option<&'a [u8]>, Damaged>,
}

/// Takes a file apart.
#[must_use]
pub fn split(file: &[u8]) -> Parts<'_> {
    if let Some((configuration, table)) = by_footer(file) {
        return Parts { configuration, table: Ok(Some(table)) };
    }
    // No configuration contains a table's magic, since it is no text: what precedes a damaged table can still be told.
    match file.windows(MAGIC.len()).position(|window| window == MAGIC) {
        Some(start) => Parts { configuration: file.get(..start).unwrap_or(&[]), table: Err(Damaged) },
        None => Parts { configuration: file, table: Ok(None) },
    }
}

fn by_footer(file: &[u8]) -> Option<(&[u8], &[u8])> {
    let (content, footer) = file.split_at_checked(file.len().checked_sub(FOOTER_SIZE)?)?;
    let len = layout::u32_at(footer, 0)? as usize;
    let (configuration, table) = content.split_at_checked(content.len().checked_sub(len)?)?;
    let is_whole = footer.get(12..)? == FOOTER_MAGIC && footer.get(4..12)? == checksum(table).to_le_bytes();
    is_whole.then_some((configuration, table))
}

/// Source: the FNV-1a hash of 64 bits, by Fowler, Noll and Vo.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |sum, octet| (sum ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01B3))
}

/// Puts a table behind a configuration.
///
/// # Panics
/// When the table is larger than a table can be (4 GiB).
#[cfg(feature = "write")]
#[must_use]
pub fn join(configuration: &[u8], table: &[u8]) -> alloc::vec::Vec<u8> {
    let len = u32::try_from(table.len()).expect("a table's offsets are of 32 bits");
    [configuration, table, &len.to_le_bytes(), &checksum(table).to_le_bytes(), FOOTER_MAGIC].concat()
}

#[cfg(all(test, feature = "write"))]
mod tests {
    use super::{Damaged, FOOTER_SIZE, Parts, join, split};
    use crate::layout::MAGIC;

    const CONFIGURATION: &[u8] = b"[interface.em0]\n";

    fn table() -> std::vec::Vec<u8> {
        [&MAGIC[..], &[0x55; 100]].concat()
    }

    #[test]
    fn what_was_joined_is_split() {
        let file = join(CONFIGURATION, &table());
        assert_eq!(split(&file), Parts { configuration: CONFIGURATION, table: Ok(Some(&table())) });
        let file = join(b"", &table());
        assert_eq!(split(&file), Parts { configuration: b"", table: Ok(Some(&table())) });
    }

    #[test]
    fn a_file_without_a_table_is_all_configuration() {
        for file in [&b""[..], b"x", CONFIGURATION, &[0xFF; 64]] {
            assert_eq!(split(file), Parts { configuration: file, table: Ok(None) });
        }
    }

    #[test]
    fn damage_to_any_octet_of_table_or_footer_leaves_the_configuration() {
        let file = join(CONFIGURATION, &table());
        for index in CONFIGURATION.len() + MAGIC.len()..file.len() {
            let mut damaged = file.clone();
            damaged[index] ^= 0x10;
            assert_eq!(split(&damaged), Parts { configuration: CONFIGURATION, table: Err(Damaged) }, "octet {index}");
        }
        for len in CONFIGURATION.len() + MAGIC.len()..file.len() {
            let cut = Parts { configuration: CONFIGURATION, table: Err(Damaged) };
            assert_eq!(split(&file[..len]), cut, "cut to {len} octets of {}, footer {FOOTER_SIZE}", file.len());
        }
    }
}
