//! Packets that tests send as they are, made with a library that shares no code with the router.

use std::net::Ipv4Addr;

use e2e::Bench;
use etherparse::{ArpEthIpv4Packet, ArpOperation, IpNumber, Ipv4Header, UdpHeader};
use wire::MacAddr;

/// The port that datagrams of tests come from.
pub(crate) const PORT: u16 = 40_000;

/// Makes a header from the host at port 0.
pub(crate) fn ip(destination: Ipv4Addr, protocol: IpNumber) -> Ipv4Header {
    let source = Bench::host_address(0).octets();
    Ipv4Header::new(0, 64, protocol, source, destination.octets()).expect("an empty payload is not too long")
}

/// Makes a packet of a header and what follows it, with length and checksum put right.
pub(crate) fn packet(mut header: Ipv4Header, payload: &[u8]) -> Vec<u8> {
    header.total_len = u16::try_from(header.header_len() + payload.len()).expect("a packet of a test fits");
    header.header_checksum = header.calc_header_checksum();
    [header.to_bytes().as_slice(), payload].concat()
}

/// Makes a datagram with its checksum.
pub(crate) fn udp(header: &Ipv4Header, port: u16, body: &[u8]) -> Vec<u8> {
    let udp = UdpHeader::with_ipv4_checksum(PORT, port, header, body).expect("a datagram of a test fits");
    [udp.to_bytes().as_slice(), body].concat()
}

/// Makes a whole UDP packet.
pub(crate) fn udp_packet(header: Ipv4Header, port: u16, body: &[u8]) -> Vec<u8> {
    let datagram = udp(&header, port, body);
    packet(header, &datagram)
}

/// Puts a packet in a frame from the host at port 0.
pub(crate) fn frame(bench: &Bench, destination: MacAddr, packet: &[u8]) -> Vec<u8> {
    let source = bench.host_mac(0).octets();
    [&destination.octets(), source.as_slice(), &[0x08, 0x00], packet].concat()
}

/// Makes an ARP frame.
pub(crate) fn arp(
    to: MacAddr,
    operation: ArpOperation,
    sender: (MacAddr, Ipv4Addr),
    target: (MacAddr, Ipv4Addr),
) -> Vec<u8> {
    let packet = ArpEthIpv4Packet {
        operation,
        sender_mac: sender.0.octets(),
        sender_ipv4: sender.1.octets(),
        target_mac: target.0.octets(),
        target_ipv4: target.1.octets(),
    };
    [&to.octets(), sender.0.octets().as_slice(), &[0x08, 0x06], packet.to_bytes().as_slice()].concat()
}

/// Reads an ARP packet in a frame.
pub(crate) fn read_arp(frame: &[u8]) -> Option<ArpEthIpv4Packet> {
    if frame.get(12..14) != Some(&[0x08, 0x06]) {
        return None;
    }
    etherparse::ArpPacketSlice::from_slice(frame.get(14..)?).ok()?.to_packet().try_eth_ipv4().ok()
}

/// Returns whether a frame carries IPv4.
pub(crate) fn is_ipv4(frame: &[u8]) -> bool {
    frame.get(12..14) == Some(&[0x08, 0x00])
}
