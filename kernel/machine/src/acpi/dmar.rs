//! DMAR: the machine's DMA remapping units. Pure; any context.
//!
//! Source: Intel Virtualization Technology for Directed I/O, revision 4.1, chapter 8.

use alloc::vec::Vec;

use super::{
    bytes::{byte, half, long},
    tables::HEADER,
};

/// A remapping unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemappingUnit {
    /// Physical address of its registers.
    pub address: u64,
    /// The PCI segment whose devices it serves.
    pub segment: u16,
    /// It serves every device of the segment that no other unit serves.
    pub all: bool,
}

/// Returns the units of a "DMAR" table. One that is too short or has no address is left out.
#[must_use]
pub fn units(table: &[u8]) -> Vec<RemappingUnit> {
    let mut units = Vec::new();
    let mut rest = table.get(HEADER + 12..).unwrap_or_default();
    // A length below 4 would never advance.
    while let Some(length) = half(rest, 2).map(usize::from).filter(|&length| length >= 4) {
        let Some((entry, tail)) = rest.split_at_checked(length) else { break };
        units.extend(unit(entry));
        rest = tail;
    }
    units
}

/// Type 0 is a unit; the others say what lies behind one, or what memory firmware keeps.
fn unit(entry: &[u8]) -> Option<RemappingUnit> {
    if half(entry, 0)? != 0 {
        return None;
    }
    let address = long(entry, 8).filter(|&address| address != 0 && address.is_multiple_of(4096))?;
    Some(RemappingUnit { address, segment: half(entry, 6)?, all: byte(entry, 4)? & 1 != 0 })
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::{RemappingUnit, units};

    fn entry(kind: u16, flags: u8, segment: u16, address: u64) -> std::vec::Vec<u8> {
        let mut entry = kind.to_le_bytes().to_vec();
        entry.extend(16u16.to_le_bytes());
        entry.extend([flags, 0]);
        entry.extend(segment.to_le_bytes());
        entry.extend(address.to_le_bytes());
        entry
    }

    fn table(entries: &[std::vec::Vec<u8>]) -> std::vec::Vec<u8> {
        let mut table = std::vec![0u8; 48];
        entries.iter().for_each(|entry| table.extend(entry));
        table
    }

    #[test]
    fn units_are_found_among_the_other_structures() {
        let table = table(&[
            entry(0, 0, 0, 0xFBFF_C000),
            entry(1, 0, 0, 0x7B00_0000),
            entry(0, 1, 0, 0xC7FF_C000),
            entry(0, 0, 0, 0),
            entry(0, 0, 0, 0x1234),
        ]);
        let unit = |address, all| RemappingUnit { address, segment: 0, all };
        assert_eq!(units(&table), [unit(0xFBFF_C000, false), unit(0xC7FF_C000, true)]);
    }

    #[test]
    fn a_length_of_zero_or_past_the_end_ends_the_table() {
        let mut bad = table(&[entry(0, 0, 0, 0x1000), entry(0, 0, 0, 0x2000)]);
        bad[66] = 0;
        assert_eq!(units(&bad).len(), 1);
        bad[66] = 200;
        assert_eq!(units(&bad).len(), 1);
        (0..bad.len()).for_each(|length| assert!(units(&bad[..length]).len() <= 1));
    }
}
