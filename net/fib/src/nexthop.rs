//! Where a matching packet goes. Plain data; any context.

use core::{fmt, net::Ipv4Addr};

/// The number of a next hop within one [`Fib`](crate::Fib); another snapshot may number them differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NextHopId(pub(crate) u16);

impl NextHopId {
    /// Returns the number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

/// The answer of a route lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NextHop {
    /// The outgoing interface's number. For [`NextHopKind::Local`] the interface that has the address; without meaning for
    /// [`NextHopKind::Blackhole`] and [`NextHopKind::Unreachable`], where it is 0 by convention.
    pub out: u16,
    /// What to do there.
    pub via: NextHopKind,
}

/// What to do with a packet that matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NextHopKind {
    /// Send it to this neighbour, a router on the way.
    Gateway(Ipv4Addr),
    /// Send it to its destination, which is a neighbour on the interface's own network.
    Connected,
    /// It is for this router.
    Local,
    /// It is for all stations of the interface's own network (a directed broadcast, RFC 1812 5.3.5.2).
    Broadcast,
    /// Discard it without a word.
    Blackhole,
    /// Discard it and say so (RFC 1812 5.2.7.1).
    Unreachable,
}

impl NextHop {
    /// Returns a next hop that discards silently.
    pub const BLACKHOLE: Self = Self { out: 0, via: NextHopKind::Blackhole };

    /// Returns a next hop that refuses.
    pub const UNREACHABLE: Self = Self { out: 0, via: NextHopKind::Unreachable };

    /// Returns a next hop through the router `gateway`, a neighbour on interface `out`.
    #[must_use]
    pub const fn gateway(out: u16, gateway: Ipv4Addr) -> Self {
        Self { out, via: NextHopKind::Gateway(gateway) }
    }

    /// Returns a next hop to the neighbours on interface `out`.
    #[must_use]
    pub const fn connected(out: u16) -> Self {
        Self { out, via: NextHopKind::Connected }
    }

    /// Returns a next hop to this router, at an address of interface `out`.
    #[must_use]
    pub const fn local(out: u16) -> Self {
        Self { out, via: NextHopKind::Local }
    }

    /// Returns a next hop to all neighbours on interface `out`.
    #[must_use]
    pub const fn broadcast(out: u16) -> Self {
        Self { out, via: NextHopKind::Broadcast }
    }

    /// Returns the address to resolve for a packet to `destination`, or `None` if nothing is to be sent to a single neighbour.
    #[must_use]
    pub const fn neighbour(&self, destination: Ipv4Addr) -> Option<Ipv4Addr> {
        match self.via {
            NextHopKind::Gateway(gateway) => Some(gateway),
            NextHopKind::Connected => Some(destination),
            _ => None,
        }
    }

    /// Returns whether packets leave through [`out`](Self::out), so that the route is of no use while that interface is down.
    #[must_use]
    pub const fn uses_interface(&self) -> bool {
        matches!(self.via, NextHopKind::Gateway(_) | NextHopKind::Connected | NextHopKind::Broadcast)
    }
}

impl fmt::Display for NextHopKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gateway(gateway) => write!(f, "via {gateway}"),
            Self::Connected => f.write_str("connected"),
            Self::Local => f.write_str("local"),
            Self::Broadcast => f.write_str("broadcast"),
            Self::Blackhole => f.write_str("blackhole"),
            Self::Unreachable => f.write_str("unreachable"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_gateways_and_connected_networks_have_a_neighbour_to_resolve() {
        let destination = Ipv4Addr::new(192, 0, 2, 7);
        let gateway = Ipv4Addr::new(10, 0, 0, 1);
        assert_eq!(NextHop::gateway(1, gateway).neighbour(destination), Some(gateway));
        assert_eq!(NextHop::connected(1).neighbour(destination), Some(destination));
        for hop in [NextHop::local(1), NextHop::broadcast(1), NextHop::BLACKHOLE, NextHop::UNREACHABLE] {
            assert_eq!(hop.neighbour(destination), None, "{hop:?}");
        }
    }

    #[test]
    fn a_local_address_survives_its_link_going_down() {
        assert!(!NextHop::local(1).uses_interface());
        assert!(NextHop::connected(1).uses_interface());
    }
}
