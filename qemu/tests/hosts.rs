//! The built-in hosts among themselves: over a cable, and over one that damages what it carries.

use std::{
    io::{Read, Write},
    net::Ipv4Addr,
    os::unix::net::UnixStream,
    thread,
    time::{Duration, Instant},
};

use sluice::host::{FlowSpec, HostId, HostSpec, Lab, Ping, PingOutcome, Sizes};

const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const NOBODY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 9);
const LIMIT: Duration = Duration::from_secs(30);

fn spec(name: &str, address: Ipv4Addr) -> HostSpec {
    HostSpec::new(name, format!("{address}/24").parse().unwrap(), NOBODY)
}

/// Makes two hosts with a cable between them.
fn cable() -> (Lab, HostId, HostId) {
    let lab = Lab::new().unwrap();
    let (one, other) = UnixStream::pair().unwrap();
    let a = lab.add_connected(spec("a", A), one).unwrap();
    let b = lab.add_connected(spec("b", B), other).unwrap();
    (lab, a, b)
}

/// Makes two hosts; every IPv4 frame between them passes `fate`, which says what comes out for it.
fn bad_cable(fate: impl FnMut(u64, Vec<u8>) -> Vec<Vec<u8>> + Send + Clone + 'static) -> (Lab, HostId, HostId) {
    let lab = Lab::new().unwrap();
    let (one, left) = UnixStream::pair().unwrap();
    let (right, other) = UnixStream::pair().unwrap();
    let a = lab.add_connected(spec("a", A), one).unwrap();
    let b = lab.add_connected(spec("b", B), other).unwrap();
    for (from, to) in [(&left, &right), (&right, &left)] {
        let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
        let mut fate = fate.clone();
        thread::spawn(move || {
            let mut number = 0;
            let mut length = [0; 4];
            while from.read_exact(&mut length).is_ok() {
                let mut frame = vec![0; u32::from_be_bytes(length) as usize];
                from.read_exact(&mut frame).unwrap();
                let is_ipv4 = frame[12..14] == [8, 0];
                let out = if is_ipv4 { fate(number, frame) } else { vec![frame] };
                number += u64::from(is_ipv4);
                for frame in out {
                    let length = u32::try_from(frame.len()).unwrap().to_be_bytes();
                    if to.write_all(&[&length, frame.as_slice()].concat()).is_err() {
                        return;
                    }
                }
            }
        });
    }
    (lab, a, b)
}

/// A flow from `from` to `to` without a router between.
fn flow(from: HostId, to: HostId, packets: u64) -> FlowSpec {
    FlowSpec { packets: Some(packets), hops: 0, ..FlowSpec::new(from, to) }
}

#[test]
fn hosts_resolve_and_ping_each_other() {
    let (lab, a, b) = cable();
    assert_eq!(lab.resolve(a, B, LIMIT).unwrap(), lab.spec(b).mac);
    let outcome = lab.ping(a, B, Ping::default());
    let echo = outcome.reply().expect("a reply");
    assert_eq!((echo.from, echo.ttl), (B, 64));
    assert!(lab.ping(b, A, Ping { payload: 0, ..Ping::default() }).reply().is_some());
    assert_eq!(lab.counters(b).echo_requests, 1);
    assert_eq!(lab.counters(b).arp_requests, 1, "b learned a's address from a's own request");
}

#[test]
fn a_ping_longer_than_the_mtu_is_cut_and_put_together_again() {
    let (lab, a, b) = cable();
    let outcome = lab.ping(a, B, Ping { payload: 4000, ..Ping::default() });
    assert!(outcome.reply().is_some(), "{outcome:?}");
    assert_eq!((lab.counters(a).fragments, lab.counters(b).fragments), (3, 3));
}

#[test]
fn a_ping_to_nobody_and_one_that_is_not_answered_are_told_apart() {
    let (lab, a, b) = cable();
    assert_eq!(lab.ping(a, NOBODY, Ping::default()), PingOutcome::NoNeighbour);
    lab.change(b, |spec| spec.answers_ping = false);
    let short = Ping { limit: Duration::from_millis(200), ..Ping::default() };
    assert_eq!(lab.ping(a, B, short), PingOutcome::Silence);
    lab.change(b, |spec| spec.answers_arp = false);
    lab.forget_neighbours(a);
    assert!(lab.resolve(a, B, Duration::from_millis(200)).is_err());
}

#[test]
fn flows_both_ways_over_a_cable_are_perfect() {
    let (lab, a, b) = cable();
    let there = lab.start_flow(flow(a, b, 20_000));
    let sweep = FlowSpec { sizes: Sizes::Sweep(16, 1472), tos: 0xb9, ..flow(b, a, 20_000) };
    let back = lab.start_flow(sweep);
    for id in [there, back] {
        let report = lab.wait_flow(id, LIMIT).unwrap();
        assert!(report.is_perfect(), "{report:?}");
        assert_eq!(report.delivered, 20_000);
    }
    let counters = lab.counters(b);
    assert_eq!((counters.damaged, counters.unexpected, counters.misdirected), (0, 0, 0));
}

#[test]
fn packets_as_long_as_the_mtu_need_no_fragments() {
    let (lab, a, b) = cable();
    let id = lab.start_flow(FlowSpec { sizes: Sizes::Fixed(1472), ..flow(a, b, 500) });
    assert!(lab.wait_flow(id, LIMIT).unwrap().is_perfect());
    assert_eq!(lab.counters(b).fragments, 0);
}

#[test]
fn lost_packets_are_counted_and_do_not_end_a_flow() {
    let (lab, a, b) = bad_cable(|number, frame| if number % 1000 == 999 { vec![] } else { vec![frame] });
    let id = lab.start_flow(flow(a, b, 10_000));
    let report = lab.wait_flow(id, LIMIT).unwrap();
    assert_eq!((report.sent, report.delivered, report.lost), (10_000, 9_990, 10), "{report:?}");
    assert!(!report.is_perfect());
}

#[test]
fn repeated_packets_are_counted() {
    let (lab, a, b) = bad_cable(|number, frame| if number == 7 { vec![frame.clone(), frame] } else { vec![frame] });
    let id = lab.start_flow(flow(a, b, 100));
    let report = lab.wait_flow(id, LIMIT).unwrap();
    assert_eq!((report.delivered, report.duplicated, report.lost), (100, 1, 0), "{report:?}");
}

#[test]
fn reordered_packets_are_counted() {
    let mut held = Vec::new();
    let (lab, a, b) = bad_cable(move |number, frame| match number {
        7 => {
            held.push(frame);
            vec![]
        }
        8 => vec![frame, held.pop().unwrap()],
        _ => vec![frame],
    });
    let id = lab.start_flow(flow(a, b, 100));
    let report = lab.wait_flow(id, LIMIT).unwrap();
    assert_eq!((report.delivered, report.reordered), (100, 1), "{report:?}");
}

#[test]
fn damaged_packets_are_counted_where_the_damage_is() {
    let (lab, a, b) = bad_cable(|number, mut frame| {
        match number {
            // The payload's last octet; the host does not look at UDP checksums before it compares.
            10 => *frame.last_mut().unwrap() ^= 1,
            // A bit of the IP header, so that its checksum is wrong.
            20 => frame[22] ^= 1,
            _ => {}
        }
        vec![frame]
    });
    let id = lab.start_flow(flow(a, b, 100));
    let report = lab.wait_flow(id, LIMIT).unwrap();
    assert_eq!((report.delivered, report.damaged, report.lost), (98, 1, 1), "{report:?}");
    assert_eq!(lab.counters(b).damaged, 1);
}

#[test]
fn captures_copy_what_their_filter_lets_through() {
    let (lab, a, b) = cable();
    let capture = lab.capture(b, |frame| frame.starts_with(&[0xff; 6]));
    assert!(lab.ping(a, B, Ping::default()).reply().is_some());
    let frame = capture.next(LIMIT).expect("the ARP request");
    assert_eq!(frame.octets.get(12..14), Some([8, 6].as_slice()));
    assert!(capture.drain().is_empty());
}

#[test]
fn injected_frames_go_out_beside_a_flow() {
    let (lab, a, b) = cable();
    let junk = (0..1000).map(|index: u32| [lab.spec(b).mac.octets().as_slice(), &index.to_be_bytes()].concat());
    let id = lab.start_flow(flow(a, b, 5_000));
    lab.inject(a, junk.collect(), 50);
    lab.wait_injected(a, LIMIT).unwrap();
    assert!(lab.wait_flow(id, LIMIT).unwrap().is_perfect());
    // The last of them may still be on their way when the flow has ended.
    let deadline = Instant::now() + LIMIT;
    while lab.counters(b).damaged < 1000 && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(lab.counters(b).damaged, 1000);
}
