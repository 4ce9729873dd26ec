//! Putting together what is for us: RFC 1122 3.3.2, RFC 1812 4.3.3.6.

use forward::{
    Fragmenter, Insertion, MAX_PIECES, Reassembler, icmp,
    local::{Delivery, deliver_pieces},
};
use ksync::time::Instant;
use pktbuf::{PacketBatch, PacketBuf, PacketPool};
use proptest::prelude::*;
use wire::{Icmpv4, Ipv4, Ipv4Header, icmpv4::Message};

use crate::support::{A, R0, buffer, frame, good};

/// The pieces of an echo request with `len` octets of ICMP, cut at `mtu`.
fn pieces(pool: &'static PacketPool, ident: u16, len: usize, mtu: u16) -> Vec<PacketBuf> {
    let mut message: Vec<u8> = (0..len).map(|i| u8::try_from(i % 253).unwrap()).collect();
    Message::EchoRequest { ident: 9, sequence: 1 }.emit(&mut message).unwrap();
    let room = (usize::from(mtu) - 20) & !7;
    let count = message.len().div_ceil(room);
    let piece = |(n, data): (usize, &[u8])| {
        let header = Ipv4Header {
            protocol: 1,
            destination: R0,
            ident,
            total_len: u16::try_from(20 + data.len()).unwrap(),
            fragment_offset: u16::try_from(n * room).unwrap(),
            more_fragments: n + 1 < count,
            ..good()
        };
        let mut bytes = frame(&header);
        bytes[34..].copy_from_slice(data);
        buffer(pool, &bytes)
    };
    message.chunks(room).enumerate().map(piece).collect()
}

fn payloads(batch: &PacketBatch) -> Vec<Vec<u8>> {
    batch.iter().map(|p| Ipv4::new_checked(&p.bytes()[14..]).unwrap().payload().to_vec()).collect()
}

/// Feeds pieces in; returns the complete datagram's pieces.
fn feed(reassembler: &mut Reassembler, pieces: Vec<PacketBuf>) -> Option<PacketBatch> {
    let mut out = PacketBatch::new();
    let mut complete = false;
    for piece in pieces {
        match reassembler.insert(Instant::ZERO, piece, &mut out) {
            Insertion::Held => assert!(out.is_empty() && !complete),
            Insertion::Complete => complete = true,
            Insertion::Refused(_) => panic!("refused"),
        }
    }
    complete.then_some(out)
}

#[test]
fn rfc1812_4_3_3_6_the_longest_ping_is_answered_in_pieces() {
    let pool = PacketPool::leak_for_tests(64);
    let mut whole = feed(&mut Reassembler::new(), pieces(pool, 1, 65_515, 1500)).unwrap();
    let before = payloads(&whole);
    assert_eq!(deliver_pieces(before.iter().map(|p| &p[..])), Delivery::EchoRequest);
    icmp::echo_reply_pieces(&mut whole, 64).unwrap();
    let replies = whole;
    let mut message = Vec::new();
    for (piece, old) in replies.iter().zip(&before) {
        let ip = Ipv4::new_checked(&piece.bytes()[14..]).unwrap();
        assert!(ip.is_intact());
        assert_eq!((ip.source(), ip.destination(), ip.ttl(), ip.payload().len()), (R0, A, 64, old.len()));
        assert_eq!(usize::from(ip.fragment_offset()), message.len());
        message.extend(ip.payload());
    }
    let reply = Icmpv4::new_checked(&message).unwrap();
    assert!(reply.is_intact());
    assert_eq!((reply.kind(), reply.ident(), reply.sequence()), (0, 9, 1));
    assert_eq!(message[8..], before.concat()[8..]);
    assert_eq!(pool.free() + replies.len(), pool.total());
}

#[test]
fn pieces_of_several_datagrams_do_not_mix() {
    let pool = PacketPool::leak_for_tests(64);
    let mut reassembler = Reassembler::new();
    let (a, b) = (pieces(pool, 1, 4000, 1500), pieces(pool, 2, 4000, 1500));
    let mut out = PacketBatch::new();
    let mut completed = Vec::new();
    for piece in a.into_iter().zip(b).flat_map(|(a, b)| [b, a]) {
        if matches!(reassembler.insert(Instant::ZERO, piece, &mut out), Insertion::Complete) {
            let idents: Vec<_> = out.drain().map(|p| Ipv4::new_checked(&p.bytes()[14..]).unwrap().ident()).collect();
            assert!(idents.iter().all(|i| *i == idents[0]));
            completed.push(idents[0]);
        }
    }
    assert_eq!(completed, [2, 1]);
    assert_eq!(reassembler.held(), 0);
}

#[test]
fn rfc1122_3_3_2_what_does_not_become_complete_in_time_comes_out_again_first_piece_first() {
    let pool = PacketPool::leak_for_tests(16);
    let mut reassembler = Reassembler::new();
    let mut some = pieces(pool, 1, 4000, 1500);
    some.pop();
    some.reverse();
    assert!(feed(&mut reassembler, some).is_none());
    assert_eq!(reassembler.held(), 2);
    let mut out = PacketBatch::new();
    assert!(!reassembler.expire(Instant::from_secs(59), &mut out));
    assert!(reassembler.expire(Instant::from_secs(60), &mut out));
    let first = out.pop().unwrap();
    assert_eq!(Ipv4::new_checked(&first.bytes()[14..]).unwrap().fragment_offset(), 0);
    assert_eq!((out.len(), reassembler.held()), (1, 0));
}

#[test]
fn the_datagram_that_waited_longest_makes_room() {
    let pool = PacketPool::leak_for_tests(64);
    let mut reassembler = Reassembler::new();
    let mut out = PacketBatch::new();
    for ident in 0..20 {
        let first = pieces(pool, ident, 2000, 1500).swap_remove(0);
        reassembler.make_room(&first, &mut out);
        assert_eq!(out.len(), usize::from(ident >= 8));
        if let Some(oldest) = out.pop() {
            assert_eq!(Ipv4::new_checked(&oldest.bytes()[14..]).unwrap().ident(), ident - 8);
        }
        let now = Instant::from_secs(u64::from(ident));
        assert!(matches!(reassembler.insert(now, first, &mut out), Insertion::Held));
    }
    let second = pieces(pool, 19, 2000, 1500).swap_remove(1);
    reassembler.make_room(&second, &mut out);
    assert!(out.is_empty(), "a piece of a datagram under way needs no new place");
    assert!(matches!(reassembler.insert(Instant::from_secs(30), second, &mut out), Insertion::Complete));
    out.drain().for_each(drop);
    while reassembler.flush(&mut out) {
        out.drain().for_each(drop);
    }
    assert_eq!((reassembler.held(), pool.free()), (0, pool.total()));
}

#[test]
fn impossible_overlapping_repeated_and_too_many_pieces_are_refused() {
    let pool = PacketPool::leak_for_tests(128);
    let mut reassembler = Reassembler::new();
    let mut out = PacketBatch::new();
    let base = Ipv4Header { protocol: 1, destination: R0, more_fragments: true, ..good() };
    let mut insert = |total_len: u16, fragment_offset: u16, more_fragments: bool| {
        let header = Ipv4Header { total_len, fragment_offset, more_fragments, ..base };
        matches!(reassembler.insert(Instant::ZERO, buffer(pool, &frame(&header)), &mut out), Insertion::Held)
    };
    assert!(!insert(20 + 9, 0, true), "not whole eights");
    assert!(!insert(20, 8, true), "empty");
    assert!(!insert(20 + 16, 65_504, false), "beyond the longest datagram");
    assert!(insert(20 + 16, 16, true));
    assert!(!insert(20 + 16, 16, true), "repeated");
    assert!(!insert(20 + 16, 8, true), "overlaps the one after");
    assert!(!insert(20 + 16, 24, true), "overlaps the one before");
    assert!(!insert(20 + 8, 8, false), "ends before another begins");
    assert!(insert(20 + 8, 4000, false));
    assert!(!insert(20 + 8, 4008, true), "behind the end");
    for n in 2..u16::try_from(MAX_PIECES).unwrap() {
        assert!(insert(20 + 8, 32 + n * 8, true), "{n}");
    }
    assert!(!insert(20 + 8, 3000, true), "too many");
}

#[test]
fn the_smallest_gap_is_waited_for() {
    let pool = PacketPool::leak_for_tests(16);
    let mut all = pieces(pool, 1, 88, 28);
    assert_eq!(all.len(), 11);
    let missing = all.remove(5);
    let mut reassembler = Reassembler::new();
    assert!(feed(&mut reassembler, all).is_none());
    let mut out = PacketBatch::new();
    assert!(matches!(reassembler.insert(Instant::ZERO, missing, &mut out), Insertion::Complete));
    assert_eq!(payloads(&out).concat().len(), 88);
}

#[test]
fn a_damaged_or_short_message_in_pieces_is_dropped_silently() {
    let short: [&[u8]; 2] = [&[8, 0, 0, 0], &[0; 8]];
    assert_eq!(deliver_pieces(short.into_iter()), Delivery::Drop(ifnet::DropReason::IcmpTooShort));
    let damaged: [&[u8]; 2] = [&[8; 16], &[0; 8]];
    assert_eq!(deliver_pieces(damaged.into_iter()), Delivery::Drop(ifnet::DropReason::IcmpBadChecksum));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pieces_in_any_order_and_cut_again_become_whole(len in 1200..20_000_usize, mtu in 576..1500_u16, smaller in 300..1500_u16, seed: u64) {
        let pool = PacketPool::leak_for_tests(256);
        let mut cut: Vec<PacketBuf> = Vec::new();
        for piece in pieces(pool, 1, len, mtu) {
            let mut fragmenter = Fragmenter::new(&piece.bytes()[14..], smaller).unwrap();
            while !fragmenter.is_finished() {
                let mut out = pool.alloc().unwrap();
                fragmenter.write_next(&mut out).unwrap();
                cut.push(out);
            }
        }
        prop_assume!(cut.len() <= MAX_PIECES);
        let mut state = seed | 1;
        cut.sort_by_cached_key(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state
        });
        let whole = feed(&mut Reassembler::new(), cut).unwrap();
        let payloads = payloads(&whole);
        prop_assert_eq!(payloads.concat().len(), len);
        prop_assert_eq!(deliver_pieces(payloads.iter().map(|p| &p[..])), Delivery::EchoRequest);
    }
}
