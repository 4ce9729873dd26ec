//! Ethernet II framing (RFC 894; IEEE 802.3 clause 3): [`Ethernet`] to read, [`EthernetHeader`] to write. Any context.

use crate::{
    MacAddr, TooShort,
    field::{get_mac, get16, put},
};

/// Octets of an Ethernet header: destination, source, type.
pub const ETHERNET_HEADER_LEN: usize = 14;

/// The type field of a frame, values as assigned by the IEEE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EtherType(pub u16);

impl EtherType {
    /// IPv4 (RFC 894).
    pub const IPV4: Self = Self(0x0800);
    /// ARP (RFC 826).
    pub const ARP: Self = Self(0x0806);
    /// A customer VLAN tag (IEEE 802.1Q 9.5).
    pub const VLAN: Self = Self(0x8100);
    /// A service VLAN tag (IEEE 802.1Q 9.5).
    pub const SERVICE_VLAN: Self = Self(0x88a8);
    /// IPv6 (RFC 2464).
    pub const IPV6: Self = Self(0x86dd);

    /// Returns whether the field is a length (IEEE 802.3 3.2.6) and therefore no type at all.
    #[inline]
    #[must_use]
    pub const fn is_length(self) -> bool {
        self.0 < 0x0600
    }
}

/// A frame whose header is all there.
#[derive(Clone, Copy, Debug)]
pub struct Ethernet<'a> {
    header: &'a [u8; ETHERNET_HEADER_LEN],
    payload: &'a [u8],
}

impl<'a> Ethernet<'a> {
    /// Looks at `frame`, which starts at the destination address and has no frame check sequence.
    ///
    /// # Errors
    /// [`TooShort`] if the frame has fewer than 14 octets.
    #[inline]
    pub const fn new_checked(frame: &'a [u8]) -> Result<Self, TooShort> {
        match frame.split_first_chunk() {
            Some((header, payload)) => Ok(Self { header, payload }),
            None => Err(TooShort),
        }
    }

    /// Returns the destination address.
    #[inline]
    #[must_use]
    pub const fn destination(&self) -> MacAddr {
        MacAddr(get_mac::<0, 14>(self.header))
    }

    /// Returns the source address.
    #[inline]
    #[must_use]
    pub const fn source(&self) -> MacAddr {
        MacAddr(get_mac::<6, 14>(self.header))
    }

    /// Returns the type (or length) field.
    #[inline]
    #[must_use]
    pub const fn ether_type(&self) -> EtherType {
        EtherType(get16::<12, 14>(self.header))
    }

    /// Returns what follows the header, padding included.
    #[inline]
    #[must_use]
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }
}

/// An Ethernet header as a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EthernetHeader {
    /// To whom.
    pub destination: MacAddr,
    /// From whom.
    pub source: MacAddr,
    /// What the payload is.
    pub ether_type: EtherType,
}

impl EthernetHeader {
    /// Writes all 14 octets.
    #[inline]
    pub fn emit(&self, header: &mut [u8; ETHERNET_HEADER_LEN]) {
        put::<0, 6, 14>(header, self.destination.0);
        put::<6, 6, 14>(header, self.source.0);
        put::<12, 2, 14>(header, self.ether_type.0.to_be_bytes());
    }

    /// Returns the 14 octets.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; ETHERNET_HEADER_LEN] {
        let mut header = [0; ETHERNET_HEADER_LEN];
        self.emit(&mut header);
        header
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: [u8; 16] =
        [0x52, 0x54, 0x00, 0x12, 0x34, 0x57, 0x52, 0x54, 0x00, 0x12, 0x34, 0x56, 0x08, 0x00, 0xca, 0xfe];

    #[test]
    fn golden_frame_reads_as_its_fields() {
        let frame = Ethernet::new_checked(&FRAME).unwrap();
        assert_eq!(frame.destination(), MacAddr([0x52, 0x54, 0, 0x12, 0x34, 0x57]));
        assert_eq!(frame.source(), MacAddr([0x52, 0x54, 0, 0x12, 0x34, 0x56]));
        assert_eq!(frame.ether_type(), EtherType::IPV4);
        assert_eq!(frame.payload(), [0xca, 0xfe]);
    }

    #[test]
    fn fields_write_the_golden_frame_over_stale_bytes() {
        let frame = Ethernet::new_checked(&FRAME).unwrap();
        let header =
            EthernetHeader { destination: frame.destination(), source: frame.source(), ether_type: frame.ether_type() };
        let mut bytes = [0xa5; 14];
        header.emit(&mut bytes);
        assert_eq!(bytes, FRAME[..14]);
        assert_eq!(header.to_bytes(), FRAME[..14]);
    }

    #[test]
    fn thirteen_octets_are_too_short() {
        assert_eq!(Ethernet::new_checked(&FRAME[..13]).unwrap_err(), TooShort);
        assert!(Ethernet::new_checked(&FRAME[..14]).unwrap().payload().is_empty());
    }

    #[test]
    fn a_length_is_no_type() {
        assert!(EtherType(0x05dc).is_length());
        assert!(!EtherType(0x0600).is_length());
    }
}
