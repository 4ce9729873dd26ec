//! What can be wrong with a PCI function.
//!
//! Key type: [`PciError`]. A plain value.

use core::fmt;

/// Why a function could not be used as asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PciError {
    /// The function answers with all ones: it is absent, or has gone.
    Gone,
    /// A header type this crate does not know.
    UnknownHeader(u8),
    /// The interrupt pin register holds more than four.
    BadPin(u8),
    /// A bridge leads to a bus that was visited already, or to one not behind it.
    BadBridge {
        /// The bus it says it leads to.
        secondary: u8,
    },
    /// There is no BAR in this slot, or not of the kind asked for.
    NoBar(u8),
    /// The BAR's type, size or address is impossible.
    BadBar(u8),
    /// The firmware gave the BAR no address.
    UnassignedBar(u8),
    /// The list of capabilities leaves the space where capabilities are.
    BadCapability(u8),
    /// The list of capabilities runs in a ring.
    CapabilityLoop,
    /// There is no such capability.
    NoCapability,
    /// The function did not take over what was written.
    NotAccepted,
}

impl fmt::Display for PciError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("the function does not answer"),
            Self::UnknownHeader(header) => write!(f, "unknown header type {header:#04x}"),
            Self::BadPin(pin) => write!(f, "impossible interrupt pin {pin}"),
            Self::BadBridge { secondary } => write!(f, "the bridge leads to bus {secondary}, which is not behind it"),
            Self::NoBar(slot) => write!(f, "no such BAR in slot {slot}"),
            Self::BadBar(slot) => write!(f, "impossible BAR in slot {slot}"),
            Self::UnassignedBar(slot) => write!(f, "the BAR in slot {slot} has no address"),
            Self::BadCapability(offset) => write!(f, "capability at impossible offset {offset:#04x}"),
            Self::CapabilityLoop => f.write_str("the capability list is a ring"),
            Self::NoCapability => f.write_str("no such capability"),
            Self::NotAccepted => f.write_str("the function did not take over a setting"),
        }
    }
}

impl core::error::Error for PciError {}
