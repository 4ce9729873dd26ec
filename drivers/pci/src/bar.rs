//! Base address registers: what they decode and how much of it.
//!
//! Key types: [`Bar`], [`Bars`]. Sizing writes to the function, with its decoding off: attach time only.

use core::fmt;

use pci_types::{ConfigRegionAccess, PciAddress};

use crate::{PciError, config};

/// BARs of an endpoint.
pub const SLOTS: u8 = 6;

/// Command bits "decode I/O" and "decode memory".
const DECODE: u32 = 0b11;

/// A range of addresses that a function decodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bar {
    /// Memory-mapped registers.
    Memory {
        /// Physical address of the first octet, a multiple of the size; 0 if the firmware gave it none.
        address: u64,
        /// Octets; a power of two.
        size: u64,
        /// Reads have no side effects.
        prefetchable: bool,
        /// Takes up two slots.
        wide: bool,
    },
    /// Ports.
    Io {
        /// First port; 0 if the firmware gave it none.
        port: u32,
        /// Ports; a power of two.
        size: u32,
    },
}

impl Bar {
    /// Says whether the firmware gave it an address.
    pub fn is_assigned(&self) -> bool {
        !matches!(self, Self::Memory { address: 0, .. } | Self::Io { port: 0, .. })
    }

    /// Returns how many slots it takes up.
    pub fn slots(&self) -> u8 {
        if matches!(self, Self::Memory { wide: true, .. }) { 2 } else { 1 }
    }
}

impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Memory { address, size, .. } => write!(f, "mem {address:#x}-{:#x}", address.wrapping_add(size - 1)),
            Self::Io { port, size } => write!(f, "port {port:#x}-{:#x}", port.wrapping_add(size - 1)),
        }
    }
}

/// All BARs of a function, by their slots: what each is, or what is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bars([Result<Option<Bar>, PciError>; SLOTS as usize]);

impl Bars {
    /// Returns the BAR that begins in `slot`; `None` if there is none.
    ///
    /// # Errors
    /// [`PciError::BadBar`], [`PciError::Gone`], or [`PciError::NoBar`] if there is no such slot.
    pub fn get(&self, slot: u8) -> Result<Option<Bar>, PciError> {
        self.0.get(usize::from(slot)).copied().unwrap_or(Err(PciError::NoBar(slot)))
    }

    /// Returns address and size of the memory BAR in `slot`, which has to be there, and assigned.
    ///
    /// # Errors
    /// As [`get`](Self::get), and [`PciError::UnassignedBar`].
    pub fn memory(&self, slot: u8) -> Result<(u64, u64), PciError> {
        match self.get(slot)? {
            Some(Bar::Memory { address: 0, .. }) => Err(PciError::UnassignedBar(slot)),
            Some(Bar::Memory { address, size, .. }) => Ok((address, size)),
            Some(Bar::Io { .. }) | None => Err(PciError::NoBar(slot)),
        }
    }
}

/// Decodes and sizes all BARs.
///
/// The function's decoding is off meanwhile, so that the probe pattern claims no addresses. That is not for free: an emulator draws
/// its map of all memory anew for each BAR that goes or comes.
pub(crate) fn probe_all<A: ConfigRegionAccess + ?Sized>(access: &A, address: PciAddress) -> Result<Bars, PciError> {
    let command = config::read(access, address, config::COMMAND);
    if command == u32::MAX {
        return Err(PciError::Gone);
    }
    // The status half is written as zeros: a one there would clear an error somebody may want to see.
    let command = u32::from(config::low_half(command));
    config::write(access, address, config::COMMAND, command & !DECODE);
    let mut bars = [Ok(None); SLOTS as usize];
    let mut slot = 0;
    while let Some(place) = bars.get_mut(usize::from(slot)) {
        *place = probe(access, address, slot);
        slot += place.ok().flatten().map_or(1, |bar| bar.slots());
    }
    config::write(access, address, config::COMMAND, command);
    Ok(Bars(bars))
}

/// Decodes and sizes the BAR in `slot`, which begins there. `None` if the slot is empty.
fn probe<A: ConfigRegionAccess + ?Sized>(access: &A, address: PciAddress, slot: u8) -> Result<Option<Bar>, PciError> {
    let (low, low_mask) = exchange(access, address, slot);
    if low_mask == 0 {
        return Ok(None);
    }
    let bad = PciError::BadBar(slot);
    // A function that has gone answers everything with ones. So would a BAR of one port; there is none, as two bits are
    // flags.
    if low == u32::MAX && low_mask == u32::MAX {
        return Err(PciError::Gone);
    }
    if low & 1 != 0 {
        // Sixteen-bit decoders leave the upper half of the mask zero.
        let mask = low_mask & !0b11;
        if mask == 0 {
            return Err(bad);
        }
        let mask = if mask >> 16 == 0 { mask | 0xffff_0000 } else { mask };
        let size = size_of_mask(u64::from(mask) | 0xffff_ffff_0000_0000).ok_or(bad)?;
        let port = low & !0b11;
        let size = u32::try_from(size).map_err(|_| bad)?;
        return if port & (size - 1) == 0 { Ok(Some(Bar::Io { port, size })) } else { Err(bad) };
    }
    let (high, high_mask, wide) = match low >> 1 & 0b11 {
        // A size of 4 GiB is beyond what a narrow BAR can ask for.
        0b00 if low_mask & !0xf != 0 => (0, u32::MAX, false),
        0b10 if slot + 1 < SLOTS => {
            let (high, high_mask) = exchange(access, address, slot + 1);
            (high, high_mask, true)
        }
        _ => return Err(bad),
    };
    let base = u64::from(high) << 32 | u64::from(low & !0xf);
    let size = size_of_mask(u64::from(high_mask) << 32 | u64::from(low_mask & !0xf)).ok_or(bad)?;
    if base & (size - 1) != 0 || base.checked_add(size - 1).is_none() {
        return Err(bad);
    }
    Ok(Some(Bar::Memory { address: base, size, prefetchable: low & 0b1000 != 0, wide }))
}

/// Returns a BAR's value and what it makes of all ones, and leaves it as it was.
fn exchange<A: ConfigRegionAccess + ?Sized>(access: &A, address: PciAddress, slot: u8) -> (u32, u32) {
    let offset = config::BAR0 + 4 * u16::from(slot);
    let value = config::read(access, address, offset);
    config::write(access, address, offset, u32::MAX);
    let mask = config::read(access, address, offset);
    config::write(access, address, offset, value);
    (value, mask)
}

/// Returns the size that a mask of writable address bits stands for: ones down to the size's bit, then zeros.
fn size_of_mask(mask: u64) -> Option<u64> {
    let size = (!mask).checked_add(1)?;
    (mask != 0 && size.is_power_of_two()).then_some(size)
}
