//! What a worker remembers of the ways to neighbours: [`Ways`].
//!
//! With many destinations each packet goes another way than the one before it, but there are far fewer gateways than destinations, and
//! hosts of a connected network come again and again. What was found for a next hop, or for a host by a next hop that has no gateway, is kept
//! as long as the snapshot, the neighbours and the second are the same: the last so that ARP learns once a
//! second which neighbours are in use. One worker's own; no lock, no atomic.
//!
//! A host that is known needs no route looked up as long as no route has changed. Where nearly all packets go to known hosts they are
//! therefore looked for here first, [`Ways::are_hosts`]; where they do not, nothing is spent on it.

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
    /// The host, and above it [`Ways::routes_epoch`] then, likewise; 0 of a gateway.
    host: u64,
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

/// One change, in the counting of [`Ways::routes_epoch`].
const CHANGE: u64 = 1 << 32;

/// Runs that go by before it is asked again whether packets go to known hosts, so that asking costs next to nothing.
const PATIENCE: u32 = 32;

/// What everything known depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Moment {
    snapshot: u64,
    neighbours: u32,
    second: u64,
}

/// What a run needs to know of the rest of the router, read before it looks anything up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Present {
    /// The generation of the snapshot.
    pub(crate) snapshot: u64,
    /// The changes of routes in it.
    pub(crate) routes: u64,
    /// The generation of the neighbours.
    pub(crate) neighbours: u32,
    pub(crate) now: Instant,
}

/// The ways that are known.
#[derive(Debug)]
pub(crate) struct Ways {
    moment: Moment,
    /// Counts the moments. It wraps after more than a century of changes each second, if nothing else changes.
    epoch: u32,
    /// Changes of routes when they were looked at last.
    routes: u64,
    /// Counts, in its upper half, the moments and the changes of routes: what was known of hosts before may have another next hop now.
    routes_epoch: u64,
    /// Whether the packets of the next run probably all go to known hosts.
    are_hosts: bool,
    /// Runs until that is asked again, if they do not.
    patience: u32,
    /// By next hop.
    gateways: Box<[Known; WAYS]>,
    /// By the last bits of the address.
    hosts: Box<[Known; HOSTS]>,
}

impl Ways {
    /// Knows nothing.
    pub(crate) fn new() -> Self {
        let moment = Moment { snapshot: 0, neighbours: 0, second: 0 };
        let (gateways, hosts) = (nothing(), nothing());
        Self { moment, epoch: 1, routes: 0, routes_epoch: CHANGE, are_hosts: false, patience: 0, gateways, hosts }
    }

    /// Forgets everything if anything has changed that it depends on: the snapshot, the neighbours, the second. If only routes have
    /// changed, hosts are known by their next hops alone for the rest of the second.
    #[inline]
    pub(crate) fn refresh(&mut self, present: Present) {
        let Present { snapshot, routes, neighbours, now } = present;
        // Nearly seconds: a shift is enough.
        let moment = Moment { snapshot, neighbours, second: now.as_nanos() >> 30 };
        if moment != self.moment || routes != self.routes {
            self.turn_to(moment, routes);
        }
    }

    #[cold]
    fn turn_to(&mut self, moment: Moment, routes: u64) {
        self.routes = routes;
        if moment == self.moment {
            self.doubt_hosts();
        } else {
            self.moment = moment;
            self.forget();
        }
    }

    /// Forgets everything.
    pub(crate) fn forget(&mut self) {
        self.doubt_hosts();
        self.epoch = self.epoch.checked_add(1).unwrap_or_else(|| {
            self.gateways.iter_mut().chain(self.hosts.iter_mut()).for_each(|known| known.name = 0);
            1
        });
    }

    /// Forgets by what next hops packets to hosts go.
    fn doubt_hosts(&mut self) {
        self.routes_epoch = self.routes_epoch.checked_add(CHANGE).unwrap_or_else(|| {
            self.hosts.iter_mut().for_each(|known| known.host &= CHANGE - 1);
            CHANGE
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
        (to_host.name == name && to_host.host % CHANGE == u64::from(host.to_bits())).then_some(to_host)
    }

    /// Returns the way to a host of a connected network, if it is known and routes are as they were then.
    #[inline]
    pub(crate) fn host(&self, host: Ipv4Addr) -> Option<&Known> {
        let known = self.hosts.get(place_of(host))?;
        (known.host == self.routes_epoch | u64::from(host.to_bits())).then_some(known)
    }

    /// Remembers the way by a next hop, in place of another perhaps.
    pub(crate) fn put(&mut self, hop: u16, whose: Whose, out: u16, longest: u32, rewrite: Rewrite) {
        let name = self.name(hop);
        let (place, host) = match whose {
            Whose::All => (self.gateways.get_mut(usize::from(hop) % WAYS), 0),
            Whose::Host(host) => (self.hosts.get_mut(place_of(host)), self.routes_epoch | u64::from(host.to_bits())),
        };
        if let Some(place) = place {
            *place = Known { name, host, out, longest, rewrite };
        }
    }

    /// Returns whether the packets of a run are best looked for among the known hosts. If not, and if it is time to ask again, `destinations`
    /// answers it for the next run.
    #[inline]
    pub(crate) fn are_hosts(&mut self, destinations: impl ExactSizeIterator<Item = Ipv4Addr>) -> bool {
        if self.are_hosts {
            return true;
        }
        match self.patience.checked_sub(1) {
            Some(left) => self.patience = left,
            None => self.ask(destinations),
        }
        false
    }

    /// Asks where packets go.
    #[inline(never)]
    fn ask(&mut self, destinations: impl ExactSizeIterator<Item = Ipv4Addr>) {
        let all = destinations.len();
        let known = destinations.filter(|&host| self.host(host).is_some()).count();
        self.note_strangers(all - known, all);
    }

    /// Notes that so many packets of a run did not go to a known host.
    #[inline]
    pub(crate) fn note_strangers(&mut self, strangers: usize, all: usize) {
        self.are_hosts = strangers <= all / 4;
        self.patience = PATIENCE;
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
    let nothing = Known { name: 0, host: 0, out: 0, longest: 0, rewrite: Rewrite::NONE };
    // As many as there are, so that the other arm is never taken.
    Vec::into_boxed_slice(vec![nothing; N]).try_into().unwrap_or_else(|_| Box::new([nothing; N]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A host of which nothing is remembered by itself.
    const ANY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

    fn at(snapshot: u64, routes: u64, neighbours: u32, second: u64) -> Present {
        Present { snapshot, routes, neighbours, now: Instant::from_nanos(second << 30) }
    }

    #[test]
    fn a_way_is_known_until_anything_changes_that_it_depends_on() {
        let mut ways = Ways::new();
        let changes = [(1, 1, 1), (2, 1, 1), (2, 2, 1), (2, 2, 2), (2, 2, 1)];
        for (snapshot, neighbours, second) in changes {
            ways.refresh(at(snapshot, 0, neighbours, second));
            assert!(ways.get(7, ANY).is_none(), "after a change to {snapshot} {neighbours} {second}");
            ways.put(7, Whose::All, 3, 1500, Rewrite::NONE);
            ways.refresh(at(snapshot, 0, neighbours, second));
            assert_eq!(ways.get(7, ANY).map(|known| (known.out, known.longest)), Some((3, 1500)));
            assert!(ways.get(8, ANY).is_none());
        }
        ways.forget();
        assert!(ways.get(7, ANY).is_none());
    }

    #[test]
    fn a_host_is_known_by_its_next_hop_alone_after_a_change_of_routes_until_it_is_found_again() {
        let mut ways = Ways::new();
        let host = Ipv4Addr::new(10, 0, 0, 7);
        ways.refresh(at(1, 1, 1, 1));
        ways.put(7, Whose::Host(host), 1, 1500, Rewrite::NONE);
        assert!(ways.host(host).is_some() && ways.get(7, host).is_some());
        for routes in [2, 3] {
            ways.refresh(at(1, routes, 1, 1));
            assert!(ways.host(host).is_none(), "it may have another next hop now");
            assert!(ways.get(7, host).is_some() && ways.get(8, host).is_none());
        }
        ways.refresh(at(1, 3, 1, 2));
        assert!(ways.get(7, host).is_none());
        ways.put(7, Whose::Host(host), 1, 1500, Rewrite::NONE);
        assert!(ways.host(host).is_some());
        // Both at once.
        ways.refresh(at(2, 4, 1, 2));
        assert!(ways.host(host).is_none() && ways.get(7, host).is_none());
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
        assert!(ways.host(host).is_some() && ways.host(other).is_none());
        ways.put(7, Whose::Host(other), 2, 1500, Rewrite::NONE);
        assert!(ways.get(7, host).is_none());
        assert_eq!(ways.get(7, other).map(|known| known.out), Some(2));
        ways.forget();
        assert!(ways.get(7, other).is_none() && ways.host(other).is_none());
        // Nothing is known at first, whatever the places hold.
        assert!(Ways::new().get(0, Ipv4Addr::UNSPECIFIED).is_none());
    }

    #[test]
    fn packets_are_looked_for_among_hosts_while_most_go_to_known_ones_and_that_is_seldom_asked() {
        let mut ways = Ways::new();
        let hosts: Vec<_> = (1..=4).map(|n| Ipv4Addr::new(10, 0, 0, n)).collect();
        let runs_until_hosts = |ways: &mut Ways| (0..200).find(|_| ways.are_hosts(hosts.iter().copied()));
        assert_eq!(runs_until_hosts(&mut ways), None, "none is known");
        for &host in &hosts[..2] {
            ways.put(7, Whose::Host(host), 1, 1500, Rewrite::NONE);
        }
        assert_eq!(runs_until_hosts(&mut ways), None, "half are known");
        ways.put(7, Whose::Host(hosts[2]), 1, 1500, Rewrite::NONE);
        let runs = runs_until_hosts(&mut ways).unwrap();
        assert!((1..=PATIENCE + 1).contains(&runs), "three quarters are known, found after {runs}");
        ways.note_strangers(1, 4);
        assert_eq!(runs_until_hosts(&mut ways), Some(0));
        ways.note_strangers(2, 4);
        assert_eq!(runs_until_hosts(&mut ways), Some(PATIENCE + 1));
    }

    #[test]
    fn the_count_of_moments_may_wrap() {
        let mut ways = Ways::new();
        ways.put(7, Whose::All, 1, 1500, Rewrite::NONE);
        ways.put(7, Whose::Host(Ipv4Addr::LOCALHOST), 1, 1500, Rewrite::NONE);
        ways.epoch = u32::MAX;
        ways.routes_epoch = u64::MAX - (CHANGE - 1);
        ways.put(9, Whose::All, 1, 1500, Rewrite::NONE);
        ways.forget();
        assert!(ways.get(7, ANY).is_none() && ways.get(9, ANY).is_none());
        assert!(ways.get(7, Ipv4Addr::LOCALHOST).is_none() && ways.host(Ipv4Addr::LOCALHOST).is_none());
    }
}
