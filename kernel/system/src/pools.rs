//! The packet pools: one for each node that has a card, of that node's memory.
//!
//! Key type: [`NodePool`]. A card's rings are filled from the pool of its node, and whoever takes a buffer takes it from the pool of the
//! node it runs on; the buffer itself knows the pool it goes home to. All pools have buffers of one size. On a machine of one node there is
//! one. Context: the first thread makes them; afterwards any.

use alloc::vec::Vec;
use core::fmt;

use ksync::{Once, cpu::CpuId};
use machine::{
    frame::{self, RunRequest},
    memory::PhysMemory,
    numa,
};
use pktbuf::PacketPool;

use crate::buffers::Stock;

/// The pools take at most this share of the memory that is free.
const SHARE: usize = 4;
/// Octets of a physical frame.
const PHYSICAL_FRAME: usize = 4096;

static POOLS: Once<Vec<NodePool>> = Once::new();
static STOCK: Once<Stock> = Once::new();

/// One pool, and where it lies.
pub(crate) struct NodePool {
    /// The node whose cards it serves; `None` where nothing is known of nodes.
    node: Option<u32>,
    /// The buffers.
    pub(crate) pool: PacketPool,
    /// Physical address of the first octet, and of the first beyond.
    range: [u64; 2],
}

impl fmt::Display for NodePool {
    /// `packet pool`, or `packet pool of node 1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("packet pool")?;
        self.node.map_or(Ok(()), |node| write!(f, " of node {node}"))
    }
}

impl NodePool {
    /// Writes a line about where all its buffers are.
    pub(crate) fn describe(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        let census = self.pool.census();
        out.write_str("packet buffers: ")?;
        if let Some(node) = self.node {
            write!(out, "node {node}: ")?;
        }
        write!(
            out,
            "{} total = {} free + {} cached + {} owned; low water {}, exhausted {}; of {} octets",
            census.total,
            census.free,
            census.cached,
            census.owned,
            census.low_water,
            census.exhausted,
            self.pool.buffer_size().octets()
        )?;
        let [start, end] = self.range;
        if self.node.is_some() { writeln!(out, " at {start:#x}-{end:#x}") } else { writeln!(out) }
    }
}

/// A card: the node it is on, if that is known, and its receive queues.
pub(crate) type Card = (Option<u32>, u8);

/// A node, and the receive queues of each card on it.
pub(crate) type Share = (Option<u32>, Vec<u8>);

/// Returns the nodes that get a pool, with the queues of the cards each is for: the first has the most cards. Cards of which no node is
/// known are the first one's.
pub(crate) fn shares(cards: &[Card]) -> Vec<Share> {
    let mut shares: Vec<Share> = Vec::new();
    for &(node, queues) in cards.iter().filter(|(node, _)| node.is_some()) {
        match shares.iter_mut().find(|(of, _)| *of == node) {
            Some((_, own)) => own.push(queues),
            None => shares.push((node, [queues].into())),
        }
    }
    // Stable: of several equal ones, the first card's.
    shares.sort_by_key(|(_, own)| core::cmp::Reverse(own.len()));
    let unknown = cards.iter().filter(|(node, _)| node.is_none()).map(|&(_, queues)| queues);
    match shares.first_mut() {
        Some((_, own)) => own.extend(unknown),
        None => shares.push((None, unknown.collect())),
    }
    shares
}

/// Makes the pools, for packets of `mtu` octets, once. Answers whether there was memory.
#[inline(never)]
pub(crate) fn init(cards: &[Card], mtu: u16) -> bool {
    let shares = shares(cards);
    let queues: Vec<u8> = cards.iter().map(|&(_, queues)| queues).collect();
    let Some((stock, memory)) = provide(&shares, &queues, mtu) else { return false };
    STOCK.call_once(|| stock);
    let make = |(&(node, _), memory): (&Share, PhysMemory)| {
        let start = memory.phys().as_u64();
        let range = [start, start + memory.len() as u64];
        NodePool { node, pool: PacketPool::new(memory.into_static(), stock.size), range }
    };
    for of in POOLS.call_once(|| shares.iter().zip(memory).map(make).collect()) {
        let ([start, _], total) = (of.range, of.pool.total());
        let octets = stock.size.octets();
        let kib = total * stock.size.stride() / 1024;
        match of.node {
            None => log::info!("pktbuf: {total} buffers of {octets} octets, {kib} KiB at {start:#x}"),
            Some(node) => {
                log::info!("pktbuf: node {node}: {total} buffers of {octets} octets, {kib} KiB at {start:#x}");
            }
        }
        say_if_elsewhere(of);
    }
    true
}

/// Says it when the memory is another node's, for want of room.
fn say_if_elsewhere(of: &NodePool) {
    let [start, end] = of.range;
    let Some(node) = of.node else { return };
    let ends = [start, end - 1].map(numa::node_of_memory);
    if ends != [Some(node); 2] {
        let [first, _] = ends;
        let from = first.map_or("another node", |_| "node");
        let number = first.map(|first| alloc::format!(" {first}")).unwrap_or_default();
        log::warn!("pktbuf: node {node} has no room for its buffers: they are in the memory of {from}{number}");
    }
}

/// Finds memory for the buffers: large ones if there is room for enough of them, else usual ones; fewer where there is little, and of the
/// [least](Stock::LEAST) as many as there may be.
fn provide(shares: &[Share], cards: &[u8], mtu: u16) -> Option<(Stock, Vec<PhysMemory>)> {
    let allowed = frame::usage().free * PHYSICAL_FRAME / SHARE;
    let first = Stock::choices(mtu).next()?;
    let all = |stock: Stock| shares.iter().map(|(_, own)| stock.octets(own, cards)).sum::<usize>();
    let (stock, memory) = Stock::choices(mtu).find_map(|stock| {
        let wanted = all(stock);
        if wanted > allowed && stock != Stock::LEAST {
            return None;
        }
        let take = |(node, own): &Share| {
            // Where there is less than is wanted, each gets its share of that.
            let octets = stock
                .octets(own, cards)
                .min((stock.octets(own, cards) >> 10) * (allowed >> 10) / (wanted >> 20).max(1));
            near(*node, &RunRequest::octets(octets.max(stock.size.stride())))
        };
        Some((stock, shares.iter().map(take).collect::<Option<Vec<_>>>()?))
    })?;
    let [wanted, most] = [all(first), allowed].map(|octets| octets >> 20);
    if stock.size < first.size {
        log::error!("pktbuf: no buffers of {} octets in {most} MiB: no packets as long as {mtu}", first.size.octets());
    } else if stock.is_short() {
        let [rx, tx] = stock.descriptors(1);
        log::warn!("pktbuf: {wanted} MiB are wanted, {most} there: rings of {rx} and {tx} descriptors, fewer buffers");
    }
    Some((stock, memory))
}

/// Takes memory of the node if it has room, else of another.
fn near(node: Option<u32>, request: &RunRequest) -> Option<PhysMemory> {
    numa::prefer_memory_of(node);
    PhysMemory::allocate_uncleared(request).ok()
}

/// Returns all pools: none where there is no data path.
pub(crate) fn all() -> &'static [NodePool] {
    POOLS.get().map_or(&[], Vec::as_slice)
}

/// Returns the pool for a card on `node`: that of the node, else the one that most cards have.
pub(crate) fn of_node(node: Option<u32>) -> Option<&'static PacketPool> {
    let own = all().iter().find(|of| node.is_some() && of.node == node);
    own.or(all().first()).map(|of| &of.pool)
}

/// Returns the pool for a thread on `cpu`.
pub(crate) fn of_cpu(cpu: CpuId) -> Option<&'static PacketPool> {
    of_node(numa::node_of_cpu(cpu))
}

/// Returns which buffers were made, and the rings that go with them.
pub(crate) fn stock() -> Stock {
    STOCK.get().copied().unwrap_or(Stock::USUAL)
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn each_node_with_a_card_has_a_pool_the_fullest_first() {
        assert_eq!(shares(&[]), [(None, vec![])]);
        assert_eq!(shares(&[(None, 1), (None, 2)]), [(None, vec![1, 2])]);
        assert_eq!(shares(&[(Some(3), 1), (Some(1), 2)]), [(Some(3), vec![1]), (Some(1), vec![2])]);
        let cards = [(Some(0), 2), (Some(1), 1), (None, 2), (Some(1), 2), (None, 1)];
        assert_eq!(shares(&cards), [(Some(1), vec![1, 2, 2, 1]), (Some(0), vec![2])]);
    }
}
