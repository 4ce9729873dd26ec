//! Sets of IPv4 addresses: [`Ipv4Prefix`] (a network) and [`Ipv4Cidr`] (an address within its network). Any context.

use core::{fmt, net::Ipv4Addr, str::FromStr};

/// Why a text or a pair is no prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrefixError {
    /// Not of the form `a.b.c.d/len`.
    Syntax,
    /// The length is over 32.
    Length,
    /// Bits beyond the length are set, so an address was given where a network is wanted.
    HostBits,
}

impl fmt::Display for PrefixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Syntax => "expected an address and a length such as 192.0.2.0/24",
            Self::Length => "prefix length is over 32",
            Self::HostBits => "bits beyond the prefix length are set",
        })
    }
}

impl core::error::Error for PrefixError {}

/// Returns the mask with `len` leading ones.
const fn mask(len: u8) -> u32 {
    // A shift by 32 is not defined for a number of 32 bits.
    if len == 0 { 0 } else { u32::MAX << (32 - len) }
}

/// A network: an address whose bits beyond `len` are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ipv4Prefix {
    addr: Ipv4Addr,
    len: u8,
}

impl Ipv4Prefix {
    /// 0.0.0.0/0, which contains every address.
    pub const DEFAULT: Self = Self { addr: Ipv4Addr::UNSPECIFIED, len: 0 };

    /// Makes a prefix of exactly `addr/len`.
    ///
    /// # Errors
    /// [`PrefixError::Length`] and [`PrefixError::HostBits`].
    pub const fn new(addr: Ipv4Addr, len: u8) -> Result<Self, PrefixError> {
        if len > 32 {
            return Err(PrefixError::Length);
        }
        if addr.to_bits() & !mask(len) != 0 {
            return Err(PrefixError::HostBits);
        }
        Ok(Self { addr, len })
    }

    /// Makes the prefix of length `len` (at most 32 counts) that contains `addr`.
    #[must_use]
    pub const fn containing(addr: Ipv4Addr, len: u8) -> Self {
        let len = if len > 32 { 32 } else { len };
        Self { addr: Ipv4Addr::from_bits(addr.to_bits() & mask(len)), len }
    }

    /// Makes the prefix of one address.
    #[must_use]
    pub const fn host(addr: Ipv4Addr) -> Self {
        Self { addr, len: 32 }
    }

    /// Returns the first address.
    #[inline]
    #[must_use]
    pub const fn addr(self) -> Ipv4Addr {
        self.addr
    }

    /// Returns the length in bits, 0 to 32.
    #[inline]
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a prefix is a set that is never empty")]
    pub const fn len(self) -> u8 {
        self.len
    }

    /// Returns the network mask.
    #[must_use]
    pub const fn mask(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(mask(self.len))
    }

    /// Returns the last address.
    #[must_use]
    pub const fn last(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.addr.to_bits() | !mask(self.len))
    }

    /// Returns whether `addr` is in the network.
    #[inline]
    #[must_use]
    pub const fn contains(self, addr: Ipv4Addr) -> bool {
        addr.to_bits() & mask(self.len) == self.addr.to_bits()
    }

    /// Returns whether the two networks have an address in common, so that one contains the other.
    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        if self.len <= other.len { self.contains(other.addr) } else { other.contains(self.addr) }
    }
}

impl fmt::Display for Ipv4Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.len)
    }
}

impl FromStr for Ipv4Prefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let (addr, len) = split(text)?;
        Self::new(addr, len)
    }
}

/// An interface address: one address and the length of the network it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ipv4Cidr {
    address: Ipv4Addr,
    len: u8,
}

impl Ipv4Cidr {
    /// Makes `address/len`.
    ///
    /// # Errors
    /// [`PrefixError::Length`].
    pub const fn new(address: Ipv4Addr, len: u8) -> Result<Self, PrefixError> {
        if len > 32 { Err(PrefixError::Length) } else { Ok(Self { address, len }) }
    }

    /// Returns the address.
    #[inline]
    #[must_use]
    pub const fn address(self) -> Ipv4Addr {
        self.address
    }

    /// Returns the length of the network's prefix.
    #[inline]
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a length of a prefix, not of a collection")]
    pub const fn len(self) -> u8 {
        self.len
    }

    /// Returns the network.
    #[must_use]
    pub const fn prefix(self) -> Ipv4Prefix {
        Ipv4Prefix::containing(self.address, self.len)
    }

    /// Returns the directed broadcast address; a /31 (RFC 3021 2.1) and a /32 have none.
    #[must_use]
    pub const fn broadcast(self) -> Option<Ipv4Addr> {
        if self.len >= 31 { None } else { Some(self.prefix().last()) }
    }

    /// Returns the all-zeros address of the network, which once meant broadcast (RFC 1812 4.2.3.1);
    /// a /31 (RFC 3021 2.1) and a /32 have none.
    #[must_use]
    pub const fn network(self) -> Option<Ipv4Addr> {
        if self.len >= 31 { None } else { Some(self.prefix().addr()) }
    }
}

impl fmt::Display for Ipv4Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.len)
    }
}

impl FromStr for Ipv4Cidr {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let (address, len) = split(text)?;
        Self::new(address, len)
    }
}

/// Splits `a.b.c.d/len` without judging the length.
fn split(text: &str) -> Result<(Ipv4Addr, u8), PrefixError> {
    let (addr, len) = text.split_once('/').ok_or(PrefixError::Syntax)?;
    let addr = addr.parse().map_err(|_| PrefixError::Syntax)?;
    if len.is_empty() || len.len() > 3 || !len.bytes().all(|b| b.is_ascii_digit()) {
        return Err(PrefixError::Syntax);
    }
    let len = len.parse().map_err(|_| PrefixError::Length)?;
    Ok((addr, len))
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    fn prefix(text: &str) -> Ipv4Prefix {
        text.parse().unwrap()
    }

    #[test]
    fn text_leads_back_to_the_same_prefix() {
        for text in ["0.0.0.0/0", "128.0.0.0/1", "192.0.2.0/24", "192.0.2.2/31", "192.0.2.1/32"] {
            assert_eq!(prefix(text).to_string(), text);
        }
        assert_eq!("192.0.2.1/24".parse::<Ipv4Cidr>().unwrap().to_string(), "192.0.2.1/24");
    }

    #[test]
    fn what_is_no_prefix_is_refused_with_its_reason() {
        for text in ["", "192.0.2.0", "192.0.2.0/", "192.0.2/24", "192.0.2.0/+8", "192.0.2.0/2 4", "192.0.2.0/0024"] {
            assert_eq!(text.parse::<Ipv4Prefix>(), Err(PrefixError::Syntax), "{text}");
        }
        assert_eq!("192.0.2.0/33".parse::<Ipv4Prefix>(), Err(PrefixError::Length));
        assert_eq!("192.0.2.0/999".parse::<Ipv4Cidr>(), Err(PrefixError::Length));
        assert_eq!("192.0.2.1/24".parse::<Ipv4Prefix>(), Err(PrefixError::HostBits));
    }

    #[test]
    fn a_prefix_contains_its_first_and_last_address_and_no_neighbour() {
        let net = prefix("192.0.2.64/26");
        assert!(net.contains(net.addr()) && net.contains(net.last()));
        assert_eq!(net.last(), Ipv4Addr::new(192, 0, 2, 127));
        assert_eq!(net.mask(), Ipv4Addr::new(255, 255, 255, 192));
        assert!(!net.contains(Ipv4Addr::new(192, 0, 2, 63)) && !net.contains(Ipv4Addr::new(192, 0, 2, 128)));
        assert!(Ipv4Prefix::DEFAULT.contains(Ipv4Addr::BROADCAST));
    }

    #[test]
    fn prefixes_overlap_when_one_is_inside_the_other() {
        assert!(prefix("10.0.0.0/8").overlaps(prefix("10.1.0.0/16")));
        assert!(prefix("10.1.0.0/16").overlaps(prefix("10.0.0.0/8")));
        assert!(!prefix("10.1.0.0/16").overlaps(prefix("10.2.0.0/16")));
    }

    #[test]
    fn rfc3021_2_1_a_31_bit_network_has_no_broadcast_address() {
        let cidr = |text: &str| text.parse::<Ipv4Cidr>().unwrap();
        assert_eq!(cidr("192.0.2.1/30").broadcast(), Some(Ipv4Addr::new(192, 0, 2, 3)));
        assert_eq!(cidr("192.0.2.1/30").network(), Some(Ipv4Addr::new(192, 0, 2, 0)));
        assert_eq!((cidr("192.0.2.1/31").broadcast(), cidr("192.0.2.1/31").network()), (None, None));
        assert_eq!((cidr("192.0.2.1/32").broadcast(), cidr("192.0.2.1/32").network()), (None, None));
    }
}
