//! The plain packet: what nearly all packets are, judged with as few instructions as possible.
//!
//! [`Plain::of`] reads a frame and says whether it is one: to this port, IPv4 without options, intact, between ordinary addresses, with
//! time to live. For such a packet [`input`](crate::input) has nothing left to ask but the route, and [`Adjacency`] is the answer to
//! that, made once for each snapshot: through which port, by which neighbour, how long a packet may be. Whatever is not plain, or
//! does not fit its adjacency, takes the long way through `input`, which decides everything anew: this file forwards nothing
//! that `input` would not, and changes nothing of what it hands over.
//!
//! Pure; any context. RFC 1812 5.2.2, 5.3.1, 5.3.7; RFC 1624.

use core::net::Ipv4Addr;

use fib::{NextHop, NextHopKind, Sought};
use pktbuf::PacketBuf;
use wire::{ETHERNET_HEADER_LEN, IPV4_HEADER_LEN, MacAddr, checksum};

use crate::{ForwardConfig, IfConfig, Tables, input::is_special};

/// Octets that are looked at.
const HEADERS: usize = ETHERNET_HEADER_LEN + IPV4_HEADER_LEN;
/// Ethernet type IPv4, then version 4 with a header of five words, as a little-endian number of the three octets.
const PLAIN_IPV4: u32 = 0x45_0008;
/// The low 48 bits of a frame are its destination.
const MAC: u64 = 0xffff_ffff_ffff;
/// A source that no packet has.
const NOBODY: u64 = u64::MAX;
/// The group bit of the source address behind it.
const GROUP_SOURCE: u64 = 1 << 48;

/// By the first octet of an address, whether it is in a block that wants a second thought: 1 for those of [`is_special`].
static SPECIAL: [u8; 256] = {
    let mut special = [0; 256];
    let mut top = 0;
    while top < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "below 256")]
        let address = Ipv4Addr::new(top as u8, 0, 0, 0);
        special[top] = is_special(address) as u8;
        top += 1;
    }
    special
};

/// What is known of a plain packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plain {
    /// Where it goes.
    pub destination: Ipv4Addr,
    /// Octets of the IP packet; the frame has at least so many behind its Ethernet header.
    pub total_len: u16,
    /// Index of the next hop, once it has been looked up; 0 before.
    pub hop: u16,
}

impl Sought for Plain {
    #[inline]
    fn destination(&self) -> Ipv4Addr {
        self.destination
    }

    #[inline]
    fn set_index(&mut self, index: u16) {
        self.hop = index;
    }
}

/// The address a port listens to, as a frame begins with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortAddress(u64);

impl PortAddress {
    /// Returns the beginning of frames to `mac`.
    #[inline]
    #[must_use]
    pub const fn new(mac: MacAddr) -> Self {
        Self(wire_bits(mac))
    }
}

/// Returns an address as the little-endian number that its octets are.
#[inline]
const fn wire_bits(mac: MacAddr) -> u64 {
    let [a, b, c, d, e, f] = mac.octets();
    u64::from_le_bytes([a, b, c, d, e, f, 0, 0])
}

impl Plain {
    /// No packet.
    pub const NONE: Self = Self { destination: Ipv4Addr::UNSPECIFIED, total_len: 0, hop: 0 };

    /// Looks at a packet that arrived at the port with address `port`; `None` if it is anything but plain.
    ///
    /// `judged` goes from packet to packet of one run, with the same tables. With `VOUCHED` somebody else has found the checksum of the header
    /// right, and it is not looked at.
    #[inline]
    #[must_use]
    pub fn of<const VOUCHED: bool>(
        packet: &PacketBuf,
        port: PortAddress,
        tables: &Tables,
        judged: &mut Judged,
    ) -> Option<Self> {
        let headers = packet.front::<HEADERS>()?;
        let to_us = word64::<0>(headers) & (MAC | GROUP_SOURCE) == port.0;
        let is_ipv4 = word32::<12>(headers) & 0xff_ffff == PLAIN_IPV4;
        let total_len = u16::from_be_bytes([headers[16], headers[17]]);
        // One comparison: behind the header lies nothing, or as much as is said, or more.
        let fits = usize::from(total_len).wrapping_sub(IPV4_HEADER_LEN) <= packet.len() - HEADERS;
        if !to_us || !is_ipv4 || !fits || headers[22] <= 1 {
            return None;
        }
        let header = headers.last_chunk::<IPV4_HEADER_LEN>()?;
        if !VOUCHED && !checksum::is_intact_header(header) {
            return None;
        }
        let (source, destination) = (word32::<26>(headers), word32::<30>(headers));
        if (u64::from(source) != judged.source || destination != judged.destination)
            && !judged.judge(source, destination, tables)
        {
            return None;
        }
        Some(Self { destination: octets_of(destination), total_len, hop: 0 })
    }
}

/// The pair of addresses that was found good last, and how often that was another one: packets of one flow come together. The addresses
/// are the little-endian numbers that their octets are.
#[derive(Clone, Copy, Debug)]
pub struct Judged {
    /// [`NOBODY`] before the first.
    source: u64,
    destination: u32,
    changes: usize,
}

impl Judged {
    /// No pair yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { source: NOBODY, destination: 0, changes: 0 }
    }

    /// Returns how many pairs there were, one that came again after another counted again.
    #[inline]
    #[must_use]
    pub const fn changes(&self) -> usize {
        self.changes
    }

    /// Returns whether both are ordinary addresses, and the source is certainly none of ours; notes them then.
    #[inline]
    fn judge(&mut self, source: u32, destination: u32, tables: &Tables) -> bool {
        let ([a, ..], [b, ..]) = (source.to_le_bytes(), destination.to_le_bytes());
        // The first octet of an address says what block it is in.
        let special = SPECIAL[usize::from(a)] | SPECIAL[usize::from(b)];
        // Packets of one source come together: that it is none of ours has been seen then.
        let is_known = u64::from(source) == self.source;
        if special != 0 || (!is_known && tables.may_be_own(octets_of(source))) {
            return false;
        }
        *self = Self { source: u64::from(source), destination, changes: self.changes + 1 };
        true
    }
}

impl Default for Judged {
    fn default() -> Self {
        Self::new()
    }
}

#[inline]
const fn octets_of(number: u32) -> Ipv4Addr {
    let [a, b, c, d] = number.to_le_bytes();
    Ipv4Addr::new(a, b, c, d)
}

/// Where a plain packet leaves the router: one next hop of a snapshot with all that is needed to send to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(align(16))]
pub struct Adjacency {
    /// The neighbour's address; unspecified for the packet's own destination.
    via: Ipv4Addr,
    /// Through which interface.
    out: u16,
    /// The longest IP packet that goes this way, in octets; 0 where none does.
    mtu: u16,
    /// The source address of the frame.
    source: MacAddr,
}

/// The beginning of frames to one neighbour: both station addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// The destination and the first two octets of the source, as a little-endian number.
    front: u64,
    /// The rest of the source.
    back: u32,
}

impl Adjacency {
    /// An adjacency through which nothing goes.
    pub(crate) const NONE: Self = Self { via: Ipv4Addr::UNSPECIFIED, out: 0, mtu: 0, source: MacAddr::ZERO };

    /// Makes the adjacency of a next hop.
    pub(crate) fn new(hop: &NextHop, interfaces: &[IfConfig], config: &ForwardConfig) -> Self {
        let via = match hop.via {
            NextHopKind::Gateway(gateway) => gateway,
            NextHopKind::Connected => Ipv4Addr::UNSPECIFIED,
            _ => return Self::NONE,
        };
        let link = interfaces.get(usize::from(hop.out)).filter(|link| link.up && config.forwarding);
        link.map_or(Self::NONE, |link| Self { via, out: hop.out, mtu: link.mtu, source: link.mac })
    }

    /// Returns the octets of the longest plain packet that goes this way as it is; 0 where none does.
    #[inline]
    #[must_use]
    pub const fn longest(&self) -> u32 {
        self.mtu as u32
    }

    /// Returns the interface's index.
    #[inline]
    #[must_use]
    pub const fn out(&self) -> u16 {
        self.out
    }

    /// Returns whether the neighbour is the same for all packets that go this way.
    #[inline]
    #[must_use]
    pub const fn is_by_gateway(&self) -> bool {
        self.via.to_bits() != 0
    }

    /// Returns the neighbour to which a packet for `destination` is sent.
    #[inline]
    #[must_use]
    pub const fn neighbour(&self, destination: Ipv4Addr) -> Ipv4Addr {
        if self.via.to_bits() == 0 { destination } else { self.via }
    }

    /// Returns how frames to `neighbour` begin.
    #[inline]
    #[must_use]
    pub const fn rewrite(&self, neighbour: MacAddr) -> Rewrite {
        let [a, b, c, d, e, f] = self.source.octets();
        let front = wire_bits(neighbour) | (u16::from_le_bytes([a, b]) as u64) << 48;
        Rewrite { front, back: u32::from_le_bytes([c, d, e, f]) }
    }
}

impl Rewrite {
    /// The beginning of no frame.
    pub const NONE: Self = Self { front: 0, back: 0 };

    /// Makes a plain packet ready for the wire, in whole words: both station addresses, time to live, checksum; and cuts off what
    /// lies behind it.
    #[inline]
    pub fn apply(self, packet: &mut PacketBuf, plain: Plain) {
        let Some(headers) = packet.front_mut::<HEADERS>() else { return };
        put::<0, 8>(headers, self.front.to_le_bytes());
        put::<8, 4>(headers, self.back.to_le_bytes());
        let life = one_hop_less(word32::<22>(headers));
        put::<22, 4>(headers, life.to_le_bytes());
        packet.truncate(ETHERNET_HEADER_LEN + usize::from(plain.total_len));
    }
}

/// Takes one from the time to live in the word of time to live, protocol and checksum (little-endian), and brings the checksum up to
/// date: RFC 1624 equation 3 for a word that becomes smaller by 0x0100. Ones' complement does not mind the order of octets (RFC 1071
/// 2 (B)), so that adding 0x0100 is adding 1 to the checksum as it stands here, at the top of the word.
#[inline]
const fn one_hop_less(life: u32) -> u32 {
    let next = life.wrapping_add(0x1_0000 - 1);
    // The carry around, which also makes 0xffff 0, as the checksum of a right header never is that.
    if life >= 0xfffe_0000 { next.wrapping_add(0x1_0000) } else { next }
}

#[inline]
const fn word32<const AT: usize>(headers: &[u8; HEADERS]) -> u32 {
    u32::from_le_bytes([headers[AT], headers[AT + 1], headers[AT + 2], headers[AT + 3]])
}

#[inline]
const fn word64<const AT: usize>(headers: &[u8; HEADERS]) -> u64 {
    let [a, b, c, d] = word32::<AT>(headers).to_le_bytes();
    let high = [headers[AT + 4], headers[AT + 5], headers[AT + 6], headers[AT + 7]];
    u64::from_le_bytes([a, b, c, d, high[0], high[1], high[2], high[3]])
}

#[inline]
fn put<const AT: usize, const LEN: usize>(headers: &mut [u8; HEADERS], octets: [u8; LEN]) {
    if let Some(place) = headers.get_mut(AT..AT + LEN) {
        place.copy_from_slice(&octets);
    }
}

#[cfg(test)]
mod tests {
    use wire::Ipv4Header;

    use super::*;

    #[test]
    fn one_hop_less_is_the_long_way_for_every_time_to_live_and_checksum() {
        for checksum in 0..=u16::MAX {
            for ttl in [1, 2, 3, 63, 64, 65, 128, 254, 255_u8] {
                let [high, low] = checksum.to_be_bytes();
                let mut header = [0; 20];
                header[8..12].copy_from_slice(&[ttl, 17, high, low]);
                Ipv4Header::decrement_ttl(&mut header);
                let mine = one_hop_less(u32::from_le_bytes([ttl, 17, high, low])).to_le_bytes();
                assert_eq!(mine, header[8..12], "ttl {ttl}, checksum {checksum:#06x}");
            }
        }
    }
}
