//! Reading and writing big-endian fields of a header whose length is part of its type.
//!
//! Offsets are const parameters, so a field outside its header is a compile-time error and not a
//! branch. Any context.

use core::net::Ipv4Addr;

/// Copies the field of `LEN` octets at `AT`: one load, where picking octets would be one for each.
#[inline]
const fn get<const AT: usize, const LEN: usize, const N: usize>(header: &[u8; N]) -> [u8; LEN] {
    const { assert!(AT + LEN <= N) };
    match header.split_at(AT).1.first_chunk() {
        Some(field) => *field,
        None => [0; LEN],
    }
}

/// Reads the 16-bit field at `AT`.
#[inline]
pub(crate) const fn get16<const AT: usize, const N: usize>(header: &[u8; N]) -> u16 {
    u16::from_be_bytes(get::<AT, 2, N>(header))
}

/// Reads the 32-bit field at `AT`.
#[inline]
pub(crate) const fn get32<const AT: usize, const N: usize>(header: &[u8; N]) -> u32 {
    u32::from_be_bytes(get::<AT, 4, N>(header))
}

/// Reads the IPv4 address at `AT`.
#[inline]
pub(crate) const fn get_ip<const AT: usize, const N: usize>(header: &[u8; N]) -> Ipv4Addr {
    Ipv4Addr::from_bits(get32::<AT, N>(header))
}

/// Reads the six octets at `AT`.
#[inline]
pub(crate) const fn get_mac<const AT: usize, const N: usize>(header: &[u8; N]) -> [u8; 6] {
    get::<AT, 6, N>(header)
}

/// Writes `octets` at `AT`.
#[inline]
pub(crate) fn put<const AT: usize, const LEN: usize, const N: usize>(header: &mut [u8; N], octets: [u8; LEN]) {
    const { assert!(AT + LEN <= N) };
    header[AT..AT + LEN].copy_from_slice(&octets);
}
