//! Message-signalled interrupts: where a function keeps them, and switching them on and off.
//!
//! Key types: [`Msi`], [`MsiX`]. A function that sends messages does not use its pin; its messages are writes to memory, so that it sends
//! none before bus mastering is allowed. The table of MSI-X lies in a memory BAR and is written by who has mapped that, an [`MsiX::ENTRY`]
//! each; whatever stands there is one of the addresses that the machine gave out for interrupts. Attach and shutdown.
//! Source: PCI Local Bus 3.0, 6.8.1 and 6.8.2.

use pci_types::ConfigRegionAccess;

use crate::{CapabilityId, Function, PciError, config};

/// MSI message control: enabled.
const MSI_ENABLE: u32 = 1 << 16;
/// MSI message control: how many messages may be sent, as a power of two.
const MSI_MULTIPLE: u32 = 0b111 << 20;
/// MSI message control: the address has 64 bits.
const MSI_WIDE: u32 = 1 << 23;
/// MSI-X message control: all messages are masked.
const MSI_X_MASKED: u32 = 1 << 30;
/// MSI-X message control: enabled.
const MSI_X_ENABLE: u32 = 1 << 31;
/// MSI-X message control: the last entry of the table.
const MSI_X_LAST: u32 = 0x7ff << 16;

/// The one message of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Msi {
    offset: u16,
    is_wide: bool,
}

/// The table of messages of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MsiX {
    offset: u16,
    /// Entries of the table.
    pub entries: u16,
    /// The memory BAR that holds it.
    pub bar: u8,
    /// Where in the BAR, in octets.
    pub table: u32,
}

impl MsiX {
    /// Octets of an entry: address (low, high), data, control.
    pub const ENTRY: u32 = 16;
    /// Control of an entry: masked.
    pub const MASKED: u32 = 1 << 0;
}

impl<A: ConfigRegionAccess + ?Sized> Function<'_, A> {
    /// Finds the function's single message; `None` if it has none.
    ///
    /// # Errors
    /// What is wrong with the list of capabilities.
    pub fn msi(&self) -> Result<Option<Msi>, PciError> {
        let found = self.capability(CapabilityId::MSI)?.map(|capability| u16::from(capability.offset));
        Ok(found.map(|offset| Msi { offset, is_wide: self.read(offset) & MSI_WIDE != 0 }))
    }

    /// Has the function send `data` to `address` for every interrupt, and leave its pin alone.
    ///
    /// # Errors
    /// [`PciError::NotAccepted`] if it does not, or cannot reach the address; [`PciError::Gone`].
    pub fn enable_msi(&self, msi: &Msi, address: u64, data: u16) -> Result<(), PciError> {
        let (low, high) = (address & 0xffff_ffff, address >> 32);
        if high != 0 && !msi.is_wide {
            return Err(PciError::NotAccepted);
        }
        let write = |place: u16, value: u64| {
            let value = u32::try_from(value).unwrap_or(0);
            config::write(self.access(), self.address(), msi.offset + place, value);
        };
        write(4, low);
        if msi.is_wide {
            write(8, high);
            write(12, u64::from(data));
        } else {
            write(8, u64::from(data));
        }
        self.set_control(msi.offset, MSI_ENABLE | MSI_MULTIPLE, MSI_ENABLE)
    }

    /// Finds the function's table of messages; `None` if it has none.
    ///
    /// # Errors
    /// What is wrong with the list of capabilities; [`PciError::NoBar`] if the table is said to lie in no BAR.
    pub fn msi_x(&self) -> Result<Option<MsiX>, PciError> {
        let Some(capability) = self.capability(CapabilityId::MSI_X)? else { return Ok(None) };
        let offset = u16::from(capability.offset);
        let (control, place) = (self.read(offset), self.read(offset + 4));
        let [bar, ..] = (place & 0b111).to_le_bytes();
        if bar >= crate::SLOTS {
            return Err(PciError::NoBar(bar));
        }
        let entries = config::high_half(control & MSI_X_LAST) + 1;
        Ok(Some(MsiX { offset, entries, bar, table: place & !0b111 }))
    }

    /// Lets the function send the messages of its table, whose entries have been written, and leave its pin alone.
    ///
    /// # Errors
    /// [`PciError::NotAccepted`], [`PciError::Gone`].
    pub fn enable_msi_x(&self, table: &MsiX) -> Result<(), PciError> {
        self.set_control(table.offset, MSI_X_ENABLE | MSI_X_MASKED, MSI_X_ENABLE)
    }

    /// Switches messages of both kinds off, as far as the function has them, so that it uses its pin.
    ///
    /// # Errors
    /// As [`enable_msi_x`](Self::enable_msi_x), and what is wrong with the list of capabilities.
    pub fn disable_messages(&self) -> Result<(), PciError> {
        if let Some(table) = self.msi_x()? {
            self.set_control(table.offset, MSI_X_ENABLE, 0)?;
        }
        match self.msi()? {
            Some(msi) => self.set_control(msi.offset, MSI_ENABLE, 0),
            None => Ok(()),
        }
    }

    /// Changes the bits in `mask` of the register at `offset` to those of `bits`, and checks.
    fn set_control(&self, offset: u16, mask: u32, bits: u32) -> Result<(), PciError> {
        let before = self.read(offset);
        if before == u32::MAX {
            return Err(PciError::Gone);
        }
        config::write(self.access(), self.address(), offset, before & !mask | bits);
        match self.read(offset) {
            u32::MAX => Err(PciError::Gone),
            after if after & mask == bits => Ok(()),
            _ => Err(PciError::NotAccepted),
        }
    }
}
