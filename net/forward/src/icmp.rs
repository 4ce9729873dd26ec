//! The messages a router sends: errors (RFC 1812 4.3.2, 4.3.3) and echo replies (4.3.3.6). Any context.

use core::net::Ipv4Addr;

use ifnet::DropReason;
use pktbuf::{LinkCast, PacketBatch, PacketBuf};
use wire::{
    ETHERNET_HEADER_LEN, IPV4_HEADER_LEN, Icmpv4, Ipv4, Ipv4Header, checksum::Sum, icmpv4, icmpv4::Message, protocol,
};

use crate::{IcmpErrorKind, Tables};

/// The longest error, IP header included (RFC 1812 4.3.2.3).
pub const MAX_ERROR_LEN: usize = 576;

/// The type of service of errors: precedence 6, internetwork control (RFC 1812 4.3.2.5).
const ERROR_TOS: u8 = 0xc0;

/// Returns whether an error may be reported about `packet`, which starts at its IP header: RFC 1812 4.3.2.7.
#[must_use]
pub fn may_answer(packet: &[u8], link_cast: LinkCast, tables: &Tables) -> bool {
    let Ok(ip) = Ipv4::new_quoted(packet) else { return false };
    let (source, destination) = (ip.source(), ip.destination());
    // Not about what went to many, by either layer's address,
    if link_cast != LinkCast::Unicast || destination.is_multicast() || tables.is_broadcast(destination) {
        return false;
    }
    // nor about any fragment but the first,
    if ip.fragment_offset() != 0 {
        return false;
    }
    // nor to an address that does not name a single host (0.0.0.0 to 0.255.255.255, loopback, groups, broadcast),
    let top = source.octets()[0];
    if top == 0 || top == 127 || source.is_multicast() || tables.own_kind(source).is_some() {
        return false;
    }
    if top >= 240 && (!tables.config().allow_net240 || source.is_broadcast()) {
        return false;
    }
    // nor about an error. Of a message too short to have a type we cannot know.
    ip.protocol() != protocol::ICMP || ip.payload().first().is_some_and(|&kind| !icmpv4::is_error(kind))
}

/// There is no room in the buffer, or nothing to write about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom;

impl From<NoRoom> for DropReason {
    fn from(_: NoRoom) -> Self {
        Self::IcmpNoBuffer
    }
}

/// Writes an error about `offending` (starting at its IP header) into the fresh buffer `out`: a blank Ethernet header, IP from
/// `source` to the offending packet's sender, ICMP, and as much of the offending packet as 576 octets hold (RFC 1812 4.3.2.3).
///
/// # Errors
/// [`NoRoom`] if `out` cannot hold it; its window is then of no use.
pub fn build_error(
    kind: IcmpErrorKind,
    offending: &[u8],
    source: Ipv4Addr,
    ttl: u8,
    out: &mut PacketBuf,
) -> Result<(), NoRoom> {
    const FRONT: usize = IPV4_HEADER_LEN + icmpv4::ICMP_HEADER_LEN;
    let ip = Ipv4::new_quoted(offending).map_err(|_| NoRoom)?;
    let quoted_len = usize::from(ip.total_len()).min(offending.len()).min(MAX_ERROR_LEN - FRONT);
    let quoted = offending.get(..quoted_len).ok_or(NoRoom)?;
    let header = Ipv4Header {
        tos: ERROR_TOS,
        total_len: u16::try_from(FRONT + quoted_len).map_err(|_| NoRoom)?,
        // The sender chose it so that packets do not get mixed up; that serves the other direction as well.
        ident: ip.ident(),
        dont_fragment: false,
        more_fragments: false,
        fragment_offset: 0,
        ttl,
        protocol: protocol::ICMP,
        source,
        destination: ip.source(),
    };
    out.extend(ETHERNET_HEADER_LEN + FRONT).ok_or(NoRoom)?;
    out.append(quoted).ok_or(NoRoom)?;
    write_message(out, &header, kind.message())
}

/// Writes an echo request with `body` into the fresh buffer `out`, behind a blank Ethernet header.
///
/// # Errors
/// [`NoRoom`] if `out` cannot hold it; its window is then of no use.
pub fn build_echo_request(header: &Echo, body: &[u8], ttl: u8, out: &mut PacketBuf) -> Result<(), NoRoom> {
    const FRONT: usize = IPV4_HEADER_LEN + icmpv4::ICMP_HEADER_LEN;
    let ip = Ipv4Header {
        tos: 0,
        total_len: u16::try_from(FRONT + body.len()).map_err(|_| NoRoom)?,
        ident: header.sequence,
        dont_fragment: false,
        more_fragments: false,
        fragment_offset: 0,
        ttl,
        protocol: protocol::ICMP,
        source: header.source,
        destination: header.destination,
    };
    out.extend(ETHERNET_HEADER_LEN + FRONT).ok_or(NoRoom)?;
    out.append(body).ok_or(NoRoom)?;
    write_message(out, &ip, Message::EchoRequest { ident: header.ident, sequence: header.sequence })
}

/// Who asks whom in an echo request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echo {
    /// From this address of ours,
    pub source: Ipv4Addr,
    /// to that host.
    pub destination: Ipv4Addr,
    /// Names the asker.
    pub ident: u16,
    /// Names the question.
    pub sequence: u16,
}

/// Turns an echo request to us, intact as [`local::deliver`](crate::local::deliver) has found it, into its reply, in place
/// (RFC 1812 4.3.3.6): same data, from the address that was asked. Options do not come back, and the Ethernet header is
/// left blank or stale.
///
/// # Errors
/// [`NoRoom`] if the packet is none of that; it is then unchanged.
pub fn echo_reply(packet: &mut PacketBuf, ttl: u8) -> Result<(), NoRoom> {
    let request = Icmpv4::new_checked(ip_of(packet)?.payload()).map_err(|_| NoRoom)?;
    let reply = Message::EchoReply { ident: request.ident(), sequence: request.sequence() };
    turn_around(packet, ttl)?;
    let (_, bytes) = packet.bytes_mut().split_at_mut_checked(FRONT_LEN).ok_or(NoRoom)?;
    reply.emit(bytes).map_err(|_| NoRoom)
}

/// As [`echo_reply`], for a request that came in `pieces`, all of them in order: each becomes a fragment of the reply.
///
/// # Errors
/// [`NoRoom`] if the pieces are no such request; some may have been turned around already.
pub fn echo_reply_pieces(pieces: &mut PacketBatch, ttl: u8) -> Result<(), NoRoom> {
    let mut sum = Sum::new();
    for piece in pieces.iter() {
        sum = sum.with(ip_of(piece)?.payload());
    }
    // Each piece goes once from the front to the back, which leaves their order as it was.
    for place in 0..pieces.len() {
        let mut piece = pieces.pop().ok_or(NoRoom)?;
        let turned = turn_around(&mut piece, ttl);
        let answered = if place == 0 { answer_in(&mut piece, sum) } else { Ok(()) };
        drop(pieces.push(piece));
        turned.and(answered)?;
    }
    Ok(())
}

/// Makes the request that begins in `first` a reply. `sum` is that of the whole request.
fn answer_in(first: &mut PacketBuf, sum: Sum) -> Result<(), NoRoom> {
    let message = first.bytes_mut().get_mut(FRONT_LEN..).ok_or(NoRoom)?;
    let header = message.first_chunk_mut::<{ icmpv4::ICMP_HEADER_LEN }>().ok_or(NoRoom)?;
    let request = Icmpv4::new_checked(&header[..]).map_err(|_| NoRoom)?;
    let reply = Message::EchoReply { ident: request.ident(), sequence: request.sequence() };
    // In the sum, the old type and checksum give way to the new type, which is zero.
    let (old_type, old_sum) = (u16::from_be_bytes([header[0], header[1]]), request.checksum());
    let [high, low] = sum.with_word(!old_type).with_word(!old_sum).checksum().to_be_bytes();
    *header = reply.header();
    (header[2], header[3]) = (high, low);
    Ok(())
}

/// Octets in front of an IP payload without options.
const FRONT_LEN: usize = ETHERNET_HEADER_LEN + IPV4_HEADER_LEN;

fn ip_of(packet: &PacketBuf) -> Result<Ipv4<'_>, NoRoom> {
    let bytes = packet.bytes().get(ETHERNET_HEADER_LEN..).ok_or(NoRoom)?;
    Ipv4::new_checked(bytes).map_err(|_| NoRoom)
}

/// Sends a packet back where it came from, as far as its IP header is concerned: a fragment stays one.
fn turn_around(packet: &mut PacketBuf, ttl: u8) -> Result<(), NoRoom> {
    let ip = ip_of(packet)?;
    let header = Ipv4Header {
        tos: ip.tos(),
        total_len: u16::try_from(IPV4_HEADER_LEN + ip.payload().len()).map_err(|_| NoRoom)?,
        ident: ip.ident(),
        dont_fragment: false,
        more_fragments: ip.more_fragments(),
        fragment_offset: ip.fragment_offset(),
        ttl,
        protocol: ip.protocol(),
        source: ip.destination(),
        destination: ip.source(),
    };
    let (options_len, frame_len) = (ip.options().len(), ETHERNET_HEADER_LEN + usize::from(ip.total_len()));
    packet.truncate(frame_len);
    // The new, shorter header ends where the old one did.
    packet.trim_front(options_len);
    let (_, bytes) = packet.bytes_mut().split_first_chunk_mut::<ETHERNET_HEADER_LEN>().ok_or(NoRoom)?;
    header.emit(bytes.first_chunk_mut().ok_or(NoRoom)?);
    Ok(())
}

/// Writes both headers in front of a message body that is in place.
fn write_message(packet: &mut PacketBuf, header: &Ipv4Header, message: Message) -> Result<(), NoRoom> {
    let (_, bytes) = packet.bytes_mut().split_first_chunk_mut::<ETHERNET_HEADER_LEN>().ok_or(NoRoom)?;
    let (ip, icmp) = bytes.split_first_chunk_mut::<IPV4_HEADER_LEN>().ok_or(NoRoom)?;
    header.emit(ip);
    message.emit(icmp).map_err(|_| NoRoom)
}
