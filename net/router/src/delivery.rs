//! Packets for this router: consuming, answering, refusing, and putting fragments together.

use core::time::Duration;

use forward::{
    IcmpErrorKind, Insertion, LocalKind, icmp,
    local::{Delivery, deliver, deliver_pieces},
};
use ifnet::{DropReason, Fate};
use pktbuf::{Origin, PacketBatch, PacketBuf};
use wire::{ETHERNET_HEADER_LEN, Ipv4};

use crate::{PingReply, worker::Pass};

/// Returns the IP packet in a buffer whose window starts at the Ethernet header.
fn ip_of(packet: &PacketBuf) -> Option<Ipv4<'_>> {
    Ipv4::new_checked(packet.bytes().get(ETHERNET_HEADER_LEN..)?).ok()
}

impl Pass<'_> {
    /// Consumes or refuses a packet that is for this router.
    #[cold]
    pub(crate) fn deliver(&mut self, packet: PacketBuf, kind: LocalKind) {
        let bytes = packet.bytes().get(ETHERNET_HEADER_LEN..).unwrap_or_default();
        match deliver(bytes, kind) {
            Delivery::EchoRequest => self.answer_echo(packet),
            Delivery::EchoReply { ident, sequence } => {
                let len = ip_of(&packet).map_or(0, |ip| ip.payload().len());
                let fate = self.match_reply(&packet, (ident, sequence), len);
                self.core.counters.count(&packet, fate);
                self.core.cache.recycle(packet);
            }
            Delivery::Fragment => self.collect(packet),
            Delivery::IcmpError { kind, reason } => self.reject(packet, kind, reason),
            Delivery::Drop(reason) => self.discard(packet, reason),
        }
    }

    /// Turns an echo request around. The request ends here, delivered; the reply is a packet of our own.
    fn answer_echo(&mut self, mut packet: PacketBuf) {
        let ttl = self.snapshot.tables.config().ttl;
        match icmp::echo_reply(&mut packet, ttl) {
            Ok(()) => self.send_answer(packet),
            Err(no_room) => self.discard(packet, no_room.into()),
        }
    }

    /// Sends a received packet that has become an answer.
    fn send_answer(&mut self, mut packet: PacketBuf) {
        self.core.counters.count(&packet, Fate::Delivered);
        self.core.counters.originated.bump();
        packet.set_origin(Origin::Local);
        self.send_own(packet);
    }

    /// Returns the fate of an echo reply of `len` octets, the (first) packet of which is given: delivered, if somebody asked.
    fn match_reply(&self, packet: &PacketBuf, question: (u16, u16), len: usize) -> Fate {
        let (ident, sequence) = question;
        let is_answer = ip_of(packet).is_some_and(|ip| {
            let reply = PingReply { from: ip.source(), sequence, len, ttl: ip.ttl(), round_trip: Duration::ZERO };
            self.router.pings().answered(self.now, ident, reply)
        });
        if is_answer { Fate::Delivered } else { Fate::Dropped(DropReason::IcmpIgnored) }
    }

    /// Keeps a fragment until the others are there, and then delivers the whole.
    fn collect(&mut self, packet: PacketBuf) {
        let mut pieces = core::mem::take(&mut self.core.scratch);
        self.router.reassembler().lock().make_room(&packet, &mut pieces);
        self.give_up(&mut pieces);
        // The guard of the lock is gone at the end of this statement.
        let insertion = self.router.reassembler().lock().insert(self.now, packet, &mut pieces);
        match insertion {
            Insertion::Held => {}
            Insertion::Refused(packet) => self.discard(packet, DropReason::LocalFragment),
            Insertion::Complete => self.deliver_whole(&mut pieces),
        }
        self.core.scratch = pieces;
    }

    /// Delivers an ICMP message that came in pieces; all of them end here.
    fn deliver_whole(&mut self, pieces: &mut PacketBatch) {
        let payloads = || pieces.iter().map(|piece| ip_of(piece).map_or(&[][..], |ip| ip.payload()));
        let fate = match deliver_pieces(payloads()) {
            Delivery::EchoRequest => match icmp::echo_reply_pieces(pieces, self.snapshot.tables.config().ttl) {
                Ok(()) => {
                    while let Some(piece) = pieces.pop() {
                        self.send_answer(piece);
                    }
                    return;
                }
                Err(no_room) => Fate::Dropped(no_room.into()),
            },
            Delivery::EchoReply { ident, sequence } => {
                let len = payloads().map(<[u8]>::len).sum();
                let first = pieces.front();
                let ignored = Fate::Dropped(DropReason::IcmpIgnored);
                first.map_or(ignored, |first| self.match_reply(first, (ident, sequence), len))
            }
            Delivery::Drop(reason) | Delivery::IcmpError { reason, .. } => Fate::Dropped(reason),
            Delivery::Fragment => Fate::Dropped(DropReason::LocalFragment),
        };
        while let Some(piece) = pieces.pop() {
            self.core.counters.count(&piece, fate);
            self.core.cache.recycle(piece);
        }
    }

    /// Drops the pieces of datagrams that did not become whole in time, and says so (RFC 1122 3.3.2).
    pub(crate) fn expire_pieces(&mut self) {
        let mut pieces = core::mem::take(&mut self.core.scratch);
        while self.router.reassembler().lock().expire(self.now, &mut pieces) {
            self.give_up(&mut pieces);
        }
        self.core.scratch = pieces;
    }

    /// Drops all pieces that are held; returns how many.
    pub(crate) fn flush_pieces(&mut self) -> u64 {
        let mut pieces = core::mem::take(&mut self.core.scratch);
        let mut dropped = 0;
        while self.router.reassembler().lock().flush(&mut pieces) {
            while let Some(piece) = pieces.pop() {
                self.discard(piece, DropReason::ShuttingDown);
                dropped += 1;
            }
        }
        self.core.scratch = pieces;
        dropped
    }

    /// Drops the pieces of a datagram, in order. An error is about the first fragment only, and there is none without it.
    fn give_up(&mut self, pieces: &mut PacketBatch) {
        while let Some(piece) = pieces.pop() {
            if ip_of(&piece).is_some_and(|ip| ip.fragment_offset() == 0) {
                self.reject(piece, IcmpErrorKind::ReassemblyTimeExceeded, DropReason::LocalReassemblyTimeout);
            } else {
                self.discard(piece, DropReason::LocalReassemblyTimeout);
            }
        }
    }
}
