//! Frames that no good host sends, from a seed: [`Noise`].
//!
//! A third is plain noise behind an Ethernet header, the rest are good frames with something wrong: octets changed, cut
//! short, made longer, lengths and offsets at their extremes. Checksums are put right again in half of them, so that
//! what comes after the checksum sees bad input as well.

use std::{
    env,
    net::Ipv4Addr,
    time::{SystemTime, UNIX_EPOCH},
};

use etherparse::{
    ArpEthIpv4Packet, ArpOperation, IpFragOffset, IpNumber, Ipv4Header, Ipv4Options, UdpHeader, checksum::Sum16BitWords,
};
use wire::MacAddr;

/// The variable that repeats a run.
pub const SEED_VARIABLE: &str = "SLUICE_E2E_SEED";

/// The shortest frame: addresses and type. The longest: what an interface without jumbo frames takes.
const FRAME_LENGTHS: (usize, usize) = (14, 1514);

/// Returns the seed of this run: the one that is asked for, or a new one.
#[must_use]
pub fn seed() -> u64 {
    let asked = env::var(SEED_VARIABLE).ok().and_then(|text| text.trim().parse().ok());
    let now = || {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |time| time.as_secs() ^ u64::from(time.subsec_nanos()))
    };
    asked.unwrap_or_else(now)
}

/// Where the noise is made: who sends it, and whom it is for.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The router's port.
    pub port: MacAddr,
    /// The router's address on that port.
    pub router: Ipv4Addr,
    /// The host whose link it is; the noise claims to come from a station beside it.
    pub host: Ipv4Addr,
    /// A host behind the router.
    pub other: Ipv4Addr,
}

/// A source of bad frames.
#[derive(Clone, Debug)]
pub struct Noise {
    state: u64,
    place: Place,
}

impl Noise {
    /// Makes the source for a place; the same seed gives the same frames.
    #[must_use]
    pub const fn new(seed: u64, place: Place) -> Self {
        Self { state: seed, place }
    }

    /// Returns so many frames. All are for the port's own address or for everybody, so that its card takes them in.
    #[must_use]
    pub fn frames(&mut self, count: usize) -> Vec<Vec<u8>> {
        (0..count).map(|_| self.frame()).collect()
    }

    /// The next number (Steele, Lea and Flood, "Fast splittable pseudorandom number generators").
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit.max(1) as u64).unwrap_or(0)
    }

    fn octet(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }

    fn octets(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.octet()).collect()
    }

    fn frame(&mut self) -> Vec<u8> {
        let mut frame = if self.chance(3) { self.plain_noise() } else { self.good_frame() };
        for _ in 0..self.below(4) {
            self.spoil(&mut frame);
        }
        if self.chance(2) {
            mend_checksum(&mut frame);
        }
        frame.resize(frame.len().clamp(FRAME_LENGTHS.0, FRAME_LENGTHS.1), 0);
        let destination = if self.chance(8) { MacAddr::BROADCAST } else { self.place.port };
        if let Some(start) = frame.first_chunk_mut::<6>() {
            *start = destination.octets();
        }
        self.spare_the_good_host(&mut frame);
        frame
    }

    /// An Ethernet header and anything behind it.
    fn plain_noise(&mut self) -> Vec<u8> {
        let types = [0x0800, 0x0800, 0x0806, 0x86dd, 0x8100, 0x88a8, 0x05dc, 0x0000];
        let chosen = self.below(types.len() + 1);
        let random = u16::from_le_bytes([self.octet(), self.octet()]);
        let ether_type = types.get(chosen).copied().unwrap_or(random);
        let length = self.below(FRAME_LENGTHS.1 - FRAME_LENGTHS.0 + 1);
        let mut frame = self.header(ether_type);
        frame.extend(self.octets(length));
        frame
    }

    fn header(&mut self, ether_type: u16) -> Vec<u8> {
        let mut frame = self.place.port.octets().to_vec();
        frame.extend([0x02, 0x4e, 0, 0, 0, self.octet()]);
        frame.extend(ether_type.to_be_bytes());
        frame
    }

    fn good_frame(&mut self) -> Vec<u8> {
        match self.below(6) {
            0 => self.arp(),
            kind => self.ipv4(kind),
        }
    }

    /// A request or reply of a station beside the host.
    fn arp(&mut self) -> Vec<u8> {
        let [a, b, c, _] = self.place.host.octets();
        let operation = if self.chance(2) { ArpOperation::REQUEST } else { ArpOperation::REPLY };
        let mut frame = self.header(0x0806);
        let packet = ArpEthIpv4Packet {
            operation,
            sender_mac: [0x02, 0x4e, 0, 0, 0, self.octet()],
            sender_ipv4: [a, b, c, 77],
            target_mac: [0; 6],
            target_ipv4: self.place.router.octets(),
        };
        frame.extend(packet.to_bytes());
        frame
    }

    /// A packet to the router, to a host behind it, or to nowhere.
    fn ipv4(&mut self, kind: usize) -> Vec<u8> {
        let [a, b, c, _] = self.place.host.octets();
        let nowhere = Ipv4Addr::from(self.next().to_le_bytes().first_chunk().copied().unwrap_or([192, 0, 2, 1]));
        let destination = [self.place.router, self.place.other, nowhere].get(self.below(3)).copied().unwrap_or(nowhere);
        let length = self.below(200);
        let body = self.octets(length);
        let (protocol, payload) = match kind {
            1 => (IpNumber::ICMP, icmp(8, &body)),
            2 => (IpNumber::ICMP, icmp(self.octet(), &body)),
            3 | 4 => (IpNumber::UDP, body),
            _ => (IpNumber(self.octet()), body),
        };
        let mut ip =
            Ipv4Header::new(0, self.octet(), protocol, [a, b, c, 77], destination.octets()).unwrap_or_default();
        ip.identification = u16::from_le_bytes([self.octet(), self.octet()]);
        ip.dont_fragment = self.chance(4);
        if self.chance(5) {
            ip.more_fragments = self.chance(2);
            ip.fragment_offset = IpFragOffset::try_new(u16::from(self.octet())).unwrap_or_default();
        }
        if self.chance(4) {
            let words = self.below(11);
            ip.options = Ipv4Options::try_from(self.octets(words * 4).as_slice()).unwrap_or_default();
        }
        let payload = if protocol == IpNumber::UDP { udp(&ip, &payload) } else { payload };
        ip.total_len = u16::try_from(ip.header_len() + payload.len()).unwrap_or(u16::MAX);
        ip.header_checksum = ip.calc_header_checksum();
        let mut frame = self.header(0x0800);
        frame.extend(ip.to_bytes());
        frame.extend(payload);
        frame
    }

    /// Makes one thing wrong.
    fn spoil(&mut self, frame: &mut Vec<u8>) {
        let length = frame.len();
        let at = FRAME_LENGTHS.0 + self.below(length.saturating_sub(FRAME_LENGTHS.0).min(64));
        let (value, bit) = (self.octet(), self.below(8));
        match self.below(6) {
            0 => frame.truncate(FRAME_LENGTHS.0 + self.below(length)),
            1 => {
                let more = self.below(300);
                frame.extend(self.octets(more));
            }
            2 => frame.iter_mut().skip(at).take(1).for_each(|octet| *octet ^= 1 << bit),
            3 => frame.iter_mut().skip(at).take(1).for_each(|octet| *octet = value),
            4 => frame.iter_mut().skip(at).take(2).for_each(|octet| *octet = 0xff),
            _ => frame.iter_mut().skip(at).take(2).for_each(|octet| *octet = 0),
        }
    }

    /// No ARP packet may speak in the name of the host whose traffic must not suffer: that this works on a plain
    /// Ethernet is no fault of the router.
    fn spare_the_good_host(&self, frame: &mut [u8]) {
        let is_arp = frame.get(12..14) == Some(&[0x08, 0x06]);
        if is_arp
            && let Some(sender) = frame.get_mut(28..32)
            && *sender == self.place.host.octets()
        {
            sender.iter_mut().skip(3).for_each(|octet| *octet = 78);
        }
    }
}

fn icmp(kind: u8, body: &[u8]) -> Vec<u8> {
    let sum = Sum16BitWords::new().add_2bytes([kind, 0]).add_slice(body).ones_complement();
    [&[kind, 0], sum.to_ne_bytes().as_slice(), body].concat()
}

fn udp(ip: &Ipv4Header, body: &[u8]) -> Vec<u8> {
    let header = UdpHeader::with_ipv4_checksum(33_000, 7, ip, body).map_or([0; 8], |header| header.to_bytes());
    [header.as_slice(), body].concat()
}

/// Puts the checksum of the IPv4 header right, if there is one of the length it claims.
fn mend_checksum(frame: &mut [u8]) {
    let Some(packet) = frame.get_mut(14..) else { return };
    let length = usize::from(packet.first().copied().unwrap_or(0) & 0x0f) * 4;
    let Some(header) = packet.get_mut(..length).filter(|header| header.len() >= 20) else { return };
    if let Some(place) = header.get_mut(10..12) {
        place.fill(0);
    }
    let sum = Sum16BitWords::new().add_slice(header).ones_complement().to_ne_bytes();
    if let Some(place) = header.get_mut(10..12) {
        place.copy_from_slice(&sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place {
        port: MacAddr([0x52, 0x54, 0, 0x51, 0x1c, 0]),
        router: Ipv4Addr::new(10, 0, 1, 1),
        host: Ipv4Addr::new(10, 0, 1, 2),
        other: Ipv4Addr::new(10, 0, 2, 2),
    };

    #[test]
    fn the_same_seed_makes_the_same_frames_and_another_makes_others() {
        let frames = |seed| Noise::new(seed, PLACE).frames(100);
        assert_eq!(frames(7), frames(7));
        assert_ne!(frames(7), frames(8));
    }

    #[test]
    fn every_frame_reaches_the_port_and_none_speaks_for_the_good_host() {
        for frame in Noise::new(1, PLACE).frames(20_000) {
            assert!((FRAME_LENGTHS.0..=FRAME_LENGTHS.1).contains(&frame.len()));
            let to = MacAddr(*frame.first_chunk().unwrap());
            assert!(to == PLACE.port || to.is_broadcast());
            let is_arp = frame.get(12..14) == Some(&[8, 6]);
            assert!(!is_arp || frame.get(28..32) != Some(&[10, 0, 1, 2]));
        }
    }

    #[test]
    fn good_headers_bad_headers_and_no_headers_all_come_up() {
        let frames = Noise::new(2, PLACE).frames(5000);
        let ip: Vec<&[u8]> =
            frames.iter().filter(|f| f.get(12..14) == Some(&[8, 0])).filter_map(|f| f.get(14..)).collect();
        let intact = ip.iter().filter(|packet| {
            let length = usize::from(packet.first().copied().unwrap_or(0) & 15) * 4;
            packet
                .get(..length)
                .is_some_and(|h| h.len() >= 20 && Sum16BitWords::new().add_slice(h).ones_complement() == 0)
        });
        let intact = intact.count();
        assert!(intact > ip.len() / 4 && intact < ip.len() * 9 / 10, "{intact} of {}", ip.len());
        assert!(frames.iter().any(|f| f.get(12..14) == Some(&[8, 6])));
        assert!(frames.iter().any(|f| f.get(12..14) == Some(&[0x81, 0])));
    }
}
