//! What a worker remembers of the ways to neighbours: [`Ways`].
//!
//! With many destinations each packet goes another way than the one before it, but there are far fewer gateways than destinations, and
//! hosts of a connected network come again and again. What was found for a next hop, or for a host by a next hop that has no gateway, is kept
//! as long as the snapshot, the neighbours and the second are the same: the last so that ARP learns once a
//! second which neighbours are in use. One worker's own; no lock, no atomic.

use alloc::{boxed::Box, vec, vec::Vec};
use core::net::Ipv4Addr;

use forward::Rewrite;
use ksync::time::Instant;

/// Next hops remembered at most; a power of two.
const WAYS: usize = if cfg!(any(loom, shuttle)) { 8 } else { 1024 };

/// Hosts remembered at most; a power of two. Those of a network of this size have a place each.
const HOSTS: usize = if cfg!(any(loom, shuttle)) { 8 } else { 4096 };

/// How packets to one neighbour leave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    /// When it was found, in the counting of [`Ways::epoch`], and the index of the next hop: one number, for one comparison.
    name: u64,
    /// The host, or nothing of a gateway.
    host: Ipv4Addr,
    /// The interface.
    pub(crate) out: u16,
    /// Octets of the longest plain packet that goes.
    pub(crate) longest: u32,
    pub(crate) rewrite: Rewrite,
}

/// Whose packets with one next hop leave the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// All: they go to a gateway.
    All,
    /// Those to this host.
    Host(Ipv4Addr),
}

/// What everything known depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Moment {
    snapshot: u64,
    neighbours: u32,
    second: u64,
}

/// The ways that are known.
#[derive(Debug)]
pub(crate) struct Ways {
    moment: Moment,
    /// Counts the moments. It wraps after more than a century of changes each second, if nothing else changes.
    epoch: u32,
    /// By next hop.
    gateways: Box<[Known; WAYS]>,
    /// By the last bits of the address.
    hosts: Box<[Known; HOSTS]>,
}

impl Ways {
    /// Knows nothing.
    pub(crate) fn new() -> Self {
        let moment = Moment { snapshot: 0, neighbours: 0, second: 0 };
        Self { moment, epoch: 1, gateways: nothing(), hosts: nothing() }
    }

    /// Forgets everything if anything has changed that it depends on: the snapshot, the generation of the neighbours as read before any
    /// of them is looked up, the second.
    #[inline]
    pub(crate) fn refresh(&mut self, snapshot: u64, neighbours: u32, now: Instant) {
        // Nearly seconds: a shift is enough.
        let moment = Moment { snapshot, neighbours, second: now.as_nanos() >> 30 };
        if moment != self.moment {
            self.moment = moment;
            self.forget();
        }
    }

    /// Forgets everything.
    pub(crate) fn forget(&mut self) {
        self.epoch = self.epoch.checked_add(1).unwrap_or_else(|| {
            self.gateways.iter_mut().chain(self.hosts.iter_mut()).for_each(|known| known.name = 0);
            1
        });
    }

    /// Returns the way to a host by a next hop, if it is known.
    #[inline]
    pub(crate) fn get(&self, hop: u16, host: Ipv4Addr) -> Option<&Known> {
        let name = self.name(hop);
        let by_gateway = self.gateways.get(usize::from(hop) % WAYS)?;
        if by_gateway.name == name {
            return Some(by_gateway);
        }
        let to_host = self.hosts.get(place_of(host))?;
        (to_host.name == name && to_host.host == host).then_some(to_host)
    }

    /// Remembers the way by a next hop, in place of another perhaps.
    pub(crate) fn put(&mut self, hop: u16, whose: Whose, out: u16, longest: u32, rewrite: Rewrite) {
        let name = self.name(hop);
        let (place, host) = match whose {
            Whose::All => (self.gateways.get_mut(usize::from(hop) % WAYS), Ipv4Addr::UNSPECIFIED),
            Whose::Host(host) => (self.hosts.get_mut(place_of(host)), host),
        };
        if let Some(place) = place {
            *place = Known { name, host, out, longest, rewrite };
        }
    }

    /// Returns the name of a next hop in this epoch; never 0.
    #[inline]
    const fn name(&self, hop: u16) -> u64 {
        (self.epoch as u64) << 16 | hop as u64
    }
}

/// Returns where a host has its place.
#[inline]
const fn place_of(host: Ipv4Addr) -> usize {
    host.to_bits() as usize % HOSTS
}

/// Allocates places in which nothing is, without having them on the stack.
fn nothing<const N: usize>() -> Box<[Known; N]> {
    let nothing = Known { name: 0, host: Ipv4Addr::UNSPECIFIED, out: 0, longest: 0, rewrite: Rewrite::NONE };
    // As many as there are, so that the other arm is never taken.
    Vec::into_boxed_slice(vec![nothing; N]).try_into().unwrap_or_else(|_| Box::new([nothing; N]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A host of which nothing is remembered by itself.
    const ANY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

    #[test]
    fn a_way_is_known_until_anything_changes_that_it_depends_on() {
        let mut ways = Ways::new();
        let second = |n: u64| Instant::from_nanos(n << 30);
        let changes = [(1, 1, 1), (2, 1, 1), (2, 2, 1), (2, 2, 2), (2, 2, 1)];
        for (snapshot, neighbours, now) in changes {
            ways.refresh(snapshot, neighbours, second(now));
            assert!(ways.get(7, ANY).is_none(), "after a change to {snapshot} {neighbours} {now}");
            ways.put(7, Whose::All, 3, 1500, Rewrite::NONE);
            ways.refresh(snapshot, neighbours, second(now));
            assert_eq!(ways.get(7, ANY).map(|known| (known.out, known.longest)), Some((3, 1500)));
            assert!(ways.get(8, ANY).is_none());
        }
        ways.forget();
        assert!(ways.get(7, ANY).is_none());
    }

    #[test]
    fn next_hops_that_share_a_place_are_not_mixed_up() {
        let mut ways = Ways::new();
        let other = 7 + u16::try_from(WAYS).unwrap_or(0);
        ways.put(7, Whose::All, 1, 1500, Rewrite::NONE);
        ways.put(other, Whose::All, 2, 1400, Rewrite::NONE);
        assert!(ways.get(7, ANY).is_none());
        assert_eq!(ways.get(other, ANY).map(|known| known.out), Some(2));
        // Nothing is known at first, whatever the places hold.
        assert!(Ways::new().get(0, ANY).is_none());
    }

    #[test]
    fn a_host_is_known_by_its_own_next_hop_only_and_not_taken_for_another() {
        let mut ways = Ways::new();
        let host = Ipv4Addr::new(10, 0, 0, 7);
        // The same place.
        let other = Ipv4Addr::from_bits(host.to_bits() + u32::try_from(HOSTS).unwrap_or(0));
        ways.put(7, Whose::Host(host), 1, 1500, Rewrite::NONE);
        assert_eq!(ways.get(7, host).map(|known| known.out), Some(1));
        assert!(ways.get(8, host).is_none() && ways.get(7, other).is_none() && ways.get(7, ANY).is_none());
        ways.put(7, Whose::Host(other), 2, 1500, Rewrite::NONE);
        assert!(ways.get(7, host).is_none());
        assert_eq!(ways.get(7, other).map(|known| known.out), Some(2));
        ways.forget();
        assert!(ways.get(7, other).is_none());
        // Nothing is known at first, whatever the places hold.
        assert!(Ways::new().get(0, Ipv4Addr::UNSPECIFIED).is_none());
    }

    #[test]
    fn the_count_of_moments_may_wrap() {
        let mut ways = Ways::new();
        ways.put(7, Whose::All, 1, 1500, Rewrite::NONE);
        ways.put(7, Whose::Host(Ipv4Addr::LOCALHOST), 1, 1500, Rewrite::NONE);
        ways.epoch = u32::MAX;
        ways.put(9, Whose::All, 1, 1500, Rewrite::NONE);
        ways.forget();
        assert!(ways.get(7, ANY).is_none() && ways.get(9, ANY).is_none());
        assert!(ways.get(7, Ipv4Addr::LOCALHOST).is_none());
    }
}
