//! The way in: what an Ethernet frame carries, and carrying out the verdict about an IPv4 packet.

use forward::Verdict;
use ifnet::{DropReason, IfIndex};
use pktbuf::{LinkCast, Origin, PacketBuf};
use wire::{EtherType, Ethernet, MacAddr};

use crate::worker::Pass;

impl Pass<'_> {
    /// Takes a received frame to its end, or to the batch, hold queue or buffer where it waits for that.
    #[inline]
    pub(crate) fn process(&mut self, mut packet: PacketBuf) {
        let rx = IfIndex(packet.rx_if().unwrap_or(u16::MAX));
        let known = self.snapshot.tables.interface(rx).filter(|_| !self.snapshot.is_shut(rx));
        let Some(interface) = known else { return self.refuse_unusable(packet) };
        let Ok(frame) = Ethernet::new_checked(packet.bytes()) else {
            return self.discard(packet, DropReason::EthTooShort);
        };
        let (destination, ether_type) = (frame.destination(), frame.ether_type());
        if frame.source().is_group() {
            return self.discard(packet, DropReason::EthGroupSource);
        }
        if destination != interface.mac {
            match cast_of(destination) {
                LinkCast::OtherHost => return self.discard(packet, DropReason::EthOtherHost),
                cast => packet.set_link_cast(cast),
            }
        } else {
            packet.set_link_cast(LinkCast::Unicast);
        }
        match ether_type {
            EtherType::IPV4 => self.forward(packet, rx),
            EtherType::ARP => self.receive_arp(packet, rx),
            other => self.refuse_type(packet, other),
        }
    }

    /// Has an IPv4 packet judged and does what the verdict says.
    #[inline]
    fn forward(&mut self, mut packet: PacketBuf, rx: IfIndex) {
        match forward::input(&mut packet, rx, &self.snapshot.tables) {
            Verdict::Transmit { out, next_hop } => self.send_to(packet, out, next_hop),
            Verdict::TransmitBroadcast { out } => self.send_framed(packet, out, MacAddr::BROADCAST),
            Verdict::Fragment { out, next_hop, mtu } => self.send_fragments(packet, out, next_hop, mtu),
            Verdict::Deliver(kind) => self.deliver(packet, kind),
            Verdict::IcmpError { kind, reason } => self.reject(packet, kind, reason),
            Verdict::Drop(reason) => self.discard(packet, reason),
        }
    }

    #[cold]
    fn refuse_type(&mut self, packet: PacketBuf, ether_type: EtherType) {
        let reason = match ether_type {
            EtherType::IPV6 => DropReason::EthIpv6,
            EtherType::VLAN | EtherType::SERVICE_VLAN => DropReason::EthVlanUnknown,
            // Spanning tree, discovery protocols and their like: groups we are not in.
            _ if packet.link_cast() == LinkCast::Multicast => DropReason::EthMulticast,
            other if other.is_length() => DropReason::EthLengthField,
            _ => DropReason::EthUnknownType,
        };
        self.discard(packet, reason);
    }

    /// Drops a frame of an interface that the snapshot does not know, or that is not to be used.
    #[cold]
    fn refuse_unusable(&mut self, packet: PacketBuf) {
        debug_assert!(packet.origin() == Origin::Received);
        let reason = if self.snapshot.closed { DropReason::ShuttingDown } else { DropReason::ForwardingOff };
        self.discard(packet, reason);
    }
}

/// Returns to whom an address that is not the port's own belongs.
#[cold]
const fn cast_of(destination: MacAddr) -> LinkCast {
    if destination.is_broadcast() {
        LinkCast::Broadcast
    } else if destination.is_group() {
        LinkCast::Multicast
    } else {
        LinkCast::OtherHost
    }
}
