//! Packets for this router: what to answer (RFC 1812 4.3.3, 5.2.3). Any context.

use ifnet::DropReason;
use wire::{Icmpv4, Ipv4, Udp, checksum::Sum, icmpv4::kind, protocol};

use crate::{IcmpErrorKind, LocalKind};

/// What is to become of a packet for this router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Answer it with [`icmp::echo_reply`](crate::icmp::echo_reply).
    EchoRequest,
    /// It may answer an echo request of ours.
    EchoReply {
        /// Names the asker.
        ident: u16,
        /// Names the question.
        sequence: u16,
    },
    /// It is a piece of something that is worth having whole: put it into the [`Reassembler`](crate::Reassembler).
    Fragment,
    /// Drop it for `reason`, and say so to its sender if that is allowed.
    IcmpError {
        /// What to say.
        kind: IcmpErrorKind,
        /// What to count.
        reason: DropReason,
    },
    /// Drop it silently.
    Drop(DropReason),
}

/// Decides about a packet that [`input`](crate::input) says is for us; `packet` starts at its IP header.
#[must_use]
pub fn deliver(packet: &[u8], addressed: LocalKind) -> Delivery {
    let Ok(ip) = Ipv4::new_checked(packet) else { return Delivery::Drop(DropReason::Ip4Truncated) };
    match ip.protocol() {
        protocol::ICMP if ip.is_fragment() && addressed == LocalKind::Unicast => Delivery::Fragment,
        // Of any other datagram the first fragment is enough to say that nobody wants it.
        _ if ip.fragment_offset() != 0 || (ip.is_fragment() && addressed == LocalKind::Broadcast) => {
            Delivery::Drop(DropReason::LocalFragment)
        }
        protocol::ICMP => deliver_icmp(ip.payload(), addressed),
        protocol::UDP => deliver_udp(&ip),
        _ => Delivery::IcmpError { kind: IcmpErrorKind::ProtocolUnreachable, reason: DropReason::LocalUnknownProtocol },
    }
}

/// Decides about an ICMP message in `pieces`, the payloads of all fragments in order.
#[must_use]
pub fn deliver_pieces<'a>(mut pieces: impl Iterator<Item = &'a [u8]>) -> Delivery {
    let first = pieces.next().unwrap_or_default();
    let Ok(message) = Icmpv4::new_checked(first) else { return Delivery::Drop(DropReason::IcmpTooShort) };
    // Only the last piece can have an odd length.
    if !pieces.fold(Sum::new().with(first), Sum::with).is_intact() {
        return Delivery::Drop(DropReason::IcmpBadChecksum);
    }
    judge_icmp(&message, LocalKind::Unicast)
}

fn deliver_icmp(payload: &[u8], addressed: LocalKind) -> Delivery {
    let Ok(message) = Icmpv4::new_checked(payload) else { return Delivery::Drop(DropReason::IcmpTooShort) };
    if !message.is_intact() {
        return Delivery::Drop(DropReason::IcmpBadChecksum);
    }
    judge_icmp(&message, addressed)
}

fn judge_icmp(message: &Icmpv4<'_>, addressed: LocalKind) -> Delivery {
    match (message.kind(), message.code()) {
        // One request to everybody must not make everybody shout. (4.3.3.6)
        (kind::ECHO_REQUEST, 0) if addressed == LocalKind::Broadcast => Delivery::Drop(DropReason::IcmpEchoBroadcast),
        (kind::ECHO_REQUEST, 0) => Delivery::EchoRequest,
        (kind::ECHO_REPLY, 0) => Delivery::EchoReply { ident: message.ident(), sequence: message.sequence() },
        // Errors about packets of ours, of which there are none that need them; source quench (RFC 6633 4); unknown types
        // (4.3.2.1).
        _ => Delivery::Drop(DropReason::IcmpIgnored),
    }
}

fn deliver_udp(ip: &Ipv4<'_>) -> Delivery {
    // The checksum of a first fragment covers octets that are not here.
    let intact = ip.more_fragments()
        || Udp::new_checked(ip.payload()).is_ok_and(|udp| udp.is_intact(ip.source(), ip.destination()));
    if intact {
        Delivery::IcmpError { kind: IcmpErrorKind::PortUnreachable, reason: DropReason::LocalPortUnreachable }
    } else {
        Delivery::Drop(DropReason::LocalBadTransport)
    }
}
