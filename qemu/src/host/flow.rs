//! A stream of UDP packets that is verified octet by octet: [`FlowSpec`] and [`FlowReport`].
//!
//! Sender and receiver are in one process, so a flow paces itself: at most `window` packets are under way, and a packet
//! that arrives makes room for the next. The receiver makes the packet that should have arrived (the sent one with the
//! time to live lowered by the routers between) and compares all of it, headers included.

use std::time::{Duration, Instant};

use etherparse::{IpDscp, IpEcn, IpNumber, Ipv4Header};

use super::{
    HostId, packet,
    payload::{self, MIN_PAYLOAD},
    seen::Seen,
};

/// After so long without an arrival everything under way is given up, so that a loss does not end the flow.
const STALL: Duration = Duration::from_secs(1);

/// How many packets may be under way while nobody has told otherwise. Half of the smallest ring we use.
const DEFAULT_WINDOW: u32 = 64;

/// Names a flow of a lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowId(pub(super) usize);

/// The lengths of a flow's UDP payloads in octets; 16 at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// All alike.
    Fixed(usize),
    /// From the first to the last and again.
    Sweep(usize, usize),
}

impl Sizes {
    /// Payloads that make Ethernet frames of 64 octets, the smallest there are.
    pub const SMALLEST: Self = Self::Fixed(18);

    /// Returns the length of payload number `sequence`.
    fn of(self, sequence: u64) -> usize {
        let length = match self {
            Self::Fixed(length) => length,
            Self::Sweep(first, last) => {
                let count = last.saturating_sub(first) as u64 + 1;
                first + usize::try_from(sequence % count).unwrap_or_default()
            }
        };
        length.max(MIN_PAYLOAD)
    }
}

/// What a flow is to be.
#[derive(Clone, Debug)]
pub struct FlowSpec {
    /// Who sends.
    pub from: HostId,
    /// Who receives.
    pub to: HostId,
    /// UDP ports, source first.
    pub ports: (u16, u16),
    /// The lengths of the payloads.
    pub sizes: Sizes,
    /// How many packets are sent; a flow without a number runs until it is stopped.
    pub packets: Option<u64>,
    /// How many packets are under way at most.
    pub window: u32,
    /// The time to live that the sender sets.
    pub ttl: u8,
    /// By how much the routers between lower it.
    pub hops: u8,
    /// The second octet of the IP header (RFC 2474, RFC 3168).
    pub tos: u8,
    /// Whether routers may not fragment.
    pub dont_fragment: bool,
}

impl FlowSpec {
    /// Makes an endless flow of the smallest packets through one router.
    #[must_use]
    pub fn new(from: HostId, to: HostId) -> Self {
        Self {
            from,
            to,
            ports: (20_000, 20_001),
            sizes: Sizes::SMALLEST,
            packets: None,
            window: DEFAULT_WINDOW,
            ttl: 64,
            hops: 1,
            tos: 0,
            dont_fragment: false,
        }
    }
}

/// How a flow has gone so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowReport {
    /// Packets sent.
    pub sent: u64,
    /// Packets that arrived as they should, each counted once.
    pub delivered: u64,
    /// Packets that did not arrive: all those missing when the flow is over, until then those given up.
    pub lost: u64,
    /// Arrivals of a packet that had arrived before.
    pub duplicated: u64,
    /// Packets that arrived after one that was sent later.
    pub reordered: u64,
    /// Packets whose headers are not what they should be, such as the time to live or the checksum.
    pub wrong_header: u64,
    /// Packets whose UDP header or payload is not what was sent.
    pub damaged: u64,
    /// ICMP errors that the sender has received about the flow.
    pub errors: u64,
    /// How often the flow stood still for a second.
    pub stalls: u64,
    /// Octets of the IP packets delivered.
    pub octets: u64,
    /// Time from the first packet sent to the last arrival.
    pub elapsed: Duration,
    /// Whether everything is sent and has arrived or is lost.
    pub is_over: bool,
}

impl FlowReport {
    /// Returns whether every packet arrived once, in order and intact.
    #[must_use]
    pub fn is_perfect(&self) -> bool {
        let faults = [self.lost, self.duplicated, self.reordered, self.wrong_header, self.damaged, self.errors];
        faults.iter().all(|count| *count == 0) && self.delivered == self.sent
    }

    /// Returns the packets delivered in a second, on average.
    #[must_use]
    pub fn packets_per_second(&self) -> f64 {
        let seconds = self.elapsed.as_secs_f64();
        if seconds > 0.0 { self.delivered as f64 / seconds } else { 0.0 }
    }
}

/// A flow under way.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) spec: FlowSpec,
    number: u32,
    addresses: ([u8; 4], [u8; 4]),
    report: FlowReport,
    seen: Seen,
    /// Packets that arrived, intact or not, each counted once.
    arrived: u64,
    /// Packets given up as lost that would otherwise count as under way; late arrivals among them stay counted.
    given_up: u64,
    highest: Option<u64>,
    started: Option<Instant>,
    /// The last time anything arrived or was given up.
    progress: Instant,
    stopped: bool,
    expected: Vec<u8>,
}

impl Flow {
    pub(super) fn new(spec: FlowSpec, id: FlowId, addresses: ([u8; 4], [u8; 4]), now: Instant) -> Self {
        let number = u32::try_from(id.0).unwrap_or(u32::MAX);
        let report = FlowReport::default();
        let (seen, expected) = (Seen::default(), Vec::new());
        let (arrived, given_up, highest, started, stopped) = (0, 0, None, None, false);
        let progress = now;
        Self { spec, number, addresses, report, seen, arrived, given_up, highest, started, progress, stopped, expected }
    }

    pub(super) fn stop(&mut self) {
        self.stopped = true;
    }

    /// Returns whether a packet may be sent now.
    pub(super) fn may_send(&self) -> bool {
        !self.has_sent_all() && self.under_way() < u64::from(self.spec.window)
    }

    fn has_sent_all(&self) -> bool {
        self.stopped || self.spec.packets.is_some_and(|packets| self.report.sent >= packets)
    }

    fn under_way(&self) -> u64 {
        self.report.sent.saturating_sub(self.arrived + self.given_up)
    }

    /// Appends the next packet.
    pub(super) fn send(&mut self, out: &mut Vec<u8>, now: Instant) {
        if self.under_way() == 0 {
            self.progress = now;
        }
        self.started.get_or_insert(now);
        self.write(out, self.report.sent, self.spec.ttl);
        self.report.sent += 1;
    }

    /// Gives up what is under way after a stall; returns when to look again.
    pub(super) fn check(&mut self, now: Instant) -> Option<Instant> {
        if self.report.is_over {
            return None;
        }
        if self.under_way() == 0 {
            self.report.is_over = self.has_sent_all();
            return None;
        }
        let deadline = self.progress + STALL;
        if now < deadline {
            return Some(deadline);
        }
        self.given_up += self.under_way();
        self.report.stalls += 1;
        self.progress = now;
        self.report.is_over = self.has_sent_all();
        None
    }

    /// Counts an ICMP error about the flow.
    pub(super) fn count_error(&mut self) {
        self.report.errors += 1;
    }

    /// Returns whether a quoted packet is of this flow.
    pub(super) fn is_quoted(&self, quote: &packet::Quote) -> bool {
        let (from, to) = self.spec.ports;
        let ports = [from.to_be_bytes(), to.to_be_bytes()].concat();
        let addresses = (quote.source.octets(), quote.destination.octets());
        addresses == self.addresses && quote.payload().starts_with(&ports)
    }

    /// Takes an arrived IP packet whose payload names this flow.
    pub(super) fn receive(&mut self, packet: &[u8], sequence: u64, now: Instant) {
        if sequence >= self.report.sent {
            self.report.damaged += 1;
            return;
        }
        if !self.seen.insert(sequence) {
            self.report.duplicated += 1;
            return;
        }
        self.arrived += 1;
        self.progress = now;
        if self.highest.is_some_and(|highest| sequence < highest) {
            self.report.reordered += 1;
        }
        self.highest = self.highest.max(Some(sequence));
        let mut expected = std::mem::take(&mut self.expected);
        expected.clear();
        self.write(&mut expected, sequence, self.spec.ttl.saturating_sub(self.spec.hops));
        if packet == expected {
            self.report.delivered += 1;
            self.report.octets += packet.len() as u64;
        } else if packet.get(Ipv4Header::MIN_LEN..) == expected.get(Ipv4Header::MIN_LEN..) {
            self.report.wrong_header += 1;
        } else {
            self.report.damaged += 1;
        }
        self.expected = expected;
        self.report.elapsed = self.started.map_or(Duration::ZERO, |started| now - started);
    }

    pub(super) fn report(&self) -> FlowReport {
        let missing = self.report.sent - self.arrived;
        // A packet that was given up and came late after all is not lost.
        let lost = if self.report.is_over { missing } else { self.given_up.min(missing) };
        FlowReport { lost, ..self.report }
    }

    /// Appends the IP packet with the given number as it is with the given time to live.
    fn write(&self, out: &mut Vec<u8>, sequence: u64, ttl: u8) {
        let length = self.spec.sizes.of(sequence);
        let start = out.len();
        let (source, destination) = self.addresses;
        let mut ip = packet::ipv4_header(source.into(), destination.into(), IpNumber::UDP, ttl, 8 + length);
        let [.., high, low] = sequence.to_be_bytes();
        ip.identification = u16::from_be_bytes([high, low]);
        ip.dont_fragment = self.spec.dont_fragment;
        ip.dscp = IpDscp::try_new(self.spec.tos >> 2).unwrap_or_default();
        ip.ecn = IpEcn::try_new(self.spec.tos & 3).unwrap_or_default();
        ip.header_checksum = ip.calc_header_checksum();
        out.extend_from_slice(&ip.to_bytes());
        // The UDP header needs the payload's checksum, so the payload is written first, behind its place.
        let place = out.len();
        out.resize(place + 8, 0);
        let start_of_payload = out.len();
        payload::append(out, self.number, sequence, length);
        let header = etherparse::UdpHeader::with_ipv4_checksum(
            self.spec.ports.0,
            self.spec.ports.1,
            &ip,
            out.get(start_of_payload..).unwrap_or_default(),
        );
        if let (Ok(header), Some(place)) = (header, out.get_mut(place..place + 8)) {
            place.copy_from_slice(&header.to_bytes());
        }
        debug_assert_eq!(out.len() - start, Ipv4Header::MIN_LEN + 8 + length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a flow that has sent `count` packets, and those packets as they should arrive.
    fn sent(count: u64) -> (Flow, Vec<Vec<u8>>, Instant) {
        let now = Instant::now();
        let spec = FlowSpec { packets: Some(count), ..FlowSpec::new(HostId(0), HostId(1)) };
        let mut flow = Flow::new(spec, FlowId(3), ([10, 0, 1, 2], [10, 0, 2, 2]), now);
        let mut packets = Vec::new();
        while flow.may_send() {
            flow.send(&mut Vec::new(), now);
            let mut packet = Vec::new();
            flow.write(&mut packet, flow.report.sent - 1, 63);
            packets.push(packet);
        }
        assert_eq!(packets.len() as u64, count.min(u64::from(DEFAULT_WINDOW)));
        (flow, packets, now)
    }

    #[test]
    fn packets_that_arrive_in_order_make_a_perfect_flow() {
        let (mut flow, packets, now) = sent(10);
        for (sequence, packet) in (0..).zip(&packets) {
            assert_eq!(payload::read(&packet[28..]), Some((FlowId(3), sequence)));
            flow.receive(packet, sequence, now);
        }
        flow.check(now);
        assert!(flow.report().is_perfect() && flow.report().is_over, "{:?}", flow.report());
        assert_eq!(flow.report().octets, 10 * 46);
    }

    #[test]
    fn loss_repetition_and_disorder_are_told_apart() {
        let (mut flow, packets, now) = sent(5);
        for index in [0_u8, 2, 1, 2, 4] {
            flow.receive(&packets[usize::from(index)], u64::from(index), now);
        }
        assert!(!flow.report().is_over);
        flow.check(now + STALL);
        let report = flow.report();
        assert!(report.is_over && !report.is_perfect());
        assert_eq!((report.delivered, report.lost, report.duplicated, report.reordered), (4, 1, 1, 1));
    }

    #[test]
    fn any_octet_that_is_not_as_it_should_be_is_found() {
        let (mut flow, packets, now) = sent(46);
        for (index, packet) in packets.iter().enumerate() {
            let mut packet = packet.clone();
            packet[index] ^= 0x10;
            flow.receive(&packet, index as u64, now);
        }
        let report = flow.report();
        assert_eq!((report.wrong_header, report.damaged, report.delivered), (20, 26, 0));
    }

    #[test]
    fn a_packet_whose_ttl_was_not_lowered_has_a_wrong_header() {
        let (mut flow, _, now) = sent(1);
        let mut packet = Vec::new();
        flow.write(&mut packet, 0, 64);
        flow.receive(&packet, 0, now);
        assert_eq!(flow.report().wrong_header, 1);
    }

    #[test]
    fn the_window_holds_back_and_a_stall_opens_it_again() {
        let (mut flow, packets, now) = sent(1000);
        assert!(!flow.may_send());
        flow.receive(&packets[0], 0, now);
        assert!(flow.may_send());
        assert!(flow.check(now).is_some());
        flow.check(now + STALL);
        assert_eq!((flow.report().lost, flow.report().stalls), (63, 1));
        assert!(flow.may_send());
        // What was given up and arrives late is not lost after all.
        flow.receive(&packets[1], 1, now + STALL);
        flow.stop();
        flow.check(now + 3 * STALL);
        assert_eq!(flow.report().lost, 62);
        assert!(flow.report().is_over);
    }

    #[test]
    fn sizes_sweep_from_first_to_last() {
        let sizes = Sizes::Sweep(18, 20);
        assert_eq!((0..5).map(|sequence| sizes.of(sequence)).collect::<Vec<_>>(), [18, 19, 20, 18, 19]);
        assert_eq!(Sizes::Fixed(1).of(9), MIN_PAYLOAD);
    }
}
