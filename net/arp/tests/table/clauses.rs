//! The clauses of RFC 826, RFC 1122 2.3.2, RFC 1812 3.3.2 and RFC 5227, one test or more each.

use std::net::Ipv4Addr;

use crate::support::{Bench, IF0, OUR_IP, OUR_MAC, held, ip, mac, number_of, refused, reply, request};
use arp::{ArpAction, ArpConfig, ArpState};
use ifnet::{DropReason, Fate};
use proptest::{collection::vec, prelude::*};
use wire::{ArpOperation, MacAddr};

fn bench() -> Bench {
    Bench::new(ArpConfig::default())
}

const DELIVERED: Fate = Fate::Delivered;

// --- Receiving: RFC 826, "Packet Reception"

#[test]
fn rfc826_a_request_for_us_is_answered_to_the_sender_alone() {
    let bench = bench();
    let input = bench.input(&request(ip(2), mac(2), OUR_IP));
    assert_eq!(input.fate, DELIVERED);
    let sent = input.reply.expect("an answer");
    assert_eq!((sent.out, sent.destination), (IF0, mac(2)));
    assert_eq!(sent.packet.operation, ArpOperation::Reply);
    assert_eq!((sent.packet.sender_mac, sent.packet.sender_ip), (OUR_MAC, OUR_IP));
    assert_eq!((sent.packet.target_mac, sent.packet.target_ip), (mac(2), ip(2)));
    let frame = sent.frame();
    assert_eq!((&frame[..6], &frame[6..12], &frame[12..14]), (&mac(2).0[..], &OUR_MAC.0[..], &[8, 6][..]));
    assert_eq!(frame[14..], sent.packet.to_bytes());
}

#[test]
fn rfc826_a_packet_for_us_adds_its_sender() {
    let bench = bench();
    let _ = bench.input(&request(ip(2), mac(2), OUR_IP));
    assert_eq!(bench.table.lookup(IF0, ip(2)), Some(mac(2)));
}

#[test]
fn rfc826_a_packet_for_somebody_else_adds_nobody() {
    let bench = bench();
    let input = bench.input(&request(ip(2), mac(2), ip(3)));
    assert_eq!(input.fate, Fate::Dropped(DropReason::ArpNotForUs));
    assert!(input.reply.is_none());
    assert_eq!(bench.table.statistics().entries, 0);
}

#[test]
fn rfc826_any_packet_updates_a_sender_that_is_known() {
    let bench = bench();
    let _ = bench.input(&request(ip(2), mac(2), OUR_IP));
    let input = bench.input(&request(ip(2), mac(9), ip(3)));
    assert_eq!(input.fate, DELIVERED);
    assert_eq!(bench.table.lookup(IF0, ip(2)), Some(mac(9)));
    assert_eq!(bench.table.statistics().moved, 1);
}

#[test]
fn rfc826_another_hardware_or_protocol_or_length_is_ignored() {
    let bench = bench();
    let good = request(ip(2), mac(2), OUR_IP).to_bytes();
    for at in 0..6 {
        let mut bad = good;
        bad[at] ^= 0x10;
        assert_eq!(bench.input_bytes(&bad).fate, Fate::Dropped(DropReason::ArpBadHeader), "octet {at}");
    }
    for opcode in [0, 3, 8, 0xffff_u16] {
        let mut bad = good;
        bad[6..8].copy_from_slice(&opcode.to_be_bytes());
        assert_eq!(bench.input_bytes(&bad).fate, Fate::Dropped(DropReason::ArpBadOpcode), "opcode {opcode}");
    }
    for len in 0..28 {
        assert_eq!(bench.input_bytes(&good[..len]).fate, Fate::Dropped(DropReason::ArpTooShort), "{len} octets");
    }
    assert_eq!(bench.table.statistics().entries, 0);
}

#[test]
fn rfc1812_3_3_2_a_sender_with_a_group_address_is_not_believed() {
    let bench = bench();
    for bad in [MacAddr::BROADCAST, MacAddr([1, 0, 0x5e, 0, 0, 1]), MacAddr::ZERO] {
        let input = bench.input(&request(ip(2), bad, OUR_IP));
        assert_eq!(input.fate, Fate::Dropped(DropReason::ArpBadSenderMac), "{bad}");
        assert!(input.reply.is_none());
    }
    let own = bench.input(&request(ip(2), OUR_MAC, OUR_IP));
    assert_eq!(own.fate, Fate::Dropped(DropReason::ArpOwnFrame));
}

#[test]
fn a_sender_with_an_impossible_or_foreign_address_is_not_believed() {
    let bench = bench();
    let cases = [
        ("10.0.255.255", DropReason::ArpBadSenderIp),
        ("10.0.0.0", DropReason::ArpBadSenderIp),
        ("255.255.255.255", DropReason::ArpBadSenderIp),
        ("224.0.0.1", DropReason::ArpBadSenderIp),
        ("127.0.0.1", DropReason::ArpBadSenderIp),
        ("0.0.0.9", DropReason::ArpBadSenderIp),
        ("10.1.0.1", DropReason::ArpForeignSender),
    ];
    for (text, reason) in cases {
        let sender: Ipv4Addr = text.parse().expect("an address");
        let input = bench.input(&request(sender, mac(2), OUR_IP));
        assert_eq!(input.fate, Fate::Dropped(reason), "{text}");
    }
    let unspecified_reply = bench.input(&reply(Ipv4Addr::UNSPECIFIED, mac(2)));
    assert_eq!(unspecified_reply.fate, Fate::Dropped(DropReason::ArpBadSenderIp));
    assert_eq!(bench.table.statistics().entries, 0);
}

#[test]
fn an_interface_without_address_takes_no_part_in_arp() {
    let bench = Bench::without_address();
    let input = bench.input(&request(ip(2), mac(2), OUR_IP));
    assert_eq!(input.fate, Fate::Dropped(DropReason::ArpNoAddress));
}

// --- RFC 5227

#[test]
fn rfc5227_2_1_1_a_probe_for_our_address_is_answered_and_teaches_nothing() {
    let bench = bench();
    let input = bench.input(&request(Ipv4Addr::UNSPECIFIED, mac(2), OUR_IP));
    assert_eq!(input.fate, DELIVERED);
    assert_eq!(input.reply.map(|sent| (sent.destination, sent.packet.sender_ip)), Some((mac(2), OUR_IP)));
    assert_eq!(bench.table.statistics().entries, 0);
}

#[test]
fn rfc5227_2_3_an_announcement_has_the_address_as_sender_and_target() {
    let bench = bench();
    let sent = bench.interface().announcement(OUR_IP);
    assert_eq!(sent.destination, MacAddr::BROADCAST);
    assert_eq!((sent.packet.operation, sent.packet.target_mac), (ArpOperation::Request, MacAddr::ZERO));
    assert_eq!((sent.packet.sender_ip, sent.packet.target_ip), (OUR_IP, OUR_IP));
}

#[test]
fn rfc5227_2_3_an_announcement_moves_a_known_neighbour_and_adds_no_unknown_one() {
    let bench = bench();
    let _ = bench.input(&request(ip(2), mac(2), OUR_IP));
    assert_eq!(bench.input(&request(ip(2), mac(7), ip(2))).fate, DELIVERED);
    assert_eq!(bench.table.lookup(IF0, ip(2)), Some(mac(7)));
    assert_eq!(bench.input(&request(ip(3), mac(3), ip(3))).fate, Fate::Dropped(DropReason::ArpNotForUs));
    assert_eq!(bench.table.lookup(IF0, ip(3)), None);
}

#[test]
fn rfc5227_2_4_our_address_is_defended_but_at_most_once_in_ten_seconds() {
    let mut bench = bench();
    for (wait, defended) in [(0, true), (0, false), (9, false), (1, true), (1, false)] {
        bench.advance(wait);
        let input = bench.input(&request(OUR_IP, mac(66), ip(3)));
        assert_eq!(input.fate, Fate::Dropped(DropReason::ArpConflict));
        assert_eq!(input.reply.is_some(), defended, "at {}", bench.now);
    }
    assert_eq!(bench.table.statistics().conflicts, 5);
    assert_eq!(bench.table.lookup(IF0, OUR_IP), None);
}

// --- Asking: RFC 1122 2.3.2.1

#[test]
fn rfc1122_2_3_2_1_requests_for_one_target_go_out_at_most_once_a_second() {
    let mut bench = bench();
    let first = held(bench.resolve(ip(2), 0)).expect("the first packet asks");
    assert_eq!((first.target, first.to), (ip(2), MacAddr::BROADCAST));
    let mut sent = vec![bench.now];
    for step in 1..400_u32 {
        bench.now = bench.now + std::time::Duration::from_millis(50);
        if let arp::Resolution::Held { request: Some(_), .. } = bench.resolve(ip(2), step) {
            sent.push(bench.now);
        }
        sent.extend(bench.requests().iter().map(|_| bench.now));
    }
    assert_eq!(sent.len(), 5, "five tries in these 20 seconds: {sent:?}");
    let second = std::time::Duration::from_secs(1);
    assert!(sent.windows(2).all(|pair| pair[1].saturating_duration_since(pair[0]) >= second), "{sent:?}");
}

#[test]
fn a_request_is_made_from_the_address_on_the_targets_network() {
    let addresses = ["192.0.2.1/24".parse().expect("a"), "10.0.0.1/16".parse().expect("b")];
    let interface = arp::ArpInterface { index: IF0, mac: OUR_MAC, addresses: &addresses };
    let asked = |target| arp::Request { out: IF0, target, to: MacAddr::BROADCAST };
    let sender = |target| interface.request(&asked(target)).map(|sent| sent.packet.sender_ip);
    assert_eq!(sender(ip(2)), Some(OUR_IP));
    assert_eq!(sender("192.0.2.9".parse().expect("c")), Some("192.0.2.1".parse().expect("d")));
    assert_eq!(Bench::without_address().interface().request(&asked(ip(2))), None);
}

#[test]
fn rfc1122_2_3_2_1_an_unused_address_is_forgotten_when_its_time_is_up() {
    let mut bench = bench();
    let _ = bench.input(&request(ip(2), mac(2), OUR_IP));
    bench.advance(1199);
    assert!(bench.poll_all().is_empty());
    assert_eq!(bench.table.statistics().entries, 1);
    bench.advance(1);
    assert!(bench.poll_all().is_empty());
    assert_eq!((bench.table.statistics().entries, bench.table.lookup(IF0, ip(2))), (0, None));
}

#[test]
fn rfc1122_2_3_2_1_a_used_address_is_checked_by_unicast_before_it_is_forgotten() {
    let mut bench = bench();
    let _ = bench.input(&request(ip(2), mac(2), OUR_IP));
    assert!(bench.table.lookup(IF0, ip(2)).is_some());
    bench.advance(1200);
    for _ in 0..3 {
        let asked = bench.requests();
        assert_eq!(asked.iter().map(|r| (r.target, r.to)).collect::<Vec<_>>(), [(ip(2), mac(2))]);
        assert_eq!(bench.table.lookup(IF0, ip(2)), Some(mac(2)), "it stays in use meanwhile");
        assert_eq!(bench.table.entries(bench.now)[0].state, ArpState::Probing);
        assert!(bench.requests().is_empty(), "not twice in a second");
        bench.advance(1);
    }
    assert!(bench.requests().is_empty());
    assert_eq!(bench.table.lookup(IF0, ip(2)), None);
    assert!(held(bench.resolve(ip(2), 0)).is_some(), "the next packet asks everybody");
}

#[test]
fn rfc1122_2_3_2_1_an_answer_to_the_check_renews_the_address() {
    let mut bench = bench();
    let _ = bench.input(&request(ip(2), mac(2), OUR_IP));
    assert!(bench.table.lookup(IF0, ip(2)).is_some());
    bench.advance(1200);
    assert_eq!(bench.requests().len(), 1);
    assert_eq!(bench.answer(2).fate, DELIVERED);
    bench.advance(1199);
    assert!(bench.requests().is_empty());
    assert_eq!(bench.table.entries(bench.now)[0].state, ArpState::Reachable);
}

// --- Holding: RFC 1122 2.3.2.2, RFC 1812 3.3.2

#[test]
fn rfc1122_2_3_2_2_packets_are_held_and_leave_in_order_when_the_answer_comes() {
    let bench = bench();
    for number in 0..16 {
        assert_eq!(held(bench.resolve(ip(2), number)).is_some(), number == 0);
    }
    let release = bench.answer(2).release.expect("packets are waiting");
    assert_eq!((release.out, release.neighbour), (IF0, ip(2)));
    assert_eq!(bench.release_all(ip(2)), (0..16).collect::<Vec<_>>());
    assert_eq!(bench.table.lookup(IF0, ip(2)), Some(mac(2)));
    assert_eq!((bench.table.held(), bench.pool.free()), (0, bench.pool.total()));
}

#[test]
fn a_packet_that_comes_while_held_ones_are_being_sent_leaves_after_them() {
    let bench = bench();
    assert!(held(bench.resolve(ip(2), 0)).is_some());
    assert!(bench.answer(2).release.is_some());
    let mut batch = pktbuf::PacketBatch::new();
    assert_eq!(bench.table.release(bench.now, IF0, ip(2), &mut batch), Some(mac(2)));
    // Packet 0 is in hand, not sent yet: packet 1 must not pass it.
    assert_eq!(bench.table.lookup(IF0, ip(2)), None);
    assert_eq!(held(bench.resolve(ip(2), 1)), None);
    assert_eq!(batch.drain().map(|p| number_of(&p)).collect::<Vec<_>>(), [0]);
    assert_eq!(bench.release_all(ip(2)), [1]);
    assert!(matches!(bench.resolve(ip(2), 2), arp::Resolution::Send(to, _) if to == mac(2)));
}

#[test]
fn a_release_that_nobody_finishes_is_offered_again() {
    let mut bench = bench();
    assert!(held(bench.resolve(ip(2), 0)).is_some());
    assert!(bench.answer(2).release.is_some());
    assert!(bench.poll_all().is_empty(), "the first taker has time");
    bench.advance(1);
    let actions = bench.poll_all();
    assert!(matches!(actions[..], [ArpAction::Release(release)] if release.neighbour == ip(2)), "{actions:?}");
    assert_eq!(bench.release_all(ip(2)), [0]);
    assert_eq!(bench.table.lookup(IF0, ip(2)), Some(mac(2)));
}

#[test]
fn rfc1122_2_3_2_2_the_latest_packets_stay_when_the_queue_is_full() {
    let bench = bench();
    for number in 0..16 {
        held(bench.resolve(ip(2), number));
    }
    for number in 16..20 {
        match bench.resolve(ip(2), number) {
            arp::Resolution::Held { request: None, dropped: Some((oldest, DropReason::ArpHoldReplaced)) } => {
                assert_eq!(number_of(&oldest), number - 16);
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(bench.answer(2).release.is_some());
    assert_eq!(bench.release_all(ip(2)), (4..20).collect::<Vec<_>>());
}

#[test]
fn all_neighbours_together_hold_no_more_than_the_limit() {
    let bench = Bench::new(ArpConfig { max_held: 4, ..ArpConfig::default() });
    for number in 0..4 {
        held(bench.resolve(ip(2), number));
    }
    match bench.resolve(ip(3), 4) {
        arp::Resolution::Held { request: Some(_), dropped: Some((packet, reason)) } => {
            assert_eq!((number_of(&packet), reason), (4, DropReason::ArpHoldOverflow));
        }
        other => panic!("{other:?}"),
    }
    match bench.resolve(ip(2), 5) {
        arp::Resolution::Held { request: None, dropped: Some((packet, reason)) } => {
            assert_eq!((number_of(&packet), reason), (0, DropReason::ArpHoldReplaced));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(bench.table.held(), 4);
}

#[test]
fn rfc1812_3_3_2_held_packets_are_unreachable_after_the_last_try_and_for_a_while_no_one_asks() {
    let mut bench = bench();
    for number in 0..3 {
        held(bench.resolve(ip(2), number));
    }
    for _ in 1..5 {
        bench.advance(1);
        assert_eq!(bench.requests().len(), 1);
    }
    bench.advance(1);
    let lost: Vec<u32> = bench
        .poll_all()
        .into_iter()
        .map(|action| match action {
            ArpAction::Unreachable { packet, out, neighbour } if (out, neighbour) == (IF0, ip(2)) => number_of(&packet),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(lost, [0, 1, 2]);
    assert_eq!(bench.table.entries(bench.now)[0].state, ArpState::Failed);
    bench.advance(19);
    assert_eq!(refused(bench.resolve(ip(2), 3)), DropReason::ArpNegative);
    assert!(bench.poll_all().is_empty());
    bench.advance(1);
    assert!(held(bench.resolve(ip(2), 4)).is_some(), "after 20 seconds it is asked again");
}

#[test]
fn a_neighbour_that_speaks_up_after_all_is_believed_at_once() {
    let mut bench = bench();
    held(bench.resolve(ip(2), 0));
    for _ in 0..5 {
        bench.advance(1);
        drop(bench.poll_all());
    }
    assert_eq!(refused(bench.resolve(ip(2), 1)), DropReason::ArpNegative);
    assert_eq!(bench.input(&request(ip(2), mac(2), OUR_IP)).fate, DELIVERED);
    assert_eq!(bench.table.lookup(IF0, ip(2)), Some(mac(2)));
}

// --- Going down

#[test]
fn flushing_an_interface_forgets_its_neighbours_and_gives_their_packets_out() {
    let bench = bench();
    let _ = bench.input(&request(ip(2), mac(2), OUR_IP));
    for number in 0..3 {
        held(bench.resolve(ip(3), number));
    }
    let other = ifnet::IfIndex(1);
    held(bench.table.resolve(bench.now, other, ip(3), bench.packet(9)));
    let mut batch = pktbuf::PacketBatch::new();
    assert!(!bench.table.flush(Some(IF0), &mut batch));
    assert_eq!(batch.drain().map(|p| number_of(&p)).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(bench.table.lookup(IF0, ip(2)), None);
    let left = bench.table.entries(bench.now);
    assert_eq!(left.iter().map(|e| (e.interface, e.held)).collect::<Vec<_>>(), [(other, 1)]);
    // Entry by entry, as a view without memory of its own goes through them.
    let (place, entry) = bench.table.entry(0, bench.now).unwrap().expect("there is one");
    assert_eq!(entry, left[0]);
    assert_eq!(bench.table.entry(place + 1, bench.now), Ok(None));
}

#[test]
fn after_closing_nothing_is_held_and_a_flush_gives_everything_out_in_batches() {
    let bench = bench();
    for n in 0..10 {
        for number in 0..16 {
            held(bench.resolve(ip(n), u32::from(n) * 16 + number));
        }
    }
    bench.table.close();
    assert_eq!(refused(bench.resolve(ip(0), 999)), DropReason::ShuttingDown);
    let mut batch = pktbuf::PacketBatch::new();
    let mut numbers = Vec::new();
    loop {
        let more = bench.table.flush(None, &mut batch);
        numbers.extend(batch.drain().map(|p| number_of(&p)));
        if !more {
            break;
        }
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (0..160).collect::<Vec<_>>());
    assert_eq!((bench.table.held(), bench.table.statistics().entries), (0, 0));
    assert_eq!(bench.pool.free(), bench.pool.total());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes_end_in_a_fate_and_only_a_valid_packet_changes_the_table(
        mut bytes in vec(any::<u8>(), 0..64),
        headers_right in any::<bool>(),
        on_link in any::<bool>(),
    ) {
        // Half of the cases get past the first checks.
        for (at, octet) in [0, 1, 8, 0, 6, 4, 0, 1].into_iter().enumerate().filter(|_| headers_right) {
            bytes.get_mut(at).into_iter().for_each(|b| *b = octet);
        }
        if on_link && let (true, Some(sender)) = (headers_right, bytes.get_mut(14..16)) {
            sender.copy_from_slice(&[10, 0]);
        }
        let bench = Bench::with_buffers(ArpConfig { max_entries: 8, ..ArpConfig::default() }, 1);
        let input = bench.input_bytes(&bytes);
        let entered = bench.table.statistics().entries;
        prop_assert!(input.fate == Fate::Delivered || entered == 0, "{:?}", input);
        prop_assert!(input.release.is_none());
    }
}
