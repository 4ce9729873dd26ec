//! MCFG (PCI configuration windows) and HPET. Pure; any context. Source: PCI Firmware 3.3, 4.1.2; IA-PC HPET 1.0a, 3.2.4.

use alloc::vec::Vec;

use super::{
    bytes::{array, byte, half, long, word},
    tables::HEADER,
};

/// One window of memory-mapped PCI configuration: 1 MiB per bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EcamWindow {
    /// Physical address of bus 0 of the segment, whether or not bus 0 is inside.
    pub base: u64,
    /// PCI segment group.
    pub segment: u16,
    /// First bus.
    pub first_bus: u8,
    /// Last bus, included.
    pub last_bus: u8,
}

/// Interprets an "MCFG" table; windows that run backwards or lie at zero are left out.
#[must_use]
pub fn ecam_windows(table: &[u8]) -> Vec<EcamWindow> {
    let entries = table.get(HEADER + 8..).unwrap_or_default();
    let parse = |entry: &[u8]| {
        let window = EcamWindow {
            base: long(entry, 0)?,
            segment: half(entry, 8)?,
            first_bus: byte(entry, 10)?,
            last_bus: byte(entry, 11)?,
        };
        (window.base != 0 && window.base.is_multiple_of(1 << 20) && window.first_bus <= window.last_bus)
            .then_some(window)
    };
    entries.chunks_exact(16).filter_map(parse).collect()
}

/// Physical address of the HPET's registers, from an "HPET" table.
#[must_use]
pub fn hpet_address(table: &[u8]) -> Option<u64> {
    let in_memory = array::<1>(table, HEADER + 4)? == [0];
    let _ = word(table, HEADER)?;
    long(table, HEADER + 8).filter(|&address| in_memory && address != 0)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::{EcamWindow, ecam_windows, hpet_address};

    #[test]
    fn a_q35_window_is_read_and_nonsense_left_out() {
        let mut table = std::vec![0u8; 44];
        table.extend([0, 0, 0, 0xB0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0, 0, 0, 0]);
        table.extend([0, 0, 0, 0xB0, 0, 0, 0, 0, 1, 0, 9, 8, 0, 0, 0, 0]);
        table.extend([0; 9]);
        let expected = EcamWindow { base: 0xB000_0000, segment: 0, first_bus: 0, last_bus: 255 };
        assert_eq!(ecam_windows(&table), [expected]);
        assert!(ecam_windows(&table[..40]).is_empty());
    }

    #[test]
    fn the_hpet_must_lie_in_memory() {
        let mut table = std::vec![0u8; 56];
        table[44..52].copy_from_slice(&0xFED0_0000u64.to_le_bytes());
        assert_eq!(hpet_address(&table), Some(0xFED0_0000));
        table[40] = 1;
        assert_eq!(hpet_address(&table), None);
        assert_eq!(hpet_address(&table[..48]), None);
    }
}
