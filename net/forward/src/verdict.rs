//! What can become of a packet: [`Verdict`] and its parts. Plain data; any context.

use core::net::Ipv4Addr;

use ifnet::{DropReason, IfIndex};
use wire::icmpv4::Message;

/// What is to become of a received IPv4 packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Send it. Time to live and checksum are rewritten already; the link-layer header is not.
    Transmit {
        /// Through this interface,
        out: IfIndex,
        /// to the station that has this address.
        next_hop: Ipv4Addr,
    },
    /// Send it to all stations of the link (a directed broadcast, where these are allowed). Rewritten as for `Transmit`.
    TransmitBroadcast {
        /// Through this interface.
        out: IfIndex,
    },
    /// Send it in pieces of at most `mtu` octets. Rewritten as for `Transmit`.
    Fragment {
        /// Through this interface,
        out: IfIndex,
        /// to the station that has this address,
        next_hop: Ipv4Addr,
        /// in IP packets of at most this many octets.
        mtu: u16,
    },
    /// It is for this router. Unchanged.
    Deliver(LocalKind),
    /// Drop it for `reason`, and say so to its sender if that is allowed. Unchanged, ready to be quoted.
    IcmpError {
        /// What to say.
        kind: IcmpErrorKind,
        /// What to count.
        reason: DropReason,
    },
    /// Drop it silently.
    Drop(DropReason),
}

/// How a packet for this router was addressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalKind {
    /// To one of our addresses.
    Unicast,
    /// To all stations of the link it came from.
    Broadcast,
}

/// The errors a router reports (RFC 1812 4.3.3.1 to 4.3.3.5, 5.2.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IcmpErrorKind {
    /// 3/0: no route.
    NetUnreachable,
    /// 3/1: the last router on the way finds no such host.
    HostUnreachable,
    /// 3/2: nobody here speaks the protocol.
    ProtocolUnreachable,
    /// 3/3: nobody here listens on the port.
    PortUnreachable,
    /// 3/4: too long for the next link, and must not be fragmented.
    FragmentationNeeded {
        /// The MTU of that link in octets (RFC 1191 4).
        mtu: u16,
    },
    /// 3/5: source route refused.
    SourceRouteFailed,
    /// 11/0: time to live used up on the way.
    TimeExceeded,
    /// 11/1: the other fragments did not come in time.
    ReassemblyTimeExceeded,
    /// 12/0: malformed.
    ParameterProblem {
        /// The octet of the packet that is wrong.
        pointer: u8,
    },
}

impl IcmpErrorKind {
    /// Returns the ICMP header that says so.
    #[must_use]
    pub const fn message(self) -> Message {
        let (code, next_hop_mtu) = match self {
            Self::NetUnreachable => (0, 0),
            Self::HostUnreachable => (1, 0),
            Self::ProtocolUnreachable => (2, 0),
            Self::PortUnreachable => (3, 0),
            Self::FragmentationNeeded { mtu } => (4, mtu),
            Self::SourceRouteFailed => (5, 0),
            Self::TimeExceeded => return Message::TimeExceeded { code: 0 },
            Self::ReassemblyTimeExceeded => return Message::TimeExceeded { code: 1 },
            Self::ParameterProblem { pointer } => return Message::ParameterProblem { pointer },
        };
        Message::Unreachable { code, next_hop_mtu }
    }
}
