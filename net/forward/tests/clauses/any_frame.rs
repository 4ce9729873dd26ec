//! Row 16: no frame panics, and the verdict keeps its promises whatever the frame.

use crate::support::{buffer, frame_with_options, good, repair, tables_with};
use forward::{ForwardConfig, LocalKind, Verdict, decide, icmp, local};
use ifnet::IfIndex;
use pktbuf::{LinkCast, PacketPool};
use proptest::{collection::vec, prelude::*};
use wire::{Ipv4, Ipv4Header};

fn cast() -> impl Strategy<Value = LinkCast> {
    prop_oneof![Just(LinkCast::Unicast), Just(LinkCast::Broadcast), Just(LinkCast::Multicast)]
}

/// Addresses near the interesting ones.
fn address() -> impl Strategy<Value = std::net::Ipv4Addr> {
    let blocks = prop_oneof![
        Just(0_u32),
        Just(0x0a01_0000),
        Just(0x7f00_0000),
        Just(0xc000_0200),
        Just(0xc633_6400),
        Just(0xcb00_7100),
        Just(0xe000_0000),
        Just(0xf000_0000),
        Just(0xffff_ff00),
        any::<u32>(),
    ];
    (blocks, 0..256_u32).prop_map(|(block, low)| (block | low).into())
}

/// Checks what the verdict says against the frame before and after.
fn check(before: &[u8], after: &[u8], verdict: Verdict, len: usize) -> Result<(), TestCaseError> {
    prop_assert!(len <= before.len());
    let sends =
        matches!(verdict, Verdict::Transmit { .. } | Verdict::TransmitBroadcast { .. } | Verdict::Fragment { .. });
    if !sends {
        // A broadcast that is too big is the one packet that is dropped after its TTL was taken.
        let changed = before != after;
        prop_assert!(!changed || verdict == Verdict::Drop(ifnet::DropReason::TooBig), "{:?}", verdict);
        return Ok(());
    }
    let old = Ipv4::new_checked(&before[14..]).unwrap();
    let new = Ipv4::new_checked(&after[14..]).unwrap();
    prop_assert!(new.is_intact());
    prop_assert_eq!(new.ttl(), old.ttl() - 1);
    prop_assert_eq!(len, 14 + usize::from(new.total_len()));
    let mut restored = after.to_vec();
    restored[22] = before[22];
    restored[24..26].copy_from_slice(&before[24..26]);
    prop_assert_eq!(&restored[..], before);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_get_a_verdict(bytes in vec(any::<u8>(), 0..128), cast in cast(), rx in 0..5_u16) {
        let tables = tables_with(ForwardConfig::default());
        let mut after = bytes.clone();
        let (verdict, len) = decide(&mut after, cast, IfIndex(rx), &tables);
        check(&bytes, &after, verdict, len)?;
    }

    #[test]
    fn almost_good_packets_get_a_verdict_that_is_true(
        source in address(), destination in address(), ttl: u8, protocol in 0..20_u8, df: bool, total_len in 20..1600_u16,
        options in vec(any::<u8>(), 0..10), cast in cast(), net240: bool, broadcast: bool, flip in proptest::option::of(0..400_usize),
    ) {
        let options: Vec<u8> = options.iter().flat_map(|&o| [1, o, 4, 0]).take(40).collect();
        let header = Ipv4Header {
            source, destination, ttl, protocol, dont_fragment: df, total_len: total_len.max(60), ..good()
        };
        let mut before = frame_with_options(&header, &options);
        if let Some(bit) = flip {
            before[bit / 8] ^= 1 << (bit % 8);
            if bit % 3 == 0 {
                repair(&mut before);
            }
        }
        let tables = tables_with(ForwardConfig { allow_net240: net240, directed_broadcast: broadcast, ..ForwardConfig::default() });
        let mut after = before.clone();
        let (verdict, len) = decide(&mut after, cast, IfIndex(0), &tables);
        check(&before, &after, verdict, len)?;
        if let Verdict::IcmpError { kind, .. } = verdict {
            let mut out = PacketPool::leak_for_tests(1).alloc().unwrap();
            prop_assert!(cast == LinkCast::Unicast || !icmp::may_answer(&before[14..len], cast, &tables));
            prop_assert!(icmp::build_error(kind, &before[14..len], destination, 64, &mut out).is_ok());
            prop_assert!(out.len() <= 14 + icmp::MAX_ERROR_LEN);
        }
    }

    #[test]
    fn any_packet_can_be_delivered(bytes in vec(any::<u8>(), 0..100), protocol in prop_oneof![Just(1_u8), Just(17), any::<u8>()]) {
        let header = Ipv4Header { protocol, total_len: 20 + u16::try_from(bytes.len()).unwrap(), ..good() };
        let mut frame = frame_with_options(&header, &[]);
        frame[34..].copy_from_slice(&bytes);
        let delivery = local::deliver(&frame[14..], LocalKind::Unicast);
        let mut packet = buffer(PacketPool::leak_for_tests(1), &frame);
        if delivery == local::Delivery::EchoRequest {
            prop_assert!(icmp::echo_reply(&mut packet, 64).is_ok());
        }
        prop_assert_ne!(local::deliver(&bytes, LocalKind::Broadcast), local::Delivery::EchoRequest);
    }
}
