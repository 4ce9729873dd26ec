//! The conformance suite for the driver with the 82574L, its causes sharing one interrupt: extended receive descriptors, another
//! EEPROM register, an acknowledged master disable. What its messages and queues add is in `messages.rs`.

#[path = "suite/mod.rs"]
mod suite;

pub(crate) use suite::part_under_test::{config, machine};

/// The PCI device id.
const PART: u16 = 0x10d3;
