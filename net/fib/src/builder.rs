//! Makes a [`Fib`] from sorted prefixes in one pass.
//!
//! In the order (address, length) a prefix comes before everything inside it. So writing the prefixes one after another into a
//! node's slots leaves each slot with the longest one, and the prefixes too long for a node form one contiguous piece per slot,
//! which becomes that slot's child. Depth is at most five, and no memory is allocated except the table's own, with failure as an
//! error. Thread context.

use alloc::{collections::TryReserveError, vec::Vec};

use crate::{
    NextHop,
    poptrie::{Fib, IS_LEAF, Leaf, Node, SLOTS, STRIDE},
};

/// A prefix and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    /// The network address; host bits are zero.
    pub(crate) address: u32,
    /// 0..=32.
    pub(crate) length: u8,
    /// Never 0.
    pub(crate) leaf: Leaf,
}

/// From this many prefixes on, a large root pays.
const LARGE_TABLE: usize = 8192;
/// Direct bits of small and of large tables. Both are a multiple of six below 24, where most of the Internet's prefixes end.
const SMALL_ROOT_BITS: u32 = 12;
const LARGE_ROOT_BITS: u32 = 18;

/// Makes the table. `entries` are sorted by address, then length, without duplicates.
pub(crate) fn build(entries: &[Entry], next_hops: Vec<NextHop>) -> Result<Fib, TryReserveError> {
    let direct_bits = if entries.len() < LARGE_TABLE { SMALL_ROOT_BITS } else { LARGE_ROOT_BITS };
    let mut table =
        Fib { root: Vec::new(), nodes: Vec::new(), leaves: Vec::new(), next_hops, direct_bits, routes: entries.len() };
    let size = 1_usize << direct_bits;
    table.root.try_reserve_exact(size)?;
    table.root.resize(size, IS_LEAF);
    fill_root(&mut table, entries)?;
    trim(&mut table.nodes);
    trim(&mut table.leaves);
    Ok(table)
}

/// Gives back the spare room of a finished vector, if there is memory for the copy; if not, the spare room stays.
fn trim<T: Copy>(elements: &mut Vec<T>) {
    let mut exact = Vec::new();
    if elements.capacity() > elements.len() && exact.try_reserve_exact(elements.len()).is_ok() {
        exact.extend_from_slice(elements);
        *elements = exact;
    }
}

/// Fills the root and everything below it.
fn fill_root(table: &mut Fib, entries: &[Entry]) -> Result<(), TryReserveError> {
    let bits = table.direct_bits;
    let mut rest = entries;
    while let Some((entry, after)) = rest.split_first() {
        let first = (entry.address >> (32 - bits)) as usize;
        if u32::from(entry.length) <= bits {
            let covered = 1_usize << (bits - u32::from(entry.length));
            if let Some(slots) = table.root.get_mut(first..first + covered) {
                slots.fill(IS_LEAF | u32::from(entry.leaf));
            }
            rest = after;
        } else {
            let (inside, after) = split_slot(rest, 0, bits);
            // Everything that covers this slot came earlier, so that its entry is final by now.
            let inherited = table.root.get(first).map_or(0, |e| (e & 0xffff) as Leaf);
            let node = reserve_nodes(table, 1)?;
            fill_node(table, node, inside, bits, inherited)?;
            if let Some(slot) = table.root.get_mut(first) {
                *slot = node;
            }
            rest = after;
        }
    }
    Ok(())
}

/// Fills node number `node`, which covers six bits after the first `depth`, from the prefixes inside it.
fn fill_node(
    table: &mut Fib,
    node: u32,
    entries: &[Entry],
    depth: u32,
    inherited: Leaf,
) -> Result<(), TryReserveError> {
    let mut slots = [inherited; SLOTS];
    let mut children = 0_u64;
    let mut rest = entries;
    while let Some((entry, after)) = rest.split_first() {
        let slot = slot_of(entry.address, depth);
        if u32::from(entry.length) <= depth + STRIDE {
            let covered = 1_usize << (depth + STRIDE - u32::from(entry.length));
            if let Some(covered) = slots.get_mut(slot..slot + covered) {
                covered.fill(entry.leaf);
            }
            rest = after;
        } else {
            children |= 1 << slot;
            rest = split_slot(rest, depth, STRIDE).1;
        }
    }
    let (runs, leaf_base) = store_leaves(table, &slots, children)?;
    let child_base = reserve_nodes(table, children.count_ones())?;
    if let Some(node) = table.nodes.get_mut(node as usize) {
        *node = Node { children, runs, child_base, leaf_base };
    }
    fill_children(table, child_base, entries, depth, &slots)
}

/// Fills the children of a node, in the order of their slots.
fn fill_children(
    table: &mut Fib,
    child_base: u32,
    entries: &[Entry],
    depth: u32,
    slots: &[Leaf; SLOTS],
) -> Result<(), TryReserveError> {
    let mut child = child_base;
    let mut rest = entries;
    while let Some((entry, after)) = rest.split_first() {
        if u32::from(entry.length) <= depth + STRIDE {
            rest = after;
            continue;
        }
        let (inside, after) = split_slot(rest, depth, STRIDE);
        let inherited = slots.get(slot_of(entry.address, depth)).copied().unwrap_or(0);
        fill_node(table, child, inside, depth + STRIDE, inherited)?;
        child += 1;
        rest = after;
    }
    Ok(())
}

/// Stores the leaves of slots without child, equal neighbours once. Returns the vector of runs and where the leaves start.
fn store_leaves(table: &mut Fib, slots: &[Leaf; SLOTS], children: u64) -> Result<(u64, u32), TryReserveError> {
    let leaf_base = index(table.leaves.len());
    table.leaves.try_reserve(SLOTS)?;
    let mut runs = 0_u64;
    let mut previous = None;
    for (slot, &leaf) in slots.iter().enumerate() {
        // A child between two equal leaves does not end their run.
        if children & (1 << slot) == 0 && previous != Some(leaf) {
            runs |= 1 << slot;
            table.leaves.push(leaf);
            previous = Some(leaf);
        }
    }
    Ok((runs, leaf_base))
}

/// Appends `count` empty nodes and returns the number of the first.
fn reserve_nodes(table: &mut Fib, count: u32) -> Result<u32, TryReserveError> {
    let first = table.nodes.len();
    table.nodes.try_reserve(count as usize)?;
    table.nodes.resize(first + count as usize, Node::default());
    Ok(index(first))
}

/// Splits off the leading entries that share their `width` bits after the first `depth` with the first one.
fn split_slot(entries: &[Entry], depth: u32, width: u32) -> (&[Entry], &[Entry]) {
    let slot = |entry: &Entry| (entry.address << depth) >> (32 - width);
    let first = entries.first().map(slot);
    let end = entries.iter().position(|entry| Some(slot(entry)) != first).unwrap_or(entries.len());
    entries.split_at(end)
}

/// Returns which slot of a node at `depth` an address belongs to.
fn slot_of(address: u32, depth: u32) -> usize {
    ((address << depth) >> (32 - STRIDE)) as usize
}

/// Returns a table index. A prefix makes at most four nodes of at most 64 leaves, so that the limit on prefixes
/// ([`Rib`](crate::Rib)) keeps indices far below 2^31, the bit that marks an answer.
fn index(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
