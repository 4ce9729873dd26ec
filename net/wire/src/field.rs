//! Reading and writing big-endian fields of a header whose length is part of its type.
//!
//! Offsets are const parameters, so a field outside its header is a compile-time error and not a
//! branch. Any context.

use core::net::Ipv4Addr;

/// Reads the 16-bit field at `AT`.
#[inline]
pub(crate) const fn get16<const AT: usize, const N: usize>(header: &[u8; N]) -> u16 {
    const { assert!(AT + 2 <= N) };
    u16::from_be_bytes([header[AT], header[AT + 1]])
}

/// Reads the 32-bit field at `AT`.
#[inline]
pub(crate) const fn get32<const AT: usize, const N: usize>(header: &[u8; N]) -> u32 {
    const { assert!(AT + 4 <= N) };
    u32::from_be_bytes([header[AT], header[AT + 1], header[AT + 2], header[AT + 3]])
}

/// Reads the IPv4 address at `AT`.
#[inline]
pub(crate) const fn get_ip<const AT: usize, const N: usize>(header: &[u8; N]) -> Ipv4Addr {
    Ipv4Addr::from_bits(get32::<AT, N>(header))
}

/// Reads the six octets at `AT`.
#[inline]
pub(crate) const fn get_mac<const AT: usize, const N: usize>(header: &[u8; N]) -> [u8; 6] {
    const { assert!(AT + 6 <= N) };
    [header[AT], header[AT + 1], header[AT + 2], header[AT + 3], header[AT + 4], header[AT + 5]]
}

/// Writes `octets` at `AT`.
#[inline]
pub(crate) fn put<const AT: usize, const LEN: usize, const N: usize>(header: &mut [u8; N], octets: [u8; LEN]) {
    const { assert!(AT + LEN <= N) };
    header[AT..AT + LEN].copy_from_slice(&octets);
}
