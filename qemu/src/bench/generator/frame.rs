//! A stream's frames: as they are sent, and as they must come back from the subject. [`Template`].
//!
//! Both are built once, by a library that shares no code with the router. In each frame only the sequence number changes,
//! and where there are several destinations the address and the sums that follow from it. The number's complement stands
//! beside it, so that no sum depends on it.

use std::net::Ipv4Addr;

use anyhow::{Context, Result, ensure};
use etherparse::PacketBuilder;
use wire::MacAddr;

use super::outbox::Outbox;
use crate::bench::{Behaviour, HOSTS, LONGEST_FRAME};

/// The check sequence, which a frame's size counts and QEMU does not carry.
const FCS: usize = 4;

/// Where things are in a frame (Ethernet, IPv4 without options, UDP).
const IP_SUM: usize = 24;
const IP_DESTINATION: usize = 30;
const UDP_SUM: usize = 40;
const SEQUENCE: usize = 42;
const COMPLEMENT: usize = 46;
const HEADERS: usize = 42;

/// The time to live that hosts send with.
const TTL: u8 = 64;

/// The UDP ports (RFC 2544, appendix C.2.6.4, has 7 as the destination; this one is the discard service of RFC 863).
const UDP_PORTS: (u16, u16) = (49_152, 9);

/// The frames of one direction.
#[derive(Clone, Debug)]
pub(super) struct Template {
    /// A frame as it is sent.
    sent: Vec<u8>,
    /// A frame as it must arrive.
    expected: Vec<u8>,
    /// More than one, or none when all frames go to the host.
    destinations: Vec<Destination>,
}

/// A destination and the sums that go with it.
#[derive(Clone, Copy, Debug)]
struct Destination {
    address: [u8; 4],
    sent_sum: [u8; 2],
    expected_sum: [u8; 2],
    udp_sum: [u8; 2],
}

/// A frame is not what it must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    /// The first octet that differs, or the shorter length.
    pub(super) at: usize,
}

impl Template {
    /// Makes the frames of `size` octets (check sequence counted) from the host at port `from` to the one at `to`, through
    /// ports with the station addresses `router`. `run` tells them from those of every other run.
    pub(super) fn new(
        (from, to): (usize, usize),
        size: usize,
        run: u32,
        router: [MacAddr; 2],
        behaviour: Behaviour,
        destinations: &[Ipv4Addr],
    ) -> Result<Self> {
        ensure!((64..=LONGEST_FRAME).contains(&size), "frames have 64 to {LONGEST_FRAME} octets, not {size}");
        let (source, target) = (HOSTS.get(from).context("no such port")?, HOSTS.get(to).context("no such port")?);
        let (inner, outer) = (router.get(from).context("no such port")?, router.get(to).context("no such port")?);
        let payload = payload(size - FCS - HEADERS, run);
        let lowered = TTL - u8::from(behaviour.lowers_ttl);
        let sent = |address| built((source.mac, *inner), (source.address, address), TTL, &payload);
        let expected = |address| built((*outer, target.mac), (source.address, address), lowered, &payload);
        let mut pairs = Vec::new();
        if destinations.len() > 1 {
            for address in destinations {
                pairs.push(Destination::of(*address, &sent(*address)?, &expected(*address)?)?);
            }
        }
        let first = destinations.first().copied().unwrap_or(target.address);
        Ok(Self { sent: sent(first)?, expected: expected(first)?, destinations: pairs })
    }

    /// Returns the length of a frame.
    pub(super) const fn octets(&self) -> usize {
        self.sent.len()
    }

    /// Appends the frame of a sequence number.
    pub(super) fn append(&self, sequence: u32, out: &mut Outbox) {
        let frame = out.append(&self.sent);
        number(frame, sequence);
        if let Some(destination) = destination(&self.destinations, sequence) {
            destination.put(frame, destination.sent_sum);
        }
    }

    /// Returns the sequence number of a frame that has arrived, if every octet is as it must be.
    pub(super) fn check(&mut self, frame: &[u8]) -> Result<u32, Wrong> {
        let sequence = frame.get(SEQUENCE..).and_then(<[u8]>::first_chunk).copied().map_or(0, u32::from_be_bytes);
        number(&mut self.expected, sequence);
        if let Some(destination) = destination(&self.destinations, sequence) {
            destination.put(&mut self.expected, destination.expected_sum);
        }
        if frame == self.expected {
            return Ok(sequence);
        }
        let differs = frame.iter().zip(&self.expected).position(|(is, must)| is != must);
        Err(Wrong { at: differs.unwrap_or(frame.len().min(self.expected.len())) })
    }
}

impl Destination {
    fn of(address: Ipv4Addr, sent: &[u8], expected: &[u8]) -> Result<Self> {
        let sum = |frame: &[u8], at: usize| frame.get(at..).and_then(<[u8]>::first_chunk).copied();
        let missing = "a frame is too short for its headers";
        Ok(Self {
            address: address.octets(),
            sent_sum: sum(sent, IP_SUM).context(missing)?,
            expected_sum: sum(expected, IP_SUM).context(missing)?,
            udp_sum: sum(sent, UDP_SUM).context(missing)?,
        })
    }

    fn put(&self, frame: &mut [u8], ip_sum: [u8; 2]) {
        put(frame, IP_DESTINATION, self.address);
        put(frame, IP_SUM, ip_sum);
        put(frame, UDP_SUM, self.udp_sum);
    }
}

/// Chooses a destination, in an order that no prefetcher follows; the same for sender and receiver.
fn destination(destinations: &[Destination], sequence: u32) -> Option<&Destination> {
    if destinations.is_empty() {
        return None;
    }
    // A multiplicative hash, then its high half scaled to the number of destinations.
    let mixed = u64::from(sequence.wrapping_mul(0x9e37_79b1) ^ (sequence >> 15).wrapping_mul(0x85eb_ca77));
    destinations.get(usize::try_from((mixed * destinations.len() as u64) >> 32).ok()?)
}

/// Writes the sequence number and its complement.
fn number(frame: &mut [u8], sequence: u32) {
    put(frame, SEQUENCE, sequence.to_be_bytes());
    put(frame, COMPLEMENT, (!sequence).to_be_bytes());
}

fn put<const N: usize>(frame: &mut [u8], at: usize, octets: [u8; N]) {
    if let Some(place) = frame.get_mut(at..at + N) {
        place.copy_from_slice(&octets);
    }
}

/// Returns a payload: sequence number 0, the run, and octets that follow from their place.
fn payload(length: usize, run: u32) -> Vec<u8> {
    let mut payload = vec![0; length];
    for (index, octet) in (0_u32..).zip(&mut payload) {
        *octet = (index.wrapping_mul(0x9e37_79b1) >> 24).to_le_bytes()[0];
    }
    put(&mut payload, 0, 0_u32.to_be_bytes());
    put(&mut payload, 4, (!0_u32).to_be_bytes());
    put(&mut payload, 8, run.to_be_bytes());
    payload
}

fn built(mac: (MacAddr, MacAddr), address: (Ipv4Addr, Ipv4Addr), ttl: u8, payload: &[u8]) -> Result<Vec<u8>> {
    let builder = PacketBuilder::ethernet2(mac.0.0, mac.1.0)
        .ipv4(address.0.octets(), address.1.octets(), ttl)
        .udp(UDP_PORTS.0, UDP_PORTS.1);
    let mut frame = Vec::with_capacity(builder.size(payload.len()));
    builder.write(&mut frame, payload).context("a frame cannot be built")?;
    Ok(frame)
}

#[cfg(test)]
mod tests {
    use etherparse::{Ipv4Header, SlicedPacket};

    use super::*;
    use crate::bench::{ROUTER, generator::outbox::PREFIX};

    const MACS: [MacAddr; 2] = [ROUTER[0].mac, ROUTER[1].mac];

    fn template(size: usize, behaviour: Behaviour, destinations: &[Ipv4Addr]) -> Template {
        Template::new((0, 1), size, 7, MACS, behaviour, destinations).unwrap()
    }

    fn sent(template: &Template, sequence: u32) -> Vec<u8> {
        let mut out = Outbox::default();
        template.append(sequence, &mut out);
        out.octets()[PREFIX..].to_vec()
    }

    /// What a router makes of a frame, by another way than the template's.
    fn forwarded(frame: &[u8]) -> Vec<u8> {
        let (mut header, _) = Ipv4Header::from_slice(&frame[14..]).unwrap();
        header.time_to_live -= 1;
        header.header_checksum = header.calc_header_checksum();
        [&HOSTS[1].mac.0, &ROUTER[1].mac.0, &frame[12..14], &header.to_bytes()[..], &frame[34..]].concat()
    }

    #[test]
    fn frames_are_valid_and_of_their_size_whatever_their_number() {
        for size in [64, 512, 1518, LONGEST_FRAME] {
            let template = template(size, Behaviour::ROUTER, &[]);
            for sequence in [0, 1, 0xffff, 0x1_0000, u32::MAX] {
                let frame = sent(&template, sequence);
                assert_eq!(frame.len() + FCS, size);
                let packet = SlicedPacket::from_ethernet(&frame).unwrap();
                let Some(etherparse::TransportSlice::Udp(udp)) = packet.transport else { panic!("no UDP") };
                let Some(etherparse::NetSlice::Ipv4(ip)) = packet.net else { panic!("no IPv4") };
                let header = ip.header().to_header();
                assert_eq!(header.header_checksum, header.calc_header_checksum());
                let sum = udp.to_header().calc_checksum_ipv4(&header, udp.payload()).unwrap();
                assert_eq!(udp.checksum(), sum, "{sequence}");
            }
        }
    }

    #[test]
    fn what_a_router_forwards_is_right_and_any_changed_octet_is_found() {
        let mut template = template(64, Behaviour::ROUTER, &[]);
        for sequence in [0, 5, 70_000] {
            let mut frame = forwarded(&sent(&template, sequence));
            assert_eq!(template.check(&frame), Ok(sequence));
            for at in 0..frame.len() {
                frame[at] ^= 0x10;
                assert!(template.check(&frame).is_err(), "octet {at}");
                frame[at] ^= 0x10;
            }
            assert_eq!(template.check(&frame[..50]), Err(Wrong { at: 50 }));
            frame.push(0);
            assert_eq!(template.check(&frame), Err(Wrong { at: 60 }));
        }
        let untouched = sent(&template, 1);
        assert_eq!(template.check(&untouched), Err(Wrong { at: 0 }));
    }

    #[test]
    fn a_rewriter_leaves_the_header_as_it_is() {
        let mut template = template(64, Behaviour::REWRITER, &[]);
        let frame = sent(&template, 3);
        assert!(template.check(&forwarded(&frame)).is_err());
        assert_eq!(template.check(&[&HOSTS[1].mac.0, &ROUTER[1].mac.0, &frame[12..]].concat()), Ok(3));
    }

    #[test]
    fn every_destination_gets_its_share_and_is_checked() {
        let destinations: Vec<Ipv4Addr> = (0..10).map(|index| Ipv4Addr::new(172, 16, index, 1)).collect();
        let mut template = template(64, Behaviour::ROUTER, &destinations);
        let mut counts = [0; 10];
        for sequence in 0..10_000 {
            let mut frame = forwarded(&sent(&template, sequence));
            assert_eq!(template.check(&frame), Ok(sequence));
            counts[usize::from(frame[32])] += 1;
            frame[32] ^= 1;
            assert!(template.check(&frame).is_err(), "another destination than it was sent to");
        }
        assert!(counts.iter().all(|count| (800..1200).contains(count)), "{counts:?}");
    }

    #[test]
    fn frames_of_another_run_are_not_taken_for_ones_own() {
        let other = Template::new((0, 1), 64, 8, MACS, Behaviour::ROUTER, &[]).unwrap();
        let frame = forwarded(&sent(&other, 3));
        assert!(template(64, Behaviour::ROUTER, &[]).check(&frame).is_err());
    }
}
