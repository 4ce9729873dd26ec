//! Poptrie (Asai and Ohara, SIGCOMM 2015): [`Poptrie`], 18 direct bits, then nodes of 64 slots whose children and leaves are found by counting bits.
//!
//! What this router used before it was measured against what it uses now.

use std::net::Ipv4Addr;

use crate::{Contender, PlainRoute};

const DIRECT_BITS: u32 = 18;
const STRIDE: u32 = 6;
const SLOTS: usize = 1 << STRIDE;
/// Set in a root entry that is an answer.
const IS_LEAF: u32 = 1 << 31;

/// Covers six bits of the address below some prefix.
#[derive(Clone, Copy, Debug, Default)]
struct Node {
    /// Bit `v` is set if slot `v` has a child.
    children: u64,
    /// Bit `v` is set if slot `v` has a leaf that starts a run of equal leaves.
    runs: u64,
    child_base: u32,
    leaf_base: u32,
}

/// The table.
#[derive(Debug)]
pub struct Poptrie {
    root: Vec<u32>,
    nodes: Vec<Node>,
    leaves: Vec<u16>,
}

impl Poptrie {
    /// Makes it of all routes.
    #[must_use]
    pub fn new(table: &[PlainRoute]) -> Self {
        let mut sorted = table.to_vec();
        sorted.sort_unstable();
        let mut made = Self { root: vec![IS_LEAF; 1 << DIRECT_BITS], nodes: Vec::new(), leaves: Vec::new() };
        let mut rest = &sorted[..];
        while let Some((&((address, length), number), after)) = rest.split_first() {
            let first = (address >> (32 - DIRECT_BITS)) as usize;
            if u32::from(length) <= DIRECT_BITS {
                let covered = 1 << (DIRECT_BITS - u32::from(length));
                made.root[first..first + covered].fill(IS_LEAF | u32::from(number + 1));
                rest = after;
            } else {
                let (inside, after) = split_slot(rest, 0, DIRECT_BITS);
                // Everything that covers this slot came earlier, so that its entry is final by now.
                let inherited = low_half(made.root[first]);
                let node = made.reserve(1);
                made.fill(node, inside, DIRECT_BITS, inherited);
                made.root[first] = node;
                rest = after;
            }
        }
        made.nodes.shrink_to_fit();
        made.leaves.shrink_to_fit();
        made
    }

    /// Returns how much memory it takes.
    #[must_use]
    pub fn octets(&self) -> usize {
        self.root.len() * size_of::<u32>() + self.nodes.len() * size_of::<Node>() + self.leaves.len() * size_of::<u16>()
    }

    /// Fills a node, which covers six bits after the first `depth`, from the prefixes inside it.
    fn fill(&mut self, node: u32, entries: &[PlainRoute], depth: u32, inherited: u16) {
        let mut slots = [inherited; SLOTS];
        let mut children = 0_u64;
        let mut rest = entries;
        while let Some((&((address, length), number), after)) = rest.split_first() {
            let slot = slot_of(address, depth);
            if u32::from(length) <= depth + STRIDE {
                slots[slot..slot + (1 << (depth + STRIDE - u32::from(length)))].fill(number + 1);
                rest = after;
            } else {
                children |= 1 << slot;
                rest = split_slot(rest, depth, STRIDE).1;
            }
        }
        let leaf_base = index(self.leaves.len());
        let (mut runs, mut previous) = (0_u64, None);
        for (slot, &leaf) in slots.iter().enumerate() {
            // A child between two equal leaves does not end their run.
            if children & (1 << slot) == 0 && previous != Some(leaf) {
                runs |= 1 << slot;
                self.leaves.push(leaf);
                previous = Some(leaf);
            }
        }
        let child_base = self.reserve(children.count_ones());
        self.nodes[node as usize] = Node { children, runs, child_base, leaf_base };
        let (mut rest, mut child) = (entries, child_base);
        while let Some((&((address, length), _), after)) = rest.split_first() {
            if u32::from(length) <= depth + STRIDE {
                rest = after;
                continue;
            }
            let (inside, after) = split_slot(rest, depth, STRIDE);
            self.fill(child, inside, depth + STRIDE, slots[slot_of(address, depth)]);
            child += 1;
            rest = after;
        }
    }

    fn reserve(&mut self, count: u32) -> u32 {
        let first = index(self.nodes.len());
        self.nodes.resize(self.nodes.len() + count as usize, Node::default());
        first
    }
}

impl Contender for Poptrie {
    #[inline]
    fn look_up(&self, address: Ipv4Addr) -> u16 {
        let address = address.to_bits();
        let entry = self.root[(address >> (32 - DIRECT_BITS)) as usize];
        if entry & IS_LEAF != 0 {
            return low_half(entry);
        }
        let mut node = &self.nodes[entry as usize];
        let mut rest = address << DIRECT_BITS;
        loop {
            let slot = rest >> (32 - STRIDE);
            let up_to_slot = u64::MAX >> (63 - slot);
            if node.children & (1 << slot) == 0 {
                return self.leaves[(node.leaf_base + (node.runs & up_to_slot).count_ones()) as usize - 1];
            }
            node = &self.nodes[(node.child_base + (node.children & up_to_slot).count_ones()) as usize - 1];
            rest <<= STRIDE;
        }
    }
}

/// Splits off the leading entries that share their `width` bits after the first `depth` with the first one.
fn split_slot(entries: &[PlainRoute], depth: u32, width: u32) -> (&[PlainRoute], &[PlainRoute]) {
    let slot = |((address, _), _): &PlainRoute| (address << depth) >> (32 - width);
    let first = entries.first().map(slot);
    let end = entries.iter().position(|entry| Some(slot(entry)) != first).unwrap_or(entries.len());
    entries.split_at(end)
}

fn slot_of(address: u32, depth: u32) -> usize {
    ((address << depth) >> (32 - STRIDE)) as usize
}

fn index(len: usize) -> u32 {
    u32::try_from(len).expect("fewer than 2^32 nodes and leaves")
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is wanted")]
const fn low_half(entry: u32) -> u16 {
    entry as u16
}
