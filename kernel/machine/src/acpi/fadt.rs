//! The FADT: power management registers, ACPI mode switch, reset register, PM timer. Pure; any context.
//!
//! Source: ACPI 6.5, 5.2.9 (table 5.9) and 5.2.3.2 (generic address structure).

use super::bytes::{byte, half, long, word};

/// Address space of a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Space {
    /// Physical memory.
    Memory,
    /// I/O ports.
    Port,
    /// PCI configuration of segment 0, bus 0.
    PciConfig,
}

/// A register named by firmware.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Register {
    /// Where.
    pub space: Space,
    /// Width in bits, as stated.
    pub bits: u8,
    /// Address in its space.
    pub address: u64,
}

/// What the kernel uses of the FADT.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fadt {
    /// Port that takes the ACPI mode switch; zero: the machine is in ACPI mode for good.
    pub smi_command: u16,
    /// Value that switches ACPI mode on.
    pub acpi_enable: u8,
    /// The system control interrupt, as the 8259s number it.
    pub sci_interrupt: u16,
    /// PM1a event registers: status, then enable.
    pub pm1a_event: Option<Register>,
    /// PM1b event registers.
    pub pm1b_event: Option<Register>,
    /// Octets of each of them.
    pub pm1_event_octets: u8,
    /// General-purpose events, first block and its octets: status, then enable.
    pub gpe0: Option<(Register, u8)>,
    /// The second block.
    pub gpe1: Option<(Register, u8)>,
    /// The power button is described in firmware's bytecode, and not a fixed event.
    pub button_is_a_device: bool,
    /// PM1a control register.
    pub pm1a_control: Option<Register>,
    /// PM1b control register.
    pub pm1b_control: Option<Register>,
    /// PM timer, 3.579545 MHz.
    pub pm_timer: Option<Register>,
    /// The timer has 32 bits rather than 24.
    pub pm_timer_32_bit: bool,
    /// Reset register and the value to write, if the flag says it works.
    pub reset: Option<(Register, u8)>,
    /// No PM1 registers exist; sleep by the two registers below.
    pub hardware_reduced: bool,
    /// Sleep control register.
    pub sleep_control: Option<Register>,
}

const RESET_SUPPORTED: u32 = 1 << 10;
const TIMER_32_BIT: u32 = 1 << 8;
const BUTTON_IS_A_DEVICE: u32 = 1 << 4;
const HARDWARE_REDUCED: u32 = 1 << 20;

/// A generic address structure at `offset`; `None` if absent, empty or of a space we do not speak.
fn register(table: &[u8], offset: usize) -> Option<Register> {
    let address = long(table, offset + 4).filter(|&address| address != 0)?;
    let space = match byte(table, offset)? {
        0 => Space::Memory,
        1 => Space::Port,
        2 => Space::PciConfig,
        _ => return None,
    };
    Some(Register { space, bits: byte(table, offset + 1)?, address })
}

/// The extended register if there is one, else the 32-bit port of ACPI 1.0.
fn block(table: &[u8], extended: usize, legacy: usize, bits: u8) -> Option<Register> {
    let old = || {
        let port = word(table, legacy).filter(|&port| port != 0)?;
        Some(Register { space: Space::Port, bits, address: u64::from(port) })
    };
    register(table, extended).or_else(old)
}

/// Physical address of the DSDT.
#[must_use]
pub(crate) fn dsdt_address(table: &[u8]) -> Option<u64> {
    let extended = long(table, 140).filter(|&address| address != 0);
    extended.or_else(|| word(table, 40).filter(|&address| address != 0).map(u64::from))
}

impl Fadt {
    /// Interprets the checked bytes of a "FACP" table; fields an old, short table lacks stay absent.
    #[must_use]
    pub fn parse(table: &[u8]) -> Self {
        let flags = word(table, 112).unwrap_or(0);
        let reset = register(table, 116).zip(byte(table, 128));
        Self {
            smi_command: word(table, 48).and_then(|port| u16::try_from(port).ok()).unwrap_or(0),
            acpi_enable: byte(table, 52).unwrap_or(0),
            sci_interrupt: half(table, 46).unwrap_or(0),
            pm1a_event: block(table, 148, 56, 32),
            pm1b_event: block(table, 160, 60, 32),
            pm1_event_octets: byte(table, 88).unwrap_or(0),
            gpe0: block(table, 220, 80, 32).zip(byte(table, 92)),
            gpe1: block(table, 232, 84, 32).zip(byte(table, 93)),
            button_is_a_device: flags & BUTTON_IS_A_DEVICE != 0,
            pm1a_control: block(table, 172, 64, 16),
            pm1b_control: block(table, 184, 68, 16),
            pm_timer: block(table, 208, 76, 32),
            pm_timer_32_bit: flags & TIMER_32_BIT != 0,
            reset: reset.filter(|_| flags & RESET_SUPPORTED != 0),
            hardware_reduced: flags & HARDWARE_REDUCED != 0,
            sleep_control: register(table, 244),
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::{Fadt, Register, Space, dsdt_address};

    fn short() -> std::vec::Vec<u8> {
        let mut table = std::vec![0u8; 116];
        table[40..44].copy_from_slice(&0x7FE0_0000u32.to_le_bytes());
        table[48] = 0xB2;
        table[52] = 2;
        table[64..68].copy_from_slice(&0x604u32.to_le_bytes());
        table[76..80].copy_from_slice(&0x608u32.to_le_bytes());
        table[46] = 9;
        table[56..60].copy_from_slice(&0x600u32.to_le_bytes());
        table[80..84].copy_from_slice(&0x620u32.to_le_bytes());
        (table[88], table[92]) = (4, 16);
        table
    }

    #[test]
    fn an_acpi_1_table_gives_ports_and_no_reset_register() {
        let fadt = Fadt::parse(&short());
        assert_eq!((fadt.smi_command, fadt.acpi_enable), (0xB2, 2));
        assert_eq!(fadt.pm1a_control, Some(Register { space: Space::Port, bits: 16, address: 0x604 }));
        assert_eq!((fadt.pm1b_control, fadt.reset), (None, None));
        assert_eq!(dsdt_address(&short()), Some(0x7FE0_0000));
        let port = |address, bits| Register { space: Space::Port, bits, address };
        assert_eq!((fadt.sci_interrupt, fadt.pm1_event_octets, fadt.button_is_a_device), (9, 4, false));
        assert_eq!((fadt.pm1a_event, fadt.pm1b_event), (Some(port(0x600, 32)), None));
        assert_eq!((fadt.gpe0, fadt.gpe1), (Some((port(0x620, 32), 16)), None));
    }

    #[test]
    fn extended_fields_win_over_the_old_ones() {
        let mut table = short();
        table.resize(268, 0);
        table[140..148].copy_from_slice(&0x1_0000_0000u64.to_le_bytes());
        table[172..184].copy_from_slice(&[0, 16, 0, 2, 0, 0, 0, 0xD0, 0xFE, 0, 0, 0]);
        let fadt = Fadt::parse(&table);
        assert_eq!(fadt.pm1a_control.unwrap().space, Space::Memory);
        assert_eq!(dsdt_address(&table), Some(0x1_0000_0000));
    }

    #[test]
    fn the_reset_register_counts_only_with_its_flag() {
        let mut table = short();
        table.resize(244, 0);
        table[116..128].copy_from_slice(&[1, 8, 0, 1, 0xF9, 0x0C, 0, 0, 0, 0, 0, 0]);
        table[128] = 0x0F;
        assert_eq!(Fadt::parse(&table).reset, None);
        table[112..116].copy_from_slice(&(1u32 << 10).to_le_bytes());
        let register = Register { space: Space::Port, bits: 8, address: 0xCF9 };
        assert_eq!(Fadt::parse(&table).reset, Some((register, 0x0F)));
    }

    #[test]
    fn every_truncation_parses_without_panic() {
        let mut table = short();
        table.resize(276, 0xA5);
        for length in 0..table.len() {
            let _ = Fadt::parse(&table[..length]);
        }
    }
}
