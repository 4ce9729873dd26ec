//! What forwarding decisions depend on, as one immutable snapshot: [`Tables`].
//!
//! The control plane builds a new one at each change and publishes it; the data path reads. Any context.

use alloc::vec::Vec;
use core::net::Ipv4Addr;

use fib::{Fib, NextHop, NextHopKind};
use ifnet::IfIndex;
use wire::{Ipv4Cidr, MacAddr};

use crate::Adjacency;

/// The switches of forwarding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForwardConfig {
    /// Whether packets for others are forwarded at all (RFC 1812 2.2.8.1).
    pub forwarding: bool,
    /// Whether directed broadcasts go out on the link they name (RFC 2644 2 wants them off).
    pub directed_broadcast: bool,
    /// Whether 240.0.0.0/4 is treated as unicast; RFC 6890 2.2.2 says that it is not forwardable.
    pub allow_net240: bool,
    /// Time to live of packets this router makes (RFC 1812 4.2.2.9).
    pub ttl: u8,
}

impl Default for ForwardConfig {
    fn default() -> Self {
        Self { forwarding: true, directed_broadcast: false, allow_net240: false, ttl: 64 }
    }
}

/// An interface as the forwarding decision sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IfConfig {
    /// Its number.
    pub index: IfIndex,
    /// The longest IP packet it carries, in octets.
    pub mtu: u16,
    /// Its station address.
    pub mac: MacAddr,
    /// Its addresses, the preferred one first.
    pub addresses: Vec<Ipv4Cidr>,
    /// Whether it can send: started, with carrier.
    pub up: bool,
}

/// Routes, interfaces and switches as of one moment.
#[derive(Debug)]
pub struct Tables {
    fib: Fib,
    /// Sorted by index, without gaps as far as the data path is concerned: place = index.
    interfaces: Vec<IfConfig>,
    config: ForwardConfig,
    own: OwnFilter,
    /// By the next hop's index in the routes.
    adjacencies: Vec<Adjacency>,
}

impl Tables {
    /// Makes a snapshot. The place of each interface in `interfaces` is its index; `fib` has a host route of kind
    /// [`NextHopKind::Local`] for each own address and of kind [`NextHopKind::Broadcast`] for each broadcast address.
    #[must_use]
    pub fn new(fib: Fib, interfaces: Vec<IfConfig>, config: ForwardConfig) -> Self {
        debug_assert!(interfaces.iter().enumerate().all(|(place, i)| i.index.as_usize() == place));
        let mut own = OwnFilter([0; 16]);
        for cidr in interfaces.iter().flat_map(|interface| &interface.addresses) {
            for address in [Some(cidr.address()), cidr.broadcast(), cidr.network()].into_iter().flatten() {
                own.insert(address);
            }
        }
        let adjacency = |index| fib.at_index(index).map(|hop| Adjacency::new(hop, &interfaces, &config));
        let limit = u16::try_from(fib.index_limit()).unwrap_or(u16::MAX);
        let adjacencies = (0..limit).map(|index| adjacency(index).unwrap_or(Adjacency::NONE)).collect();
        Self { fib, interfaces, config, own, adjacencies }
    }

    /// Returns the adjacency of a next hop by its index in the routes; of one that leads to no neighbour, and of none (index 0), one
    /// through which nothing goes.
    #[inline]
    #[must_use]
    pub fn adjacency(&self, hop: u16) -> &Adjacency {
        self.adjacencies.get(usize::from(hop)).unwrap_or(&Adjacency::NONE)
    }

    /// Returns the routes.
    #[inline]
    #[must_use]
    pub const fn fib(&self) -> &Fib {
        &self.fib
    }

    /// Returns all interfaces; the place is the index.
    #[inline]
    #[must_use]
    pub fn interfaces(&self) -> &[IfConfig] {
        &self.interfaces
    }

    /// Returns one interface.
    #[inline]
    #[must_use]
    pub fn interface(&self, index: IfIndex) -> Option<&IfConfig> {
        self.interfaces.get(index.as_usize())
    }

    /// Returns the switches.
    #[inline]
    #[must_use]
    pub const fn config(&self) -> &ForwardConfig {
        &self.config
    }

    /// Returns whether `address` is one of this router's.
    #[must_use]
    pub fn is_own(&self, address: Ipv4Addr) -> bool {
        matches!(self.own_kind(address), Some(NextHopKind::Local))
    }

    /// Returns whether `address` means all stations of a link this router is on (255.255.255.255 included).
    #[must_use]
    pub fn is_broadcast(&self, address: Ipv4Addr) -> bool {
        address.is_broadcast() || matches!(self.own_kind(address), Some(NextHopKind::Broadcast))
    }

    /// Returns `Local` or `Broadcast` if `address` is one of ours in either sense. Fast for all others.
    #[inline]
    pub(crate) fn own_kind(&self, address: Ipv4Addr) -> Option<NextHopKind> {
        if self.own.may_contain(address) { self.own_kind_exactly(address) } else { None }
    }

    /// Returns whether `address` may be one of ours in either sense; "no" is certain.
    #[inline]
    pub(crate) const fn may_be_own(&self, address: Ipv4Addr) -> bool {
        self.own.may_contain(address)
    }

    #[cold]
    fn own_kind_exactly(&self, address: Ipv4Addr) -> Option<NextHopKind> {
        let via = self.fib.lookup(address)?.via;
        matches!(via, NextHopKind::Local | NextHopKind::Broadcast).then_some(via)
    }

    /// Returns the address with which this router speaks to `neighbour` through `out`: the one of the network they
    /// share, else the interface's first, else any (RFC 1812 4.3.2.4). `None` on a router without addresses.
    #[must_use]
    pub fn source_address(&self, out: IfIndex, neighbour: Ipv4Addr) -> Option<Ipv4Addr> {
        let addresses = self.interface(out).map_or(&[][..], |interface| &interface.addresses);
        let shared = addresses.iter().find(|cidr| cidr.prefix().contains(neighbour));
        let any = || self.interfaces.iter().find_map(|interface| interface.addresses.first());
        shared.or(addresses.first()).or_else(any).map(|cidr| cidr.address())
    }

    /// Returns where a packet that this router makes for `destination` goes: the interface and the neighbour there.
    #[must_use]
    pub fn route(&self, destination: Ipv4Addr) -> Option<(IfIndex, Ipv4Addr)> {
        let hop: &NextHop = self.fib.lookup(destination)?;
        Some((IfIndex(hop.out), hop.neighbour(destination)?))
    }
}

/// A set of addresses that answers "no" with one multiplication and "maybe" else: 1024 bits, one per hash.
#[derive(Debug)]
struct OwnFilter([u64; 16]);

impl OwnFilter {
    /// Returns the word and the bit of `address`.
    #[inline]
    const fn place(address: Ipv4Addr) -> (usize, u64) {
        let hash = u32::from_ne_bytes(address.octets()).wrapping_mul(0x9e37_79b1) >> 22;
        ((hash >> 6) as usize & 15, 1 << (hash & 63))
    }

    fn insert(&mut self, address: Ipv4Addr) {
        let (word, bit) = Self::place(address);
        self.0[word] |= bit;
    }

    #[inline]
    const fn may_contain(&self, address: Ipv4Addr) -> bool {
        let (word, bit) = Self::place(address);
        self.0[word] & bit != 0
    }
}
