//! A software 82540EM behind a software IOMMU, for host tests of the driver.
//!
//! - [`Nic`]: the device. A register file with the manual's semantics (causes cleared by reading, head == tail means an
//!   empty ring, reset), and a DMA engine that moves one frame or descriptor per [`Nic::step`]. It is the driver's
//!   `RegisterIo` and `Delay`. Whoever holds a clone plays the wire, the link and the adversary.
//! - [`Iommu`]: the machine. A `DmaPlatform` that hears of every map and memory, lets the device reach only these, and
//!   records every other access as a [`Violation`]. Memory that was freed is poisoned and looked at again.
//! - [`Bench`]: a port on a device on a machine, with the interrupt thread played by the test.
//!
//! The device is not safe code: it reaches memory by address, as hardware does; that is what is being tested. All of
//! that is in `iommu`.

mod bench;
mod checksums;
mod engine;
mod faults;
mod iommu;
mod limits;
mod nic;
mod registers;

pub use bench::{Bench, Machine, config, frame, mac, rings};
pub use faults::Faults;
pub use iommu::{Iommu, Violation};
pub use nic::{Nic, Wired};
