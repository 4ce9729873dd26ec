//! USB mass storage at the ports of an xHCI host controller, polled: enough to read and write a stick once, and go.
//!
//! - [`Stopped`]: a controller taken from firmware and reset; [`Stopped::run`] makes it a [`Controller`], which is
//!   [stopped](Controller::stop) in the end and gives all memory back. [`Host`]: its registers, and time.
//! - [`Controller::scan`]: what is at its ports. [`Pipes`]: what the storage protocol needs of a device, a real one
//!   ([`Storage`]) or a model.
//! - [`bulk_only`]: commands and their status by bulk transfers. [`Disk`]: SCSI's blocks on top.
//!
//! The one user is the self-test, in a thread of its own: no interrupts, one transfer at a time, every wait bounded. Everything a device says
//! is checked before it is believed; what it does to its buffers cannot harm others, since [`bus_dma`] keeps them until the
//! controller has acknowledged its halt.
//!
//! Sources: xHCI 1.2; USB 2.0 and 3.2; USB Mass Storage Class Bulk-Only Transport 1.0; SPC-4 and SBC-3.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod bulk_only;
mod capabilities;
mod controller;
mod descriptor;
mod device;
mod error;
mod host;
mod hub;
mod memory;
mod port;
mod regs;
mod ring;
mod scsi;
mod storage;
mod transfer;
mod trb;

pub use bulk_only::Pipes;
pub use capabilities::Firmware;
pub use controller::{Controller, StopError, Stopped};
pub use device::Request;
pub use error::{Error, Sense};
pub use host::Host;
pub use port::{Found, Role};
pub use scsi::{BLOCK, Disk, Identity};
pub use storage::Storage;
