//! Fragments of IPv4 packets and the packets they make: [`Reassembly`], [`fragments`] (RFC 791 section 3.2).

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use etherparse::{IpFragOffset, Ipv4Header, Ipv4HeaderSlice};

/// How long the rest of a packet is waited for.
const LIFETIME: Duration = Duration::from_secs(15);

/// How many incomplete packets there are at most.
const ROOM: usize = 1024;

/// Source, destination, protocol and identification: what the fragments of one packet share.
type Key = ([u8; 4], [u8; 4], u8, u16);

/// Incomplete packets.
#[derive(Debug, Default)]
pub(super) struct Reassembly {
    partial: BTreeMap<Key, Partial>,
}

#[derive(Debug)]
struct Partial {
    since: Instant,
    first: Option<Ipv4Header>,
    total: Option<usize>,
    pieces: BTreeMap<usize, Vec<u8>>,
}

impl Reassembly {
    /// Takes a fragment; returns the packet that it completes, as it was before it was cut.
    pub(super) fn take(&mut self, header: &Ipv4HeaderSlice<'_>, payload: &[u8], now: Instant) -> Option<Vec<u8>> {
        self.partial.retain(|_, partial| now - partial.since < LIFETIME);
        let key = (header.source(), header.destination(), header.protocol().0, header.identification());
        if self.partial.len() >= ROOM && !self.partial.contains_key(&key) {
            return None;
        }
        let partial = self.partial.entry(key).or_insert_with(|| Partial {
            since: now,
            first: None,
            total: None,
            pieces: BTreeMap::new(),
        });
        let offset = usize::from(header.fragments_offset().value()) * 8;
        partial.pieces.insert(offset, payload.to_vec());
        if offset == 0 {
            partial.first = Some(header.to_header());
        }
        if !header.more_fragments() {
            partial.total = Some(offset + payload.len());
        }
        let packet = partial.join()?;
        self.partial.remove(&key);
        Some(packet)
    }
}

impl Partial {
    /// Returns the packet, if nothing is missing.
    fn join(&self) -> Option<Vec<u8>> {
        let (mut header, total) = (self.first.clone()?, self.total?);
        let mut payload = Vec::with_capacity(total);
        for (offset, piece) in &self.pieces {
            if *offset != payload.len() {
                return None;
            }
            payload.extend_from_slice(piece);
        }
        if payload.len() != total {
            return None;
        }
        header.more_fragments = false;
        header.total_len = u16::try_from(header.header_len() + total).ok()?;
        header.header_checksum = header.calc_header_checksum();
        let mut packet = header.to_bytes().to_vec();
        packet.append(&mut payload);
        Some(packet)
    }
}

/// Cuts a packet without options into fragments of at most `mtu` octets; one that fits stays whole.
pub(super) fn fragments(packet: &[u8], mtu: usize) -> Vec<Vec<u8>> {
    let Ok((header, _)) = Ipv4Header::from_slice(packet) else { return vec![packet.to_vec()] };
    let payload = packet.get(header.header_len()..).unwrap_or_default();
    // Offsets count eight octets.
    let step = mtu.saturating_sub(header.header_len()) / 8 * 8;
    if packet.len() <= mtu || header.dont_fragment || step == 0 {
        return vec![packet.to_vec()];
    }
    let count = payload.len().div_ceil(step);
    let cut = |(index, piece): (usize, &[u8])| {
        let mut header = header.clone();
        header.total_len = u16::try_from(header.header_len() + piece.len()).unwrap_or(u16::MAX);
        header.more_fragments = index + 1 < count;
        let offset = u16::try_from(index * step / 8).unwrap_or(u16::MAX);
        header.fragment_offset = IpFragOffset::try_new(offset).unwrap_or_default();
        header.header_checksum = header.calc_header_checksum();
        let mut fragment = header.to_bytes().to_vec();
        fragment.extend_from_slice(piece);
        fragment
    };
    payload.chunks(step).enumerate().map(cut).collect()
}

#[cfg(test)]
mod tests {
    use etherparse::IpNumber;

    use super::*;
    use crate::host::packet;

    /// Makes a packet of 4000 octets.
    fn large() -> Vec<u8> {
        let mut ip = packet::ipv4_header([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), IpNumber::ICMP, 9, 3980);
        ip.identification = 77;
        ip.header_checksum = ip.calc_header_checksum();
        let mut bytes = ip.to_bytes().to_vec();
        bytes.extend((0..3980).map(|index| (index % 253) as u8));
        bytes
    }

    fn take(reassembly: &mut Reassembly, fragment: &[u8]) -> Option<Vec<u8>> {
        let (header, exact) = packet::read_ipv4(fragment).unwrap();
        reassembly.take(&header, packet::ipv4_payload(&header, exact), Instant::now())
    }

    #[test]
    fn fragments_in_any_order_make_the_packet_again() {
        let packet = large();
        let cut = fragments(&packet, 1400);
        assert_eq!(cut.iter().map(Vec::len).collect::<Vec<_>>(), [1396, 1396, 1248]);
        for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
            let mut reassembly = Reassembly::default();
            assert_eq!(take(&mut reassembly, &cut[order[0]]), None);
            assert_eq!(take(&mut reassembly, &cut[order[0]]), None, "a fragment that comes twice completes nothing");
            assert_eq!(take(&mut reassembly, &cut[order[1]]), None);
            assert_eq!(take(&mut reassembly, &cut[order[2]]).as_deref(), Some(packet.as_slice()));
        }
    }

    #[test]
    fn what_fits_or_must_not_be_cut_stays_whole() {
        let packet = large();
        assert_eq!(fragments(&packet, 4000), [packet.as_slice()]);
        let mut whole = packet;
        whole[6] |= 0x40;
        assert_eq!(fragments(&whole, 1400), [whole.as_slice()]);
    }
}
