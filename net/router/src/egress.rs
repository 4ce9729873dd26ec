//! The way out: resolving the next hop, one batch per interface, one `transmit` per batch, cutting what is too long.

use core::net::Ipv4Addr;

use arp::Resolution;
use forward::{Fragmenter, IcmpErrorKind};
use ifnet::{DropReason, Fate, IfIndex};
use pktbuf::{PacketBatch, PacketBuf};
use wire::{ETHERNET_HEADER_LEN, EtherType, EthernetHeader, MacAddr};

use crate::{
    tally::{self, Tally},
    worker::Pass,
};

/// What waits for one outgoing interface.
pub(crate) struct Egress {
    pub(crate) batch: PacketBatch,
    /// Where all packets of the batch came from, if that is one place: nearly always. [`NONE`] in an empty batch, else [`SEVERAL`].
    sole: usize,
    /// The packets by where they came from, if these are several.
    tally: Tally,
}

const NONE: usize = usize::MAX;
const SEVERAL: usize = usize::MAX - 1;

impl Egress {
    pub(crate) const fn new() -> Self {
        Self { batch: PacketBatch::new(), sole: NONE, tally: Tally::new() }
    }

    /// Notes that the packet pushed last came from another source than those before it, if there are any.
    #[cold]
    fn note_source(&mut self, source: usize) {
        match self.sole {
            NONE => self.sole = source,
            SEVERAL => self.tally.add(source),
            before => {
                self.tally = Tally::uniform(before, self.batch.len() - 1);
                self.tally.add(source);
                self.sole = SEVERAL;
            }
        }
    }

    /// Returns the packets by where they came from, for a batch that is about to go.
    fn take_tally(&mut self) -> Tally {
        match core::mem::replace(&mut self.sole, NONE) {
            NONE => Tally::new(),
            SEVERAL => core::mem::replace(&mut self.tally, Tally::new()),
            source => Tally::uniform(source, self.batch.len()),
        }
    }
}

impl Pass<'_> {
    /// Sends an IPv4 packet to a neighbour, or holds it until the neighbour's address is known.
    #[inline]
    pub(crate) fn send_to(&mut self, packet: PacketBuf, out: IfIndex, neighbour: Ipv4Addr) {
        match self.router.arp().lookup(out, neighbour) {
            Some(mac) => self.send_framed(packet, out, mac),
            None => self.resolve(packet, out, neighbour),
        }
    }

    /// Writes the Ethernet header of an IPv4 packet and puts it into the batch of its interface.
    #[inline]
    pub(crate) fn send_framed(&mut self, mut packet: PacketBuf, out: IfIndex, destination: MacAddr) {
        let Some(interface) = self.snapshot.tables.interface(out) else {
            return self.discard(packet, DropReason::EgressDown);
        };
        let header = EthernetHeader { destination, source: interface.mac, ether_type: EtherType::IPV4 };
        let Some(front) = packet.bytes_mut().first_chunk_mut::<ETHERNET_HEADER_LEN>() else {
            return self.discard(packet, DropReason::NoHeadroom);
        };
        header.emit(front);
        self.enqueue(packet, out);
    }

    /// Puts a complete frame into the batch of its interface.
    #[inline]
    pub(crate) fn enqueue(&mut self, packet: PacketBuf, out: IfIndex) {
        let source = tally::source(&packet);
        self.enqueue_of(packet, out, source);
    }

    /// The same for a frame of which it is known what source it is of.
    #[inline]
    pub(crate) fn enqueue_of(&mut self, packet: PacketBuf, out: IfIndex, source: usize) {
        let place = out.as_usize();
        let Some(egress) = self.core.egress.get_mut(place) else {
            return self.discard(packet, DropReason::EgressDown);
        };
        if egress.sole != source {
            return self.enqueue_other(packet, out, source);
        }
        if let Err(packet) = egress.batch.push(packet) {
            self.enqueue_full(packet, out, source);
        }
    }

    /// Puts a frame of another source than those before it, or the first of all, into the batch of its interface.
    #[cold]
    #[inline(never)]
    fn enqueue_other(&mut self, packet: PacketBuf, out: IfIndex, source: usize) {
        let place = out.as_usize();
        let pushed = match self.core.egress.get_mut(place) {
            None => Err(packet),
            Some(egress) => egress.batch.push(packet).inspect(|()| egress.note_source(source)),
        };
        match pushed {
            Ok(()) => self.core.waiting |= 1 << place,
            Err(packet) => self.enqueue_full(packet, out, source),
        }
    }

    /// Sends a full batch, to make room for `packet`.
    #[cold]
    #[inline(never)]
    fn enqueue_full(&mut self, packet: PacketBuf, out: IfIndex, source: usize) {
        self.flush(out);
        let place = out.as_usize();
        let refused = match self.core.egress.get_mut(place) {
            None => Err(packet),
            Some(egress) => egress.batch.push(packet).inspect(|()| egress.note_source(source)),
        };
        match refused {
            Ok(()) => self.core.waiting |= 1 << place,
            // `flush` leaves the batch empty.
            Err(packet) => self.discard(packet, DropReason::TxRingFull),
        }
    }

    /// Sends all batches. With `more` about to follow the interfaces may leave their devices untold of it; else they tell
    /// of what they have left untold before.
    #[inline]
    pub(crate) fn flush_all(&mut self, more: bool) {
        self.core.more = more;
        while self.core.waiting != 0 {
            let lowest = self.core.waiting.trailing_zeros();
            self.flush(IfIndex(u16::try_from(lowest).unwrap_or(0)));
        }
        if !more && self.core.untold != 0 {
            self.tell_all();
        }
        self.core.more = false;
    }

    /// Has the interfaces tell their devices of all that was sent.
    fn tell_all(&mut self) {
        while self.core.untold != 0 {
            let lowest = self.core.untold.trailing_zeros();
            self.core.untold &= self.core.untold - 1;
            if let Some(port) = self.snapshot.port(IfIndex(u16::try_from(lowest).unwrap_or(0))) {
                port.ring_doorbell(self.core.cache.lane());
            }
        }
    }

    /// Sends the batch of one interface; what the interface refuses is dropped with its reason. The batch is empty afterwards.
    pub(crate) fn flush(&mut self, out: IfIndex) {
        let core = &mut *self.core;
        core.waiting &= !(1 << out.as_usize());
        let Some(egress) = core.egress.get_mut(out.as_usize()) else { return };
        let mut tally = egress.take_tally();
        while !egress.batch.is_empty() {
            let Some(port) = self.snapshot.port(out) else {
                let reason = if self.snapshot.closed { DropReason::ShuttingDown } else { DropReason::EgressDown };
                while let Some(packet) = egress.batch.pop() {
                    core.counters.count(&packet, Fate::Dropped(reason));
                    core.cache.recycle(packet);
                }
                break;
            };
            let outcome = if core.more {
                core.untold |= 1 << out.as_usize();
                port.transmit_more(&mut egress.batch, &mut core.cache)
            } else {
                core.untold &= !(1 << out.as_usize());
                port.transmit(&mut egress.batch, &mut core.cache)
            };
            // Who the accepted ones were can only be told from who is left.
            let left = Tally::of(&egress.batch);
            tally.record_sent(&left, &core.counters);
            tally = left;
            let Some(refusal) = outcome.refused else { break };
            // Too long is one frame's fault; the other refusals are about all that are left.
            let rest = if refusal == ifnet::TxRefusal::TooLong { 1 } else { egress.batch.len() };
            for packet in egress.batch.drain().take(rest) {
                tally.remove(tally::source(&packet));
                core.counters.count(&packet, Fate::Dropped(refusal.into()));
                core.cache.recycle(packet);
            }
        }
    }

    /// Asks for a neighbour that is not known.
    #[cold]
    fn resolve(&mut self, packet: PacketBuf, out: IfIndex, neighbour: Ipv4Addr) {
        match self.router.arp().resolve(self.now, out, neighbour, packet) {
            Resolution::Send(mac, packet) => self.send_framed(packet, out, mac),
            Resolution::Held { request, dropped } => {
                if let Some(request) = request {
                    self.send_arp_request(&request);
                }
                if let Some((packet, reason)) = dropped {
                    self.discard(packet, reason);
                }
            }
            Resolution::Refused(packet, reason @ DropReason::ArpNegative) => {
                self.reject(packet, IcmpErrorKind::HostUnreachable, reason);
            }
            Resolution::Refused(packet, reason) => self.discard(packet, reason),
        }
    }

    /// Sends a packet in pieces. The packet itself ends here, as forwarded (or sent) if all pieces could be made; the pieces are
    /// packets of our own.
    #[cold]
    pub(crate) fn send_fragments(&mut self, packet: PacketBuf, out: IfIndex, neighbour: Ipv4Addr, mtu: u16) {
        let bytes = packet.bytes().get(ETHERNET_HEADER_LEN..).unwrap_or_default();
        let Ok(mut fragmenter) = Fragmenter::new(bytes, mtu) else {
            return self.discard(packet, DropReason::FragmentationFailed);
        };
        while !fragmenter.is_finished() {
            let Some(mut piece) = self.core.cache.alloc() else {
                return self.discard(packet, DropReason::FragmentationNoBuffer);
            };
            self.core.counters.originated.bump();
            if fragmenter.write_next(&mut piece).is_none() {
                self.discard(piece, DropReason::FragmentationFailed);
                return self.discard(packet, DropReason::FragmentationFailed);
            }
            self.send_to(piece, out, neighbour);
        }
        self.core.counters.count(&packet, Fate::Forwarded);
        self.core.cache.recycle(packet);
    }
}
