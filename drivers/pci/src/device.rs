//! A function as enumeration found it.
//!
//! Key type: [`PciDevice`]. A plain value; everything in it was read once.

use core::fmt;

use pci_types::{ConfigRegionAccess, PciAddress};

use crate::{Function, Pin, RootInterrupt, ids};

/// What kind of device, by the PCI Code and ID Assignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Class {
    /// The base class: 2 is a network controller, 6 a bridge.
    pub base: u8,
    /// Within that.
    pub sub: u8,
    /// The programming interface.
    pub interface: u8,
}

impl Class {
    /// Says whether it is an Ethernet controller.
    pub const fn is_ethernet(self) -> bool {
        self.base == 2 && self.sub == 0
    }
}

/// What the header describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A device.
    Endpoint {
        /// The vendor of the board; 0 if it does not say.
        subsystem_vendor: u16,
        /// That vendor's number for it.
        subsystem: u16,
    },
    /// A bridge to another PCI bus.
    Bridge {
        /// The bus behind it; 0 if the firmware has not set it up.
        secondary: u8,
        /// The last bus behind it.
        subordinate: u8,
    },
    /// A bridge to CardBus, which is left alone.
    CardBus,
}

/// A function that enumeration found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PciDevice {
    /// Where it is.
    pub address: PciAddress,
    /// Who made it.
    pub vendor: u16,
    /// The vendor's number for it.
    pub device: u16,
    /// Of what revision.
    pub revision: u8,
    /// What it is good for.
    pub class: Class,
    /// What its header describes.
    pub kind: Kind,
    /// Its interrupt pin, if it has one.
    pub pin: Option<Pin>,
    /// What the firmware wrote into the interrupt line register: the input of the old interrupt controller, or 0xff. Of no
    /// meaning to the I/O APIC.
    pub line: u8,
    /// Where its interrupt pin arrives on the root bus.
    pub root_interrupt: Option<RootInterrupt>,
}

impl PciDevice {
    /// Returns its configuration space.
    pub fn function<'a, A: ConfigRegionAccess + ?Sized>(&self, access: &'a A) -> Function<'a, A> {
        Function::new(access, self.address)
    }

    /// Says whether vendor and device are these.
    pub fn is(&self, vendor: u16, device: u16) -> bool {
        (self.vendor, self.device) == (vendor, device)
    }

    /// Returns what it is called, or what it is if its name is not known here.
    pub fn description(&self) -> &'static str {
        ids::name(self.vendor, self.device).unwrap_or_else(|| ids::class_name(self.class))
    }

    /// Returns the attach line of a driver, such as `em0: <Intel 82540EM Gigabit Ethernet> at device 3.0 on pci0, INTA#`.
    pub fn attach_line<'a>(&'a self, name: &'a str) -> impl fmt::Display + 'a {
        AttachLine { device: self, name }
    }
}

/// `0000:00:03.0 8086:100e rev 3 <Intel 82540EM Gigabit Ethernet>`.
impl fmt::Display for PciDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, vendor, device, revision, .. } = self;
        write!(f, "{address} {vendor:04x}:{device:04x} rev {revision} <{}>", self.description())
    }
}

struct AttachLine<'a> {
    device: &'a PciDevice,
    name: &'a str,
}

impl fmt::Display for AttachLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PciDevice { address, pin, .. } = self.device;
        write!(f, "{}: <{}> at device ", self.name, self.device.description())?;
        write!(f, "{}.{} on pci{}", address.device(), address.function(), address.bus())?;
        match pin {
            Some(pin) => write!(f, ", {pin}"),
            None => Ok(()),
        }
    }
}
