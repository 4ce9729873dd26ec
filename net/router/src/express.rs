//! The express way: plain packets in runs, stage by stage.
//!
//! [`Pass::receive_all`] takes runs of plain packets off the front of a batch. All of a run are looked at, then all routes are
//! looked up (their cache misses overlap), then all are rewritten and put into the batches of their interfaces. What is not plain
//! ends a run and goes the long way when the run has gone, so that order is kept; what turns out to lead elsewhere than to a
//! known neighbour takes the long way in its turn.

use core::net::Ipv4Addr;

use arrayvec::ArrayVec;
use fib::Fib;
use forward::{Plain, PortAddress, Rewrite};
use ifnet::IfIndex;
use pktbuf::{PacketBatch, PacketBuf};

use crate::{counters, tally, worker::Pass};

/// Packets in a run, at most.
const RUN: usize = 32;

/// The port that a run comes from.
#[derive(Clone, Copy)]
struct Ingress {
    rx: u16,
    address: PortAddress,
}

impl Pass<'_> {
    /// Takes in all frames of a batch, in order: each as [`receive`](Self::receive) would.
    #[inline]
    pub fn receive_all(&mut self, packets: &mut PacketBatch) {
        while let Some(first) = packets.front() {
            let rx = first.rx_if();
            let run = rx.and_then(|rx| self.ingress(rx)).map_or(0, |ingress| self.forward_run(packets, ingress));
            if run == 0
                && let Some(packet) = packets.pop()
            {
                self.receive(packet);
            }
        }
    }

    #[inline]
    fn ingress(&self, rx: u16) -> Option<Ingress> {
        let address = PortAddress::new(self.snapshot.tables.interface(IfIndex(rx))?.mac);
        Some(Ingress { rx, address })
    }

    /// Forwards the plain packets at the front of `packets`, up to a run; returns how many these were.
    #[inline]
    fn forward_run(&mut self, packets: &mut PacketBatch, ingress: Ingress) -> usize {
        let tables = &self.snapshot.tables;
        let mut run = ArrayVec::<Plain, RUN>::new();
        for packet in packets.iter().take(RUN) {
            let Some(plain) = look(packet, ingress, tables) else { break };
            run.push(plain);
        }
        if run.is_empty() || !self.runs_here(run.len()) {
            return 0;
        }
        self.core.counters.receive_run(counters::place(Some(ingress.rx)), run.len() as u64);
        let mut hops = [0; RUN];
        route(tables.fib(), &run, &mut hops);
        let mut known = Known::nobody(tally::received(ingress.rx));
        let mut verdicts = run.iter().zip(&hops);
        packets.consume(run.len(), |packet| {
            if let Some((plain, hop)) = verdicts.next() {
                self.send_plain(packet, *plain, *hop, &mut known);
            }
            Ok(())
        });
        run.len()
    }

    /// Returns whether netisr lets the next `count` packets be processed here and now.
    #[inline]
    fn runs_here(&mut self, count: usize) -> bool {
        let here = self.core.workstream;
        match &mut self.core.source {
            Some(source) => self.router.netisr().dispatch_run(source, here, count),
            None => true,
        }
    }

    /// Sends a plain packet to the neighbour its next hop names, or has it judged the long way.
    #[inline]
    fn send_plain(&mut self, mut packet: PacketBuf, plain: Plain, hop: u16, known: &mut Known) {
        let adjacency = self.snapshot.tables.adjacency(hop);
        let (out, neighbour) = (adjacency.out(), adjacency.neighbour(plain));
        if !adjacency.takes(plain) {
            return self.process_by_itself(packet, known);
        }
        if known.neighbour != neighbour || known.out != out {
            let Some(mac) = self.router.arp().lookup(IfIndex(out), neighbour) else {
                return self.process_by_itself(packet, known);
            };
            *known = Known { out, neighbour, rewrite: adjacency.rewrite(mac), source: known.source };
        }
        known.rewrite.apply(&mut packet, plain);
        self.enqueue_of(packet, IfIndex(out), known.source);
    }

    /// Has a packet of a run judged the long way, after which what was known of a neighbour may no longer be so.
    #[cold]
    #[inline(never)]
    fn process_by_itself(&mut self, packet: PacketBuf, known: &mut Known) {
        *known = Known::nobody(known.source);
        self.process(packet);
    }
}

/// The neighbour that was looked up last in this run, and where the run's packets are counted.
struct Known {
    neighbour: Ipv4Addr,
    out: u16,
    rewrite: Rewrite,
    source: usize,
}

impl Known {
    /// No plain packet leads to this neighbour.
    const fn nobody(source: usize) -> Self {
        Self { neighbour: Ipv4Addr::UNSPECIFIED, out: u16::MAX, rewrite: Rewrite::NONE, source }
    }
}

/// Looks up where the packets of a run go. Packets of one flow come together: then it is one lookup.
#[inline]
fn route(fib: &Fib, run: &[Plain], hops: &mut [u16; RUN]) {
    let Some(first) = run.first() else { return };
    if run.iter().all(|plain| plain.destination == first.destination) {
        hops.fill(fib.lookup_index(first.destination));
    } else {
        let destinations: ArrayVec<Ipv4Addr, RUN> = run.iter().map(|plain| plain.destination).collect();
        fib.lookup_batch(&destinations, hops);
    }
}

/// Looks at a packet of the run; `None` if it does not belong to it.
#[inline]
fn look(packet: &PacketBuf, ingress: Ingress, tables: &forward::Tables) -> Option<Plain> {
    if packet.rx_if() == Some(ingress.rx) { Plain::of(packet, ingress.address, tables) } else { None }
}
