//! Receive checksum offload: the device's verdicts, and what software says of the same frame to hold against them.
//!
//! Key types: [`Verdicts`] (about one frame), [`ChecksumTrial`] (what became of the comparison). In ordinary operation the device's word is
//! taken for the header of IPv4 (82574 7.1.10.2); with [`Config::verify_checksums`](crate::Config::verify_checksums) it is
//! not, and every verdict is compared. Pure, but for the counting.

use ksync::counter::Counter;
use wire::{EtherType, Ethernet, Ipv4, checksum::Sum, protocol};

use crate::desc::{RxErrors, RxStatus, RxWriteback};

/// What is made of the device's verdicts about checksums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sums {
    /// Nothing: it is not asked.
    Ignored,
    /// They are believed.
    Believed,
    /// They are compared with software's, and not believed.
    Compared,
}

/// Whether checksums of a frame are right; `None` where there is none, or nobody has looked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdicts {
    /// That of the IPv4 header.
    pub(crate) header: Option<bool>,
    /// That of TCP or UDP.
    pub(crate) transport: Option<bool>,
}

impl Verdicts {
    /// Returns what the device says.
    pub(crate) fn of_device(written: RxWriteback) -> Self {
        let RxWriteback { status, errors, .. } = written;
        let looked = |at: RxStatus| status.intersects(at) && !status.contains(RxStatus::IXSM);
        Self {
            header: looked(RxStatus::IPCS).then(|| !errors.contains(RxErrors::IPE)),
            transport: looked(RxStatus::TCPCS | RxStatus::UDPCS).then(|| !errors.contains(RxErrors::TCPE)),
        }
    }

    /// Returns what software says. Of fragments, options and datagrams without a checksum it says nothing about the transport,
    /// since the device may leave these alone.
    pub(crate) fn of_software(frame: &[u8]) -> Self {
        let packet = Ethernet::new_checked(frame).ok().filter(|frame| frame.ether_type() == EtherType::IPV4);
        let Some(packet) = packet.and_then(|frame| Ipv4::new_checked(frame.payload()).ok()) else {
            return Self::default();
        };
        let header = Some(packet.is_intact());
        let segment = packet.payload();
        let has_sum = match packet.protocol() {
            protocol::TCP => segment.len() >= 20,
            protocol::UDP => segment.get(6..8).is_some_and(|sum| sum != [0, 0]) && length_of(segment) == segment.len(),
            _ => false,
        };
        let plain = !packet.is_fragment() && packet.options().is_empty() && header == Some(true);
        let length = u16::try_from(segment.len()).unwrap_or(0);
        let sum = Sum::new().with(&packet.source().octets()).with(&packet.destination().octets());
        let sum = sum.with_word(u16::from(packet.protocol())).with_word(length).with(segment);
        Self { header, transport: (has_sum && plain).then(|| sum.is_intact()) }
    }
}

/// The length that a UDP header claims.
fn length_of(datagram: &[u8]) -> usize {
    datagram.get(4..6).map_or(0, |length| usize::from(u16::from_be_bytes([length[0], length[1]])))
}

/// What became of comparing the device's verdicts with software's.
#[derive(Debug, Default)]
pub(crate) struct TrialCounters {
    agreed: Counter,
    disagreed: Counter,
    silent: Counter,
}

impl TrialCounters {
    /// Compares both about one frame.
    pub(crate) fn compare(&self, device: Verdicts, software: Verdicts) {
        for (device, software) in [(device.header, software.header), (device.transport, software.transport)] {
            match (device, software) {
                (_, None) => {}
                (None, Some(_)) => self.silent.bump(),
                (Some(device), Some(software)) if device == software => self.agreed.bump(),
                _ => self.disagreed.bump(),
            }
        }
    }

    pub(crate) fn get(&self) -> ChecksumTrial {
        ChecksumTrial { agreed: self.agreed.get(), disagreed: self.disagreed.get(), silent: self.silent.get() }
    }
}

/// Verdicts of the device about checksums, compared with software's: of the IPv4 header and of TCP or UDP, each counted by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChecksumTrial {
    /// Both said the same.
    pub agreed: u64,
    /// They did not: the device is not to be believed.
    pub disagreed: u64,
    /// Software has a verdict and the device none.
    pub silent: u64,
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use wire::{Ipv4Header, UdpHeader};

    use super::*;

    /// A UDP datagram of `payload` octets in a frame.
    fn datagram(payload: usize) -> Vec<u8> {
        let (source, destination) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let mut udp: Vec<u8> = (0..8 + payload).map(|n| (n * 7).to_le_bytes()[0]).collect();
        UdpHeader { source_port: 1, destination_port: 2 }.emit(&mut udp, source, destination).unwrap();
        let mut header = [0; 20];
        let total_len = u16::try_from(20 + udp.len()).unwrap();
        let header_of = Ipv4Header {
            tos: 0,
            total_len,
            ident: 0,
            dont_fragment: true,
            more_fragments: false,
            fragment_offset: 0,
            ttl: 64,
            protocol: protocol::UDP,
            source,
            destination,
        };
        header_of.emit(&mut header);
        [&[2; 12][..], &[8, 0], &header, &udp].concat()
    }

    #[test]
    fn software_finds_either_checksum_wrong_and_says_nothing_of_what_has_none() {
        let good = datagram(33);
        let verdicts = |at: usize| {
            let mut frame = good.clone();
            frame[at] ^= 1;
            Verdicts::of_software(&frame)
        };
        assert_eq!(Verdicts::of_software(&good), Verdicts { header: Some(true), transport: Some(true) });
        assert_eq!(verdicts(22), Verdicts { header: Some(false), transport: None });
        assert_eq!(verdicts(60), Verdicts { header: Some(true), transport: Some(false) });
        let mut none = good.clone();
        none[40..42].fill(0);
        assert_eq!(Verdicts::of_software(&none), Verdicts { header: Some(true), transport: None });
        assert_eq!(Verdicts::of_software(&good[..40]), Verdicts::default());
        assert_eq!(Verdicts::of_software(&[2; 60]), Verdicts::default());
    }

    #[test]
    fn each_comparison_ends_in_one_count() {
        let trial = TrialCounters::default();
        let all = [None, Some(false), Some(true)];
        for (device, software) in all.into_iter().flat_map(|device| all.map(|software| (device, software))) {
            let verdicts = |header| Verdicts { header, transport: None };
            trial.compare(verdicts(device), verdicts(software));
        }
        assert_eq!(trial.get(), ChecksumTrial { agreed: 2, disagreed: 2, silent: 2 });
    }
}
