//! The device's look at checksums: what it writes into a descriptor about the frame it received (82574 7.1.10), and what it fills in in a
//! frame it sends (7.2.10).
//!
//! One function, by plain sums of 16-bit words: not the code it is held against.

use e1000::{
    Reg,
    desc::{RxErrors, RxStatus},
    regs::{RXCSUM_IPOFLD, RXCSUM_TUOFLD},
};

use crate::registers::Device;

/// The ones' complement sum of 16-bit words, an odd last octet as if a zero followed; 0xffff if a checksum among them is right.
fn sum(octets: &[u8]) -> u16 {
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low));
    let sum = octets.chunks(2).map(word).fold(0, |sum, word| {
        let sum = sum + word;
        (sum & 0xffff) + (sum >> 16)
    });
    u16::try_from(sum).expect("folded")
}

impl Device {
    /// Fills in the checksums of a frame, as the context says.
    pub(crate) fn insert_sums(&self, frame: &mut [u8], inserts: [bool; 2]) {
        for ((start, at, end), _) in self.engine.context.into_iter().zip(inserts).filter(|(_, wanted)| *wanted) {
            let end = if end == 0 { frame.len() } else { end + 1 };
            let checksum = !frame.get(start..end).map_or(0, sum) ^ u16::from(self.faults.sums_wrongly);
            if let Some(place) = frame.get_mut(at..at + 2) {
                place.copy_from_slice(&checksum.to_be_bytes());
            }
        }
    }

    /// What is said about the checksums of a frame.
    pub(crate) fn look_at_sums(&self, frame: &[u8]) -> (RxStatus, RxErrors) {
        let (mut status, mut errors) = (RxStatus::empty(), RxErrors::empty());
        let asked = self.get(Reg::Rxcsum);
        let Some(packet) = frame.get(14..).filter(|_| frame.get(12..14) == Some(&[8, 0])) else {
            return (status, errors);
        };
        let words = packet.first().map_or(0, |first| if first >> 4 == 4 { usize::from(first & 0xf) } else { 0 });
        let Some(header) = packet.get(..4 * words).filter(|_| words >= 5) else { return (status, errors) };
        let right = sum(header) == 0xffff;
        if asked & RXCSUM_IPOFLD != 0 {
            status |= RxStatus::IPCS;
            errors.set(RxErrors::IPE, right == self.faults.checksum_lies);
        }
        let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let fragment = u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0;
        let Some(segment) = packet.get(4 * words..total) else { return (status, errors) };
        let least = match header[9] {
            6 => 20,
            17 if segment.get(6..8) != Some(&[0, 0]) => 8,
            _ => usize::MAX,
        };
        if asked & RXCSUM_TUOFLD == 0 || fragment || segment.len() < least || !right {
            return (status, errors);
        }
        let [high, low] = u16::try_from(segment.len()).unwrap_or(0).to_be_bytes();
        let whole = [&header[12..20], &[0, header[9], high, low], segment].concat();
        let is_udp = header[9] == 17 && self.layout() == e1000::desc::RxLayout::Extended;
        status |= if is_udp { RxStatus::UDPCS } else { RxStatus::TCPCS };
        errors.set(RxErrors::TCPE, (sum(&whole) == 0xffff) == self.faults.checksum_lies);
        (status, errors)
    }
}
