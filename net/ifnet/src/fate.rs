//! Where frames end: [`Fate`] and the complete list of [`DropReason`]s.
//!
//! Every frame that a port hands to the network code ends in exactly one fate. A reason exists for
//! every exit, so that "why did my packet not arrive" has an answer with a name. The names are
//! shown to operators and matched by tests and scripts: they may be added to, never changed.
//! Plain data; any context.

/// Defines the enum, its list and its names from one table, so that they cannot drift apart.
macro_rules! drop_reasons {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// Why a frame was dropped. One variant for every exit of the data path.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum DropReason {
            $($(#[$doc])* $variant,)*
        }

        impl DropReason {
            /// All reasons, in the order in which they are shown.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$variant),*];

            /// How many reasons there are.
            pub const COUNT: usize = Self::ALL.len();

            /// Returns the stable name under which the counter is shown.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

drop_reasons! {
    // Ethernet.
    /// Shorter than an Ethernet header.
    EthTooShort = "eth-too-short",
    /// The source address is a group address, which no station can have (IEEE 802.3 3.2.3).
    EthGroupSource = "eth-group-source",
    /// Unicast to a station that is not this port (promiscuous mode, or a flooding switch).
    EthOtherHost = "eth-other-host",
    /// Multicast to a group nobody here listens to.
    EthMulticast = "eth-multicast",
    /// The type field is a length: an IEEE 802.2 frame, which carries no protocol of ours.
    EthLengthField = "eth-length-field",
    /// A VLAN tag for which no sub-interface exists.
    EthVlanUnknown = "eth-vlan-unknown",
    /// IPv6, which this port does not speak.
    EthIpv6 = "eth-ipv6",
    /// Any other type nobody here speaks.
    EthUnknownType = "eth-unknown-type",

    // ARP frames themselves.
    /// Shorter than an ARP packet for Ethernet and IPv4.
    ArpTooShort = "arp-too-short",
    /// Hardware type, protocol type or an address length is not that of IPv4 over Ethernet
    /// (RFC 826, "Packet Reception").
    ArpBadHeader = "arp-bad-header",
    /// The opcode is neither request nor reply.
    ArpBadOpcode = "arp-bad-opcode",
    /// The sender's hardware address is a group address or zero, which no station has.
    ArpBadSenderMac = "arp-bad-sender-mac",
    /// The sender's protocol address is one no host can have (group, broadcast, loopback).
    ArpBadSenderIp = "arp-bad-sender-ip",
    /// The sender is not on the network of the interface.
    ArpForeignSender = "arp-foreign-sender",
    /// Somebody else claims an address of ours (RFC 5227 2.4).
    ArpConflict = "arp-conflict",
    /// Our own frame, come back to us.
    ArpOwnFrame = "arp-own-frame",
    /// A request for somebody else, from a sender we do not know: nothing to learn, nothing to answer.
    ArpNotForUs = "arp-not-for-us",
    /// ARP on an interface that has no address.
    ArpNoAddress = "arp-no-address",

    // IPv4 header validation, RFC 1812 5.2.2.
    /// Shorter than the smallest IPv4 header (RFC 1812 5.2.2 (1)).
    Ip4TooShort = "ip4-too-short",
    /// Bad header checksum (RFC 1812 5.2.2 (2)).
    Ip4BadChecksum = "ip4-bad-checksum",
    /// Version is not 4 (RFC 1812 5.2.2 (3)).
    Ip4BadVersion = "ip4-bad-version",
    /// Header length below 20 octets or beyond the frame (RFC 1812 5.2.2 (4)).
    Ip4BadHeaderLength = "ip4-bad-header-length",
    /// Total length below header length (RFC 1812 5.2.2 (5)).
    Ip4BadTotalLength = "ip4-bad-total-length",
    /// Total length beyond the end of the frame (RFC 1812 5.2.2).
    Ip4Truncated = "ip4-truncated",

    // IPv4 addresses, RFC 1812 5.3.4 to 5.3.7.
    /// Unicast IP in a link-layer broadcast or multicast frame (RFC 1812 5.3.4).
    Ip4LinkBroadcast = "ip4-link-broadcast",
    /// Source in 0.0.0.0/8 (RFC 1812 5.3.7).
    MartianSourceThisNetwork = "martian-source-this-network",
    /// Source in 127.0.0.0/8 (RFC 1812 5.3.7).
    MartianSourceLoopback = "martian-source-loopback",
    /// Source in 224.0.0.0/4 (RFC 1812 5.3.7).
    MartianSourceMulticast = "martian-source-multicast",
    /// Source in 240.0.0.0/4, when that is configured to be refused (RFC 6890).
    MartianSourceReserved = "martian-source-reserved",
    /// Source is 255.255.255.255 or the broadcast address of a connected network (RFC 1812 5.3.7).
    MartianSourceBroadcast = "martian-source-broadcast",
    /// Source is an address of this router (RFC 1812 5.3.7).
    MartianSourceOwn = "martian-source-own",
    /// Destination in 0.0.0.0/8 (RFC 1812 5.3.7).
    MartianDestinationThisNetwork = "martian-destination-this-network",
    /// Destination in 127.0.0.0/8 (RFC 1812 5.3.7).
    MartianDestinationLoopback = "martian-destination-loopback",
    /// Destination in 240.0.0.0/4, when that is configured to be refused (RFC 6890).
    MartianDestinationReserved = "martian-destination-reserved",
    /// Source fails the reverse path test of the interface (RFC 3704 2.2).
    Ip4ReversePath = "ip4-reverse-path",
    /// Multicast destination: this router does not route groups, and is no member of this one.
    Ip4Multicast = "ip4-multicast",
    /// 255.255.255.255 with nothing here to hear it; never forwarded (RFC 1812 5.3.5.1).
    Ip4LimitedBroadcast = "ip4-limited-broadcast",
    /// Directed broadcast while forwarding these is off (RFC 2644 2).
    Ip4DirectedBroadcast = "ip4-directed-broadcast",

    // IPv4 options.
    /// An option runs past the header or has an impossible length (RFC 1812 5.3.13).
    Ip4BadOption = "ip4-bad-option",
    /// Source route while these are refused (RFC 1812 5.3.13.4, RFC 7126 4.3).
    Ip4SourceRoute = "ip4-source-route",
    /// The allowance for packets with options is used up.
    Ip4OptionLimited = "ip4-option-limited",

    // Forwarding decision.
    /// Refused by a packet filter.
    Filtered = "filtered",
    /// Not for us, and this router or interface does not forward (RFC 1812 2.2.8.1).
    ForwardingOff = "forwarding-off",
    /// Time to live used up on the way (RFC 1812 5.3.1).
    TtlExpired = "ttl-expired",
    /// No route to the destination (RFC 1812 5.2.7.1, code 0).
    NoRoute = "no-route",
    /// The best route discards silently.
    RouteBlackhole = "route-blackhole",
    /// The best route refuses with Host Unreachable.
    RouteUnreachable = "route-unreachable",
    /// The interface of the best route does not exist or is down.
    EgressDown = "egress-down",
    /// Too big for the outgoing link, and must not be fragmented (RFC 1191 4).
    TooBig = "too-big",
    /// Fragmentation was not possible (link too small for the header and eight octets).
    FragmentationFailed = "fragmentation-failed",
    /// No buffer for a fragment.
    FragmentationNoBuffer = "fragmentation-no-buffer",

    // Local delivery.
    /// For us, but a fragment that cannot be put together with others: it overlaps, repeats, does not fit the limits, or is
    /// of a protocol for which nobody here would want the whole.
    LocalFragment = "local-fragment",
    /// For us, but the other fragments did not come in time (RFC 1122 3.3.2), or others needed the place.
    LocalReassemblyTimeout = "local-reassembly-timeout",
    /// For us, with a protocol nobody here speaks (RFC 1812 4.3.3.1, code 2).
    LocalUnknownProtocol = "local-unknown-protocol",
    /// For us, with a port nobody here listens on (RFC 1812 4.3.3.1, code 3).
    LocalPortUnreachable = "local-port-unreachable",
    /// For us, with a transport header that is cut short or has a wrong checksum.
    LocalBadTransport = "local-bad-transport",
    /// For us, but the local receiver's queue is full.
    LocalQueueFull = "local-queue-full",
    /// An ICMP message that is too short.
    IcmpTooShort = "icmp-too-short",
    /// An ICMP message with a wrong checksum.
    IcmpBadChecksum = "icmp-bad-checksum",
    /// An ICMP message of a type or code this router ignores (RFC 1812 4.3.2.1; RFC 6633).
    IcmpIgnored = "icmp-ignored",
    /// An echo request to a broadcast or multicast address (RFC 1812 4.3.3.6).
    IcmpEchoBroadcast = "icmp-echo-broadcast",

    // ICMP errors this router would have sent.
    /// RFC 1812 4.3.2.7 forbids an error about this packet.
    IcmpSuppressed = "icmp-suppressed",
    /// The allowance for ICMP errors is used up (RFC 1812 4.3.2.8).
    IcmpRateLimited = "icmp-rate-limited",
    /// No buffer for the ICMP message.
    IcmpNoBuffer = "icmp-no-buffer",

    // Address resolution of the next hop.
    /// Pushed out of a full hold queue by a later packet (RFC 1122 2.3.2.2 keeps the latest).
    ArpHoldReplaced = "arp-hold-replaced",
    /// The hold queues together hold as much as they may.
    ArpHoldOverflow = "arp-hold-overflow",
    /// The neighbour table is full and nothing in it can be given up.
    ArpTableFull = "arp-table-full",
    /// The neighbour did not answer (Host Unreachable, RFC 1812 3.3.2).
    ArpUnresolved = "arp-unresolved",
    /// The neighbour did not answer lately, and is not asked again yet.
    ArpNegative = "arp-negative",
    /// Held for resolution when the interface went away or the router shut down.
    ArpFlushed = "arp-flushed",

    // Queues between threads.
    /// The protocol queue of the CPU is full.
    NetisrFull = "netisr-full",
    /// In a protocol queue when the router shut down.
    NetisrFlushed = "netisr-flushed",

    // Transmission.
    /// No room in front of the packet for the link-layer header.
    NoHeadroom = "no-headroom",
    /// The transmit ring is full.
    TxRingFull = "tx-ring-full",
    /// The outgoing link has no carrier.
    TxLinkDown = "tx-link-down",
    /// The outgoing interface is stopped.
    TxNotRunning = "tx-not-running",
    /// The frame is longer than the outgoing interface can send.
    TxTooLong = "tx-too-long",

    // The rest.
    /// No packet buffer.
    NoBuffer = "no-buffer",
    /// Arrived, or was in hand, after the router had closed its doors.
    ShuttingDown = "shutting-down",
}

impl DropReason {
    /// Returns the place of the reason in [`ALL`](Self::ALL).
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Returns the reason with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }
}

impl core::fmt::Display for DropReason {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(self.as_str())
    }
}

/// How a frame ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// Accepted by an outgoing interface.
    Forwarded,
    /// Consumed by this router itself: ARP, echo, console traffic.
    Delivered,
    /// Dropped, for a reason with a name.
    Dropped(DropReason),
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_in_one_spelling() {
        let names: BTreeSet<&str> = DropReason::ALL.iter().map(|r| r.as_str()).collect();
        assert_eq!(names.len(), DropReason::COUNT);
        for name in names {
            let ok = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            assert!(name.chars().all(ok), "{name}");
            assert!(!name.starts_with('-') && !name.ends_with('-'), "{name}");
        }
    }

    #[test]
    fn index_is_the_place_in_the_list() {
        for (place, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), place);
        }
    }

    #[test]
    fn a_name_leads_back_to_its_reason() {
        for reason in DropReason::ALL {
            assert_eq!(DropReason::from_name(reason.as_str()), Some(reason));
        }
        assert_eq!(DropReason::from_name("no-such-reason"), None);
    }
}
