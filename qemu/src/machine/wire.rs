//! Network interfaces of a virtual machine and what they are plugged into: [`Nic`] and [`Wire`].

use std::{fmt, path::PathBuf, str::FromStr};

use ::wire::MacAddr;
use clap::ValueEnum;

/// The first PCI slot for network interfaces. Lower ones are taken on one board or the other.
const FIRST_SLOT: u8 = 4;

/// The model of a network interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum NicModel {
    /// Intel 82540EM: PCI, INTx.
    #[default]
    E1000,
    /// Intel 82574L: PCI Express, MSI-X.
    E1000e,
}

impl NicModel {
    /// Returns the name of QEMU's device.
    pub(super) const fn device(self) -> &'static str {
        match self {
            Self::E1000 => "e1000",
            Self::E1000e => "e1000e",
        }
    }
}

/// A network interface of a virtual machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nic {
    /// The model.
    pub model: NicModel,
    /// What it is plugged into.
    pub wire: Wire,
    /// Its address; made from its index when not given.
    pub mac: Option<MacAddr>,
    /// The bus it is on: the name of a bridge; the root bus when not given.
    pub bus: Option<String>,
    /// Its PCI slot; consecutive from 4 when not given. Slots that differ by 4 share an interrupt line on both boards.
    pub slot: Option<u8>,
    /// A file that QEMU records every frame in, as a capture.
    pub capture: Option<PathBuf>,
}

impl Nic {
    /// Makes an interface of the default model on `wire`.
    #[must_use]
    pub const fn new(wire: Wire) -> Self {
        Self { model: NicModel::E1000, wire, mac: None, bus: None, slot: None, capture: None }
    }

    /// Returns the address of the interface with the given index: its own, or a locally administered one of the index.
    #[must_use]
    pub fn address(&self, index: usize) -> MacAddr {
        let index = u8::try_from(index).unwrap_or(u8::MAX);
        self.mac.unwrap_or(MacAddr([0x52, 0x54, 0x00, 0x51, 0x1c, index]))
    }

    /// Returns the PCI slot of the interface with the given index.
    #[must_use]
    pub(super) fn pci_slot(&self, index: usize) -> u8 {
        self.slot.unwrap_or(FIRST_SLOT.saturating_add(u8::try_from(index).unwrap_or(u8::MAX)))
    }
}

/// What a network interface is plugged into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wire {
    /// Frames with a length before each, through a unix socket on which somebody listens.
    Stream(PathBuf),
    /// One frame in a datagram, from our own unix socket to that of another.
    Dgram(PathBuf, PathBuf),
    /// A tap interface of the host, which exists already.
    Tap(String),
    /// QEMU's built-in network with address translation.
    User,
    /// Nothing: the link is up, and frames go nowhere.
    Nothing,
}

/// A text is no [`Wire`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoWire;

impl fmt::Display for NoWire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected stream:PATH, dgram:OWN-PATH,OTHER-PATH, tap:INTERFACE, user or none")
    }
}

impl std::error::Error for NoWire {}

impl FromStr for Wire {
    type Err = NoWire;

    fn from_str(text: &str) -> Result<Self, NoWire> {
        match text.split_once(':') {
            None if text == "user" => Ok(Self::User),
            None if text == "none" => Ok(Self::Nothing),
            Some(("stream", path)) if !path.is_empty() => Ok(Self::Stream(path.into())),
            Some(("tap", name)) if !name.is_empty() => Ok(Self::Tap(name.into())),
            Some(("dgram", paths)) => match paths.split_once(',') {
                Some((own, other)) if !own.is_empty() && !other.is_empty() => Ok(Self::Dgram(own.into(), other.into())),
                _ => Err(NoWire),
            },
            _ => Err(NoWire),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wires_are_read_as_the_command_line_has_them() {
        assert_eq!("stream:/run/a".parse(), Ok(Wire::Stream("/run/a".into())));
        assert_eq!("dgram:a,b".parse(), Ok(Wire::Dgram("a".into(), "b".into())));
        assert_eq!("tap:tap0".parse(), Ok(Wire::Tap("tap0".into())));
        assert_eq!("user".parse(), Ok(Wire::User));
        assert_eq!("none".parse(), Ok(Wire::Nothing));
        for text in ["", "stream", "stream:", "dgram:a", "dgram:a,", "dgram:,b", "tap:", "user:x", "vde:x"] {
            assert_eq!(text.parse::<Wire>(), Err(NoWire), "{text}");
        }
    }

    #[test]
    fn interfaces_get_addresses_and_slots_by_their_order() {
        let nic = Nic::new(Wire::User);
        assert_eq!((nic.pci_slot(0), nic.pci_slot(1)), (4, 5));
        assert_ne!(nic.address(0), nic.address(1));
        assert_eq!(Nic { slot: Some(9), ..nic }.pci_slot(0), 9);
    }
}
