//! Packets about which a router keeps silent, each in the counter that names it (RFC 1812 4.3.2.7, 5.2.2, 5.3.4 to 5.3.7).

use std::net::Ipv4Addr;

use anyhow::{Result, ensure};
use e2e::Bench;
use etherparse::{IpFragOffset, IpNumber, Ipv4Header};
use wire::MacAddr;

use crate::packets;

/// A packet, how it is addressed, and the counter that it ends in.
struct Case {
    counter: &'static str,
    to: MacAddr,
    packet: Vec<u8>,
}

/// Makes a case of a UDP packet to the host at port 1, changed by `change` before its checksum is made.
fn case(counter: &'static str, change: impl FnOnce(&mut Ipv4Header)) -> Case {
    let mut header = packets::ip(Bench::host_address(1), IpNumber::UDP);
    change(&mut header);
    Case { counter, to: Bench::own_mac(0), packet: packets::udp_packet(header, 9, b"not to be forwarded") }
}

/// Makes a case of a UDP packet to the host at port 1, changed by `change` after its checksum is made.
fn broken(counter: &'static str, change: impl FnOnce(&mut Vec<u8>)) -> Case {
    let mut case = case(counter, |_| ());
    change(&mut case.packet);
    case
}

/// Puts the header's checksum right after a change of its octets.
fn mend(packet: &mut [u8]) {
    let length = usize::from(packet[0] & 15) * 4;
    packet[10..12].fill(0);
    let header = &packet[..length.max(20)];
    let sum = etherparse::checksum::Sum16BitWords::new().add_slice(header).ones_complement().to_ne_bytes();
    packet[10..12].copy_from_slice(&sum);
}

fn header_cases() -> Vec<Case> {
    vec![
        broken("ip4-bad-checksum", |p| p[10] ^= 1),
        broken("ip4-bad-version", |p| {
            p[0] = 0x55;
            mend(p);
        }),
        broken("ip4-bad-header-length", |p| {
            p[0] = 0x44;
            mend(p);
        }),
        broken("ip4-bad-total-length", |p| {
            p[2..4].copy_from_slice(&[0, 19]);
            mend(p);
        }),
        broken("ip4-truncated", |p| {
            p[2..4].copy_from_slice(&[4, 0]);
            mend(p);
        }),
    ]
}

fn address_cases() -> Vec<Case> {
    let mut cases: Vec<Case> = [
        ("martian-source-this-network", [0, 1, 2, 3]),
        ("martian-source-loopback", [127, 0, 0, 1]),
        ("martian-source-multicast", [224, 0, 0, 5]),
        ("martian-source-broadcast", [255, 255, 255, 255]),
        ("martian-source-broadcast", [10, 0, 2, 255]),
        ("martian-source-own", [10, 0, 2, 1]),
    ]
    .into_iter()
    .map(|(counter, source)| case(counter, |header| header.source = source))
    .collect();
    let to = [
        ("martian-destination-loopback", [127, 0, 0, 1]),
        ("martian-destination-this-network", [0, 0, 0, 1]),
        ("ip4-directed-broadcast", [10, 0, 2, 255]),
    ];
    cases.extend(to.map(|(counter, destination)| case(counter, |header| header.destination = destination)));
    cases.push(Case { to: MacAddr::BROADCAST, ..case("ip4-link-broadcast", |_| ()) });
    cases
}

#[test]
fn a_packet_that_no_router_may_pass_ends_in_its_own_counter_and_in_silence() -> Result<()> {
    let mut bench = Bench::of(2).boot_warm()?;
    let arrived = bench.lab.capture(bench.host(1), |frame| frame.ends_with(b"not to be forwarded"));
    for case in header_cases().into_iter().chain(address_cases()) {
        let before = bench.router.settled_books()?;
        let frame = packets::frame(&bench, case.to, &case.packet);
        bench.lab.send_frame(bench.host(0), &frame);
        let came = |shown: &str| e2e::Books::parse(shown).is_ok_and(|books| books.received > before.received);
        bench.router.wait_until("show audit", came)?;
        let after = bench.router.settled_books()?;
        assert_eq!(after.fate(case.counter), before.fate(case.counter) + 1, "{}: {before:#?} {after:#?}", case.counter);
        assert_eq!(after.dropped(), before.dropped() + 1, "{}: only that counter: {after:#?}", case.counter);
    }
    assert_eq!(arrived.drain(), [], "nothing of it was forwarded");
    assert_eq!(bench.lab.take_errors(bench.host(0)), [], "nothing of it was answered");
    bench.finish()
}

/// Packets that deserve an error, but must not get one (RFC 1812 4.3.2.7).
fn unanswerable() -> Vec<(&'static str, MacAddr, Vec<u8>)> {
    let own = Bench::own_mac(0);
    let expired = |header: Ipv4Header| Ipv4Header { time_to_live: 1, ..header };
    let far = Bench::host_address(1);
    // An error about a packet that never was.
    let inner = packets::udp_packet(packets::ip(Bench::host_address(0), IpNumber::UDP), 9, b"x");
    let mut message = vec![3, 1, 0, 0, 0, 0, 0, 0];
    message.extend(inner);
    let sum = etherparse::checksum::Sum16BitWords::new().add_slice(&message).ones_complement().to_ne_bytes();
    message[2..4].copy_from_slice(&sum);
    let mut later = expired(packets::ip(far, IpNumber::UDP));
    later.fragment_offset = IpFragOffset::try_new(64).expect("a small offset");
    let mut to_all = packets::ip(Ipv4Addr::BROADCAST, IpNumber::UDP);
    to_all.time_to_live = 1;
    let nearby = packets::ip(Ipv4Addr::new(10, 0, 1, 255), IpNumber::UDP);
    let group = packets::ip(Ipv4Addr::new(224, 0, 0, 99), IpNumber::UDP);
    vec![
        ("an ICMP error", own, packets::packet(expired(packets::ip(far, IpNumber::ICMP)), &message)),
        ("a later fragment", own, packets::packet(later, &[0; 64])),
        (
            "a link-layer broadcast",
            MacAddr::BROADCAST,
            packets::udp_packet(expired(packets::ip(far, IpNumber::UDP)), 9, b"x"),
        ),
        ("the limited broadcast", MacAddr::BROADCAST, packets::udp_packet(to_all, 9, b"x")),
        ("a directed broadcast", MacAddr::BROADCAST, packets::udp_packet(nearby, 9, b"x")),
        ("a group", MacAddr([1, 0, 0x5e, 0, 0, 99]), packets::udp_packet(group, 9, b"x")),
        ("a source that is nobody", own, {
            let mut header = expired(packets::ip(far, IpNumber::UDP));
            header.source = [0; 4];
            packets::udp_packet(header, 9, b"x")
        }),
    ]
}

#[test]
fn no_error_is_sent_about_errors_fragments_and_what_went_to_many() -> Result<()> {
    let mut bench = Bench::of(2).boot_warm()?;
    let (a, b) = (bench.host(0), bench.host(1));
    let is_error = |frame: &[u8]| {
        packets::is_ipv4(frame)
            && frame.get(23) == Some(&1)
            && frame.get(34).is_some_and(|kind| [3, 11, 12].contains(kind))
    };
    let errors = [bench.lab.capture(a, is_error), bench.lab.capture(b, is_error)];
    let before = bench.router.settled_books()?;
    let cases = unanswerable();
    for (_, to, packet) in &cases {
        bench.lab.send_frame(a, &packets::frame(&bench, *to, packet));
    }
    // A group's frame may be left out by the card's filter; all others arrive.
    let due = before.received + cases.len() as u64 - 1;
    let came = |shown: &str| e2e::Books::parse(shown).is_ok_and(|books| books.received >= due);
    bench.router.wait_until("show audit", came)?;
    let after = bench.router.settled_books()?;
    for capture in &errors {
        ensure!(capture.drain().is_empty(), "an error was sent: {after:#?}");
    }
    ensure!(after.dropped() + 1 >= before.dropped() + cases.len() as u64, "{before:#?} {after:#?}");
    // That the router can still speak when it should.
    let header = Ipv4Header { time_to_live: 1, ..packets::ip(Bench::host_address(1), IpNumber::UDP) };
    bench.lab.send_frame(a, &packets::frame(&bench, Bench::own_mac(0), &packets::udp_packet(header, 9, b"x")));
    ensure!(errors[0].next(e2e::PATIENCE).is_some(), "no error at all");
    bench.finish()
}
