//! A register that firmware names, ready to use: a port, mapped memory, or configuration space.
//!
//! Opened at boot, because mapping allocates; used in any context, panic included. Source: ACPI 6.5, 5.2.3.2.

use pci_types::{ConfigRegionAccess, PciAddress};

use super::fadt::{Register, Space};
use crate::{
    map,
    mmio::MmioWindow,
    pci_config::PciConfig,
    ports::{CpuPorts, PortIo},
};

/// Octets mapped for a register in memory: the longest block there is.
const WINDOW: usize = 16;

/// A register or register block of the FADT. Offsets are in octets from its start.
#[derive(Debug)]
pub(crate) enum Access {
    /// I/O ports from this one on.
    Port(u16),
    /// Mapped memory.
    Memory(MmioWindow),
    /// Configuration space of segment 0, bus 0.
    Pci { device: u8, function: u8, offset: u16 },
}

impl Access {
    /// Makes a register usable; `None` if it cannot be.
    pub(crate) fn open(register: Register) -> Option<Self> {
        match register.space {
            Space::Port => u16::try_from(register.address).ok().map(Self::Port),
            Space::Memory => map::registers(register.address, WINDOW).map(Self::Memory),
            Space::PciConfig => {
                // Device in bits 32 to 47, function in 16 to 31, offset below (ACPI 6.5, table 5.1).
                let device = u8::try_from(register.address >> 32).ok()?;
                let function = u8::try_from((register.address >> 16) & 0xFFFF).ok()?;
                Some(Self::Pci { device, function, offset: (register.address & 0xFFFF) as u16 })
            }
        }
    }

    /// Reads 16 bits; 0 from configuration space, where no register of ours is read.
    pub(crate) fn read16(&self, at: u16) -> u16 {
        match self {
            Self::Port(port) => CpuPorts.read16(port.wrapping_add(at)),
            Self::Memory(window) => window.read16(usize::from(at)),
            Self::Pci { .. } => 0,
        }
    }

    /// Writes 16 bits; nothing in configuration space.
    pub(crate) fn write16(&self, at: u16, value: u16) {
        match self {
            Self::Port(port) => CpuPorts.write16(port.wrapping_add(at), value),
            Self::Memory(window) => window.write16(usize::from(at), value),
            Self::Pci { .. } => {}
        }
    }

    /// Writes 8 bits.
    pub(crate) fn write8(&self, at: u16, value: u8) {
        match self {
            Self::Port(port) => CpuPorts.write8(port.wrapping_add(at), value),
            Self::Memory(window) => window.write8(usize::from(at), value),
            Self::Pci { device, function, offset } => {
                let offset = offset.wrapping_add(at);
                let address = PciAddress::new(0, 0, *device, *function);
                let shift = 8 * (offset & 3);
                // SAFETY: the register firmware names for resetting the machine.
                let old = unsafe { PciConfig.read(address, offset & !3) };
                let new = (old & !(0xFF << shift)) | u32::from(value) << shift;
                // SAFETY: as above.
                unsafe { PciConfig.write(address, offset & !3, new) };
            }
        }
    }
}
