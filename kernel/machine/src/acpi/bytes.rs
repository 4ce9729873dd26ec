//! Little-endian fields out of firmware bytes, each read checked: firmware tables are input, not memory layout. Pure.

/// Reads `N` bytes at `offset`.
#[must_use]
pub(crate) fn array<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..)?.first_chunk::<N>().copied()
}

/// Reads one byte.
#[must_use]
pub(crate) fn byte(bytes: &[u8], offset: usize) -> Option<u8> {
    bytes.get(offset).copied()
}

/// Reads a 16-bit field.
#[must_use]
pub(crate) fn half(bytes: &[u8], offset: usize) -> Option<u16> {
    array(bytes, offset).map(u16::from_le_bytes)
}

/// Reads a 32-bit field.
#[must_use]
pub(crate) fn word(bytes: &[u8], offset: usize) -> Option<u32> {
    array(bytes, offset).map(u32::from_le_bytes)
}

/// Reads a 64-bit field.
#[must_use]
pub(crate) fn long(bytes: &[u8], offset: usize) -> Option<u64> {
    array(bytes, offset).map(u64::from_le_bytes)
}

/// True if the bytes add up to zero, as every checksummed structure of ACPI does.
#[must_use]
pub(crate) fn sums_to_zero(bytes: &[u8]) -> bool {
    bytes.iter().fold(0u8, |sum, &byte| sum.wrapping_add(byte)) == 0
}
