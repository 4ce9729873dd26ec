//! ARP for IPv4 over Ethernet (RFC 826): [`Arp`] to read, [`ArpPacket`] to write. Any context.

use core::net::Ipv4Addr;

use crate::{
    MacAddr, TooShort,
    field::{get_ip, get_mac, get16, put},
};

/// What an ARP packet wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum ArpOperation {
    /// `ares_op$REQUEST`: who has the target address?
    Request = 1,
    /// `ares_op$REPLY`: the sender has its address.
    Reply = 2,
}

/// A packet with all octets of ARP for IPv4 over Ethernet.
///
/// Only the length has been checked: ask [`is_ipv4_over_ethernet`](Self::is_ipv4_over_ethernet)
/// before believing the addresses.
#[derive(Clone, Copy, Debug)]
pub struct Arp<'a>(&'a [u8; ArpPacket::LEN]);

impl<'a> Arp<'a> {
    /// Looks at `bytes`, which start at the hardware type; padding may follow.
    ///
    /// # Errors
    /// [`TooShort`] if there are fewer than 28 octets.
    #[inline]
    pub const fn new_checked(bytes: &'a [u8]) -> Result<Self, TooShort> {
        match bytes.first_chunk() {
            Some(packet) => Ok(Self(packet)),
            None => Err(TooShort),
        }
    }

    /// Returns whether hardware type, protocol type and both lengths are those of IPv4 over Ethernet.
    #[must_use]
    pub const fn is_ipv4_over_ethernet(&self) -> bool {
        self.hardware_type() == 1
            && self.protocol_type() == 0x0800
            && self.hardware_len() == 6
            && self.protocol_len() == 4
    }

    /// Returns `ar$hrd`; 1 is Ethernet.
    #[must_use]
    pub const fn hardware_type(&self) -> u16 {
        get16::<0, 28>(self.0)
    }

    /// Returns `ar$pro`; 0x0800 is IPv4.
    #[must_use]
    pub const fn protocol_type(&self) -> u16 {
        get16::<2, 28>(self.0)
    }

    /// Returns `ar$hln`, octets of a hardware address.
    #[must_use]
    pub const fn hardware_len(&self) -> u8 {
        self.0[4]
    }

    /// Returns `ar$pln`, octets of a protocol address.
    #[must_use]
    pub const fn protocol_len(&self) -> u8 {
        self.0[5]
    }

    /// Returns `ar$op` as it stands.
    #[must_use]
    pub const fn opcode(&self) -> u16 {
        get16::<6, 28>(self.0)
    }

    /// Returns `ar$op` if it is a request or a reply.
    #[must_use]
    pub const fn operation(&self) -> Option<ArpOperation> {
        match self.opcode() {
            1 => Some(ArpOperation::Request),
            2 => Some(ArpOperation::Reply),
            _ => None,
        }
    }

    /// Returns `ar$sha`.
    #[must_use]
    pub const fn sender_mac(&self) -> MacAddr {
        MacAddr(get_mac::<8, 28>(self.0))
    }

    /// Returns `ar$spa`.
    #[must_use]
    pub const fn sender_ip(&self) -> Ipv4Addr {
        get_ip::<14, 28>(self.0)
    }

    /// Returns `ar$tha`.
    #[must_use]
    pub const fn target_mac(&self) -> MacAddr {
        MacAddr(get_mac::<18, 28>(self.0))
    }

    /// Returns `ar$tpa`.
    #[must_use]
    pub const fn target_ip(&self) -> Ipv4Addr {
        get_ip::<24, 28>(self.0)
    }
}

/// An ARP packet for IPv4 over Ethernet as a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArpPacket {
    /// Request or reply.
    pub operation: ArpOperation,
    /// Who sends.
    pub sender_mac: MacAddr,
    /// Who sends; zero in a probe (RFC 5227 2.1.1).
    pub sender_ip: Ipv4Addr,
    /// Who is meant; zero in a request.
    pub target_mac: MacAddr,
    /// Who is meant.
    pub target_ip: Ipv4Addr,
}

impl ArpPacket {
    /// Octets of the packet.
    pub const LEN: usize = 28;

    /// Writes all 28 octets.
    pub fn emit(&self, packet: &mut [u8; Self::LEN]) {
        put::<0, 6, 28>(packet, [0, 1, 8, 0, 6, 4]);
        put::<6, 2, 28>(packet, (self.operation as u16).to_be_bytes());
        put::<8, 6, 28>(packet, self.sender_mac.0);
        put::<14, 4, 28>(packet, self.sender_ip.octets());
        put::<18, 6, 28>(packet, self.target_mac.0);
        put::<24, 4, 28>(packet, self.target_ip.octets());
    }

    /// Returns the 28 octets.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut packet = [0; Self::LEN];
        self.emit(&mut packet);
        packet
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: [u8; 28] = [
        0x00, 0x01, 0x08, 0x00, 0x06, 0x04, 0x00, 0x01, 0x52, 0x54, 0x00, 0x12, 0x34, 0x56, 0xc0, 0x00, 0x02, 0x02,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xc0, 0x00, 0x02, 0x01,
    ];

    #[test]
    fn golden_request_reads_as_its_fields() {
        let arp = Arp::new_checked(&REQUEST).unwrap();
        assert!(arp.is_ipv4_over_ethernet());
        assert_eq!(
            (arp.hardware_type(), arp.protocol_type(), arp.hardware_len(), arp.protocol_len()),
            (1, 0x800, 6, 4)
        );
        assert_eq!(arp.operation(), Some(ArpOperation::Request));
        assert_eq!(arp.sender_mac(), MacAddr([0x52, 0x54, 0, 0x12, 0x34, 0x56]));
        assert_eq!(arp.sender_ip(), Ipv4Addr::new(192, 0, 2, 2));
        assert_eq!(arp.target_mac(), MacAddr::ZERO);
        assert_eq!(arp.target_ip(), Ipv4Addr::new(192, 0, 2, 1));
    }

    #[test]
    fn fields_write_the_golden_request_over_stale_bytes() {
        let mut bytes = [0xa5; 28];
        let request = ArpPacket {
            operation: ArpOperation::Request,
            sender_mac: MacAddr([0x52, 0x54, 0, 0x12, 0x34, 0x56]),
            sender_ip: Ipv4Addr::new(192, 0, 2, 2),
            target_mac: MacAddr::ZERO,
            target_ip: Ipv4Addr::new(192, 0, 2, 1),
        };
        request.emit(&mut bytes);
        assert_eq!(bytes, REQUEST);
        let reply = ArpPacket { operation: ArpOperation::Reply, ..request };
        assert_eq!(Arp::new_checked(&reply.to_bytes()).unwrap().operation(), Some(ArpOperation::Reply));
    }

    #[test]
    fn another_network_or_link_is_recognised() {
        for at in 0..6 {
            let mut bytes = REQUEST;
            bytes[at] ^= 0x10;
            assert!(!Arp::new_checked(&bytes).unwrap().is_ipv4_over_ethernet(), "octet {at}");
        }
    }

    #[test]
    fn twenty_seven_octets_are_too_short() {
        assert_eq!(Arp::new_checked(&REQUEST[..27]).unwrap_err(), TooShort);
    }
}
