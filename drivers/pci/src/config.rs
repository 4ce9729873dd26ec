//! The one place that calls pci_types' unsafe accessors.
//!
//! Key functions: [`read`], [`write`], on registers of the first 256 octets, which every function has.

use pci_types::{ConfigRegionAccess, PciAddress};

/// Octets of the configuration space that every access mechanism reaches.
pub(crate) const SPACE: u16 = 256;

/// Vendor and device id.
pub(crate) const ID: u16 = 0x00;
/// Command (low half) and status (high half, written ones clear).
pub(crate) const COMMAND: u16 = 0x04;
/// Revision and class.
pub(crate) const CLASS: u16 = 0x08;
/// Header type in bits 16-23.
pub(crate) const HEADER: u16 = 0x0c;
/// First BAR.
pub(crate) const BAR0: u16 = 0x10;
/// Primary, secondary and subordinate bus of a bridge.
pub(crate) const BUSES: u16 = 0x18;
/// Subsystem vendor and id.
pub(crate) const SUBSYSTEM: u16 = 0x2c;
/// Offset of the first capability.
pub(crate) const CAPABILITIES: u16 = 0x34;
/// Interrupt line and pin.
pub(crate) const INTERRUPT: u16 = 0x3c;

/// Reads a register; `offset` is rounded down to a multiple of 4 and wrapped into [`SPACE`].
pub(crate) fn read<A: ConfigRegionAccess + ?Sized>(access: &A, address: PciAddress, offset: u16) -> u32 {
    // SAFETY: the offset is aligned and within the space every function has; a function that is absent answers with ones.
    unsafe { access.read(address, place(offset)) }
}

/// Writes a register, at the same offsets. Crate-private: what is written where is decided next to the specification's
/// words for it, and nothing outside can move a BAR.
pub(crate) fn write<A: ConfigRegionAccess + ?Sized>(access: &A, address: PciAddress, offset: u16, value: u32) {
    // SAFETY: as in `read`; the callers write command bits, BARs (probed with decoding off, and restored) and documented
    // capability bits.
    unsafe { access.write(address, place(offset), value) }
}

const fn place(offset: u16) -> u16 {
    (offset % SPACE) & !3
}

/// Returns octet `index` (0 is the lowest) of a register's value.
#[expect(clippy::cast_possible_truncation, reason = "the octet is what is wanted")]
pub(crate) const fn octet(value: u32, index: u32) -> u8 {
    (value >> (8 * index)) as u8
}

/// Returns the low half of a register's value.
#[expect(clippy::cast_possible_truncation, reason = "the half is what is wanted")]
pub(crate) const fn low_half(value: u32) -> u16 {
    value as u16
}

/// Returns the high half of a register's value.
pub(crate) const fn high_half(value: u32) -> u16 {
    low_half(value >> 16)
}
