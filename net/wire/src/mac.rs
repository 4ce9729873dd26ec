//! Station addresses (IEEE 802.3 3.2.3): [`MacAddr`]. Plain data; any context.

use core::{fmt, str::FromStr};

/// A 48-bit station or group address, in transmission order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// All stations.
    pub const BROADCAST: Self = Self([0xff; 6]);
    /// No station; in an ARP request: unknown.
    pub const ZERO: Self = Self([0; 6]);

    /// Returns the octets in transmission order.
    #[inline]
    #[must_use]
    pub const fn octets(self) -> [u8; 6] {
        self.0
    }

    /// Returns the address as the low 48 bits of a number, first octet highest.
    #[inline]
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        let [a, b, c, d, e, f] = self.0;
        u64::from_be_bytes([0, 0, a, b, c, d, e, f])
    }

    /// Returns the address made of the low 48 bits of `bits`.
    #[inline]
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        let [_, _, a, b, c, d, e, f] = bits.to_be_bytes();
        Self([a, b, c, d, e, f])
    }

    /// Returns whether this is the address of all stations.
    #[inline]
    #[must_use]
    pub const fn is_broadcast(self) -> bool {
        self.to_bits() == 0xffff_ffff_ffff
    }

    /// Returns whether this names a group, the group of all stations included.
    #[inline]
    #[must_use]
    pub const fn is_group(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// Returns whether this can be the address of one station: neither a group nor zero.
    #[inline]
    #[must_use]
    pub const fn is_station(self) -> bool {
        !self.is_group() && self.to_bits() != 0
    }
}

/// Writes the usual six pairs of hexadecimal digits with colons.
impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// The text is not six pairs of hexadecimal digits with colons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadMac;

impl fmt::Display for BadMac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected a station address such as 52:54:00:12:34:56")
    }
}

impl core::error::Error for BadMac {}

impl FromStr for MacAddr {
    type Err = BadMac;

    fn from_str(text: &str) -> Result<Self, BadMac> {
        let mut octets = [0; 6];
        let mut pairs = text.split(':');
        for octet in &mut octets {
            let pair = pairs.next().filter(|p| p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit()));
            *octet = u8::from_str_radix(pair.ok_or(BadMac)?, 16).map_err(|_| BadMac)?;
        }
        if pairs.next().is_some() { Err(BadMac) } else { Ok(Self(octets)) }
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn text_and_bits_lead_back_to_the_same_address() {
        let mac = MacAddr([0x52, 0x54, 0, 0x12, 0xab, 0xff]);
        assert_eq!(mac.to_string(), "52:54:00:12:ab:ff");
        assert_eq!(mac.to_string().parse(), Ok(mac));
        assert_eq!(MacAddr::from_bits(mac.to_bits()), mac);
        assert_eq!(MacAddr::from_bits(mac.to_bits() | 0xffff << 48), mac);
    }

    #[test]
    fn text_that_is_no_address_is_refused() {
        for text in
            ["", "52:54:00:12:34", "52:54:00:12:34:56:78", "5:54:00:12:34:56", "+5:54:00:12:34:56", "52-54-00-12-34-56"]
        {
            assert_eq!(text.parse::<MacAddr>(), Err(BadMac), "{text}");
        }
    }

    #[test]
    fn groups_and_zero_are_no_stations() {
        assert!(MacAddr::BROADCAST.is_broadcast() && MacAddr::BROADCAST.is_group());
        assert!(MacAddr([1, 0, 0x5e, 0, 0, 1]).is_group());
        assert!(!MacAddr([1, 0, 0x5e, 0, 0, 1]).is_broadcast());
        assert!(!MacAddr::ZERO.is_station() && !MacAddr::BROADCAST.is_station());
        assert!(MacAddr([2, 0, 0, 0, 0, 1]).is_station());
    }
}
