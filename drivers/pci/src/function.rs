//! One function's configuration space, for the driver that owns the function.
//!
//! Key type: [`Function`]. Attach and shutdown; the calls read, write and read back, and never wait: where a device needs
//! time, the caller is told.

use pci_types::{ConfigRegionAccess, PciAddress};

use crate::{Bars, Capabilities, Capability, CapabilityId, PciError, bar, config};

/// Command: decode I/O.
const IO: u16 = 1 << 0;
/// Command: decode memory.
const MEMORY: u16 = 1 << 1;
/// Command: may be bus master, that is, do DMA.
const BUS_MASTER: u16 = 1 << 2;
/// Command: INTx is not asserted.
const INTX_DISABLE: u16 = 1 << 10;
/// Status: INTx would be asserted.
const INTX_STATUS: u16 = 1 << 3;
/// PMCSR (behind the power capability by 4): the power state, D0 to D3.
const POWER_STATE: u32 = 0b11;
/// Express device capabilities (behind by 4): can be reset alone.
const EXPRESS_FLR: u32 = 1 << 28;
/// Express device control (behind by 8, low half): reset.
const INITIATE_FLR: u32 = 1 << 15;
/// Express link control (behind by 0x10, low half): link power saving.
const ASPM: u32 = 0b11;

/// A function of a device, reached through `A`.
#[derive(Debug)]
pub struct Function<'a, A: ?Sized> {
    access: &'a A,
    address: PciAddress,
}

impl<'a, A: ConfigRegionAccess + ?Sized> Function<'a, A> {
    /// Names a function. Nothing is read yet.
    pub fn new(access: &'a A, address: PciAddress) -> Self {
        Self { access, address }
    }

    /// Returns its address.
    pub fn address(&self) -> PciAddress {
        self.address
    }

    pub(crate) fn access(&self) -> &'a A {
        self.access
    }

    /// Reads a register of the first 256 octets (`offset` is rounded down to a multiple of 4).
    pub fn read(&self, offset: u16) -> u32 {
        config::read(self.access, self.address, offset)
    }

    /// Says whether the function answers.
    pub fn is_present(&self) -> bool {
        !matches!(config::low_half(self.read(config::ID)), 0 | u16::MAX)
    }

    /// Decodes and sizes all BARs.
    ///
    /// # Errors
    /// [`PciError::Gone`]. What is wrong with a single one is told when that is asked for.
    pub fn bars(&self) -> Result<Bars, PciError> {
        bar::probe_all(self.access, self.address)
    }

    /// Returns address and size of the memory BAR in `slot`, for a function of which no other is wanted.
    ///
    /// # Errors
    /// As [`bars`](Self::bars) and [`Bars::memory`].
    pub fn memory_bar(&self, slot: u8) -> Result<(u64, u64), PciError> {
        self.bars()?.memory(slot)
    }

    /// Lets the function decode its memory BARs.
    ///
    /// # Errors
    /// [`PciError::NotAccepted`], [`PciError::Gone`].
    pub fn enable_memory(&self) -> Result<(), PciError> {
        self.set_command(MEMORY, MEMORY)
    }

    /// Lets the function decode its I/O BARs.
    ///
    /// # Errors
    /// As [`enable_memory`](Self::enable_memory).
    pub fn enable_io(&self) -> Result<(), PciError> {
        self.set_command(IO, IO)
    }

    /// Allows or forbids DMA, verified by reading back (which also flushes the write). Forbid it only after the device has
    /// acknowledged that it is quiet: some machines hang when it is cut off in the middle.
    ///
    /// # Errors
    /// As [`enable_memory`](Self::enable_memory).
    pub fn set_bus_mastering(&self, allowed: bool) -> Result<(), PciError> {
        self.set_command(BUS_MASTER, if allowed { BUS_MASTER } else { 0 })
    }

    /// Says whether the function may do DMA. A function that has gone may not.
    pub fn bus_mastering(&self) -> bool {
        let command = self.read(config::COMMAND);
        command != u32::MAX && config::low_half(command) & BUS_MASTER != 0
    }

    /// Disconnects the function's interrupt pin, or connects it again.
    ///
    /// # Errors
    /// [`PciError::NotAccepted`] also where the bit does not exist: PCI 2.2 and older have none.
    pub fn set_intx_disabled(&self, disabled: bool) -> Result<(), PciError> {
        self.set_command(INTX_DISABLE, if disabled { INTX_DISABLE } else { 0 })
    }

    /// Says whether the function has an interrupt pending on its pin, connected or not. A function that has gone has none.
    pub fn intx_pending(&self) -> bool {
        let status = self.read(config::COMMAND);
        status != u32::MAX && config::high_half(status) & INTX_STATUS != 0
    }

    /// Returns an iterator over the capabilities, which ends at the first error.
    pub fn capabilities(&self) -> Capabilities<'a, A> {
        Capabilities::new(self.access, self.address)
    }

    /// Finds a capability.
    ///
    /// # Errors
    /// What is wrong with the list, if that comes first.
    pub fn capability(&self, id: CapabilityId) -> Result<Option<Capability>, PciError> {
        self.capabilities().find(|found| !found.is_ok_and(|capability| capability.id != id)).transpose()
    }

    /// Puts the function into power state D0. Returns whether it was in another one: then the caller waits 10 ms before it
    /// touches the function (PCI Power Management 1.2, 5.6.1) and sets it up anew. A function without the capability is
    /// always in D0.
    ///
    /// # Errors
    /// What is wrong with the list of capabilities.
    pub fn wake(&self) -> Result<bool, PciError> {
        let Some(power) = self.capability(CapabilityId::POWER)? else { return Ok(false) };
        let offset = u16::from(power.offset) + 4;
        let state = self.read(offset);
        if state & POWER_STATE == 0 {
            return Ok(false);
        }
        // Bit 15, the pending wake event, is cleared by a one; let it be.
        config::write(self.access, self.address, offset, state & !POWER_STATE & !(1 << 15));
        Ok(true)
    }

    /// Turns the link's power saving off (ASPM), under which 82574L is known to lose packets and hang. Does nothing on a
    /// function that is not PCI Express.
    ///
    /// # Errors
    /// What is wrong with the list of capabilities.
    pub fn disable_link_power_saving(&self) -> Result<(), PciError> {
        let Some(express) = self.capability(CapabilityId::EXPRESS)? else { return Ok(()) };
        let offset = u16::from(express.offset) + 0x10;
        // The high half is the link's status, where ones clear.
        let control = u32::from(config::low_half(self.read(offset)));
        config::write(self.access, self.address, offset, control & !ASPM);
        Ok(())
    }

    /// Resets the function alone, the last resort for one that does not acknowledge. The caller waits 100 ms (PCI Express
    /// 3.0, 6.6.2) and then finds the function as after power-on.
    ///
    /// # Errors
    /// [`PciError::NoCapability`] if it cannot be reset alone, or what is wrong with the list of capabilities.
    pub fn reset(&self) -> Result<(), PciError> {
        let express = self.capability(CapabilityId::EXPRESS)?.ok_or(PciError::NoCapability)?;
        let offset = u16::from(express.offset);
        let able = self.read(offset + 4);
        if able & EXPRESS_FLR == 0 {
            return Err(PciError::NoCapability);
        }
        let control = u32::from(config::low_half(self.read(offset + 8)));
        config::write(self.access, self.address, offset + 8, control | INITIATE_FLR);
        Ok(())
    }

    /// Changes the command bits in `mask` to those of `bits`, and checks.
    fn set_command(&self, mask: u16, bits: u16) -> Result<(), PciError> {
        let before = self.read(config::COMMAND);
        if before == u32::MAX {
            return Err(PciError::Gone);
        }
        let wanted = config::low_half(before) & !mask | bits;
        // The status half is written as zeros: ones would clear errors.
        config::write(self.access, self.address, config::COMMAND, u32::from(wanted));
        let after = self.read(config::COMMAND);
        if after == u32::MAX {
            Err(PciError::Gone)
        } else if config::low_half(after) & mask == bits {
            Ok(())
        } else {
            Err(PciError::NotAccepted)
        }
    }
}
