//! Hosts A (beside em0) and B (beside em1), and what they send.

use std::net::Ipv4Addr;

use wire::{ArpOperation, ArpPacket, EtherType, Ethernet, EthernetHeader, Ipv4, Ipv4Header, MacAddr, UdpHeader};

/// The configuration of the router between them.
pub(crate) const CONFIG: &str = r#"
    [[interface]]
    name = "em0"
    addresses = ["192.0.2.1/24"]
    [[interface]]
    name = "em1"
    addresses = ["198.51.100.1/24"]
"#;

const UDP: u8 = 17;

/// Returns the host beside a port.
pub(crate) fn host(port: usize) -> (Ipv4Addr, MacAddr) {
    match port {
        0 => (Ipv4Addr::new(192, 0, 2, 2), MacAddr([2, 0, 0, 0, 0, 0xa])),
        _ => (Ipv4Addr::new(198, 51, 100, 2), MacAddr([2, 0, 0, 0, 0, 0xb])),
    }
}

/// Returns the router's own address on a port.
fn router(port: usize) -> Ipv4Addr {
    match port {
        0 => Ipv4Addr::new(192, 0, 2, 1),
        _ => Ipv4Addr::new(198, 51, 100, 1),
    }
}

fn mac_of(port: usize) -> MacAddr {
    nic_model::mac(u8::try_from(port).unwrap_or(0))
}

/// The host beside `port` asks for the router's address, by which the router learns the host's.
pub(crate) fn arp_request(port: usize) -> Vec<u8> {
    let (ip, mac) = host(port);
    let packet = ArpPacket {
        operation: ArpOperation::Request,
        sender_mac: mac,
        sender_ip: ip,
        target_mac: MacAddr::ZERO,
        target_ip: router(port),
    };
    let header = EthernetHeader { destination: MacAddr::BROADCAST, source: mac, ether_type: EtherType::ARP };
    let mut frame = header.to_bytes().to_vec();
    frame.extend(packet.to_bytes());
    frame.resize(60, 0);
    frame
}

/// A datagram that comes in at `port` and is for the host beside the other one.
pub(crate) fn datagram(port: usize, serial: u32) -> Vec<u8> {
    let ((source, mac), (destination, _)) = (host(port), host(1 - port));
    let total_len = 60;
    let header = Ipv4Header {
        tos: 0,
        total_len,
        ident: 7,
        dont_fragment: false,
        more_fragments: false,
        fragment_offset: 0,
        ttl: 64,
        protocol: UDP,
        source,
        destination,
    };
    let mut ip = [0; 20];
    header.emit(&mut ip);
    let mut datagram = vec![0x5a; usize::from(total_len) - ip.len()];
    datagram[8..12].copy_from_slice(&serial.to_be_bytes());
    let ports = UdpHeader { source_port: 4000, destination_port: 33434 };
    ports.emit(&mut datagram, source, destination).expect("the datagram has room for its header");
    let header = EthernetHeader { destination: mac_of(port), source: mac, ether_type: EtherType::IPV4 };
    [&header.to_bytes()[..], &ip, &datagram].concat()
}

/// Returns whether a frame on the wire is one of those datagrams, forwarded.
pub(crate) fn is_forwarded(frame: &[u8]) -> bool {
    let Ok(ethernet) = Ethernet::new_checked(frame) else { return false };
    ethernet.ether_type() == EtherType::IPV4
        && Ipv4::new_checked(ethernet.payload()).is_ok_and(|packet| packet.protocol() == UDP)
}
