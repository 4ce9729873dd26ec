//! The control plane's routing table: every route, from every source, sorted.
//!
//! A [`Rib`] answers "what is configured"; a [`Fib`] made from it answers packets. Routes of the same first 16 bits share a [`Bucket`], the
//! shorter ones have one of their own, so that a change touches little memory, and the routes around a prefix are together.
//! Context: threads, never an ithread; allocates. The owner serialises changes.

use alloc::{boxed::Box, vec::Vec};
use core::{array, fmt, iter, net::Ipv4Addr};

use wire::Ipv4Prefix;

use crate::{
    Fib, NextHop,
    bucket::{Bucket, Key, Packed},
    build::{self, Spare},
    cells::Leaf,
    hops::Hops,
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

impl RouteSource {
    /// Returns its place in the order.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Local => 0,
            Self::Connected => 1,
            Self::Static => 2,
        }
    }

    pub(crate) const fn of_number(number: u8) -> Self {
        match number {
            0 => Self::Local,
            1 => Self::Connected,
            _ => Self::Static,
        }
    }
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
    /// More than 32,767 different next hops.
    TooManyNextHops,
    /// The prefixes are scattered in a way for which the forwarding table has no room; the one in use stays in use.
    TooScattered,
    /// No memory for the forwarding table; the one in use stays in use.
    NoMemory,
}

impl fmt::Display for FibError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyRoutes { limit } => write!(f, "the routing table is full ({limit} routes)"),
            Self::TooManyNextHops => f.write_str("too many different next hops"),
            Self::TooScattered => f.write_str("the forwarding table has no room for prefixes so scattered"),
            Self::NoMemory => f.write_str("no memory for the forwarding table"),
        }
    }
}

impl core::error::Error for FibError {}

/// How many buckets are allocated at once: those of one first octet.
const OCTET: usize = 256;
/// Prefixes shorter than this are in a bucket of their own.
pub(crate) const LONG_LENGTH: u8 = 16;

/// All routes.
pub struct Rib {
    /// Shorter than [`LONG_LENGTH`], by the upper 16 bits.
    pub(crate) short: Bucket,
    /// The others, by the lower 16 bits, in a bucket for each upper 16 bits. Empty, or of 256 first octets, some of which have none.
    long: Vec<Option<Box<[Bucket; OCTET]>>>,
    pub(crate) hops: Hops,
    routes: usize,
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

    /// Creates an empty table that holds at most `limit` routes, but never more than 2^26. A route takes about 12 octets.
    #[must_use]
    pub const fn with_limit(limit: usize) -> Self {
        const HARD_LIMIT: usize = 1 << 26;
        let limit = if limit < HARD_LIMIT { limit } else { HARD_LIMIT };
        Self { short: Bucket::new(), long: Vec::new(), hops: Hops::new(), routes: 0, limit }
    }

    /// Adds a route, or replaces the next hop of the one with the same prefix and source, which is returned.
    ///
    /// # Errors
    /// [`FibError::TooManyRoutes`] if the route is new and the table full, [`FibError::TooManyNextHops`],
    /// [`FibError::NoMemory`]; nothing is changed then.
    pub fn insert(&mut self, route: Route) -> Result<Option<NextHop>, FibError> {
        let (index, key) = place_of(route.prefix, route.source);
        if self.routes >= self.limit && self.bucket(index).is_none_or(|bucket| bucket.get(key).is_none()) {
            return Err(FibError::TooManyRoutes { limit: self.limit });
        }
        let hop = self.hops.acquire(route.next_hop)?;
        match self.bucket_mut(index).and_then(|bucket| bucket.insert(key, hop).map_err(|_| FibError::NoMemory)) {
            Ok(Some(before)) => Ok(self.hops.release(before)),
            Ok(None) => {
                self.routes += 1;
                Ok(None)
            }
            Err(error) => {
                self.hops.release(hop);
                Err(error)
            }
        }
    }

    /// Removes the route for exactly this prefix from this source and returns where it led.
    pub fn remove(&mut self, prefix: Ipv4Prefix, source: RouteSource) -> Option<NextHop> {
        let (index, key) = place_of(prefix, source);
        let bucket = match index {
            None => &mut self.short,
            Some(index) => self.long.get_mut(index / OCTET)?.as_mut()?.get_mut(index % OCTET)?,
        };
        let hop = bucket.remove(key)?;
        self.routes -= 1;
        self.hops.release(hop)
    }

    /// Keeps the routes that `keep` likes and removes all others.
    pub fn retain(&mut self, mut keep: impl FnMut(&Route) -> bool) {
        let Self { short, long, hops, routes, .. } = self;
        let mut sift = |upper: Option<usize>, bucket: &mut Bucket| {
            bucket.retain(|packed| {
                let kept = route_of(hops, upper, packed).is_some_and(|route| keep(&route));
                if !kept {
                    *routes -= 1;
                    hops.release(packed.hop);
                }
                kept
            });
        };
        sift(None, short);
        for (octet, buckets) in long.iter_mut().enumerate() {
            for (index, bucket) in buckets.iter_mut().flat_map(|buckets| buckets.iter_mut().enumerate()) {
                sift(Some(octet * OCTET + index), bucket);
            }
        }
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

    /// Returns all routes, sorted by address, length and source.
    pub fn routes(&self) -> impl Iterator<Item = Route> + '_ {
        let mut short = self.short.all().iter().filter_map(|packed| route_of(&self.hops, None, packed)).peekable();
        let long = self.buckets().flat_map(|(index, bucket)| bucket.all().iter().map(move |packed| (index, packed)));
        let mut long = long.filter_map(|(index, packed)| route_of(&self.hops, Some(index), packed)).peekable();
        iter::from_fn(move || match (short.peek(), long.peek()) {
            (Some(one), Some(other)) if one.prefix < other.prefix => short.next(),
            (Some(_), None) => short.next(),
            _ => long.next(),
        })
    }

    /// Returns how many routes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.routes
    }

    /// Returns whether there are no routes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.routes == 0
    }

    /// Makes the forwarding table of all routes.
    ///
    /// # Errors
    /// As [`build_where`](Self::build_where).
    pub fn build(&self) -> Result<Fib, FibError> {
        self.build_where(|_| true)
    }

    /// Makes the forwarding table of the routes to `usable` next hops, such as those whose interface has a link.
    ///
    /// Of several usable routes for one prefix the best source's is taken, so a static route takes over when the connected
    /// one's interface goes down.
    ///
    /// # Errors
    /// [`FibError::TooScattered`], [`FibError::NoMemory`].
    pub fn build_where(&self, usable: impl Fn(&NextHop) -> bool) -> Result<Fib, FibError> {
        Ok(build::build(self, &self.leaves(usable)?, Spare::NONE)?.fib)
    }

    /// Returns for each hop the answer of a route that leads there: its number, or 0 if it is not `usable`. The place is the number.
    pub(crate) fn leaves(&self, usable: impl Fn(&NextHop) -> bool) -> Result<Vec<Leaf>, FibError> {
        let mut leaves = Vec::new();
        leaves.try_reserve_exact(self.hops.iter().len() + 1).map_err(|_| FibError::NoMemory)?;
        let numbered = (1..).zip(self.hops.iter());
        leaves.extend(iter::once(0).chain(numbered.map(|(leaf, hop)| if usable(hop) { leaf } else { 0 })));
        Ok(leaves)
    }

    /// Returns the buckets in which there may be routes, each with the upper 16 bits of their addresses.
    pub(crate) fn buckets(&self) -> impl Iterator<Item = (usize, &Bucket)> {
        let octets = self.long.iter().enumerate().filter_map(|(octet, buckets)| Some((octet, buckets.as_ref()?)));
        octets.flat_map(|(octet, buckets)| (octet * OCTET..).zip(buckets.iter()))
    }

    /// Returns the bucket of the prefixes with these upper 16 bits, or of the short ones for `None`; `None` if there are no routes there.
    pub(crate) fn bucket(&self, index: Option<usize>) -> Option<&Bucket> {
        match index {
            None => Some(&self.short),
            Some(index) => self.long.get(index / OCTET)?.as_ref()?.get(index % OCTET),
        }
    }

    fn bucket_mut(&mut self, index: Option<usize>) -> Result<&mut Bucket, FibError> {
        let Some(index) = index else { return Ok(&mut self.short) };
        if self.long.is_empty() {
            self.long.try_reserve_exact(OCTET).map_err(|_| FibError::NoMemory)?;
            self.long.resize_with(OCTET, || None);
        }
        let buckets = self.long.get_mut(index / OCTET).ok_or(FibError::NoMemory)?;
        let buckets = buckets.get_or_insert_with(|| Box::new(array::from_fn(|_| Bucket::new())));
        buckets.get_mut(index % OCTET).ok_or(FibError::NoMemory)
    }

    fn lookup_where(&self, destination: Ipv4Addr, usable: impl Fn(&Route) -> bool) -> Option<Route> {
        let prefixes = (0..=32).rev().map(|length| Ipv4Prefix::containing(destination, length));
        prefixes.flat_map(|prefix| self.of_prefix(prefix)).find(|route| usable(route))
    }

    /// Returns the routes for exactly this prefix, the best source's first.
    fn of_prefix(&self, prefix: Ipv4Prefix) -> impl Iterator<Item = Route> + '_ {
        let (index, key) = place_of(prefix, RouteSource::Local);
        let routes = self.bucket(index).map_or(&[][..], |bucket| bucket.of_prefix(key.bits(), key.length()));
        routes.iter().filter_map(move |packed| route_of(&self.hops, index, packed))
    }
}

/// Returns where the route for a prefix is: the bucket, and the key in it.
pub(crate) fn place_of(prefix: Ipv4Prefix, source: RouteSource) -> (Option<usize>, Key) {
    let [a, b, c, d] = prefix.addr().octets();
    let (upper, lower) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    if prefix.len() < LONG_LENGTH {
        (None, Key::new(upper, prefix.len(), source))
    } else {
        (Some(usize::from(upper)), Key::new(lower, prefix.len(), source))
    }
}

/// Returns the route that a bucket has packed.
fn route_of(hops: &Hops, index: Option<usize>, packed: &Packed) -> Option<Route> {
    let bits = u32::from(packed.key.bits());
    let address = match index {
        None => bits << 16,
        Some(index) => u32::try_from(index).ok()? << 16 | bits,
    };
    let prefix = Ipv4Prefix::containing(Ipv4Addr::from_bits(address), packed.key.length());
    Some(Route { prefix, source: packed.key.source(), next_hop: *hops.get(packed.hop)? })
}

impl Default for Rib {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Rib {
    /// Sizes only: a table may have a million routes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rib").field("routes", &self.routes).field("limit", &self.limit).finish()
    }
}
