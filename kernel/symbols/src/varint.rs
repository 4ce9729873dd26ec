//! Numbers of variable length: seven bits in each octet, the lowest first, the top bit set on all but the last (LEB128).

/// The most octets a number of 32 bits takes.
const LONGEST: usize = 5;

/// Takes a number off the front of `bytes`; `None` if it is cut off or does not fit.
pub(crate) fn take(bytes: &mut &[u8]) -> Option<u32> {
    let mut value = 0_u64;
    for (index, octet) in bytes.iter().take(LONGEST).enumerate() {
        value |= u64::from(octet & 0x7F) << (7 * index);
        if octet & 0x80 == 0 {
            *bytes = bytes.get(index + 1..)?;
            return u32::try_from(value).ok();
        }
    }
    None
}

/// Takes a number with a sign: 0, -1, 1, -2 and so on are written as 0, 1, 2, 3.
pub(crate) fn take_signed(bytes: &mut &[u8]) -> Option<i32> {
    let folded = take(bytes)?;
    let half = i32::try_from(folded >> 1).ok()?;
    Some(if folded & 1 == 0 { half } else { -half - 1 })
}

/// Appends a number.
#[cfg(any(test, feature = "write"))]
pub(crate) fn put(out: &mut alloc::vec::Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// Appends a number with a sign.
#[cfg(any(test, feature = "write"))]
pub(crate) fn put_signed(out: &mut alloc::vec::Vec<u8>, value: i32) {
    put(out, (value.unsigned_abs() << 1).wrapping_sub(u32::from(value < 0)));
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::{put, put_signed, take, take_signed};

    #[test]
    fn numbers_come_back_as_they_were_put() {
        for value in [0, 1, 0x7F, 0x80, 0x3FFF, 0x4000, 0x0FFF_FFFF, u32::MAX] {
            let mut out = Vec::new();
            put(&mut out, value);
            let mut rest = out.as_slice();
            assert_eq!((take(&mut rest), rest), (Some(value), &[][..]));
        }
        for value in [0, 1, -1, 63, -64, 64, 1_000_000, -1_000_000, i32::MAX, -i32::MAX] {
            let mut out = Vec::new();
            put_signed(&mut out, value);
            let mut rest = out.as_slice();
            assert_eq!((take_signed(&mut rest), rest), (Some(value), &[][..]), "{value}");
        }
    }

    #[test]
    fn a_number_that_is_cut_off_or_too_large_is_none() {
        assert_eq!(take(&mut &[][..]), None);
        assert_eq!(take(&mut &[0x80, 0x80][..]), None);
        assert_eq!(take(&mut &[0xFF, 0xFF, 0xFF, 0xFF, 0x1F][..]), None);
        assert_eq!(take(&mut &[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01][..]), None);
    }
}
