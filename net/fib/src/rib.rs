//! The control plane's routing table: every route, from every source, sorted.
//!
//! A [`Rib`] is a plain sorted map; it answers "what is configured", while a [`Fib`] made from it answers packets. Making a [`Fib`] takes
//! time in proportion to the table (a million routes: a fraction of a second), so changes are best applied in batches.
//! Context: threads, never an ithread; allocates. The owner serialises changes.

use alloc::{collections::BTreeMap, vec::Vec};
use core::{fmt, net::Ipv4Addr};

use wire::Ipv4Prefix;

use crate::{
    Fib, NextHop, NextHopKind,
    builder::{self, Entry},
    poptrie::Leaf,
};

/// Who says so. If several sources know a prefix, the first in this order wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RouteSource {
    /// An address of this router, or a broadcast address of one of its networks.
    Local,
    /// A network that an interface is on.
    Connected,
    /// The configuration or the console.
    Static,
}

impl fmt::Display for RouteSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Local => "local",
            Self::Connected => "connected",
            Self::Static => "static",
        })
    }
}

/// One route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Route {
    /// Which destinations it is for.
    pub prefix: Ipv4Prefix,
    /// Who says so.
    pub source: RouteSource,
    /// Where packets go.
    pub next_hop: NextHop,
}

/// Why a table cannot be changed or made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FibError {
    /// The table already holds as many routes as it may.
    TooManyRoutes {
        /// The limit.
        limit: usize,
    },
    /// More than 65,535 different next hops.
    TooManyNextHops,
    /// No memory for the forwarding table; the one in use stays in use.
    NoMemory,
}

impl fmt::Display for FibError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyRoutes { limit } => write!(f, "the routing table is full ({limit} routes)"),
            Self::TooManyNextHops => f.write_str("too many different next hops"),
            Self::NoMemory => f.write_str("no memory for the forwarding table"),
        }
    }
}

impl core::error::Error for FibError {}

/// In the order of the map a prefix comes before everything inside it, and the best source of a prefix first.
type Key = (Ipv4Prefix, RouteSource);

/// All routes.
pub struct Rib {
    routes: BTreeMap<Key, NextHop>,
    limit: usize,
}

impl Rib {
    /// How many routes a table holds unless told otherwise: the Internet's table with room to grow.
    pub const DEFAULT_LIMIT: usize = 1_310_720;

    /// Creates an empty table with the default limit.
    #[must_use]
    pub const fn new() -> Self {
        Self::with_limit(Self::DEFAULT_LIMIT)
    }

    /// Creates an empty table that holds at most `limit` routes, but never more than 2^26. The map takes about 50 octets a route.
    #[must_use]
    pub const fn with_limit(limit: usize) -> Self {
        const HARD_LIMIT: usize = 1 << 26;
        let limit = if limit < HARD_LIMIT { limit } else { HARD_LIMIT };
        Self { routes: BTreeMap::new(), limit }
    }

    /// Adds a route, or replaces the next hop of the one with the same prefix and source, which is returned.
    ///
    /// # Errors
    /// [`FibError::TooManyRoutes`] if the route is new and the table full; nothing is changed then.
    pub fn insert(&mut self, route: Route) -> Result<Option<NextHop>, FibError> {
        let key = (route.prefix, route.source);
        if self.routes.len() >= self.limit && !self.routes.contains_key(&key) {
            return Err(FibError::TooManyRoutes { limit: self.limit });
        }
        Ok(self.routes.insert(key, route.next_hop))
    }

    /// Removes the route for exactly this prefix from this source and returns where it led.
    pub fn remove(&mut self, prefix: Ipv4Prefix, source: RouteSource) -> Option<NextHop> {
        self.routes.remove(&(prefix, source))
    }

    /// Keeps the routes that `keep` likes and removes all others.
    pub fn retain(&mut self, mut keep: impl FnMut(&Route) -> bool) {
        self.routes.retain(|key, next_hop| keep(&route_of((key, next_hop))));
    }

    /// Returns the best route for exactly this prefix.
    #[must_use]
    pub fn get(&self, prefix: Ipv4Prefix) -> Option<Route> {
        self.of_prefix(prefix).next()
    }

    /// Returns the best route of the longest prefix that contains `destination`: the slow way, for consoles and tests.
    #[must_use]
    pub fn lookup(&self, destination: Ipv4Addr) -> Option<Route> {
        self.lookup_where(destination, |_| true)
    }

    /// Returns the connected route whose network contains `gateway`, which tells the interface to reach it by.
    #[must_use]
    pub fn connected(&self, gateway: Ipv4Addr) -> Option<Route> {
        self.lookup_where(gateway, |route| route.next_hop.via == NextHopKind::Connected)
    }

    /// Returns all routes, sorted by address, length and source.
    pub fn routes(&self) -> impl Iterator<Item = Route> + '_ {
        self.routes.iter().map(route_of)
    }

    /// Returns how many routes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.routes.len()
    }

    /// Returns whether there are no routes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }

    /// Makes the forwarding table of all routes.
    ///
    /// # Errors
    /// As [`build_where`](Self::build_where).
    pub fn build(&self) -> Result<Fib, FibError> {
        self.build_where(|_| true)
    }

    /// Makes the forwarding table of the routes that are `usable`, such as those whose interface has a link.
    ///
    /// Of several usable routes for one prefix the best source's is taken, so a static route takes over when the connected
    /// one's interface goes down.
    ///
    /// # Errors
    /// [`FibError::TooManyNextHops`], [`FibError::NoMemory`].
    pub fn build_where(&self, usable: impl Fn(&Route) -> bool) -> Result<Fib, FibError> {
        let mut entries: Vec<Entry> = Vec::new();
        entries.try_reserve_exact(self.routes.len()).map_err(|_| FibError::NoMemory)?;
        let mut hops = NextHops::default();
        for route in self.routes() {
            let (address, length) = (route.prefix.addr().to_bits(), route.prefix.len());
            let seen = entries.last().is_some_and(|e| (e.address, e.length) == (address, length));
            if !seen && usable(&route) {
                entries.push(Entry { address, length, leaf: hops.leaf(route.next_hop)? });
            }
        }
        builder::build(&entries, hops.list).map_err(|_| FibError::NoMemory)
    }

    fn lookup_where(&self, destination: Ipv4Addr, usable: impl Fn(&Route) -> bool) -> Option<Route> {
        let prefixes = (0..=32).rev().map(|length| Ipv4Prefix::containing(destination, length));
        prefixes.flat_map(|prefix| self.of_prefix(prefix)).find(|route| usable(route))
    }

    /// Returns the routes for exactly this prefix, the best source's first.
    fn of_prefix(&self, prefix: Ipv4Prefix) -> impl Iterator<Item = Route> + '_ {
        self.routes.range((prefix, RouteSource::Local)..=(prefix, RouteSource::Static)).map(route_of)
    }
}

fn route_of((&(prefix, source), &next_hop): (&Key, &NextHop)) -> Route {
    Route { prefix, source, next_hop }
}

/// Numbers the different next hops of a table in the making.
#[derive(Default)]
struct NextHops {
    list: Vec<NextHop>,
    numbers: BTreeMap<NextHop, Leaf>,
}

impl NextHops {
    /// Returns the answer that stands for `next_hop`: one more than its place in the list.
    fn leaf(&mut self, next_hop: NextHop) -> Result<Leaf, FibError> {
        if let Some(&leaf) = self.numbers.get(&next_hop) {
            return Ok(leaf);
        }
        let leaf = Leaf::try_from(self.list.len() + 1).map_err(|_| FibError::TooManyNextHops)?;
        self.list.try_reserve(1).map_err(|_| FibError::NoMemory)?;
        self.list.push(next_hop);
        self.numbers.insert(next_hop, leaf);
        Ok(leaf)
    }
}

impl Default for Rib {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Rib {
    /// Sizes only: a table may have a million routes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rib").field("routes", &self.routes.len()).field("limit", &self.limit).finish()
    }
}
