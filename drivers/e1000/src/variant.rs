//! Which parts this driver drives, and how they differ: data, not branches over names.
//!
//! Key type: [`Variant`]. Three kinds: the 8254x on PCI and PCI-X, the 8257x on PCI Express (extended receive descriptors,
//! acknowledged master disable), and among these the 82574 (two queues, five interrupt messages).

use crate::desc::RxLayout;

/// Intel's PCI vendor id.
pub const VENDOR_INTEL: u16 = 0x8086;

/// Layout of EERD (13.4.4): where the word address starts and which bit says done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EerdLayout {
    /// Bit at which the word address starts.
    pub address_shift: u32,
    /// Bit that the device sets when the data are valid.
    pub done: u32,
}

/// How the device is made to stop its DMA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DmaStop {
    /// Only CTRL.RST ends DMA (all parts on conventional PCI and PCI-X).
    Reset,
    /// CTRL.GIO_MASTER_DISABLE is acknowledged by STATUS.GIO_MASTER_ENABLE reading 0; reset follows.
    MasterDisable,
}

/// One part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variant {
    /// PCI device id.
    pub device: u16,
    /// Name as in the manual.
    pub name: &'static str,
    /// EEPROM read register.
    pub eerd: EerdLayout,
    /// How DMA is stopped.
    pub dma_stop: DmaStop,
    /// Longest frame with VLAN tag and FCS that the part receives and sends: 1522 for those that know no long packets.
    pub max_frame: u16,
    /// Receive descriptors as this driver has the part write them.
    pub rx_layout: RxLayout,
    /// The part is asked for the checksum of IPv4 headers. Not the 8254x, whose receive path would pay for the question.
    pub rx_checksum: bool,
    /// Queues in each direction, at most.
    pub queues: u8,
    /// Interrupt messages of MSI-X that the part's causes can be spread over: 0, or [`MESSAGES`](crate::regs::MESSAGES).
    pub messages: u8,
}

const EERD_8254X: EerdLayout = EerdLayout { address_shift: 8, done: 1 << 4 };
/// The 82541 and all parts on PCI Express.
const EERD_LATER: EerdLayout = EerdLayout { address_shift: 2, done: 1 << 1 };

/// No long packets: parts whose manuals know none (the 82573 and the 82583V).
const NO_JUMBO: u16 = 1522;
/// Of the 8254x: a packet of 16,110 octets, tagged. They receive 16,384 octets (13.4.22, RCTL.LPE), and send 16,288 out of one descriptor
/// (3.3.3).
const JUMBO_8254X: u16 = 16_132;
/// Of the 82571, 82572 and 82574: a packet of 9212 octets, tagged.
const JUMBO_8257X: u16 = 9234;

const fn pci_8254x(device: u16, name: &'static str) -> Variant {
    Variant {
        device,
        name,
        eerd: EERD_8254X,
        dma_stop: DmaStop::Reset,
        max_frame: JUMBO_8254X,
        rx_layout: RxLayout::Legacy,
        rx_checksum: false,
        queues: 1,
        messages: 0,
    }
}

const fn pci_82541(device: u16, name: &'static str) -> Variant {
    Variant { eerd: EERD_LATER, ..pci_8254x(device, name) }
}

const fn express(device: u16, name: &'static str) -> Variant {
    Variant {
        eerd: EERD_LATER,
        dma_stop: DmaStop::MasterDisable,
        rx_layout: RxLayout::Extended,
        rx_checksum: true,
        max_frame: JUMBO_8257X,
        ..pci_8254x(device, name)
    }
}

const fn express_small(device: u16, name: &'static str) -> Variant {
    Variant { max_frame: NO_JUMBO, ..express(device, name) }
}

const fn with_messages(device: u16, name: &'static str) -> Variant {
    Variant { queues: 2, messages: crate::regs::MESSAGES, ..express(device, name) }
}

/// The parts this driver attaches to, copper ones of one programming model. QEMU emulates 100e (`e1000`), 1008 (`e1000-82544gc`), 100f
/// (`e1000-82545em`) and 10d3 (`e1000e`); the others are driven by the manual only.
pub const VARIANTS: [Variant; 32] = [
    pci_8254x(0x100e, "82540EM"),
    pci_8254x(0x1015, "82540EM (LOM)"),
    pci_8254x(0x1016, "82540EP (LOM)"),
    pci_8254x(0x1017, "82540EP"),
    pci_8254x(0x101e, "82540EP (LP)"),
    pci_8254x(0x1008, "82544EI"),
    pci_8254x(0x100c, "82544GC"),
    pci_8254x(0x100d, "82544GC (LOM)"),
    pci_8254x(0x100f, "82545EM"),
    pci_8254x(0x1026, "82545GM"),
    pci_8254x(0x1010, "82546EB"),
    pci_8254x(0x101d, "82546EB (four ports)"),
    pci_8254x(0x1079, "82546GB"),
    pci_8254x(0x1099, "82546GB (four ports)"),
    pci_8254x(0x10b5, "82546GB (four ports, KSP3)"),
    pci_82541(0x1013, "82541EI"),
    pci_82541(0x1018, "82541EI (mobile)"),
    pci_82541(0x1076, "82541GI"),
    pci_82541(0x1077, "82541GI (mobile)"),
    pci_82541(0x1078, "82541ER"),
    pci_82541(0x107c, "82541PI"),
    express(0x105e, "82571EB"),
    express(0x10a4, "82571EB (four ports)"),
    express(0x10bc, "82571EB (four ports, LP)"),
    express(0x107d, "82572EI"),
    express(0x10b9, "82572EI (copper)"),
    express_small(0x108b, "82573V"),
    express_small(0x108c, "82573E"),
    express_small(0x109a, "82573L"),
    express_small(0x150c, "82583V"),
    with_messages(0x10d3, "82574L"),
    with_messages(0x10f6, "82574LA"),
];

impl Variant {
    /// Returns the part with this PCI identity, or `None` if this driver does not drive it.
    #[must_use]
    pub fn find(vendor: u16, device: u16) -> Option<&'static Self> {
        VARIANTS.iter().find(|variant| vendor == VENDOR_INTEL && variant.device == device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_found_by_their_identity_and_strangers_are_not() {
        assert_eq!(Variant::find(0x8086, 0x100e).map(|v| v.name), Some("82540EM"));
        assert_eq!(Variant::find(0x8086, 0x10d3).map(|v| (v.name, v.queues, v.messages)), Some(("82574L", 2, 5)));
        assert_eq!(Variant::find(0x8086, 0x1533), None);
        assert_eq!(Variant::find(0x1af4, 0x100e), None);
    }

    #[test]
    fn no_identity_is_listed_twice_and_kinds_hang_together() {
        for (place, variant) in VARIANTS.iter().enumerate() {
            assert!(VARIANTS.iter().skip(place + 1).all(|other| other.device != variant.device), "{variant:?}");
            let is_express = variant.dma_stop == DmaStop::MasterDisable;
            assert_eq!(variant.rx_layout == RxLayout::Extended, is_express, "{variant:?}");
            assert!(variant.queues == 1 || variant.messages > 0, "queues need a message each: {variant:?}");
        }
    }
}
