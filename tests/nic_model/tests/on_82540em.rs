//! The conformance suite for the driver with the 82540EM: legacy receive descriptors, one interrupt line.

#[path = "suite/mod.rs"]
mod suite;

pub(crate) use suite::part_under_test::{config, machine};

/// The PCI device id.
const PART: u16 = 0x100e;
