//! From a received frame to its [`Verdict`]: RFC 1812 5.2 and 5.3 as one walk in numbered steps.
//!
//! Pure: reads the tables, writes nothing but time to live and checksum of a packet that is going to be sent. Any context.

use core::net::Ipv4Addr;

use fib::NextHopKind;
use ifnet::{DropReason, IfIndex};
use pktbuf::{LinkCast, PacketBuf};
use wire::{ETHERNET_HEADER_LEN, IPV4_HEADER_LEN, Ipv4, Ipv4Error, Ipv4Header};

use crate::{IcmpErrorKind, LocalKind, Tables, Verdict, options};

/// Decides about a frame with an IPv4 packet that interface `rx` received.
///
/// The window starts at the Ethernet header and is cut to the IP packet's own length (padding goes, RFC 894). On
/// `Transmit`, `TransmitBroadcast` and `Fragment` time to live and checksum have been rewritten, else nothing has.
#[inline]
pub fn input(packet: &mut PacketBuf, rx: IfIndex, tables: &Tables) -> Verdict {
    let link_cast = packet.link_cast();
    let (verdict, len) = decide(packet.bytes_mut(), link_cast, rx, tables);
    packet.truncate(len);
    verdict
}

/// Does the work of [`input`] on plain bytes. Returns also how many octets of the frame are header and packet.
#[inline]
pub fn decide(frame: &mut [u8], link_cast: LinkCast, rx: IfIndex, tables: &Tables) -> (Verdict, usize) {
    let frame_len = frame.len();
    let Some((_, bytes)) = frame.split_first_chunk_mut::<ETHERNET_HEADER_LEN>() else {
        return (Verdict::Drop(DropReason::EthTooShort), frame_len);
    };

    // 1. Is it an IPv4 packet, and all there? (5.2.2)
    let ip = match Ipv4::new_checked(bytes) {
        Ok(ip) => ip,
        Err(error) => return (Verdict::Drop(reason_of(error)), frame_len),
    };
    let len = ETHERNET_HEADER_LEN + usize::from(ip.total_len());
    if !ip.is_intact() {
        return (Verdict::Drop(DropReason::Ip4BadChecksum), len);
    }

    // 2. Can it come from there, and go there, anywhere in the world? (5.3.7, RFC 6890)
    let (source, destination) = (ip.source(), ip.destination());
    if let Some(kind) = tables.own_kind(source) {
        let own = kind == NextHopKind::Local;
        let reason = if own { DropReason::MartianSourceOwn } else { DropReason::MartianSourceBroadcast };
        return (Verdict::Drop(reason), len);
    }
    if (is_special(source) || is_special(destination))
        && let Some(verdict) = judge_special(source, destination, tables)
    {
        return (verdict, len);
    }

    // 3. What the link layer sent to many is not ours to send to one. (5.3.4)
    if link_cast != LinkCast::Unicast && !is_heard_broadcast(destination, rx, tables) {
        return (Verdict::Drop(DropReason::Ip4LinkBroadcast), len);
    }

    // 4. Options take the slow path. (5.3.13)
    if !ip.options().is_empty()
        && let Some(verdict) = options::judge(ip.options())
    {
        return (verdict, len);
    }

    // 5. Where does the longest matching prefix lead? (5.2.4.3)
    let Some(hop) = tables.fib().lookup(destination) else {
        return (error(IcmpErrorKind::NetUnreachable, DropReason::NoRoute, tables), len);
    };
    let out = IfIndex(hop.out);
    let next_hop = match hop.via {
        NextHopKind::Gateway(gateway) => Some(gateway),
        NextHopKind::Connected => Some(destination),
        NextHopKind::Local => return (Verdict::Deliver(LocalKind::Unicast), len),
        NextHopKind::Broadcast if out == rx => return (Verdict::Deliver(LocalKind::Broadcast), len),
        NextHopKind::Broadcast => None,
        NextHopKind::Blackhole => return (Verdict::Drop(DropReason::RouteBlackhole), len),
        NextHopKind::Unreachable => {
            return (error(IcmpErrorKind::HostUnreachable, DropReason::RouteUnreachable, tables), len);
        }
    };

    // 6. Do we forward this kind of packet? (2.2.8.1; RFC 2644)
    let config = tables.config();
    if !config.forwarding {
        return (Verdict::Drop(DropReason::ForwardingOff), len);
    }
    if next_hop.is_none() && !config.directed_broadcast {
        return (Verdict::Drop(DropReason::Ip4DirectedBroadcast), len);
    }

    // 7. Has it time left for one more hop? Only now, since packets for us need none. (5.3.1)
    if ip.ttl() <= 1 {
        return (error(IcmpErrorKind::TimeExceeded, DropReason::TtlExpired, tables), len);
    }

    // 8. Does it fit the link? (5.2.5; RFC 1191 4)
    let Some(link) = tables.interface(out).filter(|link| link.up) else {
        return (error(IcmpErrorKind::NetUnreachable, DropReason::EgressDown, tables), len);
    };
    let mtu = link.mtu;
    let fits = ip.total_len() <= mtu;
    if !fits && ip.dont_fragment() {
        return (error(IcmpErrorKind::FragmentationNeeded { mtu }, DropReason::TooBig, tables), len);
    }

    // 9. It goes. One hop less to live; nothing else of it changes. (5.3.1, 5.3.2; RFC 1624)
    if let Some(header) = bytes.first_chunk_mut::<IPV4_HEADER_LEN>() {
        Ipv4Header::decrement_ttl(header);
    }
    let verdict = match next_hop {
        Some(next_hop) if fits => Verdict::Transmit { out, next_hop },
        Some(next_hop) => Verdict::Fragment { out, next_hop, mtu },
        None if fits => Verdict::TransmitBroadcast { out },
        // A broadcast is not worth fragments (RFC 2644 would rather not see it at all).
        None => Verdict::Drop(DropReason::TooBig),
    };
    (verdict, len)
}

/// Returns the counter of a packet that is none.
#[cold]
const fn reason_of(error: Ipv4Error) -> DropReason {
    match error {
        Ipv4Error::TooShort => DropReason::Ip4TooShort,
        Ipv4Error::BadVersion => DropReason::Ip4BadVersion,
        Ipv4Error::BadHeaderLength => DropReason::Ip4BadHeaderLength,
        Ipv4Error::BadTotalLength => DropReason::Ip4BadTotalLength,
        Ipv4Error::Truncated => DropReason::Ip4Truncated,
    }
}

/// Returns whether an address is in a block that is not plain unicast: 0/8, 127/8, 224/4, 240/4.
#[inline]
pub(crate) const fn is_special(address: Ipv4Addr) -> bool {
    let top = address.to_bits() >> 24;
    top == 0 || top == 127 || top >= 224
}

/// Judges a packet of which one address is special: `None` lets it pass, which only 240/4 can, if allowed.
#[cold]
fn judge_special(source: Ipv4Addr, destination: Ipv4Addr, tables: &Tables) -> Option<Verdict> {
    let net240 = tables.config().allow_net240;
    // A station that has no address yet asks for one (DHCP): 0.0.0.0 to everybody is no martian. (5.3.7)
    let asking = source.is_unspecified() && destination.is_broadcast();
    let reason = match source.octets()[0] {
        _ if source.is_broadcast() => Some(DropReason::MartianSourceBroadcast),
        0 if !asking => Some(DropReason::MartianSourceThisNetwork),
        127 => Some(DropReason::MartianSourceLoopback),
        224..240 => Some(DropReason::MartianSourceMulticast),
        240.. if !net240 => Some(DropReason::MartianSourceReserved),
        _ => None,
    };
    let reason = reason.or(match destination.octets()[0] {
        0 => Some(DropReason::MartianDestinationThisNetwork),
        127 => Some(DropReason::MartianDestinationLoopback),
        224..240 => Some(DropReason::Ip4Multicast),
        240.. if !net240 && !destination.is_broadcast() => Some(DropReason::MartianDestinationReserved),
        _ => None,
    });
    match reason {
        Some(reason) => Some(Verdict::Drop(reason)),
        // 255.255.255.255 is heard here and goes no further. (5.3.5.1)
        None if destination.is_broadcast() => Some(Verdict::Deliver(LocalKind::Broadcast)),
        None => None,
    }
}

/// Returns whether `destination` is the directed broadcast address of the network that `rx` is on.
#[cold]
fn is_heard_broadcast(destination: Ipv4Addr, rx: IfIndex, tables: &Tables) -> bool {
    tables.fib().lookup(destination).is_some_and(|hop| hop.via == NextHopKind::Broadcast && hop.out == rx.0)
}

/// Returns the verdict that reports `kind`; a router that does not forward has nothing to report about others' packets.
#[cold]
fn error(kind: IcmpErrorKind, reason: DropReason, tables: &Tables) -> Verdict {
    if tables.config().forwarding {
        Verdict::IcmpError { kind, reason }
    } else {
        Verdict::Drop(DropReason::ForwardingOff)
    }
}
