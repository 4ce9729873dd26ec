//! The frames of the loop: what each serial number stands for, and whether it has come back so. Pure.
//!
//! Key type: [`Probe`].

use alloc::vec::Vec;

use pktbuf::PacketBuf;
use wire::{
    VlanId,
    checksum::{self, Sum},
    protocol,
};

use super::LoopbackFault;

/// Lengths of the frames in octets without FCS, in turn.
const LENGTHS: [usize; 6] = [60, 1514, 61, 590, 128, 1099];
/// VLANs of frames with a tag, in turn: bits of all of the number are set in some and not in others.
const VLANS: [u16; 3] = [1, 0x555, 4094];
/// Where the headers of IPv4 and of UDP begin, and where their checksums lie.
const HEADER: usize = 14;
const HEADER_SUM: usize = 24;
const DATAGRAM: usize = 34;
const DATAGRAM_SUM: usize = 40;
/// Where the serial number lies: behind the headers.
const SERIAL: usize = 42;

/// Returns the VLANs of frames with a tag.
pub(super) fn vlans() -> impl Iterator<Item = VlanId> {
    VLANS.into_iter().filter_map(VlanId::new)
}

/// What a serial number stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Probe {
    /// Its number in its frame.
    serial: u32,
    /// Octets without FCS and tag.
    pub(super) length: usize,
    /// The VLAN whose tag the device inserts and strips.
    pub(super) vlan: Option<VlanId>,
    /// The device fills in its checksums: every other.
    pub(super) summed: bool,
}

impl Probe {
    /// Every fourth has a tag; three of sixteen, one of those with a tag, are the longest there are, if that is more than usual.
    pub(super) fn new(serial: u32, longest: usize) -> Self {
        let usual = LENGTHS.iter().cycle().nth(serial as usize % LENGTHS.len()).copied().unwrap_or(60);
        let length = if matches!(serial % 16, 5 | 7 | 15) { longest.max(usual) } else { usual };
        let tag = vlans().nth(serial as usize / 4 % VLANS.len());
        Self { serial, length, vlan: tag.filter(|_| serial % 4 == 1), summed: serial.is_multiple_of(2) }
    }

    /// Composes the frame as it is handed to the device.
    pub(super) fn compose(self, mac: [u8; 6], out: &mut Vec<u8>) {
        compose(mac, self.serial, self.length, out);
        if self.summed {
            without_sums(out);
        }
    }
}

/// Compares a frame that has come back with the one that was sent; returns that. `room` is for the frame that was expected.
pub(super) fn judge(
    (mac, first, longest): ([u8; 6], u32, usize),
    packet: &PacketBuf,
    seen: &mut [bool],
    room: &mut Vec<u8>,
) -> Result<Probe, LoopbackFault> {
    let octets = packet.bytes();
    let serial =
        octets.get(SERIAL..).and_then(<[u8]>::first_chunk).map_or(u32::MAX, |serial| u32::from_be_bytes(*serial));
    let place = serial.checked_sub(first).and_then(|place| seen.get_mut(place as usize));
    let Some(place) = place else { return Err(LoopbackFault::Damaged { frame: first, at: SERIAL }) };
    let probe = Probe::new(serial, longest);
    compose(mac, serial, probe.length, room);
    if let Some(at) = room.iter().zip(octets).position(|(a, b)| a != b) {
        return Err(LoopbackFault::Damaged { frame: serial, at });
    }
    if octets.len() != probe.length {
        return Err(LoopbackFault::Damaged { frame: serial, at: probe.length.min(octets.len()) });
    }
    if packet.vlan() != probe.vlan.map_or(0, VlanId::get) {
        return Err(LoopbackFault::Tag { frame: serial, vlan: packet.vlan() });
    }
    if core::mem::replace(place, true) { Err(LoopbackFault::Twice(serial)) } else { Ok(probe) }
}

/// The frame with a serial number: an IPv4 packet between addresses of RFC 2544 that change from frame to frame, so that all
/// receive queues see some: UDP to the port that discards (RFC 863).
fn compose(mac: [u8; 6], serial: u32, length: usize, out: &mut Vec<u8>) {
    out.clear();
    out.resize(length, 0);
    let [_, _, high, low] = serial.to_be_bytes();
    let [total_high, total_low] = u16::try_from(length - 14).unwrap_or(0).to_be_bytes();
    let mut header =
        [0x45, 0, total_high, total_low, 0, 0, 0x40, 0, 64, protocol::UDP, 0, 0, 198, 18, high, low, 198, 19, low, 1];
    let [udp_high, udp_low] = u16::try_from(length - DATAGRAM).unwrap_or(0).to_be_bytes();
    // Each fourth wrong: the device has to see it. It is one of those that the device does not sum.
    let sum = checksum::of(&header) ^ u16::from(serial % 4 == 3);
    let [sum_high, sum_low] = sum.to_be_bytes();
    (header[10], header[11]) = (sum_high, sum_low);
    let body =
        (0_u32..).map(|n| n.wrapping_mul(2_654_435_761).wrapping_add(serial.wrapping_mul(40_503)).to_be_bytes()[0]);
    let udp = [192, 0, 0, 9, udp_high, udp_low, 0, 0];
    let octets = mac.into_iter().chain(mac).chain([8, 0]).chain(header).chain(udp).chain(serial.to_be_bytes());
    out.iter_mut().zip(octets.chain(body)).for_each(|(place, octet)| *place = octet);
    let datagram = out.get(DATAGRAM..length).unwrap_or_default();
    let sum = pseudo_header(out, length - DATAGRAM).with(datagram).checksum();
    put(out, DATAGRAM_SUM, sum);
}

/// The sum over what UDP's checksum covers beside the datagram (RFC 768): addresses, protocol, length.
fn pseudo_header(frame: &[u8], length: usize) -> Sum {
    let addresses = frame.get(HEADER + 12..DATAGRAM).unwrap_or_default();
    let length = u16::try_from(length).unwrap_or(0);
    Sum::new().with(addresses).with_word(u16::from(protocol::UDP)).with_word(length)
}

fn put(frame: &mut [u8], at: usize, word: u16) {
    if let Some(place) = frame.get_mut(at..at + 2) {
        place.copy_from_slice(&word.to_be_bytes());
    }
}

/// Takes the checksums out of a frame, for the device to fill them in.
fn without_sums(frame: &mut [u8]) {
    let seed = pseudo_header(frame, frame.len() - DATAGRAM).fold();
    put(frame, HEADER_SUM, 0);
    put(frame, DATAGRAM_SUM, seed);
}
