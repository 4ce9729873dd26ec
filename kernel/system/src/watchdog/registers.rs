//! The registers of a hardware watchdog on this machine.
//!
//! Context: any.

use ::watchdog::{Place, RegisterIo};
use machine::{mmio::MmioWindow, pci_config::OwnRegisters, ports::PortWindow};
use pci::PciAddress;

/// The three places where a watchdog may have registers; what it has no window for reads all ones.
#[derive(Debug)]
pub(super) struct Registers {
    config: OwnRegisters,
    memory: MmioWindow,
    ports: Option<PortWindow>,
}

impl Registers {
    pub(super) const fn new(function: PciAddress, memory: MmioWindow, ports: Option<PortWindow>) -> Self {
        Self { config: OwnRegisters::of(function), memory, ports }
    }
}

impl RegisterIo for Registers {
    fn read(&self, place: Place) -> u32 {
        match place {
            Place::Config8(offset) => self.config.read8(offset).into(),
            Place::Config16(offset) => self.config.read16(offset).into(),
            Place::Memory16(offset) => self.memory.read16(offset.into()).into(),
            Place::Memory32(offset) => self.memory.read32(offset.into()),
            Place::Port16(offset) => self.ports.as_ref().map_or(u16::MAX, |ports| ports.read16(offset)).into(),
        }
    }

    fn write(&self, place: Place, value: u32) {
        let [octet, ..] = value.to_le_bytes();
        let half = u16::from_le_bytes([octet, value.to_le_bytes()[1]]);
        match place {
            Place::Config8(offset) => self.config.write8(offset, octet),
            Place::Config16(offset) => self.config.write16(offset, half),
            Place::Memory16(offset) => self.memory.write16(offset.into(), half),
            Place::Memory32(offset) => self.memory.write32(offset.into(), value),
            Place::Port16(offset) => {
                if let Some(ports) = &self.ports {
                    ports.write16(offset, half);
                }
            }
        }
    }
}
