//! The way in: what an Ethernet frame carries, and carrying out the verdict about an IPv4 packet.

use forward::{LocalKind, Verdict, local::Delivery};
use ifnet::{DropReason, Fate, IfIndex};
use pktbuf::{LinkCast, Origin, PacketBuf};
use wire::{ETHERNET_HEADER_LEN, EtherType, Ethernet, Icmpv4, Ipv4, MacAddr};

use crate::{PingReply, worker::Pass};

impl Pass<'_> {
    /// Takes a received frame to its end, or to the batch, hold queue or buffer where it waits for that.
    #[inline]
    pub(crate) fn process(&mut self, mut packet: PacketBuf) {
        let rx = IfIndex(packet.rx_if().unwrap_or(u16::MAX));
        let Some(interface) = self.snapshot.tables.interface(rx) else { return self.refuse_unknown(packet) };
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

    /// Consumes or refuses a packet that is for this router.
    #[cold]
    fn deliver(&mut self, packet: PacketBuf, kind: LocalKind) {
        let bytes = packet.bytes().get(ETHERNET_HEADER_LEN..).unwrap_or_default();
        match forward::local::deliver(bytes, kind) {
            Delivery::EchoRequest => self.answer_echo(packet),
            Delivery::EchoReply { ident, sequence } => {
                let fate = match self.match_reply(bytes, ident, sequence) {
                    true => Fate::Delivered,
                    false => Fate::Dropped(DropReason::IcmpIgnored),
                };
                self.core.counters.count(packet.origin(), fate);
                self.core.cache.recycle(packet);
            }
            Delivery::IcmpError { kind, reason } => self.reject(packet, kind, reason),
            Delivery::Drop(reason) => self.discard(packet, reason),
        }
    }

    /// Returns whether an echo reply answers a question of ours; whoever asked finds it then.
    fn match_reply(&self, bytes: &[u8], ident: u16, sequence: u16) -> bool {
        let Ok(ip) = Ipv4::new_checked(bytes) else { return false };
        let len = ip.payload().len();
        let round_trip = core::time::Duration::ZERO;
        let reply = PingReply { from: ip.source(), sequence, len, ttl: ip.ttl(), round_trip };
        Icmpv4::new_checked(ip.payload()).is_ok() && self.router.pings().answered(self.now, ident, reply)
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

    /// Drops a frame of an interface that the snapshot does not know.
    #[cold]
    fn refuse_unknown(&mut self, packet: PacketBuf) {
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
