//! Which parts this driver drives, and how they differ: data, not branches over names.
//!
//! Key type: [`Variant`]. The 82574L (extended receive descriptors, MSI-X, acknowledged master disable) gets its row
//! when its ring format is driven; its EEPROM layout and its master disable are fields already.

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
    /// Longest frame with FCS that one 2048-octet receive buffer takes and the part sends.
    pub max_frame: u16,
}

const PCI_8254X: EerdLayout = EerdLayout { address_shift: 8, done: 1 << 4 };

const fn pci_8254x(device: u16, name: &'static str) -> Variant {
    Variant { device, name, eerd: PCI_8254X, dma_stop: DmaStop::Reset, max_frame: 1522 }
}

/// The parts this driver attaches to: copper, legacy descriptors, INTx. QEMU emulates 100e (`e1000`) and 100f
/// (`e1000-82545em`).
pub const VARIANTS: [Variant; 6] = [
    pci_8254x(0x100e, "82540EM"),
    pci_8254x(0x1015, "82540EM (LOM)"),
    pci_8254x(0x1017, "82540EP"),
    pci_8254x(0x101e, "82540EP (LP)"),
    pci_8254x(0x100f, "82545EM"),
    pci_8254x(0x1026, "82545GM"),
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
    fn the_82540em_is_found_by_its_identity_and_strangers_are_not() {
        assert_eq!(Variant::find(0x8086, 0x100e).map(|v| v.name), Some("82540EM"));
        assert_eq!(Variant::find(0x8086, 0x10d3), None);
        assert_eq!(Variant::find(0x1af4, 0x100e), None);
    }
}
