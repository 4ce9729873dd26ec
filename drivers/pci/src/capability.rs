//! The list of capabilities, walked with distrust.
//!
//! Key types: [`Capabilities`] (iterator), [`Capability`], [`CapabilityId`].

use pci_types::{ConfigRegionAccess, PciAddress};

use crate::{PciError, config};

/// First offset at which a capability can lie: behind the header.
const FIRST: u8 = 0x40;
/// Status bit "has a list of capabilities", in the COMMAND register's value.
const STATUS_LIST: u32 = 1 << (16 + 4);

/// Which capability; the numbers are those of the PCI Code and ID Assignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapabilityId(pub u8);

impl CapabilityId {
    /// Power management.
    pub const POWER: Self = Self(0x01);
    /// Message signalled interrupts.
    pub const MSI: Self = Self(0x05);
    /// PCI Express.
    pub const EXPRESS: Self = Self(0x10);
    /// MSI-X.
    pub const MSI_X: Self = Self(0x11);
    /// Advanced features of conventional PCI, function-level reset among them.
    pub const ADVANCED_FEATURES: Self = Self(0x13);
}

/// One capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capability {
    /// Which.
    pub id: CapabilityId,
    /// Where in the configuration space: a multiple of 4, at least 0x40.
    pub offset: u8,
}

/// The iterator over a function's capabilities. Ends after the first error.
#[derive(Debug)]
pub struct Capabilities<'a, A: ?Sized> {
    access: &'a A,
    address: PciAddress,
    /// Offset of the next capability; 0 ends the list.
    next: u8,
    /// One bit per place visited: what keeps a ring from being walked for ever.
    visited: u64,
}

impl<'a, A: ConfigRegionAccess + ?Sized> Capabilities<'a, A> {
    pub(crate) fn new(access: &'a A, address: PciAddress) -> Self {
        let status = config::read(access, address, config::COMMAND);
        // All ones say "list", too: the pointer read then is 0xff, and the walk ends with `Gone`.
        let next = if status & STATUS_LIST == 0 {
            0
        } else {
            config::octet(config::read(access, address, config::CAPABILITIES), 0)
        };
        Self { access, address, next, visited: 0 }
    }

    fn step(&mut self) -> Result<Capability, PciError> {
        // The two low bits are reserved and have to be masked (PCI 3.0, 6.7).
        let offset = self.next & !3;
        if offset < FIRST {
            return Err(PciError::BadCapability(self.next));
        }
        let place = 1 << (offset / 4);
        if self.visited & place != 0 {
            return Err(PciError::CapabilityLoop);
        }
        self.visited |= place;
        let value = config::read(self.access, self.address, u16::from(offset));
        if value == u32::MAX {
            return Err(PciError::Gone);
        }
        self.next = config::octet(value, 1);
        Ok(Capability { id: CapabilityId(config::octet(value, 0)), offset })
    }
}

impl<A: ConfigRegionAccess + ?Sized> Iterator for Capabilities<'_, A> {
    type Item = Result<Capability, PciError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next == 0 {
            return None;
        }
        let step = self.step();
        if step.is_err() {
            self.next = 0;
        }
        Some(step)
    }
}
