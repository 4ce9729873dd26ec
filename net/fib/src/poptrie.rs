//! The immutable lookup table: a direct-indexed root and compressed 64-way nodes.
//!
//! The first bits of an address index [`Fib`]'s root array; its entry is either the answer or a node. A node covers six more bits.
//! Instead of 64 pointers it has two 64-bit vectors and two base indices: the position of a child or leaf is the number of set
//! bits up to its slot. Runs of equal leaves are stored once. With 18 direct bits and strides of six the nodes end at /24, /30
//! and /32, so most lookups in an Internet table are one or two steps. Small tables use 12 direct bits: 16 KiB instead of 1 MiB.
//!
//! Context: any, except that making and dropping a table allocates and frees (thread context). Source: the poptrie paper's idea.

use alloc::vec::Vec;
use core::{fmt, mem::size_of, net::Ipv4Addr};

use crate::{NextHop, NextHopId};

/// How many bits a node covers.
pub(crate) const STRIDE: u32 = 6;
/// How many slots a node has.
pub(crate) const SLOTS: usize = 1 << STRIDE;
/// Set in a root entry that is an answer (in the low 16 bits), clear in one that is a node's index.
pub(crate) const IS_LEAF: u32 = 1 << 31;

/// An answer: 0 is "no route", else one more than the next hop's index.
pub(crate) type Leaf = u16;

/// Covers six bits of the address below some prefix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Node {
    /// Bit `v` is set if slot `v` has a child.
    pub(crate) children: u64,
    /// Bit `v` is set if slot `v` has a leaf that starts a run of equal leaves.
    pub(crate) runs: u64,
    /// Where this node's children start; always below the number of nodes if `children` is not 0.
    pub(crate) child_base: u32,
    /// Where this node's leaves start.
    pub(crate) leaf_base: u32,
}

// Both vectors and both bases in one access: a node never straddles more than two cache lines.
const _: () = assert!(size_of::<Node>() == 24);

/// An immutable forwarding table.
///
/// # Context
/// [`lookup`](Self::lookup) anywhere, by any number of threads at once; it never blocks or allocates.
pub struct Fib {
    /// `1 << direct_bits` entries.
    pub(crate) root: Vec<u32>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) leaves: Vec<Leaf>,
    pub(crate) next_hops: Vec<NextHop>,
    /// Always in 1..=26.
    pub(crate) direct_bits: u32,
    /// How many prefixes the table was made from.
    pub(crate) routes: usize,
}

/// How large a table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FibSize {
    /// Prefixes the table was made from.
    pub routes: usize,
    /// Different next hops.
    pub next_hops: usize,
    /// Inner nodes.
    pub nodes: usize,
    /// Octets of memory in use.
    pub octets: usize,
}

impl Fib {
    /// Returns the next hop of the longest prefix that contains `destination`, or `None` if no prefix does.
    #[inline]
    #[must_use]
    pub fn lookup(&self, destination: Ipv4Addr) -> Option<&NextHop> {
        self.next_hop(self.lookup_id(destination)?)
    }

    /// Returns the number of the next hop of the longest prefix that contains `destination`.
    #[inline]
    #[must_use]
    pub fn lookup_id(&self, destination: Ipv4Addr) -> Option<NextHopId> {
        // A leaf of 0 means that no prefix matched.
        self.leaf_of(destination.to_bits())?.checked_sub(1).map(NextHopId)
    }

    /// Returns the next hop with this number.
    #[inline]
    #[must_use]
    pub fn next_hop(&self, id: NextHopId) -> Option<&NextHop> {
        self.next_hops.get(usize::from(id.0))
    }

    /// Returns the sizes, for the operator.
    #[must_use]
    pub fn size(&self) -> FibSize {
        let octets = self.root.capacity() * size_of::<u32>()
            + self.nodes.capacity() * size_of::<Node>()
            + self.leaves.capacity() * size_of::<Leaf>()
            + self.next_hops.capacity() * size_of::<NextHop>();
        FibSize { routes: self.routes, next_hops: self.next_hops.len(), nodes: self.nodes.len(), octets }
    }

    /// Walks the table. `None` would mean a broken table: every index in it was checked when it was made.
    #[inline]
    fn leaf_of(&self, address: u32) -> Option<Leaf> {
        let entry = *self.root.get((address >> (32 - self.direct_bits)) as usize)?;
        if entry & IS_LEAF != 0 {
            return Some(low_half(entry));
        }
        let mut node = self.nodes.get(entry as usize)?;
        // The bits still to be looked at, at the top; zeros follow them from below.
        let mut rest = address << self.direct_bits;
        // Each step uses up six bits, so that no address takes more than six steps.
        for _ in 0..=32 / STRIDE {
            let slot = rest >> (32 - STRIDE);
            let up_to_slot = u64::MAX >> (63 - slot);
            if node.children & (1 << slot) == 0 {
                let place = node.leaf_base + (node.runs & up_to_slot).count_ones();
                return self.leaves.get((place as usize).wrapping_sub(1)).copied();
            }
            let place = node.child_base + (node.children & up_to_slot).count_ones();
            node = self.nodes.get((place as usize).wrapping_sub(1))?;
            rest <<= STRIDE;
        }
        None
    }
}

/// Returns the low 16 bits.
#[inline]
const fn low_half(entry: u32) -> u16 {
    (entry & 0xffff) as u16
}

impl fmt::Debug for Fib {
    /// Sizes only: a table may have a million routes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Fib").field(&self.size()).finish()
    }
}
