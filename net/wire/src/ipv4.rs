//! The IPv4 header (RFC 791 3.1): [`Ipv4`] to read, [`Ipv4Header`] to write, [`Ipv4Header::decrement_ttl`] to forward.
//! Any context.

use core::{fmt, net::Ipv4Addr};

use crate::{
    checksum,
    field::{get_ip, get16, put},
};

/// Octets of an IPv4 header without options.
pub const IPV4_HEADER_LEN: usize = 20;

/// Why bytes are no IPv4 packet: RFC 1812 5.2.2, the tests of lengths and version in the order of their cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ipv4Error {
    /// Fewer octets than the smallest header, test (1).
    TooShort,
    /// The version is not 4, test (3).
    BadVersion,
    /// The header length is under 20 octets or goes beyond the bytes there are, test (4).
    BadHeaderLength,
    /// The total length is under the header length, test (5).
    BadTotalLength,
    /// The total length goes beyond the bytes there are.
    Truncated,
}

impl fmt::Display for Ipv4Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooShort => "shorter than an IPv4 header",
            Self::BadVersion => "IP version is not 4",
            Self::BadHeaderLength => "bad IPv4 header length",
            Self::BadTotalLength => "IPv4 total length below header length",
            Self::Truncated => "IPv4 packet is cut short",
        })
    }
}

impl core::error::Error for Ipv4Error {}

/// A packet whose lengths are true: header, options and payload are all there, and padding is not.
///
/// The checksum has not been looked at; [`is_intact`](Self::is_intact) does.
#[derive(Clone, Copy, Debug)]
pub struct Ipv4<'a> {
    header: &'a [u8; IPV4_HEADER_LEN],
    options: &'a [u8],
    payload: &'a [u8],
}

impl<'a> Ipv4<'a> {
    /// Looks at `bytes`, which start at the IPv4 header; link-layer padding may follow the packet.
    ///
    /// # Errors
    /// The first of the [`Ipv4Error`]s that applies.
    #[inline]
    pub const fn new_checked(bytes: &'a [u8]) -> Result<Self, Ipv4Error> {
        let Some((header, _)) = bytes.split_first_chunk::<IPV4_HEADER_LEN>() else { return Err(Ipv4Error::TooShort) };
        if header[0] >> 4 != 4 {
            return Err(Ipv4Error::BadVersion);
        }
        let header_len = (header[0] & 15) as usize * 4;
        if header_len < IPV4_HEADER_LEN || header_len > bytes.len() {
            return Err(Ipv4Error::BadHeaderLength);
        }
        let total_len = get16::<2, 20>(header) as usize;
        if total_len < header_len {
            return Err(Ipv4Error::BadTotalLength);
        }
        let Some((packet, _padding)) = bytes.split_at_checked(total_len) else { return Err(Ipv4Error::Truncated) };
        Ok(Self::cut(header, packet, header_len))
    }

    /// Looks at as much of a packet as an ICMP error quotes: the header must be whole, the payload may
    /// be cut short.
    ///
    /// # Errors
    /// As [`new_checked`](Self::new_checked), without [`Ipv4Error::Truncated`].
    pub const fn new_quoted(bytes: &'a [u8]) -> Result<Self, Ipv4Error> {
        match Self::new_checked(bytes) {
            Err(Ipv4Error::Truncated) => match bytes.first_chunk::<IPV4_HEADER_LEN>() {
                Some(header) => Ok(Self::cut(header, bytes, (header[0] & 15) as usize * 4)),
                None => Err(Ipv4Error::TooShort),
            },
            other => other,
        }
    }

    /// Cuts a packet at lengths that have been checked; lengths that do not fit give empty parts.
    const fn cut(header: &'a [u8; IPV4_HEADER_LEN], packet: &'a [u8], header_len: usize) -> Self {
        let (front, payload) = match packet.split_at_checked(header_len) {
            Some(parts) => parts,
            None => (packet, packet.split_at(packet.len()).1),
        };
        let options = match front.split_at_checked(IPV4_HEADER_LEN) {
            Some((_, options)) => options,
            None => payload.split_at(0).0,
        };
        Self { header, options, payload }
    }

    /// Returns the fixed part of the header.
    #[inline]
    #[must_use]
    pub const fn header(&self) -> &'a [u8; IPV4_HEADER_LEN] {
        self.header
    }

    /// Returns the options, end-of-list padding included; empty in most packets.
    #[inline]
    #[must_use]
    pub const fn options(&self) -> &'a [u8] {
        self.options
    }

    /// Returns what follows the header, up to the total length.
    #[inline]
    #[must_use]
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Returns the octets of header and options.
    #[inline]
    #[must_use]
    pub const fn header_len(&self) -> usize {
        (self.header[0] & 15) as usize * 4
    }

    /// Returns the total length field.
    #[inline]
    #[must_use]
    pub const fn total_len(&self) -> u16 {
        get16::<2, 20>(self.header)
    }

    /// Returns the type of service octet: DSCP (RFC 2474) and ECN (RFC 3168).
    #[inline]
    #[must_use]
    pub const fn tos(&self) -> u8 {
        self.header[1]
    }

    /// Returns the identification.
    #[inline]
    #[must_use]
    pub const fn ident(&self) -> u16 {
        get16::<4, 20>(self.header)
    }

    /// Returns whether the packet must not be fragmented.
    #[inline]
    #[must_use]
    pub const fn dont_fragment(&self) -> bool {
        self.header[6] & 0x40 != 0
    }

    /// Returns whether fragments follow this one.
    #[inline]
    #[must_use]
    pub const fn more_fragments(&self) -> bool {
        self.header[6] & 0x20 != 0
    }

    /// Returns the fragment offset in octets.
    #[inline]
    #[must_use]
    pub const fn fragment_offset(&self) -> u16 {
        // The thirteen bits count eights, so the product fits in sixteen.
        get16::<6, 20>(self.header) << 3
    }

    /// Returns whether this is not a whole datagram.
    #[inline]
    #[must_use]
    pub const fn is_fragment(&self) -> bool {
        get16::<6, 20>(self.header) & 0x3fff != 0
    }

    /// Returns the time to live.
    #[inline]
    #[must_use]
    pub const fn ttl(&self) -> u8 {
        self.header[8]
    }

    /// Returns the protocol number.
    #[inline]
    #[must_use]
    pub const fn protocol(&self) -> u8 {
        self.header[9]
    }

    /// Returns the header checksum field.
    #[inline]
    #[must_use]
    pub const fn checksum(&self) -> u16 {
        get16::<10, 20>(self.header)
    }

    /// Returns the source address.
    #[inline]
    #[must_use]
    pub const fn source(&self) -> Ipv4Addr {
        get_ip::<12, 20>(self.header)
    }

    /// Returns the destination address.
    #[inline]
    #[must_use]
    pub const fn destination(&self) -> Ipv4Addr {
        get_ip::<16, 20>(self.header)
    }

    /// Returns whether header and options agree with the header checksum.
    #[inline]
    #[must_use]
    pub fn is_intact(&self) -> bool {
        if self.options.is_empty() {
            checksum::is_intact_header(self.header)
        } else {
            checksum::Sum::new().with(self.header).with(self.options).is_intact()
        }
    }
}

/// An IPv4 header without options as a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv4Header {
    /// Type of service: DSCP and ECN.
    pub tos: u8,
    /// Octets of header and payload.
    pub total_len: u16,
    /// Identification.
    pub ident: u16,
    /// Must not be fragmented.
    pub dont_fragment: bool,
    /// Fragments follow.
    pub more_fragments: bool,
    /// Fragment offset in octets, a multiple of eight (the low three bits do not count).
    pub fragment_offset: u16,
    /// Time to live.
    pub ttl: u8,
    /// Protocol of the payload.
    pub protocol: u8,
    /// From whom.
    pub source: Ipv4Addr,
    /// To whom.
    pub destination: Ipv4Addr,
}

impl Ipv4Header {
    /// Writes all 20 octets, the right checksum included.
    pub fn emit(&self, header: &mut [u8; IPV4_HEADER_LEN]) {
        self.emit_len(header, 5);
        let sum = checksum::of(header);
        put::<10, 2, 20>(header, sum.to_be_bytes());
    }

    /// Writes the fixed part of a header that `options` follow, with the checksum over both.
    /// Of the options only whole words count, and at most ten of these (RFC 791 3.1).
    pub fn emit_with_options(&self, header: &mut [u8; IPV4_HEADER_LEN], options: &[u8]) {
        let words = (options.len() / 4).min(10);
        let options = options.get(..words * 4).unwrap_or(options);
        self.emit_len(header, 5 + u8::try_from(words).unwrap_or(0));
        let sum = checksum::Sum::new().with(header).with(options).checksum();
        put::<10, 2, 20>(header, sum.to_be_bytes());
    }

    /// Writes everything with a checksum of zero.
    fn emit_len(&self, header: &mut [u8; IPV4_HEADER_LEN], words: u8) {
        let flags = u16::from(self.dont_fragment) << 14 | u16::from(self.more_fragments) << 13;
        put::<0, 2, 20>(header, [0x40 | words, self.tos]);
        put::<2, 2, 20>(header, self.total_len.to_be_bytes());
        put::<4, 2, 20>(header, self.ident.to_be_bytes());
        put::<6, 2, 20>(header, (flags | self.fragment_offset >> 3).to_be_bytes());
        put::<8, 4, 20>(header, [self.ttl, self.protocol, 0, 0]);
        put::<12, 4, 20>(header, self.source.octets());
        put::<16, 4, 20>(header, self.destination.octets());
    }

    /// Takes one from the time to live of a header in place and brings its checksum up to date
    /// (RFC 1812 5.3.1, RFC 1624 3). The caller has made sure that it is not zero.
    #[inline]
    pub fn decrement_ttl(header: &mut [u8; IPV4_HEADER_LEN]) {
        let old = get16::<8, 20>(header);
        let new = old.wrapping_sub(0x100);
        let sum = checksum::update(get16::<10, 20>(header), old, new);
        put::<8, 2, 20>(header, new.to_be_bytes());
        put::<10, 2, 20>(header, sum.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol;

    /// An echo request with two octets of payload and four octets of padding behind it.
    const PACKET: [u8; 26] = [
        0x45, 0xb9, 0x00, 0x16, 0x12, 0x34, 0x60, 0x03, 0x40, 0x01, 0x00, 0x00, 0xc0, 0x00, 0x02, 0x02, 0xc6, 0x33,
        0x64, 0x02, 0xca, 0xfe, 0, 0, 0, 0,
    ];

    fn golden() -> [u8; 26] {
        let mut packet = PACKET;
        let sum = checksum::of(&packet[..20]);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        packet
    }

    const FIELDS: Ipv4Header = Ipv4Header {
        tos: 0xb9,
        total_len: 22,
        ident: 0x1234,
        dont_fragment: true,
        more_fragments: true,
        fragment_offset: 24,
        ttl: 64,
        protocol: protocol::ICMP,
        source: Ipv4Addr::new(192, 0, 2, 2),
        destination: Ipv4Addr::new(198, 51, 100, 2),
    };

    #[test]
    fn golden_packet_reads_as_its_fields() {
        let packet = golden();
        let ip = Ipv4::new_checked(&packet).unwrap();
        assert_eq!((ip.header_len(), ip.total_len(), ip.tos(), ip.ident()), (20, 22, 0xb9, 0x1234));
        assert!(ip.dont_fragment() && ip.more_fragments() && ip.is_fragment());
        assert_eq!((ip.fragment_offset(), ip.ttl(), ip.protocol()), (24, 64, protocol::ICMP));
        assert_eq!((ip.source(), ip.destination()), (FIELDS.source, FIELDS.destination));
        assert!(ip.is_intact());
        assert_eq!(ip.checksum().to_be_bytes(), packet[10..12]);
        assert_eq!((ip.options(), ip.payload()), (&[][..], &[0xca, 0xfe][..]), "padding is cut off");
    }

    #[test]
    fn fields_write_the_golden_header_over_stale_bytes() {
        let mut header = [0xa5; 20];
        FIELDS.emit(&mut header);
        assert_eq!(header, golden()[..20]);
    }

    #[test]
    fn options_lengthen_the_header_and_enter_the_checksum() {
        let mut packet = [0; 40];
        let options = [7, 7, 4, 0, 0, 0, 0, 0];
        let (header, rest) = packet.split_first_chunk_mut().unwrap();
        Ipv4Header { total_len: 40, ..FIELDS }.emit_with_options(header, &options);
        rest[..8].copy_from_slice(&options);
        let ip = Ipv4::new_checked(&packet).unwrap();
        assert_eq!((ip.header_len(), ip.options(), ip.payload().len()), (28, &options[..], 12));
        assert!(ip.is_intact());
        packet[22] ^= 4;
        assert!(!Ipv4::new_checked(&packet).unwrap().is_intact());
    }

    fn broken(change: impl Fn(&mut [u8; 26])) -> Ipv4Error {
        let mut packet = golden();
        change(&mut packet);
        Ipv4::new_checked(&packet).unwrap_err()
    }

    #[test]
    fn rfc1812_5_2_2_each_wrong_length_has_its_error() {
        assert_eq!(Ipv4::new_checked(&golden()[..19]).unwrap_err(), Ipv4Error::TooShort);
        assert_eq!(broken(|p| p[0] = 0x55), Ipv4Error::BadVersion);
        assert_eq!(broken(|p| p[0] = 0x44), Ipv4Error::BadHeaderLength);
        assert_eq!(broken(|p| p[0] = 0x4f), Ipv4Error::BadHeaderLength);
        assert_eq!(broken(|p| p[3] = 19), Ipv4Error::BadTotalLength);
        assert_eq!(broken(|p| p[3] = 27), Ipv4Error::Truncated);
        assert!(Ipv4::new_checked(&golden()[..22]).is_ok());
        assert_eq!(Ipv4::new_checked(&golden()[..21]).unwrap_err(), Ipv4Error::Truncated);
    }

    #[test]
    fn a_quotation_may_be_cut_short_behind_the_header() {
        let packet = golden();
        let quoted = Ipv4::new_quoted(&packet[..21]).unwrap();
        assert_eq!((quoted.total_len(), quoted.payload()), (22, &[0xca][..]));
        assert_eq!(Ipv4::new_quoted(&packet).unwrap().payload(), [0xca, 0xfe]);
        assert_eq!(Ipv4::new_quoted(&packet[..19]).unwrap_err(), Ipv4Error::TooShort);
    }

    #[test]
    fn rfc1812_5_3_1_decrement_keeps_the_header_intact_down_to_zero() {
        let mut header = [0; 20];
        Ipv4Header { ttl: 255, ..FIELDS }.emit(&mut header);
        for left in (0..255).rev() {
            Ipv4Header::decrement_ttl(&mut header);
            let mut expected = [0; 20];
            Ipv4Header { ttl: left, ..FIELDS }.emit(&mut expected);
            assert_eq!(header, expected);
        }
    }
}
