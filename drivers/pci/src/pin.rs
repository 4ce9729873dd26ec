//! Interrupt pins and their way through bridges.
//!
//! Key types: [`Pin`], [`RootInterrupt`]. Plain values.

use core::fmt;

use crate::PciError;

/// One of the four interrupt pins of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Pin {
    /// INTA#.
    A,
    /// INTB#.
    B,
    /// INTC#.
    C,
    /// INTD#.
    D,
}

impl Pin {
    const ALL: [Self; 4] = [Self::A, Self::B, Self::C, Self::D];

    /// Decodes the interrupt pin register: 0 is none, 1 to 4 are A to D.
    ///
    /// # Errors
    /// [`PciError::BadPin`].
    pub fn from_register(value: u8) -> Result<Option<Self>, PciError> {
        match value {
            0 => Ok(None),
            1..=4 => Ok(Some(Self::ALL[usize::from(value - 1)])),
            _ => Err(PciError::BadPin(value)),
        }
    }

    /// Returns 0 for A to 3 for D, as `_PRT` counts.
    #[inline]
    pub const fn index(self) -> u8 {
        self as u8
    }

    /// Returns the pin on which a bridge passes this one on, for a device of number `device` right behind the bridge
    /// (PCI-to-PCI Bridge 1.2, table 9-1).
    #[must_use]
    pub fn through_bridge(self, device: u8) -> Self {
        Self::ALL[usize::from(self.index() + device % 4) % 4]
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "INT{self:?}#")
    }
}

/// Where an interrupt arrives on a root bus: the key of `_PRT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RootInterrupt {
    /// The root bus.
    pub bus: u8,
    /// The device on it: the interrupting one, or the bridge in front of it.
    pub device: u8,
    /// The pin of that device.
    pub pin: Pin,
}
