//! The Internet checksum: sums (RFC 1071) and incremental updates (RFC 1624).
//!
//! Sums are taken over native words, eight octets at a time: the one's complement sum does not care
//! about byte order except in its result (RFC 1071 2 (B)), which is put right once at the end.
//! Any context.

/// A one's complement sum in progress, over an even number of octets per [`with`](Self::with) except the last.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum(u64);

impl Sum {
    /// A sum of nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self(0)
    }

    /// Adds `bytes`; an odd last octet counts as if a zero followed (RFC 1071 4.1).
    #[inline]
    #[must_use]
    pub fn with(mut self, bytes: &[u8]) -> Self {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            let word = u64::from_ne_bytes(*word);
            self.0 += (word & 0xffff_ffff) + (word >> 32);
        }
        let (pairs, odd) = rest.as_chunks::<2>();
        for pair in pairs {
            self.0 += u64::from(u16::from_ne_bytes(*pair));
        }
        if let [last] = odd {
            self.0 += u64::from(u16::from_ne_bytes([*last, 0]));
        }
        self
    }

    /// Adds one 16-bit word given in host order.
    #[inline]
    #[must_use]
    pub const fn with_word(mut self, word: u16) -> Self {
        self.0 += word.to_be() as u64;
        self
    }

    /// Returns the sum folded to 16 bits, not complemented, in host order.
    #[inline]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "three folds leave at most 16 bits")]
    pub const fn fold(self) -> u16 {
        let sum = (self.0 & 0xffff_ffff) + (self.0 >> 32);
        let sum = (sum & 0xffff) + ((sum >> 16) & 0xffff) + (sum >> 32);
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = (sum & 0xffff) + (sum >> 16);
        u16::from_be(sum as u16)
    }

    /// Returns the checksum field for what was summed (with the field itself as zero).
    #[inline]
    #[must_use]
    pub const fn checksum(self) -> u16 {
        !self.fold()
    }

    /// Returns whether what was summed, checksum field included, is intact.
    #[inline]
    #[must_use]
    pub const fn is_intact(self) -> bool {
        self.fold() == 0xffff
    }
}

/// Returns the checksum of `bytes`, in which the checksum field is zero.
#[inline]
#[must_use]
pub fn of(bytes: &[u8]) -> u16 {
    Sum::new().with(bytes).checksum()
}

/// Returns whether `bytes` agree with the checksum field among them.
#[inline]
#[must_use]
pub fn is_intact(bytes: &[u8]) -> bool {
    Sum::new().with(bytes).is_intact()
}

/// Returns whether an IPv4 header without options agrees with its checksum.
///
/// Ones' complement is arithmetic modulo 0xffff, in which 2^32 is 1: the header is intact if the plain sum of its words of 32 bits is a
/// multiple of that. A header of nothing but zeros is no exception (its sum is 0, not 0xffff), but is none anyway: it has no version.
#[inline]
#[must_use]
pub fn is_intact_header(header: &[u8; 20]) -> bool {
    /// The inverse of 0xffff modulo 2^64: multiples of 0xffff, and they alone, become small by it.
    const INVERSE: u64 = 0xfffe_fffe_fffe_ffff;
    const LARGEST: u64 = u64::MAX / 0xffff;
    const { assert!(INVERSE.wrapping_mul(0xffff) == 1) };
    let (words, _) = header.as_chunks::<4>();
    let sum: u64 = words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum();
    sum.wrapping_mul(INVERSE) <= LARGEST
}

/// Returns the checksum after one 16-bit word changed from `old` to `new`: RFC 1624 equation 3,
/// `HC' = ~(~HC + ~m + m')`.
///
/// For any field in which some word is not zero (every IP header) this is exactly what full
/// recomputation gives, 0x0000 and 0xffff included; equation 4 of RFC 1141 mixes those up.
#[inline]
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "two folds leave at most 16 bits")]
pub const fn update(checksum: u16, old: u16, new: u16) -> u16 {
    let sum = (!checksum) as u32 + (!old) as u32 + new as u32;
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    /// The definition, word by word.
    fn reference(bytes: &[u8]) -> u16 {
        let mut sum = 0_u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |&b| u32::from(b));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !u16::try_from(sum).unwrap()
    }

    #[test]
    fn rfc1071_3_example_sums_to_ddf2() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(Sum::new().with(&bytes).fold(), 0xddf2);
    }

    #[test]
    fn every_length_and_start_agrees_with_the_definition() {
        let bytes: Vec<u8> = (0..2000_u32).map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes()[1]).collect();
        for start in 0..9 {
            for len in (0..100).chain([1499, 1500, 1501, 1980]) {
                let part = &bytes[start..start + len];
                assert_eq!(of(part), reference(part), "{start}+{len}");
            }
        }
    }

    #[test]
    fn all_ones_fold_without_losing_a_carry() {
        let ones = [0xff; 4096];
        assert_eq!(of(&ones), 0);
        assert!(is_intact(&ones));
        assert_eq!(Sum(u64::MAX).fold(), 0xffff);
    }

    #[test]
    fn words_and_bytes_sum_alike() {
        let by_words = Sum::new().with_word(0x1234).with_word(0xfedc).with_word(0xffff);
        assert_eq!(by_words.fold(), Sum::new().with(&[0x12, 0x34, 0xfe, 0xdc, 0xff, 0xff]).fold());
    }

    #[test]
    fn rfc1624_4_example_gives_zero_and_not_ffff() {
        assert_eq!(update(0xdd2f, 0x5555, 0x3285), 0x0000);
    }

    /// Row 5: all checksums, all times to live. The header is a TTL/protocol word and a word that makes the
    /// checksum come out as wanted, so the comparison is with full recomputation of a real header.
    #[test]
    fn rfc1624_3_update_equals_recomputation_for_every_checksum_and_ttl() {
        for ttl in 1..=255_u16 {
            let (old, new) = (ttl << 8 | 17, (ttl - 1) << 8 | 17);
            for other in 0..=u16::MAX {
                let checksum = Sum::new().with_word(0x4500).with_word(old).with_word(other).checksum();
                let expected = Sum::new().with_word(0x4500).with_word(new).with_word(other).checksum();
                assert_eq!(update(checksum, old, new), expected, "ttl {ttl} other {other:04x}");
            }
        }
    }

    #[test]
    fn the_short_header_test_is_the_general_one() {
        let mut header = *b"\x45\x00\x00\x54\x00\x00\x40\x00\x40\x01\x00\x00\xc0\x00\x02\x02\xc6\x33\x64\x02";
        let sum = of(&header);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        assert!(is_intact_header(&header));
        for bit in 0..160 {
            let mut broken = header;
            broken[bit / 8] ^= 1 << (bit % 8);
            assert!(!is_intact_header(&broken), "bit {bit}");
        }
    }
}
