//! PCI enumeration, BARs, capabilities and interrupt pins over pci_types.
//!
//! - [`enumerate`]: walks a segment from its root buses through all bridges and returns every function as a [`PciDevice`],
//!   and what was wrong on the way as a [`Fault`].
//! - [`Function`]: one function's configuration space: BARs, bus mastering, INTx, [messages](MsiX), capabilities, power.
//! - [`PciDevice::root_interrupt`]: where the device's interrupt pin arrives on the root bus, which is what `_PRT` is
//!   indexed by.
//!
//! Generic over `pci_types::ConfigRegionAccess`, so that all of it runs on the host over a made-up configuration space. A
//! device that lies (all ones, zero-sized BARs, capability lists and bridges in a ring) yields errors, never a loop.
//!
//! Context: boot and attach; `set_bus_mastering` also at shutdown. Nothing parks. Source: PCI Local Bus 3.0, chapter 6;
//! PCI-to-PCI Bridge 1.2, 3.2 and 9.1.

#![no_std]
#![deny(unsafe_code)]

extern crate alloc;

mod bar;
mod capability;
#[expect(unsafe_code, reason = "pci_types declares its accessors unsafe")]
mod config;
mod device;
mod enumerate;
mod error;
mod function;
mod ids;
mod message;
mod pin;

pub use bar::{Bar, Bars, SLOTS};
pub use capability::{Capabilities, Capability, CapabilityId};
pub use device::{Class, Kind, PciDevice};
pub use enumerate::{Enumeration, Fault, enumerate};
pub use error::PciError;
pub use function::Function;
pub use message::{Msi, MsiX};
pub use pci_types::{ConfigRegionAccess, PciAddress};
pub use pin::{Pin, RootInterrupt};
