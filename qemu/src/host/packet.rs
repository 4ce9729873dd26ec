//! Packets, made and taken apart: Ethernet, ARP, IPv4, ICMP, UDP.
//!
//! On purpose over a library of its own and not over the router's `wire`.

use std::net::Ipv4Addr;

use etherparse::{
    ArpEthIpv4Packet, ArpOperation, ArpPacketSlice, EtherType, Icmpv4Slice, IpNumber, Ipv4Header, Ipv4HeaderSlice,
    checksum::Sum16BitWords,
};
use wire::MacAddr;

/// ICMP types (RFC 792).
pub(super) const ECHO_REPLY: u8 = 0;
pub(super) const ECHO_REQUEST: u8 = 8;

/// Appends an Ethernet header.
pub(super) fn ethernet(out: &mut Vec<u8>, destination: MacAddr, source: MacAddr, ether_type: EtherType) {
    out.extend_from_slice(&destination.octets());
    out.extend_from_slice(&source.octets());
    out.extend_from_slice(&ether_type.0.to_be_bytes());
}

/// Splits a frame into destination, source, type and payload.
pub(super) fn split_frame(frame: &[u8]) -> Option<(MacAddr, MacAddr, EtherType, &[u8])> {
    let (destination, rest) = frame.split_first_chunk::<6>()?;
    let (source, rest) = rest.split_first_chunk::<6>()?;
    let (ether_type, payload) = rest.split_first_chunk::<2>()?;
    Some((MacAddr(*destination), MacAddr(*source), EtherType(u16::from_be_bytes(*ether_type)), payload))
}

/// Appends an ARP packet in its frame.
pub(super) fn arp(out: &mut Vec<u8>, to: MacAddr, packet: &ArpEthIpv4Packet) {
    ethernet(out, to, MacAddr(packet.sender_mac), EtherType::ARP);
    out.extend_from_slice(&packet.to_bytes());
}

/// Makes an ARP request or reply; the target's station address is unknown in a request.
pub(super) fn arp_packet(
    operation: ArpOperation,
    sender: (MacAddr, Ipv4Addr),
    target: (MacAddr, Ipv4Addr),
) -> ArpEthIpv4Packet {
    ArpEthIpv4Packet {
        operation,
        sender_mac: sender.0.octets(),
        sender_ipv4: sender.1.octets(),
        target_mac: target.0.octets(),
        target_ipv4: target.1.octets(),
    }
}

/// Reads an ARP packet of IPv4 over Ethernet.
pub(super) fn read_arp(payload: &[u8]) -> Option<ArpEthIpv4Packet> {
    ArpPacketSlice::from_slice(payload).ok()?.to_packet().try_eth_ipv4().ok()
}

/// Makes an IPv4 header with its checksum for a payload of the given length.
pub(super) fn ipv4_header(
    source: Ipv4Addr,
    destination: Ipv4Addr,
    protocol: IpNumber,
    ttl: u8,
    payload_len: usize,
) -> Ipv4Header {
    let mut header = Ipv4Header {
        source: source.octets(),
        destination: destination.octets(),
        protocol,
        time_to_live: ttl,
        dont_fragment: false,
        total_len: u16::try_from(Ipv4Header::MIN_LEN + payload_len).unwrap_or(u16::MAX),
        ..Ipv4Header::default()
    };
    header.header_checksum = header.calc_header_checksum();
    header
}

/// Returns the header and exactly the packet's octets, if length and checksum are right.
pub(super) fn read_ipv4(payload: &[u8]) -> Option<(Ipv4HeaderSlice<'_>, &[u8])> {
    let header = Ipv4HeaderSlice::from_slice(payload).ok()?;
    let packet = payload.get(..usize::from(header.total_len()))?;
    let is_intact = Sum16BitWords::new().add_slice(header.slice()).ones_complement() == 0;
    is_intact.then_some((header, packet))
}

/// Returns the octets after the header of a packet from [`read_ipv4`].
pub(super) fn ipv4_payload<'a>(header: &Ipv4HeaderSlice<'_>, packet: &'a [u8]) -> &'a [u8] {
    packet.get(header.slice().len()..).unwrap_or_default()
}

/// Appends an ICMP message with its checksum.
pub(super) fn icmp(out: &mut Vec<u8>, kind: u8, code: u8, rest: [u8; 4], payload: &[u8]) {
    let sum = Sum16BitWords::new().add_2bytes([kind, code]).add_4bytes(rest).add_slice(payload);
    let [low, high] = sum.ones_complement().to_ne_bytes();
    out.extend_from_slice(&[kind, code, low, high]);
    out.extend_from_slice(&rest);
    out.extend_from_slice(payload);
}

/// Reads an ICMP message, if its checksum is right.
pub(super) fn read_icmp(message: &[u8]) -> Option<Icmpv4Slice<'_>> {
    let is_intact = Sum16BitWords::new().add_slice(message).ones_complement() == 0;
    if is_intact { Icmpv4Slice::from_slice(message).ok() } else { None }
}

/// An ICMP error message that a host has received (RFC 792).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IcmpError {
    /// Who sent it.
    pub from: Ipv4Addr,
    /// The type: 3 unreachable, 5 redirect, 11 time exceeded, 12 parameter problem.
    pub kind: u8,
    /// The code.
    pub code: u8,
    /// The four octets after the checksum, such as the next-hop MTU (RFC 1191) or the pointer.
    pub rest: [u8; 4],
    /// The packet it is about, as far as it was quoted.
    pub quote: Quote,
}

/// The quoted beginning of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// Where that packet came from.
    pub source: Ipv4Addr,
    /// Where it was going.
    pub destination: Ipv4Addr,
    /// Its protocol.
    pub protocol: u8,
    /// All the octets that were quoted.
    pub octets: Vec<u8>,
}

impl IcmpError {
    /// Reads the error message that `message` is, if it is one.
    pub(super) fn read(from: Ipv4Addr, message: &Icmpv4Slice<'_>) -> Option<Self> {
        let (kind, code) = (message.type_u8(), message.code_u8());
        if ![3, 4, 5, 11, 12].contains(&kind) {
            return None;
        }
        // Types with more than eight octets of header exist, but none of them is an error.
        let octets = message.slice().get(8..)?.to_vec();
        let quoted = Ipv4HeaderSlice::from_slice(&octets).ok()?;
        let (source, destination) = (quoted.source_addr(), quoted.destination_addr());
        let quote = Quote { source, destination, protocol: quoted.protocol().0, octets };
        Some(Self { from, kind, code, rest: message.bytes5to8(), quote })
    }

    /// Returns the next hop's maximum transmission unit that a "fragmentation needed" carries (RFC 1191 section 4).
    #[must_use]
    pub fn next_hop_mtu(&self) -> Option<u16> {
        let [_, _, high, low] = self.rest;
        (self.kind == 3 && self.code == 4).then(|| u16::from_be_bytes([high, low]))
    }
}

impl Quote {
    /// Returns the quoted octets after the quoted IP header.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        let header = Ipv4HeaderSlice::from_slice(&self.octets).map_or(0, |header| header.slice().len());
        self.octets.get(header..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 2);
    const B: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);

    #[test]
    fn an_echo_request_has_the_checksum_of_the_rfc() {
        let mut out = Vec::new();
        icmp(&mut out, ECHO_REQUEST, 0, [0x12, 0x34, 0, 1], b"abcde");
        let words = [0x0800_u16, 0x1234, 0x0001, 0x6162, 0x6364, 0x6500];
        let end_around = |sum: u16, word: &u16| {
            let (sum, carry) = sum.overflowing_add(*word);
            sum + u16::from(carry)
        };
        let expected = !words.iter().fold(0, end_around);
        assert_eq!(out.get(2..4), Some(expected.to_be_bytes().as_slice()));
        assert!(read_icmp(&out).is_some());
        out[9] ^= 1;
        assert!(read_icmp(&out).is_none());
    }

    #[test]
    fn a_packet_is_cut_to_its_length_and_refused_with_a_bad_checksum() {
        let mut packet = ipv4_header(A, B, IpNumber::UDP, 64, 4).to_bytes().to_vec();
        packet.extend_from_slice(b"data");
        packet.extend_from_slice(&[0; 22]);
        let (header, exact) = read_ipv4(&packet).unwrap();
        assert_eq!((exact.len(), ipv4_payload(&header, exact)), (24, b"data".as_slice()));
        packet[8] -= 1;
        assert!(read_ipv4(&packet).is_none());
    }

    #[test]
    fn an_icmp_error_is_read_with_what_it_quotes() {
        let mut quoted = ipv4_header(A, B, IpNumber::UDP, 1, 8).to_bytes().to_vec();
        quoted.extend_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8]);
        let mut out = Vec::new();
        icmp(&mut out, 3, 4, [0, 0, 0x05, 0x78], &quoted);
        let error = IcmpError::read(B, &read_icmp(&out).unwrap()).unwrap();
        assert_eq!((error.next_hop_mtu(), error.quote.source, error.quote.destination), (Some(1400), A, B));
        assert_eq!(error.quote.payload(), [1, 2, 3, 4, 5, 6, 7, 8]);
        let mut reply = Vec::new();
        icmp(&mut reply, ECHO_REPLY, 0, [0; 4], &quoted);
        assert_eq!(IcmpError::read(B, &read_icmp(&reply).unwrap()), None);
    }
}
