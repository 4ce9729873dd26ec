//! ICMP (RFC 792): [`Icmpv4`] to read, [`Message`] to write. Any context.

use core::net::Ipv4Addr;

use crate::{
    TooShort, checksum,
    field::{get16, get32},
};

/// Octets of an ICMP header.
pub const ICMP_HEADER_LEN: usize = 8;

/// Message types, as assigned by IANA.
pub mod kind {
    /// Echo reply.
    pub const ECHO_REPLY: u8 = 0;
    /// Destination unreachable, an error.
    pub const UNREACHABLE: u8 = 3;
    /// Source quench, an error that nobody sends any more (RFC 6633).
    pub const SOURCE_QUENCH: u8 = 4;
    /// Redirect, an error.
    pub const REDIRECT: u8 = 5;
    /// Echo request.
    pub const ECHO_REQUEST: u8 = 8;
    /// Time exceeded, an error.
    pub const TIME_EXCEEDED: u8 = 11;
    /// Parameter problem, an error.
    pub const PARAMETER_PROBLEM: u8 = 12;
}

/// Returns whether a message of type `kind` reports an error, so that no error may be reported about it
/// (RFC 1812 4.3.2.7). A type that is not assigned counts as an error: silence is the safe answer.
#[must_use]
pub const fn is_error(kind: u8) -> bool {
    // Requests and replies that are known: echo, router discovery, timestamp, information, mask, extended echo.
    !matches!(kind, 0 | 8 | 9 | 10 | 13..=18 | 42 | 43)
}

/// A message whose header is all there.
#[derive(Clone, Copy, Debug)]
pub struct Icmpv4<'a> {
    header: &'a [u8; ICMP_HEADER_LEN],
    body: &'a [u8],
}

impl<'a> Icmpv4<'a> {
    /// Looks at `bytes`, the whole payload of an IPv4 packet.
    ///
    /// # Errors
    /// [`TooShort`] if there are fewer than 8 octets.
    #[inline]
    pub const fn new_checked(bytes: &'a [u8]) -> Result<Self, TooShort> {
        match bytes.split_first_chunk() {
            Some((header, body)) => Ok(Self { header, body }),
            None => Err(TooShort),
        }
    }

    /// Returns the message type, see [`kind`].
    #[must_use]
    pub const fn kind(&self) -> u8 {
        self.header[0]
    }

    /// Returns the code.
    #[must_use]
    pub const fn code(&self) -> u8 {
        self.header[1]
    }

    /// Returns the checksum field.
    #[must_use]
    pub const fn checksum(&self) -> u16 {
        get16::<2, 8>(self.header)
    }

    /// Returns whether the message agrees with its checksum.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        checksum::Sum::new().with(self.header).with(self.body).is_intact()
    }

    /// Returns the identifier of an echo message.
    #[must_use]
    pub const fn ident(&self) -> u16 {
        get16::<4, 8>(self.header)
    }

    /// Returns the sequence number of an echo message, or the next-hop MTU of 3/4 (RFC 1191 4).
    #[must_use]
    pub const fn sequence(&self) -> u16 {
        get16::<6, 8>(self.header)
    }

    /// Returns the four octets behind the checksum, whatever they mean.
    #[must_use]
    pub const fn rest_of_header(&self) -> u32 {
        get32::<4, 8>(self.header)
    }

    /// Returns what follows the header: echo data, or the quoted packet of an error.
    #[must_use]
    pub const fn body(&self) -> &'a [u8] {
        self.body
    }
}

/// The header of a message as a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// Echo reply, type 0.
    EchoReply {
        /// Identifier of the request.
        ident: u16,
        /// Sequence number of the request.
        sequence: u16,
    },
    /// Destination unreachable, type 3.
    Unreachable {
        /// What is unreachable (RFC 1812 5.2.7.1).
        code: u8,
        /// MTU of the next hop in octets for code 4 (RFC 1191 4), else 0.
        next_hop_mtu: u16,
    },
    /// Redirect, type 5.
    Redirect {
        /// 0 network, 1 host (RFC 1812 5.2.7.2 allows only 1 and 3).
        code: u8,
        /// The better next hop.
        gateway: Ipv4Addr,
    },
    /// Echo request, type 8.
    EchoRequest {
        /// Names the asker.
        ident: u16,
        /// Names the question.
        sequence: u16,
    },
    /// Time exceeded, type 11.
    TimeExceeded {
        /// 0 in transit, 1 in reassembly.
        code: u8,
    },
    /// Parameter problem, type 12, code 0.
    ParameterProblem {
        /// The octet of the quoted packet that is wrong.
        pointer: u8,
    },
}

impl Message {
    /// Returns the header with a checksum of zero.
    #[must_use]
    pub const fn header(&self) -> [u8; ICMP_HEADER_LEN] {
        let (kind, code, rest) = match *self {
            Self::EchoReply { ident, sequence } => (kind::ECHO_REPLY, 0, (ident as u32) << 16 | sequence as u32),
            Self::Unreachable { code, next_hop_mtu } => (kind::UNREACHABLE, code, next_hop_mtu as u32),
            Self::Redirect { code, gateway } => (kind::REDIRECT, code, gateway.to_bits()),
            Self::EchoRequest { ident, sequence } => (kind::ECHO_REQUEST, 0, (ident as u32) << 16 | sequence as u32),
            Self::TimeExceeded { code } => (kind::TIME_EXCEEDED, code, 0),
            Self::ParameterProblem { pointer } => (kind::PARAMETER_PROBLEM, 0, (pointer as u32) << 24),
        };
        let [a, b, c, d] = rest.to_be_bytes();
        [kind, code, 0, 0, a, b, c, d]
    }

    /// Writes the 8 octets in front of a body that is already in place, with the checksum over both.
    ///
    /// # Errors
    /// [`TooShort`] if `message` has no room for the header; nothing is written then.
    pub fn emit(&self, message: &mut [u8]) -> Result<(), TooShort> {
        let (header, body) = message.split_first_chunk_mut::<ICMP_HEADER_LEN>().ok_or(TooShort)?;
        *header = self.header();
        let [high, low] = checksum::Sum::new().with(header).with(body).checksum().to_be_bytes();
        (header[2], header[3]) = (high, low);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ECHO: [u8; 12] = [0x08, 0x00, 0x8f, 0x85, 0x12, 0x34, 0x00, 0x01, 0x1a, 0x2b, 0x3c, 0x1a];

    #[test]
    fn golden_echo_request_reads_as_its_fields() {
        let mut bytes = ECHO;
        Message::EchoRequest { ident: 0x1234, sequence: 1 }.emit(&mut bytes).unwrap();
        let echo = Icmpv4::new_checked(&ECHO).unwrap();
        assert_eq!((echo.kind(), echo.code(), echo.ident(), echo.sequence()), (kind::ECHO_REQUEST, 0, 0x1234, 1));
        assert_eq!((echo.rest_of_header(), echo.body()), (0x1234_0001, &ECHO[8..]));
        assert_eq!(echo.checksum(), 0x8f85);
        assert!(echo.is_intact());
        assert_eq!(bytes, ECHO);
    }

    #[test]
    fn each_message_writes_its_header_over_stale_bytes() {
        let cases = [
            (Message::EchoReply { ident: 1, sequence: 2 }, [0, 0, 0, 1, 0, 2]),
            (Message::Unreachable { code: 4, next_hop_mtu: 1400 }, [3, 4, 0, 0, 0x05, 0x78]),
            (Message::Redirect { code: 1, gateway: Ipv4Addr::new(192, 0, 2, 9) }, [5, 1, 192, 0, 2, 9]),
            (Message::TimeExceeded { code: 0 }, [11, 0, 0, 0, 0, 0]),
            (Message::ParameterProblem { pointer: 21 }, [12, 0, 21, 0, 0, 0]),
        ];
        for (message, [kind, code, rest @ ..]) in cases {
            let mut bytes = [0xa5; 13];
            message.emit(&mut bytes).unwrap();
            assert_eq!((bytes[0], bytes[1], &bytes[4..8]), (kind, code, &rest[..]), "{message:?}");
            assert!(Icmpv4::new_checked(&bytes).unwrap().is_intact());
            assert_eq!(bytes[8..], [0xa5; 5]);
        }
    }

    #[test]
    fn seven_octets_are_too_short_either_way() {
        assert_eq!(Icmpv4::new_checked(&ECHO[..7]).unwrap_err(), TooShort);
        let mut bytes = [0xa5; 7];
        assert_eq!(Message::TimeExceeded { code: 0 }.emit(&mut bytes), Err(TooShort));
        assert_eq!(bytes, [0xa5; 7]);
    }

    #[test]
    fn rfc1812_4_3_2_7_errors_are_told_from_queries() {
        for error in [3, 4, 5, 11, 12, 40, 200] {
            assert!(is_error(error), "{error}");
        }
        for query in [0, 8, 9, 10, 13, 14, 15, 16, 17, 18, 42, 43] {
            assert!(!is_error(query), "{query}");
        }
    }
}
