//! SPCR: the serial port that firmware itself uses as its console. Pure; any context.
//!
//! Source: Microsoft, Serial Port Console Redirection Table, version 1.08; ACPI 6.5, 5.2.3.2 (generic address structure).

use super::{
    bytes::{array, byte, long, word},
    tables::HEADER,
};

/// Where the registers of a 16550 are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SerialPlace {
    /// I/O ports from this one on.
    Port(u16),
    /// Physical memory, with so many octets from one register to the next.
    Memory {
        /// Of the first register.
        address: u64,
        /// 1, 2 or 4.
        stride: u8,
    },
}

impl SerialPlace {
    /// COM1, where the kernel looks before firmware's tables can be read.
    pub const COM1: Self = Self::Port(0x3F8);
}

/// Where its interrupt arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SerialInterrupt {
    /// An interrupt of the ISA bus.
    Isa(u8),
    /// A global system interrupt.
    Gsi(u32),
}

/// Firmware's console.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spcr {
    /// Where.
    pub place: SerialPlace,
    /// Its interrupt, if it has one.
    pub interrupt: Option<SerialInterrupt>,
    /// Bits a second; `None`: as firmware has set it.
    pub baud: Option<u32>,
}

/// Why the table's port cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unusable {
    /// The table is too short.
    Short,
    /// It names no port: redirection is switched off in firmware's setup.
    Off,
    /// The port is no 16550.
    Interface(u8),
    /// It lies in an address space that is neither ports nor memory, or beyond it.
    Space(u8),
}

impl Spcr {
    /// Interprets an "SPCR" table.
    pub fn parse(table: &[u8]) -> Result<Self, Unusable> {
        let field = |offset| byte(table, offset).ok_or(Unusable::Short);
        let [space, bits, _, access] = array(table, HEADER + 4).ok_or(Unusable::Short)?;
        let address = long(table, HEADER + 8).ok_or(Unusable::Short)?;
        if address == 0 {
            return Err(Unusable::Off);
        }
        // 0: 16550; 1: its subset; 18: 16550 with registers as the address structure describes them.
        let kind = field(HEADER)?;
        if !matches!(kind, 0 | 1 | 18) {
            return Err(Unusable::Interface(kind));
        }
        let place = match space {
            1 => SerialPlace::Port(u16::try_from(address).map_err(|_| Unusable::Space(space))?),
            // Registers lie apart by their width; older tables leave the access size out and mean octets.
            0 => SerialPlace::Memory {
                address,
                stride: if kind == 18 || access > 1 { (bits / 8).clamp(1, 4) } else { 1 },
            },
            _ => return Err(Unusable::Space(space)),
        };
        let kinds = field(HEADER + 16)?;
        let gsi = word(table, HEADER + 18).ok_or(Unusable::Short)?;
        let interrupt = match (kinds & 0b10 != 0, kinds & 0b01 != 0) {
            (true, _) => Some(SerialInterrupt::Gsi(gsi)),
            (false, true) => Some(SerialInterrupt::Isa(field(HEADER + 17)?)),
            (false, false) => None,
        };
        let baud = match field(HEADER + 22)? {
            3 => Some(9_600),
            4 => Some(19_200),
            6 => Some(57_600),
            7 => Some(115_200),
            _ => None,
        };
        Ok(Self { place, interrupt, baud })
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::{SerialInterrupt, SerialPlace, Spcr, Unusable};

    /// A table as server boards have it: COM2, ISA interrupt 3, 115200.
    fn com2() -> std::vec::Vec<u8> {
        let mut table = std::vec![0u8; 80];
        table[40..52].copy_from_slice(&[1, 8, 0, 0, 0xF8, 0x02, 0, 0, 0, 0, 0, 0]);
        (table[52], table[53], table[58]) = (1, 3, 7);
        table
    }

    #[test]
    fn a_port_of_a_server_board_is_read() {
        let expected =
            Spcr { place: SerialPlace::Port(0x2F8), interrupt: Some(SerialInterrupt::Isa(3)), baud: Some(115_200) };
        assert_eq!(Spcr::parse(&com2()), Ok(expected));
    }

    #[test]
    fn registers_in_memory_lie_apart_as_the_table_says() {
        let mut table = com2();
        table[36] = 18;
        table[40..52].copy_from_slice(&[0, 32, 0, 3, 0, 0x10, 0xE0, 0xFE, 0, 0, 0, 0]);
        table[52] = 3;
        table[54..58].copy_from_slice(&34u32.to_le_bytes());
        table[58] = 0;
        let spcr = Spcr::parse(&table).expect("a usable table");
        assert_eq!(spcr.place, SerialPlace::Memory { address: 0xFEE0_1000, stride: 4 });
        assert_eq!((spcr.interrupt, spcr.baud), (Some(SerialInterrupt::Gsi(34)), None));
        (table[36], table[43]) = (0, 0);
        let spcr = Spcr::parse(&table).expect("a usable table");
        assert_eq!(spcr.place, SerialPlace::Memory { address: 0xFEE0_1000, stride: 1 });
    }

    #[test]
    fn what_is_no_16550_or_nowhere_is_named() {
        let with = |offset: usize, value: u8| {
            let mut table = com2();
            table[offset] = value;
            Spcr::parse(&table)
        };
        assert_eq!(with(36, 3), Err(Unusable::Interface(3)));
        assert_eq!(with(40, 2), Err(Unusable::Space(2)));
        assert_eq!(with(47, 1), Err(Unusable::Space(1)), "no port has such a number");
        let mut off = com2();
        off[44..52].fill(0);
        assert_eq!(Spcr::parse(&off), Err(Unusable::Off));
    }

    #[test]
    fn every_truncation_is_an_error_and_no_panic() {
        let whole = com2();
        for length in 0..59 {
            assert!(Spcr::parse(&whole[..length]).is_err(), "{length}");
        }
        assert!(Spcr::parse(&whole[..59]).is_ok());
    }
}
