//! Whether costs stay flat: instructions per packet against the number of routes, neighbours, interfaces and CPUs.
//!
//! Each [`Point`] is a boot of its own, with the plugin that counts. [`Sweep::points`] says how many of what, and
//! [`Point::prepare`] and [`Point::load`] how the router and its traffic are then.

use std::{net::Ipv4Addr, time::Duration};

use anyhow::{Context, Result};
use clap::ValueEnum;
use wire::{Ipv4Cidr, Ipv4Prefix};

use super::{
    Setup,
    generator::{Load, Mode, Stream},
};

/// What is varied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Sweep {
    /// Static routes, with destinations at random over all of them
    Routes,
    /// Neighbours, each a destination in the router's own network
    Arp,
    /// Network interfaces, of which two have traffic
    Interfaces,
    /// Processors, with traffic both ways
    Cpus,
}

/// How many of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// What is varied.
    pub sweep: Sweep,
    /// How many there are.
    pub count: u32,
}

/// The network behind port 1 that neighbours and next hops are in, and the router's address there.
const NETWORK: (Ipv4Addr, u8) = (Ipv4Addr::new(10, 64, 0, 1), 16);

/// How many different next hops the routes have at most.
const NEXT_HOPS: u32 = 500;

/// How many different destinations are sent to at most, where there are as many.
const DESTINATIONS: u32 = 200_000;

/// The memory of a router with so many routes that the usual does not do, and from how many on, in MiB.
const BIG_MEMORY: u32 = 1024;
const MANY_ROUTES: u32 = 50_000;

/// For how long frames flow before anything is counted: every neighbour is asked for meanwhile.
const WARM_UP: Duration = Duration::from_secs(4);

impl Sweep {
    /// Returns its name in records and plots.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Routes => "routes",
            Self::Arp => "neighbours",
            Self::Interfaces => "interfaces",
            Self::Cpus => "CPUs",
        }
    }

    /// Returns whether each point is a multiple of the one before.
    #[must_use]
    pub const fn is_wide(self) -> bool {
        matches!(self, Self::Routes | Self::Arp)
    }

    /// Returns the points that are measured.
    #[must_use]
    pub fn points(self) -> Vec<Point> {
        let counts: &[u32] = match self {
            Self::Routes => &[10, 100, 1_000, 10_000, 100_000, 1_000_000],
            // The table has 4,096 places; a few are for the hosts.
            Self::Arp => &[1, 16, 256, 1_024, 4_000],
            Self::Interfaces => &[2, 4, 6, 8],
            Self::Cpus => &[1, 2, 3, 4],
        };
        counts.iter().map(|count| Point { sweep: self, count: *count }).collect()
    }
}

impl Point {
    /// Puts into a setup what this point has.
    ///
    /// # Errors
    /// When there is no such router: more neighbours than addresses, say.
    pub fn prepare(self, setup: &mut Setup) -> Result<()> {
        match self.sweep {
            Sweep::Routes => {
                setup.networks.push((1, network()?));
                if self.count >= MANY_ROUTES {
                    setup.memory = Some(BIG_MEMORY);
                }
                setup.routes = table(self.count);
            }
            Sweep::Arp => setup.networks.push((1, network()?)),
            Sweep::Interfaces => {
                let idle = self.count.checked_sub(2).context("two interfaces have traffic")?;
                setup.idle_ports = idle as usize;
            }
            Sweep::Cpus => setup.cpus = self.count,
        }
        Ok(())
    }

    /// Returns the traffic: batches of the smallest frames.
    #[must_use]
    pub fn load(self, window: u32, duration: Duration) -> Load {
        let destinations = match self.sweep {
            Sweep::Routes => destinations(&table(self.count)),
            Sweep::Arp => (0..self.count).map(neighbour).collect(),
            Sweep::Interfaces | Sweep::Cpus => Vec::new(),
        };
        let mut load = Load::new(self.sweep == Sweep::Cpus, 64, Mode::Closed { window }, duration);
        if let Some(first) = load.streams.first_mut() {
            *first = Stream { destinations, ..first.clone() };
        }
        Load { warm_up: WARM_UP, ..load }
    }
}

fn network() -> Result<Ipv4Cidr> {
    let (address, len) = NETWORK;
    Ipv4Cidr::new(address, len).map_err(|error| anyhow::anyhow!("{address}/{len}: {error}"))
}

/// Returns a host of the network: never the router, the network itself or its broadcast address.
fn neighbour(index: u32) -> Ipv4Addr {
    let (router, _) = NETWORK;
    Ipv4Addr::from(u32::from(router) + 0x100 + index)
}

/// Numbers that look random and are the same every time. Source: Steele, Lea and Flood, "Fast splittable pseudorandom
/// number generators" (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let [a, b, c, d, ..] = (mixed ^ (mixed >> 31)).to_be_bytes();
        u32::from_be_bytes([a, b, c, d])
    }

    /// Returns a number below `end`.
    fn below(&mut self, end: u32) -> u32 {
        let scaled = (u64::from(self.next()) * u64::from(end)) >> 32;
        // It is below `end`, which has 32 bits.
        u32::try_from(scaled).unwrap_or(0)
    }
}

/// Prefix lengths as the Internet's table has them: the length, and how many of 1,000 routes have it. About three in five are /24.
const LENGTHS: &[(u8, u32)] = &[
    (24, 600),
    (23, 100),
    (22, 115),
    (21, 50),
    (20, 45),
    (19, 27),
    (18, 15),
    (17, 9),
    (16, 15),
    (15, 3),
    (14, 2),
    (13, 1),
    (12, 1),
    (25, 3),
    (26, 3),
    (27, 3),
    (28, 3),
    (29, 3),
    (30, 1),
    (32, 1),
];

/// Returns so many different routes over next hops on the network, the same for the same number.
fn table(count: u32) -> Vec<(Ipv4Prefix, Ipv4Addr)> {
    let mut random = Random(u64::from(count));
    let mut routes = std::collections::BTreeMap::new();
    while routes.len() < count as usize {
        let mut ticket = random.below(LENGTHS.iter().map(|(_, share)| share).sum());
        let length = LENGTHS.iter().find(|(_, share)| {
            let is_it = ticket < *share;
            ticket = ticket.saturating_sub(*share);
            is_it
        });
        let address = Ipv4Addr::from(random.next());
        // Unicast, and none of the networks that the router itself is in.
        if matches!(address.octets()[0], 1..=9 | 11..=126 | 128..=223) {
            let prefix = Ipv4Prefix::containing(address, length.map_or(24, |(length, _)| *length));
            routes.insert(prefix, neighbour(random.below(count.min(NEXT_HOPS))));
        }
    }
    routes.into_iter().collect()
}

/// Returns random addresses in random ones of the routes.
fn destinations(routes: &[(Ipv4Prefix, Ipv4Addr)]) -> Vec<Ipv4Addr> {
    let mut random = Random(1);
    let all = u32::try_from(routes.len()).unwrap_or(u32::MAX);
    let pick = |_| {
        let (prefix, _) = routes.get(random.below(all) as usize)?;
        let host = random.next() & !u32::from(prefix.mask());
        Some(Ipv4Addr::from(u32::from(prefix.addr()) | host))
    };
    (0..DESTINATIONS.min(all.saturating_mul(8))).filter_map(pick).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_table_has_as_many_different_routes_as_wanted_and_is_the_same_every_time() {
        let routes = table(20_000);
        let prefixes: BTreeSet<Ipv4Prefix> = routes.iter().map(|(prefix, _)| *prefix).collect();
        let hops: BTreeSet<Ipv4Addr> = routes.iter().map(|(_, hop)| *hop).collect();
        assert_eq!((prefixes.len(), hops.len()), (20_000, NEXT_HOPS as usize));
        let of_24 = prefixes.iter().filter(|prefix| prefix.len() == 24).count();
        assert!((10_000..14_000).contains(&of_24), "{of_24}");
        assert_eq!(routes, table(20_000));
    }

    #[test]
    fn next_hops_and_neighbours_are_hosts_of_the_network() {
        let network = network().unwrap();
        for host in [neighbour(0), neighbour(NEXT_HOPS), neighbour(4_095)] {
            assert!(network.prefix().contains(host) && host != network.address());
        }
    }

    #[test]
    fn every_destination_has_a_route_and_they_are_spread() {
        let routes = table(1_000);
        let destinations = destinations(&routes);
        assert_eq!(destinations.len(), 8_000);
        let covered = |address: &Ipv4Addr| routes.iter().any(|(prefix, _)| prefix.contains(*address));
        assert!(destinations.iter().all(covered));
        let different: BTreeSet<&Ipv4Addr> = destinations.iter().collect();
        assert!(different.len() > 7_000, "{}", different.len());
    }

    #[test]
    fn each_point_changes_the_setup_or_the_load() {
        for sweep in Sweep::value_variants() {
            let mut seen = BTreeSet::new();
            for point in sweep.points().into_iter().filter(|point| point.count < MANY_ROUTES) {
                let mut setup = Setup::new(1, ["a".into(), "b".into()]);
                point.prepare(&mut setup).unwrap();
                seen.insert(format!("{setup:?} {:?}", point.load(1, WARM_UP)));
            }
            let wanted = sweep.points().iter().filter(|point| point.count < MANY_ROUTES).count();
            assert_eq!(seen.len(), wanted, "{sweep:?}");
        }
        assert!(
            Point { sweep: Sweep::Interfaces, count: 1 }.prepare(&mut Setup::new(1, ["a".into(), "b".into()])).is_err()
        );
    }
}
