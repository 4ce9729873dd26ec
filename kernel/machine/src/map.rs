//! The two ways firmware's addresses become memory: device registers, and tables (with the memory firmware's methods use).
//!
//! Thread context at boot; the mappings are for good.

use core::ptr::NonNull;

use x86_64::PhysAddr;

use crate::{acpi::tables::PhysicalMemory, boot, mmio::MmioWindow, paging};

/// Maps device registers uncached; `None`, and a log line, if that is impossible.
#[must_use]
pub(crate) fn registers(address: u64, length: usize) -> Option<MmioWindow> {
    // SAFETY: the callers in this crate name registers that firmware or the processor itself places: local APIC, I/O APIC,
    // HPET, PCI configuration windows. `overlaps_ram` rules out a table that points into memory the kernel owns.
    let window = if overlaps_ram(address, length) { None } else { unsafe { paging::map_mmio(address, length) }.ok() };
    if window.is_none() {
        log::error!("map: no registers at {address:#x}, length {length:#x}");
    }
    window
}

/// True if any byte lies in memory that was free at boot, so may be the kernel's now.
fn overlaps_ram(address: u64, length: usize) -> bool {
    let end = address.saturating_add(length as u64);
    let usable = boot::record().map_or(&[][..], |record| record.usable());
    usable.iter().any(|range| address < range.end && range.start < end)
}

/// Maps the registers of a device whose address firmware or the kernel put into a BAR: uncached, for good. `None`, and a log
/// line, if the range overlaps memory or cannot be mapped.
///
/// # Context
/// Thread, at attach.
#[must_use]
pub fn device_registers(address: u64, length: usize) -> Option<MmioWindow> {
    registers(address, length)
}

/// Memory that firmware's methods read and write: anything in the physical mapping that the kernel does not own.
#[must_use]
pub(crate) fn firmware_memory(address: u64, length: usize) -> Option<NonNull<u8>> {
    let last = address.checked_add(length as u64)?.checked_sub(1)?;
    if overlaps_ram(address, length) {
        return None;
    }
    paging::phys_to_virt(PhysAddr::try_new(last).ok()?)?;
    paging::phys_to_virt(PhysAddr::try_new(address).ok()?)
}

/// The machine's own firmware tables.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FirmwareTables;

impl PhysicalMemory for FirmwareTables {
    fn bytes(&self, address: u64, length: usize) -> Option<&'static [u8]> {
        let start = firmware_memory(address, length)?;
        // SAFETY: mapped for good and, being outside the memory that was free at boot, written by nobody in the kernel.
        Some(unsafe { core::slice::from_raw_parts(start.as_ptr(), length) })
    }
}
