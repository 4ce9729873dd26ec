//! Packets that this router makes: ICMP errors, echo replies, echo requests for the console.

use forward::{IcmpErrorKind, icmp};
use ifnet::{DropReason, IfIndex};
use ksync::time::Instant;
use pktbuf::{Origin, PacketBuf};
use wire::{ETHERNET_HEADER_LEN, Ipv4};

use crate::{MAX_PING_BODY, PingError, PingReply, PingRequest, worker::Pass, worker::Worker};

/// The data of an echo request.
const PING_BODY: [u8; MAX_PING_BODY] = {
    let mut body = [0; MAX_PING_BODY];
    let (mut i, mut letter) = (0, b'a');
    while i < body.len() {
        body[i] = letter;
        letter = if letter == b'z' { b'a' } else { letter + 1 };
        i += 1;
    }
    body
};

impl Pass<'_> {
    /// Drops a packet for `reason`, and tells its sender if that is allowed.
    #[cold]
    pub(crate) fn reject(&mut self, packet: PacketBuf, kind: IcmpErrorKind, reason: DropReason) {
        if packet.origin() == Origin::Received {
            self.report(&packet, kind);
        }
        self.discard(packet, reason);
    }

    /// Sends an error about `offending`, or counts why it did not.
    fn report(&mut self, offending: &PacketBuf, kind: IcmpErrorKind) {
        self.core.counters.originated.bump();
        let result = self.make_report(offending, kind);
        match result {
            Ok(error) => self.send_own(error),
            Err(reason) => self.core.counters.local_fates.drop_one(reason),
        }
    }

    fn make_report(&mut self, offending: &PacketBuf, kind: IcmpErrorKind) -> Result<PacketBuf, DropReason> {
        let tables = &self.snapshot.tables;
        let bytes = offending.bytes().get(ETHERNET_HEADER_LEN..).unwrap_or_default();
        if !icmp::may_answer(bytes, offending.link_cast(), tables) {
            return Err(DropReason::IcmpSuppressed);
        }
        let ip = Ipv4::new_quoted(bytes).map_err(|_| DropReason::IcmpSuppressed)?;
        let sender = ip.source();
        if !self.core.limiter.allow(self.now, sender) {
            return Err(DropReason::IcmpRateLimited);
        }
        // An error about a packet to us comes from the address it was sent to; any other from the interface it leaves by.
        let (out, neighbour) = tables.route(sender).ok_or(DropReason::NoRoute)?;
        let asked = Some(ip.destination()).filter(|&address| tables.is_own(address));
        let source = asked.or_else(|| tables.source_address(out, neighbour)).ok_or(DropReason::IcmpSuppressed)?;
        let mut error = self.core.cache.alloc().ok_or(DropReason::IcmpNoBuffer)?;
        error.set_origin(Origin::Local);
        match icmp::build_error(kind, bytes, source, tables.config().ttl, &mut error) {
            Ok(()) => Ok(error),
            Err(no_room) => {
                self.core.cache.recycle(error);
                Err(no_room.into())
            }
        }
    }

    /// Routes a packet of our own, which is counted as originated, and sends it.
    pub(crate) fn send_own(&mut self, packet: PacketBuf) {
        let bytes = packet.bytes().get(ETHERNET_HEADER_LEN..).unwrap_or_default();
        let Ok(ip) = Ipv4::new_checked(bytes) else { return self.discard(packet, DropReason::Ip4Truncated) };
        let (destination, len) = (ip.destination(), ip.total_len());
        let Some((out, neighbour)) = self.snapshot.tables.route(destination) else {
            return self.discard(packet, DropReason::NoRoute);
        };
        match self.snapshot.tables.interface(out) {
            Some(interface) if !interface.up => self.discard(packet, DropReason::EgressDown),
            Some(interface) if len > interface.mtu => self.send_fragments(packet, out, neighbour, interface.mtu),
            _ => self.send_to(packet, out, neighbour),
        }
    }

    /// Makes an echo request.
    fn make_ping(&mut self, request: &PingRequest) -> Result<PacketBuf, PingError> {
        let tables = &self.snapshot.tables;
        let body = PING_BODY.get(..request.body_len).ok_or(PingError::TooLong)?;
        let (out, neighbour): (IfIndex, _) = tables.route(request.destination).ok_or(PingError::NoRoute)?;
        let source = tables.source_address(out, neighbour).ok_or(PingError::NoAddress)?;
        let (destination, ident, sequence) = (request.destination, request.ident, request.sequence);
        let echo = icmp::Echo { source, destination, ident, sequence };
        let mut packet = self.core.cache.alloc().ok_or(PingError::NoBuffer)?;
        packet.set_origin(Origin::Local);
        match icmp::build_echo_request(&echo, body, tables.config().ttl, &mut packet) {
            Ok(()) => Ok(packet),
            Err(icmp::NoRoom) => {
                self.core.cache.recycle(packet);
                Err(PingError::TooLong)
            }
        }
    }

    fn ping(&mut self, request: PingRequest) -> Result<(), PingError> {
        let now = self.now;
        let pings = self.router.pings();
        if self.snapshot.tables.is_own(request.destination) {
            // We are here, and know it without asking.
            let (from, sequence) = (request.destination, request.sequence);
            let (len, ttl) = (request.body_len + 8, self.snapshot.tables.config().ttl);
            pings.sent(now, request);
            pings.answered(now, request.ident, PingReply { from, sequence, len, ttl, round_trip: Default::default() });
            return Ok(());
        }
        let packet = self.make_ping(&request)?;
        pings.sent(now, request);
        self.core.counters.originated.bump();
        self.send_own(packet);
        Ok(())
    }
}

impl Worker {
    /// Sends an echo request; [`Router::ping_poll`](crate::Router::ping_poll) has the reply when it has come.
    ///
    /// # Errors
    /// [`PingError`].
    ///
    /// # Context
    /// Thread; does not wait for the reply.
    pub fn ping_send(&mut self, now: Instant, request: PingRequest) -> Result<(), PingError> {
        self.pass(now, |pass| pass.ping(request))
    }
}
