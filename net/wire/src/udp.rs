//! UDP (RFC 768): [`Udp`] to read, [`UdpHeader`] to write. Any context.

use core::net::Ipv4Addr;

use crate::{
    TooShort,
    checksum::Sum,
    field::{get16, put},
    protocol,
};

/// A datagram whose header is all there and whose length is true.
#[derive(Clone, Copy, Debug)]
pub struct Udp<'a> {
    header: &'a [u8; UdpHeader::LEN],
    payload: &'a [u8],
}

impl<'a> Udp<'a> {
    /// Looks at `bytes`, the payload of an IPv4 packet.
    ///
    /// # Errors
    /// [`TooShort`] if the header is not all there, or the length field says less than the header or more than there is.
    #[inline]
    pub const fn new_checked(bytes: &'a [u8]) -> Result<Self, TooShort> {
        let Some((header, rest)) = bytes.split_first_chunk::<{ UdpHeader::LEN }>() else { return Err(TooShort) };
        let Some(len) = (get16::<4, 8>(header) as usize).checked_sub(UdpHeader::LEN) else { return Err(TooShort) };
        match rest.split_at_checked(len) {
            Some((payload, _)) => Ok(Self { header, payload }),
            None => Err(TooShort),
        }
    }

    /// Returns the source port.
    #[must_use]
    pub const fn source_port(&self) -> u16 {
        get16::<0, 8>(self.header)
    }

    /// Returns the destination port.
    #[must_use]
    pub const fn destination_port(&self) -> u16 {
        get16::<2, 8>(self.header)
    }

    /// Returns the length field: octets of header and payload.
    #[must_use]
    pub const fn length(&self) -> u16 {
        get16::<4, 8>(self.header)
    }

    /// Returns the checksum field; 0 means that the sender made none.
    #[must_use]
    pub const fn checksum(&self) -> u16 {
        get16::<6, 8>(self.header)
    }

    /// Returns the payload.
    #[must_use]
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Returns whether the datagram, sent between these addresses, agrees with its checksum, or has none.
    #[must_use]
    pub fn is_intact(&self, source: Ipv4Addr, destination: Ipv4Addr) -> bool {
        self.checksum() == 0
            || pseudo_header(source, destination, self.length()).with(self.header).with(self.payload).is_intact()
    }
}

/// A UDP header as a value; the length comes from the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpHeader {
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
}

impl UdpHeader {
    /// Octets of the header.
    pub const LEN: usize = 8;

    /// Writes the 8 octets in front of a payload that is already in place, checksum included.
    ///
    /// # Errors
    /// [`TooShort`] if `datagram` has no room for the header or is longer than a datagram can be.
    pub fn emit(&self, datagram: &mut [u8], source: Ipv4Addr, destination: Ipv4Addr) -> Result<(), TooShort> {
        let length = u16::try_from(datagram.len()).map_err(|_| TooShort)?;
        let (header, payload) = datagram.split_first_chunk_mut().ok_or(TooShort)?;
        put::<0, 2, 8>(header, self.source_port.to_be_bytes());
        put::<2, 2, 8>(header, self.destination_port.to_be_bytes());
        put::<4, 2, 8>(header, length.to_be_bytes());
        put::<6, 2, 8>(header, [0; 2]);
        let sum = pseudo_header(source, destination, length).with(header).with(payload).checksum();
        // A computed zero is sent as all ones, its other spelling: zero means "no checksum".
        let sum = if sum == 0 { 0xffff } else { sum };
        put::<6, 2, 8>(header, sum.to_be_bytes());
        Ok(())
    }
}

/// Starts the sum with the pseudo header of RFC 768.
fn pseudo_header(source: Ipv4Addr, destination: Ipv4Addr, length: u16) -> Sum {
    Sum::new().with(&source.octets()).with(&destination.octets()).with_word(u16::from(protocol::UDP)).with_word(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
    const B: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);

    #[test]
    fn golden_datagram_reads_as_its_fields_and_padding_is_cut_off() {
        let bytes = [0x30, 0x39, 0x00, 0x35, 0x00, 0x0a, 0x00, 0x00, 0xca, 0xfe, 0, 0];
        let udp = Udp::new_checked(&bytes).unwrap();
        assert_eq!((udp.source_port(), udp.destination_port(), udp.length(), udp.checksum()), (12345, 53, 10, 0));
        assert_eq!(udp.payload(), [0xca, 0xfe]);
        assert!(udp.is_intact(A, B), "no checksum is no wrong checksum");
    }

    #[test]
    fn what_is_written_is_intact_and_any_changed_bit_is_noticed() {
        let mut bytes = [0xa5; 13];
        UdpHeader { source_port: 1, destination_port: 2 }.emit(&mut bytes, A, B).unwrap();
        assert!(Udp::new_checked(&bytes).unwrap().is_intact(A, B));
        assert!(!Udp::new_checked(&bytes).unwrap().is_intact(A, A));
        for bit in (0..32).chain(48..104) {
            let mut broken = bytes;
            broken[bit / 8] ^= 1 << (bit % 8);
            assert!(!Udp::new_checked(&broken).unwrap().is_intact(A, B), "bit {bit}");
        }
    }

    #[test]
    fn rfc768_a_sum_of_zero_is_sent_as_all_ones() {
        let mut bytes = [0; 10];
        UdpHeader { source_port: 0, destination_port: 0 }.emit(&mut bytes, A, B).unwrap();
        let missing = Udp::new_checked(&bytes).unwrap().checksum();
        bytes[8..].copy_from_slice(&missing.to_be_bytes());
        UdpHeader { source_port: 0, destination_port: 0 }.emit(&mut bytes, A, B).unwrap();
        let udp = Udp::new_checked(&bytes).unwrap();
        assert_eq!(udp.checksum(), 0xffff);
        assert!(udp.is_intact(A, B));
    }

    #[test]
    fn wrong_lengths_are_too_short() {
        let datagram = |len: u8| [0, 1, 0, 2, 0, len, 0, 0, 9];
        assert!(Udp::new_checked(&datagram(8)).unwrap().payload().is_empty());
        assert_eq!(Udp::new_checked(&datagram(7)).unwrap_err(), TooShort);
        assert_eq!(Udp::new_checked(&datagram(10)).unwrap_err(), TooShort);
        assert_eq!(Udp::new_checked(&datagram(8)[..7]).unwrap_err(), TooShort);
    }
}
