//! What firmware says about the machine: checked static tables, and what its bytecode answers.
//!
//! - [`tables`]: RSDP → checked tables. [`madt`], [`fadt`], [`regions`]: pure interpretation of each.
//! - `aml` (bare metal only): the interpreter's seat. It runs once at boot, contained, and leaves plain data: [`Answers`].
//! - [`Platform`]: all of it together, made by [`discover`].
//!
//! Firmware is input: a broken table is an [`AcpiError`] or a logged omission with a fallback, never a panic. Thread context at
//! boot. Source: ACPI 6.5.

pub(crate) mod access;
#[cfg(target_os = "none")]
pub mod aml;
mod bytes;
pub mod contained;
pub mod dmar;
pub mod fadt;
#[cfg(target_os = "none")]
mod interpreter;
pub mod madt;
pub mod method;
pub mod regions;
pub mod resource;
pub mod routing;
pub mod spcr;
pub mod srat;
pub mod tables;

use alloc::vec::Vec;
use core::fmt;

pub use contained::{on_panic, on_timer};
pub use fadt::Fadt;
pub use madt::Madt;
pub use regions::EcamWindow;
pub use routing::{Pin, Route, Routing};
pub use spcr::Spcr;
pub use srat::Srat;
pub use tables::Tables;

/// Four letters that name a table.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub [u8; 4]);

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for &byte in &self.0 {
            let letter = if byte.is_ascii_graphic() { char::from(byte) } else { '?' };
            fmt::Write::write_char(f, letter)?;
        }
        Ok(())
    }
}

/// What can be wrong with firmware's tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcpiError {
    /// There is no root pointer where the boot loader said, or it is damaged.
    NoRsdp,
    /// An address in a table is not readable memory.
    Unreadable {
        /// The physical address.
        address: u64,
    },
    /// A table's length cannot be.
    BadLength {
        /// Which table.
        signature: Signature,
    },
    /// A table's bytes do not add up to zero.
    BadChecksum {
        /// Which table.
        signature: Signature,
    },
    /// A table the kernel cannot do without is missing.
    Missing {
        /// Which table.
        signature: Signature,
    },
}

/// The values that mean "off" in SLP_TYPa and SLP_TYPb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SleepType {
    /// For PM1a.
    pub a: u8,
    /// For PM1b.
    pub b: u8,
}

/// A root bus and the node it is close to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proximity {
    /// PCI segment group.
    pub segment: u16,
    /// The root bus.
    pub bus: u8,
    /// The proximity domain, as in the SRAT.
    pub node: u32,
}

/// What the bytecode said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answers {
    /// Interrupt routing by bus.
    pub routing: Routing,
    /// How to power off.
    pub s5: Option<SleepType>,
    /// Root buses whose node is stated.
    pub proximity: Vec<Proximity>,
}

/// The static tables, interpreted.
#[derive(Debug, Clone)]
pub struct Platform {
    /// Processors and interrupt controllers.
    pub madt: Madt,
    /// Power management registers; all absent if the table is missing.
    pub fadt: Fadt,
    /// PCI configuration windows.
    pub ecam: Vec<EcamWindow>,
    /// Physical address of the HPET.
    pub hpet: Option<u64>,
    /// DMA remapping units.
    pub remapping: Vec<dmar::RemappingUnit>,
    /// Nodes of processors and memory.
    pub nodes: Option<Srat>,
    /// The serial port that is firmware's console.
    pub serial: Option<Spcr>,
    /// All checked tables, for those who look for others.
    pub tables: Tables,
}

/// Reads the static tables. Without a usable MADT there is no machine to speak of, so only that is an error.
pub fn discover(memory: &impl tables::PhysicalMemory, rsdp: u64) -> Result<Platform, AcpiError> {
    let tables = Tables::discover(memory, rsdp)?;
    for (address, error) in &tables.rejected {
        log::warn!("acpi: table at {address:#x} left out: {error:?}");
    }
    let madt = tables.find(*b"APIC").ok_or(AcpiError::Missing { signature: Signature(*b"APIC") })?;
    Ok(Platform {
        madt: Madt::parse(madt.bytes)?,
        fadt: tables.find(*b"FACP").map(|table| Fadt::parse(table.bytes)).unwrap_or_default(),
        ecam: tables.all(*b"MCFG").flat_map(|table| regions::ecam_windows(table.bytes)).collect(),
        hpet: tables.find(*b"HPET").and_then(|table| regions::hpet_address(table.bytes)),
        remapping: tables.all(*b"DMAR").flat_map(|table| dmar::units(table.bytes)).collect(),
        nodes: tables.find(*b"SRAT").map(|table| Srat::parse(table.bytes)),
        serial: tables.find(*b"SPCR").and_then(|table| match Spcr::parse(table.bytes) {
            Ok(spcr) => Some(spcr),
            Err(why) => {
                log::info!("acpi: firmware's serial console is not usable: {why:?}");
                None
            }
        }),
        tables,
    })
}
