//! PCI configuration space: memory windows (ECAM) where MCFG names them, the two ports of mechanism 1 otherwise.
//!
//! [`PciConfig`] is a token; the windows are set once by [`init`]. The ports are a pair, so they are behind a spin lock. Thread
//! or interrupt context; an absent function reads as ones. Source: PCI Firmware 3.3, 4.1; PCI Local Bus 3.0, 3.2.2.3.2.

use alloc::vec::Vec;
use ksync::{Once, SpinLock};
use pci_types::{ConfigRegionAccess, PciAddress};

use crate::{
    acpi::EcamWindow,
    map,
    mmio::MmioWindow,
    ports::{CpuPorts, PortIo},
};

/// Access to the machine's configuration space.
#[derive(Debug, Clone, Copy, Default)]
pub struct PciConfig;

/// A window and the mappings of its buses, made on first use.
struct Window {
    range: EcamWindow,
    buses: Vec<Once<Option<MmioWindow>>>,
}

static WINDOWS: Once<Vec<Window>> = Once::new();
static PORTS: SpinLock<CpuPorts> = SpinLock::new(CpuPorts);

const BUS_BYTES: usize = 1 << 20;

/// Takes the windows of MCFG. Once, at boot; without it (or outside the windows) the ports serve segment 0.
pub fn init(windows: &[EcamWindow]) {
    WINDOWS.call_once(|| {
        let window = |&range: &EcamWindow| {
            let count = usize::from(range.last_bus - range.first_bus) + 1;
            Window { range, buses: (0..count).map(|_| Once::new()).collect() }
        };
        windows.iter().map(window).collect()
    });
}

/// Byte offset of a register within its bus's window.
fn ecam_offset(address: PciAddress, offset: u16) -> usize {
    usize::from(address.device()) << 15 | usize::from(address.function()) << 12 | usize::from(offset & 0xFFC)
}

/// The value for port 0xCF8; `None` for what mechanism 1 cannot reach.
fn mechanism_1(address: PciAddress, offset: u16) -> Option<u32> {
    if address.segment() != 0 || offset > 0xFC {
        return None;
    }
    let place = u32::from(address.bus()) << 16 | u32::from(address.device()) << 11 | u32::from(address.function()) << 8;
    Some(1 << 31 | place | u32::from(offset & 0xFC))
}

/// The mapped window of the function's bus, if MCFG covers it.
fn bus_window(address: PciAddress) -> Option<&'static MmioWindow> {
    let covers = |window: &&Window| {
        let buses = window.range.first_bus..=window.range.last_bus;
        window.range.segment == address.segment() && buses.contains(&address.bus())
    };
    let window = WINDOWS.get()?.iter().find(covers)?;
    let cell = window.buses.get(usize::from(address.bus() - window.range.first_bus))?;
    let at = window.range.base + u64::from(address.bus()) * BUS_BYTES as u64;
    cell.call_once(|| map::registers(at, BUS_BYTES)).as_ref()
}

impl ConfigRegionAccess for PciConfig {
    unsafe fn read(&self, address: PciAddress, offset: u16) -> u32 {
        if let Some(window) = bus_window(address) {
            return window.read32(ecam_offset(address, offset));
        }
        let Some(select) = mechanism_1(address, offset) else { return u32::MAX };
        let ports = PORTS.lock();
        ports.write32(0xCF8, select);
        ports.read32(0xCFC)
    }

    unsafe fn write(&self, address: PciAddress, offset: u16, value: u32) {
        if let Some(window) = bus_window(address) {
            window.write32(ecam_offset(address, offset), value);
            return;
        }
        let Some(select) = mechanism_1(address, offset) else { return };
        let ports = PORTS.lock();
        ports.write32(0xCF8, select);
        ports.write32(0xCFC, value);
    }
}

/// First register that belongs to the device's own driver: what comes before, and what [`ConfigRegionAccess`] reaches, is the bus's.
const OWN: u16 = 0x40;

/// The registers behind the header of one function, octet by octet and in halves: for devices that ignore an access of another
/// width than the register has.
///
/// # Context
/// Any; a function that is absent reads as ones.
#[derive(Debug, Clone, Copy)]
pub struct OwnRegisters {
    address: PciAddress,
}

impl OwnRegisters {
    /// Names the registers of a function.
    #[must_use]
    pub const fn of(address: PciAddress) -> Self {
        Self { address }
    }

    /// Reads the octet at `offset`, which is 0x40 or more; ones elsewhere.
    #[must_use]
    pub fn read8(self, offset: u16) -> u8 {
        self.at(offset, 1, u8::MAX, |window, at| window.read8(at), |ports, port| ports.read8(port))
    }

    /// Writes the octet at `offset`, which is 0x40 or more; nothing elsewhere.
    pub fn write8(self, offset: u16, value: u8) {
        self.at(offset, 1, (), |window, at| window.write8(at, value), |ports, port| ports.write8(port, value));
    }

    /// Reads the half at `offset`, which is even and 0x40 or more; ones elsewhere.
    #[must_use]
    pub fn read16(self, offset: u16) -> u16 {
        self.at(offset, 2, u16::MAX, |window, at| window.read16(at), |ports, port| ports.read16(port))
    }

    /// Writes the half at `offset`, which is even and 0x40 or more; nothing elsewhere.
    pub fn write16(self, offset: u16, value: u16) {
        self.at(offset, 2, (), |window, at| window.write16(at, value), |ports, port| ports.write16(port, value));
    }

    /// Does one access of `octets` at `offset`, by window or by ports; `otherwise` where there is no such register.
    fn at<T>(
        self,
        offset: u16,
        octets: u16,
        otherwise: T,
        by_window: impl FnOnce(&MmioWindow, usize) -> T,
        by_ports: impl FnOnce(&CpuPorts, u16) -> T,
    ) -> T {
        if offset < OWN || !offset.is_multiple_of(octets) || offset > 0xFFF {
            return otherwise;
        }
        let within = offset & 3;
        if let Some(window) = bus_window(self.address) {
            return by_window(window, ecam_offset(self.address, offset) + usize::from(within));
        }
        let Some(select) = mechanism_1(self.address, offset) else { return otherwise };
        let ports = PORTS.lock();
        ports.write32(0xCF8, select);
        by_ports(&ports, 0xCFC + within)
    }
}

/// Which way configuration space is reached, for the transcript.
#[must_use]
pub fn windows() -> usize {
    WINDOWS.get().map_or(0, Vec::len)
}

/// The bridge whose secondary bus is `bus`: its own bus and device number. Scans; thread context, boot only.
#[must_use]
pub fn bridge_to(segment: u16, bus: u8) -> Option<(u8, u8)> {
    for upper in 0..bus {
        for device in 0..32 {
            for function in 0..8 {
                let at = PciAddress::new(segment, upper, device, function);
                // SAFETY: reading configuration space is harmless.
                let header = unsafe { PciConfig.read(at, 0x0C) };
                let absent = header == u32::MAX;
                if !absent && (header >> 16) & 0x7F == 1 {
                    // SAFETY: as above.
                    let numbers = unsafe { PciConfig.read(at, 0x18) };
                    if (numbers >> 8) & 0xFF == u32::from(bus) {
                        return Some((upper, device));
                    }
                }
                if function == 0 && (absent || header & (1 << 23) == 0) {
                    break;
                }
            }
        }
    }
    None
}

/// Calls `visit` with the name of each lock in here and whether somebody holds it. Any context; never waits.
pub(crate) fn locks(visit: &mut dyn FnMut(&'static str, bool)) {
    visit("PCI configuration", PORTS.is_held());
}

#[cfg(test)]
mod tests {
    use super::{OwnRegisters, PciAddress, ecam_offset, mechanism_1};

    #[test]
    fn ecam_packs_device_function_and_register() {
        assert_eq!(ecam_offset(PciAddress::new(0, 5, 31, 7), 0xFFF), 0xF_FFFC);
        assert_eq!(ecam_offset(PciAddress::new(0, 5, 1, 0), 0x10), 0x8010);
    }

    #[test]
    fn a_drivers_own_registers_begin_behind_the_header_and_are_aligned() {
        // Refused before anything of the machine is touched: a host has no ports.
        let registers = OwnRegisters::of(PciAddress::new(0, 0, 1, 0));
        assert_eq!((registers.read8(0x3F), registers.read16(0x10), registers.read16(0x61)), (0xFF, 0xFFFF, 0xFFFF));
        registers.write16(0x04, 0xFFFF);
        registers.write8(0x1000, 0xFF);
    }

    #[test]
    fn mechanism_1_reaches_the_first_256_bytes_of_segment_0_only() {
        assert_eq!(mechanism_1(PciAddress::new(0, 1, 2, 3), 0x3C), Some(0x8001_133C));
        assert_eq!(mechanism_1(PciAddress::new(0, 1, 2, 3), 0x100), None);
        assert_eq!(mechanism_1(PciAddress::new(1, 0, 0, 0), 0), None);
    }
}
