//! One neighbour: [`Entry`] and its [`State`] inside the table, [`ArpEntry`] for the operator. Plain data.

use core::{fmt, net::Ipv4Addr, time::Duration};

use ifnet::IfIndex;
use ksync::time::Instant;
use wire::MacAddr;

use crate::{hold::HoldQueue, index::Key};

/// What is known of a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing is in this place.
    Free,
    /// Asked for, no answer yet. Packets are held.
    Asking {
        /// Requests sent.
        tries: u8,
        /// When to ask again or give up.
        next: Instant,
    },
    /// Answered, but packets that were held are still on their way; later ones are held too. Not published.
    Releasing {
        mac: MacAddr,
        confirmed: Instant,
        /// When the last packets were given out.
        since: Instant,
    },
    /// Answered and published; the hold queue is empty.
    Known { mac: MacAddr, confirmed: Instant },
    /// As `Known`, and being asked whether that is still true.
    Probing { mac: MacAddr, confirmed: Instant, tries: u8, next: Instant },
    /// Did not answer; not asked again until then. The hold queue is on its way out.
    Silent { until: Instant },
}

impl State {
    /// Returns whether the neighbour counts against the limit of unresolved ones.
    pub(crate) const fn is_unresolved(self) -> bool {
        matches!(self, Self::Asking { .. } | Self::Silent { .. })
    }

    /// Returns the neighbour's address, if it has been told.
    pub(crate) const fn mac(self) -> Option<MacAddr> {
        match self {
            Self::Releasing { mac, .. } | Self::Known { mac, .. } | Self::Probing { mac, .. } => Some(mac),
            Self::Free | Self::Asking { .. } | Self::Silent { .. } => None,
        }
    }

    /// Returns when the neighbour last answered.
    pub(crate) const fn confirmed(self) -> Option<Instant> {
        match self {
            Self::Releasing { confirmed, .. } | Self::Known { confirmed, .. } | Self::Probing { confirmed, .. } => {
                Some(confirmed)
            }
            Self::Free | Self::Asking { .. } | Self::Silent { .. } => None,
        }
    }
}

/// A place of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) key: Key,
    pub(crate) out: IfIndex,
    pub(crate) ip: Ipv4Addr,
    pub(crate) state: State,
    /// Empty unless the state is `Asking`, `Releasing` or `Silent`.
    pub(crate) hold: HoldQueue,
    /// The next place with the same hash, or of the free list.
    pub(crate) next: u16,
}

/// What `show arp` shows of a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArpEntry {
    /// The interface it is on.
    pub interface: IfIndex,
    /// Its IP address.
    pub ip: Ipv4Addr,
    /// Its MAC address, once known.
    pub mac: Option<MacAddr>,
    /// How far resolution is.
    pub state: ArpState,
    /// Time since it last answered.
    pub age: Option<Duration>,
    /// Packets held for it.
    pub held: usize,
}

/// How far the resolution of a neighbour is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ArpState {
    /// Asked, no answer yet.
    Incomplete,
    /// Its address is known and used.
    Reachable,
    /// Its address is known and used, and being checked.
    Probing,
    /// It did not answer.
    Failed,
}

impl fmt::Display for ArpState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Incomplete => "incomplete",
            Self::Reachable => "reachable",
            Self::Probing => "probing",
            Self::Failed => "failed",
        })
    }
}

impl Entry {
    /// Returns what to show, or `None` for a free place.
    pub(crate) fn show(&self, now: Instant) -> Option<ArpEntry> {
        let state = match self.state {
            State::Free => return None,
            State::Asking { .. } => ArpState::Incomplete,
            State::Releasing { .. } | State::Known { .. } => ArpState::Reachable,
            State::Probing { .. } => ArpState::Probing,
            State::Silent { .. } => ArpState::Failed,
        };
        Some(ArpEntry {
            interface: self.out,
            ip: self.ip,
            mac: self.state.mac(),
            state,
            age: self.state.confirmed().map(|then| now.saturating_duration_since(then)),
            held: self.hold.len(),
        })
    }
}
