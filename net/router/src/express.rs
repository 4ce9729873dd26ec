//! The express way: plain packets in runs, stage by stage.
//!
//! [`Pass::receive_all`] takes runs of plain packets off the front of a batch. All of a run are looked at, then all routes are
//! looked up (their cache misses overlap) unless the packets go to hosts that are known, then all are rewritten and put into the batches of their interfaces. What is not plain
//! ends a run and goes the long way when the run has gone, so that order is kept; what turns out to lead elsewhere than to a
//! known neighbour takes the long way in its turn.

use core::net::Ipv4Addr;

use fib::Fib;
use forward::{Judged, Plain, PortAddress, Rewrite, Tables};
use ifnet::IfIndex;
use pktbuf::{PacketBatch, PacketBuf};
use wire::MacAddr;

use crate::{
    counters,
    profile::Stage,
    tally,
    ways::{Known, Present, Whose},
    worker::Pass,
};

/// Packets in a run, at most.
const RUN: usize = 32;

/// The port that a run comes from.
#[derive(Clone, Copy)]
struct Ingress {
    rx: u16,
    address: PortAddress,
    /// Whether the checksums of all headers are known to be right.
    vouched: bool,
}

impl Pass<'_> {
    /// Takes in all frames of a batch, in order: each as [`receive`](Self::receive) would.
    #[inline]
    pub fn receive_all(&mut self, packets: &mut PacketBatch) {
        self.receive_trunk(packets, false);
    }

    /// The same; `vouched` says that whoever received them has found the checksum of the IPv4 header of each right. What goes the long
    /// way is looked at all the same.
    #[inline]
    pub fn receive_trunk(&mut self, packets: &mut PacketBatch, vouched: bool) {
        while let Some(from) = packets.front().map(PacketBuf::arrival) {
            if from.vlan() == 0 {
                let same = packets.iter().take_while(|packet| packet.arrival() == from).count();
                self.receive_first(packets, same, from.rx_if(), vouched);
            } else if let Some((vlan, same)) = self.admit_tagged(packets, from) {
                self.receive_first(packets, same, Some(vlan.0), vouched);
            }
        }
    }

    /// The same for a batch of which all frames were received by the interface with index `rx`, as those of one ring are, and no tag was
    /// taken off any of them. (Others would be counted as that interface's.)
    #[inline]
    pub fn receive_ring(&mut self, packets: &mut PacketBatch, rx: IfIndex, vouched: bool) {
        self.receive_first(packets, packets.len(), Some(rx.0), vouched);
    }

    /// Takes in the first `frames` of a batch, which one interface received.
    #[inline]
    fn receive_first(&mut self, packets: &mut PacketBatch, frames: usize, rx: Option<u16>, vouched: bool) {
        let ingress = rx.and_then(|rx| self.ingress(rx, vouched));
        let mut left = frames;
        while left > 0 {
            let run = ingress.map_or(0, |ingress| self.forward_run(packets, left, ingress));
            left -= run.max(1);
            if run == 0
                && let Some(packet) = packets.pop()
            {
                self.receive(packet);
            }
        }
    }

    #[inline]
    fn ingress(&self, rx: u16, vouched: bool) -> Option<Ingress> {
        let address = PortAddress::new(self.snapshot.tables.interface(IfIndex(rx))?.mac);
        if self.snapshot.is_shut(IfIndex(rx)) {
            return None;
        }
        Some(Ingress { rx, address, vouched })
    }

    /// Forwards the plain packets at the front of `packets`, up to a run or `limit`; returns how many these were.
    #[inline]
    fn forward_run(&mut self, packets: &mut PacketBatch, limit: usize, ingress: Ingress) -> usize {
        let mut run = self.core.run.take().unwrap_or_default();
        let count = self.forward_in(&mut run, packets, limit, ingress);
        self.core.run = Some(run);
        count
    }

    #[inline]
    fn forward_in(&mut self, run: &mut Run, packets: &mut PacketBatch, limit: usize, ingress: Ingress) -> usize {
        // Asked before anything is looked at, for what is to be queued is looked at by who takes it from the queue.
        if !self.runs_here() {
            return 0;
        }
        let tables = &self.snapshot.tables;
        let mut judged = Judged::new();
        let places = run.plains.get_mut(..limit.min(RUN)).unwrap_or_default();
        let count = if ingress.vouched {
            look_at::<true>(packets, places, ingress.address, tables, &mut judged)
        } else {
            look_at::<false>(packets, places, ingress.address, tables, &mut judged)
        };
        self.mark(Stage::Inspect);
        let Some(plains) = run.plains.get_mut(..count) else { return 0 };
        let Some(first) = plains.first_mut() else { return 0 };
        if let Some(source) = &mut self.core.source {
            self.router.netisr().note_direct(source, count);
        }
        self.core.counters.receive_run(counters::place(Some(ingress.rx)), count as u64);
        // One flow asks for its way with its first packet. It may ask again, when a packet of it has gone the long way.
        let sole = (judged.changes() <= 1).then(|| tables.fib().lookup_index(first.destination));
        self.mark(Stage::Route);
        let source = tally::received(ingress.rx);
        match sole {
            Some(hop) => {
                let mut way = Way::nowhere(source);
                packets.consume(&*plains, |packet, plain| {
                    if way.destination != plain.destination {
                        self.find_way(plain.destination, hop, &mut way);
                    }
                    self.send_plain(packet, *plain, &mut way);
                    Ok(())
                });
            }
            None => self.send_by_ways(packets, plains, source),
        }
        self.mark(Stage::Rewrite);
        count
    }

    /// Sends the plain packets of a run, which go several ways.
    #[inline(never)]
    fn send_by_ways(&mut self, packets: &mut PacketBatch, plains: &mut [Plain], source: usize) {
        let fib = self.snapshot.tables.fib();
        self.core.ways.refresh(Present {
            snapshot: self.snapshot.generation,
            routes: fib.changes(),
            neighbours: self.router.arp().generation(),
            now: self.now,
        });
        if self.core.ways.are_hosts(plains.iter().map(|plain| plain.destination)) {
            return self.send_to_hosts(packets, plains, source);
        }
        look_up(plains, fib);
        self.mark(Stage::Route);
        let mut way = Way::nowhere(source);
        packets.consume(&*plains, |packet, plain| {
            self.send_known(packet, *plain, &mut way);
            Ok(())
        });
    }

    /// Sends the plain packets of a run that probably go to known hosts of connected networks.
    #[inline(never)]
    fn send_to_hosts(&mut self, packets: &mut PacketBatch, plains: &[Plain], source: usize) {
        let (mut way, mut strangers) = (Way::nowhere(source), 0);
        packets.consume(plains, |mut packet, plain| {
            match self.core.ways.host(plain.destination) {
                Some(&Known { out, longest, rewrite, .. }) if u32::from(plain.total_len) <= longest => {
                    rewrite.apply(&mut packet, *plain);
                    self.enqueue_of(packet, IfIndex(out), source);
                }
                _ => {
                    strangers += 1;
                    self.send_stranger(packet, *plain, &mut way);
                }
            }
            Ok(())
        });
        self.core.ways.note_strangers(strangers, plains.len());
    }

    /// Returns whether netisr lets packets be processed here and now.
    #[inline]
    fn runs_here(&self) -> bool {
        let source = self.core.source.as_ref();
        source.is_none_or(|source| self.router.netisr().is_direct(source, self.core.workstream))
    }

    /// Sends a plain packet the way that was found for its destination, or has it judged the long way.
    #[inline]
    fn send_plain(&mut self, mut packet: PacketBuf, plain: Plain, way: &mut Way) {
        if u32::from(plain.total_len) > way.longest {
            return self.process_by_itself(packet, way);
        }
        way.rewrite.apply(&mut packet, plain);
        self.enqueue_of(packet, IfIndex(way.out), way.source);
    }

    /// Sends a plain packet that was looked for among the known hosts in vain.
    #[inline(never)]
    fn send_stranger(&mut self, packet: PacketBuf, mut plain: Plain, way: &mut Way) {
        plain.hop = self.snapshot.tables.fib().lookup_index(plain.destination);
        if let Some(&Known { out, longest, rewrite, .. }) = self.core.ways.get(plain.hop, plain.destination) {
            *way = Way { destination: plain.destination, out, longest, rewrite, source: way.source };
        }
        self.send_first(packet, plain, way);
    }

    /// Sends a plain packet the way that packets by its next hop, or to its host, have gone before, or finds it.
    #[inline]
    fn send_known(&mut self, mut packet: PacketBuf, plain: Plain, way: &mut Way) {
        match self.core.ways.get(plain.hop, plain.destination) {
            Some(&Known { out, longest, rewrite, .. }) if u32::from(plain.total_len) <= longest => {
                rewrite.apply(&mut packet, plain);
                self.enqueue_of(packet, IfIndex(out), way.source);
            }
            _ => self.send_first(packet, plain, way),
        }
    }

    /// Sends a plain packet by a next hop of which nothing is remembered, or that is too long for it.
    #[inline(never)]
    fn send_first(&mut self, packet: PacketBuf, plain: Plain, way: &mut Way) {
        // Packets for one neighbour come together.
        if way.destination != plain.destination
            && let Some(whose) = self.find_way(plain.destination, plain.hop, way)
        {
            self.core.ways.put(plain.hop, whose, way.out, way.longest, way.rewrite);
        }
        self.send_plain(packet, plain, way);
    }

    /// Finds how packets for `destination` leave. Returns whose packets with this next hop leave so, if it is known.
    #[inline]
    fn find_way(&mut self, destination: Ipv4Addr, hop: u16, way: &mut Way) -> Option<Whose> {
        let adjacency = self.snapshot.tables.adjacency(hop);
        let (out, neighbour) = (adjacency.out(), adjacency.neighbour(destination));
        let mac = self.router.arp().lookup(IfIndex(out), neighbour);
        // Without an address, as without a way at all, nothing is short enough.
        let longest = if mac.is_some() { adjacency.longest() } else { 0 };
        let rewrite = adjacency.rewrite(mac.unwrap_or(MacAddr::ZERO));
        *way = Way { destination, out, longest, rewrite, source: way.source };
        let whose = if adjacency.is_by_gateway() { Whose::All } else { Whose::Host(destination) };
        mac.map(|_| whose)
    }

    /// Has a packet of a run judged the long way, after which what was known of a neighbour may no longer be so.
    #[cold]
    #[inline(never)]
    fn process_by_itself(&mut self, packet: PacketBuf, way: &mut Way) {
        *way = Way::nowhere(way.source);
        self.core.ways.forget();
        self.process(packet);
    }
}

/// What is known of the packets of a run. A worker keeps one, so that it is not cleared for each run.
#[derive(Debug)]
pub(crate) struct Run {
    plains: [Plain; RUN],
}

impl Default for Run {
    fn default() -> Self {
        Self { plains: [Plain::NONE; RUN] }
    }
}

/// Looks at the packets at the front of a batch, as many as there are places and up to the first that is not plain; returns how many
/// these were.
#[inline]
fn look_at<const VOUCHED: bool>(
    packets: &PacketBatch,
    places: &mut [Plain],
    address: PortAddress,
    tables: &Tables,
    judged: &mut Judged,
) -> usize {
    let mut count = 0;
    for (packet, place) in packets.iter_with(places) {
        let Some(plain) = Plain::of::<VOUCHED>(packet, address, tables, judged) else { break };
        *place = plain;
        count += 1;
    }
    count
}

/// Looks up where each packet goes.
#[inline(never)]
fn look_up(plains: &mut [Plain], fib: &Fib) {
    fib.lookup_all(plains);
}

/// How the packets for one destination leave, as found last in this run; and where the run's packets are counted.
struct Way {
    destination: Ipv4Addr,
    /// Octets of the longest plain packet that goes; 0 if none does.
    longest: u32,
    rewrite: Rewrite,
    out: u16,
    source: usize,
}

impl Way {
    /// The way to a destination that no plain packet has.
    const fn nowhere(source: usize) -> Self {
        Self { destination: Ipv4Addr::UNSPECIFIED, longest: 0, rewrite: Rewrite::NONE, out: u16::MAX, source }
    }
}
