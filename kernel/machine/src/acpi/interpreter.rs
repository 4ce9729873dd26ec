//! The host half of the bytecode interpreter: memory, ports, PCI configuration and time for firmware's methods.
//!
//! The interpreter's interface cannot refuse a mapping, so an address outside the machine panics here; [`super::contained`]
//! turns that, like every panic of the interpreter itself, into "firmware's bytecode failed". Thread context, interrupts on.

use core::{ptr::NonNull, time::Duration};

use ::acpi::{Handle, Handler, PhysicalMapping, aml::AmlError};
use pci_types::{ConfigRegionAccess, PciAddress};

use crate::{
    map,
    pci_config::PciConfig,
    ports::{CpuPorts, PortIo},
    time,
};

/// Handed to the interpreter; has no state.
#[derive(Debug, Clone, Copy)]
pub(super) struct Host;

/// The mapping of `size` bytes of memory that firmware's methods work on.
fn memory(address: usize, size: usize) -> NonNull<u8> {
    map::firmware_memory(address as u64, size).unwrap_or_else(|| panic!("no memory at {address:#x} for firmware"))
}

macro_rules! memory_access {
    ($read:ident, $write:ident, $type:ty) => {
        fn $read(&self, address: usize) -> $type {
            let at = memory(address, size_of::<$type>()).cast::<$type>();
            // SAFETY: `memory` maps that many bytes; firmware names its own registers and buffers, aligned or not.
            unsafe { at.read_unaligned() }
        }

        fn $write(&self, address: usize, value: $type) {
            let at = memory(address, size_of::<$type>()).cast::<$type>();
            // SAFETY: as above; `map` gives writable mappings only of memory the kernel does not own.
            unsafe { at.write_unaligned(value) };
        }
    };
}

/// Reads the aligned word around `offset`, shifted so that `offset` is at bit 0.
fn config(address: PciAddress, offset: u16) -> u32 {
    // SAFETY: reading configuration space of any function is harmless; absent ones read as ones.
    let word = unsafe { PciConfig.read(address, offset & !3) };
    word >> (8 * (offset & 3))
}

/// Replaces `mask` at `offset` by `value`, within one aligned word.
fn set_config(address: PciAddress, offset: u16, mask: u32, value: u32) {
    let shift = 8 * (offset & 3);
    // SAFETY: as in `config`.
    let old = unsafe { PciConfig.read(address, offset & !3) };
    let new = (old & !(mask << shift)) | ((value & mask) << shift);
    // SAFETY: firmware's methods write the registers of its own chipset (interrupt links, power states).
    unsafe { PciConfig.write(address, offset & !3, new) };
}

impl Handler for Host {
    unsafe fn map_physical_region<T>(&self, physical_address: usize, size: usize) -> PhysicalMapping<Self, T> {
        PhysicalMapping {
            physical_start: physical_address,
            virtual_start: memory(physical_address, size).cast(),
            region_length: size,
            mapped_length: size,
            handler: *self,
        }
    }

    // Windows of firmware memory are parts of the mapping of all physical memory: there is nothing to undo.
    fn unmap_physical_region<T>(_region: &PhysicalMapping<Self, T>) {}

    memory_access!(read_u8, write_u8, u8);
    memory_access!(read_u16, write_u16, u16);
    memory_access!(read_u32, write_u32, u32);
    memory_access!(read_u64, write_u64, u64);

    fn read_io_u8(&self, port: u16) -> u8 {
        CpuPorts.read8(port)
    }
    fn read_io_u16(&self, port: u16) -> u16 {
        CpuPorts.read16(port)
    }
    fn read_io_u32(&self, port: u16) -> u32 {
        CpuPorts.read32(port)
    }
    fn write_io_u8(&self, port: u16, value: u8) {
        CpuPorts.write8(port, value);
    }
    fn write_io_u16(&self, port: u16, value: u16) {
        CpuPorts.write16(port, value);
    }
    fn write_io_u32(&self, port: u16, value: u32) {
        CpuPorts.write32(port, value);
    }

    fn read_pci_u8(&self, address: PciAddress, offset: u16) -> u8 {
        config(address, offset) as u8
    }
    fn read_pci_u16(&self, address: PciAddress, offset: u16) -> u16 {
        config(address, offset) as u16
    }
    fn read_pci_u32(&self, address: PciAddress, offset: u16) -> u32 {
        config(address, offset)
    }
    fn write_pci_u8(&self, address: PciAddress, offset: u16, value: u8) {
        set_config(address, offset, 0xFF, u32::from(value));
    }
    fn write_pci_u16(&self, address: PciAddress, offset: u16, value: u16) {
        set_config(address, offset, 0xFFFF, u32::from(value));
    }
    fn write_pci_u32(&self, address: PciAddress, offset: u16, value: u32) {
        set_config(address, offset, u32::MAX, value);
    }

    fn nanos_since_boot(&self) -> u64 {
        time::now().as_nanos()
    }
    fn stall(&self, microseconds: u64) {
        time::delay(Duration::from_micros(microseconds));
    }
    fn sleep(&self, milliseconds: u64) {
        time::delay(Duration::from_millis(milliseconds));
    }

    // One processor runs one method at a time, so firmware's mutexes are always free.
    fn create_mutex(&self) -> Handle {
        Handle(0)
    }
    fn acquire(&self, _mutex: Handle, _timeout: u16) -> Result<(), AmlError> {
        Ok(())
    }
    fn release(&self, _mutex: Handle) {}
}
