//! Fragmentation: row 15 of the requirement table.

use crate::support::{frame_with_options, good};
use forward::{FragmentError, Fragmenter};
use pktbuf::{BufferSize, PacketPool};
use proptest::{collection::vec, prelude::*};
use wire::{Ipv4, Ipv4Header};

/// Cuts and returns the fragments without their Ethernet headers.
fn cut(packet: &[u8], mtu: u16) -> Vec<Vec<u8>> {
    let pool = PacketPool::leak_sized_for_tests(1, BufferSize::K16);
    let mut fragmenter = Fragmenter::new(packet, mtu).unwrap();
    let mut fragments = Vec::new();
    while !fragmenter.is_finished() {
        let mut out = pool.alloc().unwrap();
        fragmenter.write_next(&mut out).unwrap();
        fragments.push(out.bytes()[14..].to_vec());
    }
    assert!(fragmenter.write_next(&mut pool.alloc().unwrap()).is_none());
    fragments
}

/// Puts fragments together by the definition: each octet at its offset, exactly once.
fn reassemble(fragments: &[Vec<u8>]) -> (Vec<u8>, bool) {
    let mut whole: Vec<Option<u8>> = Vec::new();
    let mut more = true;
    let first = Ipv4::new_checked(&fragments[0]).unwrap().fragment_offset();
    for fragment in fragments {
        let ip = Ipv4::new_checked(fragment).unwrap();
        let at = usize::from(ip.fragment_offset() - first);
        whole.resize(whole.len().max(at + ip.payload().len()), None);
        for (i, octet) in ip.payload().iter().enumerate() {
            assert_eq!(whole[at + i].replace(*octet), None, "fragments overlap");
        }
        more &= ip.more_fragments();
    }
    (whole.into_iter().map(Option::unwrap).collect(), more)
}

fn packet(header: &Ipv4Header, options: &[u8]) -> Vec<u8> {
    frame_with_options(header, options).split_off(14)
}

#[test]
fn rfc791_3_2_fragments_fill_the_link_in_whole_eights() {
    let original = packet(&Ipv4Header { total_len: 1500, ..good() }, &[]);
    let fragments = cut(&original, 1400);
    let shape: Vec<_> = fragments.iter().map(|f| Ipv4::new_checked(f).unwrap()).collect();
    assert_eq!(shape.iter().map(Ipv4::total_len).collect::<Vec<_>>(), [1396, 124]);
    assert_eq!(shape.iter().map(Ipv4::fragment_offset).collect::<Vec<_>>(), [0, 1376]);
    assert_eq!(shape.iter().map(Ipv4::more_fragments).collect::<Vec<_>>(), [true, false]);
    assert!(shape.iter().all(|f| f.is_intact() && f.ident() == 7 && f.ttl() == 64 && f.protocol() == 17));
}

#[test]
fn rfc791_3_2_a_fragment_is_cut_further_and_keeps_its_place() {
    let middle = Ipv4Header { total_len: 1396, fragment_offset: 1376, more_fragments: true, ..good() };
    let fragments = cut(&packet(&middle, &[]), 576);
    let shape: Vec<_> = fragments.iter().map(|f| Ipv4::new_checked(f).unwrap()).collect();
    assert_eq!(shape.iter().map(Ipv4::fragment_offset).collect::<Vec<_>>(), [1376, 1928, 2480]);
    assert!(shape.iter().all(Ipv4::more_fragments), "more follow the last piece, too");
    let last = Ipv4Header { more_fragments: false, ..middle };
    let fragments = cut(&packet(&last, &[]), 576);
    let more: Vec<_> = fragments.iter().map(|f| Ipv4::new_checked(f).unwrap().more_fragments()).collect();
    assert_eq!(more, [true, true, false]);
}

#[test]
fn rfc791_3_1_only_options_with_the_copied_flag_are_in_later_fragments() {
    // Record route (not copied), router alert (copied), an unknown copied one of three octets.
    let options = [7, 7, 4, 0, 0, 0, 0, 148, 4, 0, 0, 0x99, 3, 1, 0, 0];
    let original = packet(&Ipv4Header { total_len: 200, ..good() }, &options);
    let fragments = cut(&original, 100);
    let first = Ipv4::new_checked(&fragments[0]).unwrap();
    assert_eq!(first.options(), options);
    for later in &fragments[1..] {
        let later = Ipv4::new_checked(later).unwrap();
        assert_eq!(later.options(), [148, 4, 0, 0, 0x99, 3, 1, 0]);
        assert!(later.is_intact());
    }
    assert_eq!(reassemble(&fragments).0, original[36..]);
}

#[test]
fn what_must_not_or_cannot_be_cut_is_refused() {
    let df = packet(&Ipv4Header { dont_fragment: true, ..good() }, &[]);
    assert_eq!(Fragmenter::new(&df, 100).unwrap_err(), FragmentError::NotAllowed);
    let plain = packet(&good(), &[]);
    assert_eq!(Fragmenter::new(&plain, 27).unwrap_err(), FragmentError::LinkTooSmall);
    assert!(Fragmenter::new(&plain, 28).is_ok());
    assert_eq!(Fragmenter::new(&plain[..19], 100).unwrap_err(), FragmentError::NotAllowed);
}

#[test]
fn a_buffer_without_room_loses_no_fragment() {
    let original = packet(&Ipv4Header { total_len: 1500, ..good() }, &[]);
    let pool = PacketPool::leak_for_tests(2);
    let mut fragmenter = Fragmenter::new(&original, 1400).unwrap();
    let mut full = pool.alloc().unwrap();
    full.extend(full.tailroom()).unwrap();
    assert!(fragmenter.write_next(&mut full).is_none());
    let mut out = pool.alloc().unwrap();
    fragmenter.write_next(&mut out).unwrap();
    assert_eq!(Ipv4::new_checked(&out.bytes()[14..]).unwrap().fragment_offset(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn fragments_of_fragments_reassemble_to_the_original(
        len in prop_oneof![60..1500_u16, 60..9000_u16], words in 0..=10_usize, fill: u8,
        mtu in prop_oneof![68..1500_u16, 1500..9000_u16], smaller in 68..1500_u16,
        eights in 0..4000_u16, more: bool,
    ) {
        let options = vec![fill; words * 4];
        let header = Ipv4Header { total_len: len.max(60), fragment_offset: eights * 8, more_fragments: more, ..good() };
        let original = packet(&header, &options);
        let pieces: Vec<_> = cut(&original, mtu).iter().flat_map(|f| cut(f, smaller)).collect();
        for piece in &pieces {
            let ip = Ipv4::new_checked(piece).unwrap();
            prop_assert!(ip.is_intact());
            prop_assert!(piece.len() <= usize::from(smaller.min(mtu)));
        }
        let (payload, still_more) = reassemble(&pieces);
        prop_assert_eq!(&payload[..], &original[20 + options.len()..]);
        prop_assert_eq!(still_more, more);
    }

    #[test]
    fn no_bytes_make_the_fragmenter_panic(bytes in vec(any::<u8>(), 0..200), mtu: u16) {
        let pool = PacketPool::leak_for_tests(1);
        if let Ok(mut fragmenter) = Fragmenter::new(&bytes, mtu) {
            for _ in 0..40 {
                let mut out = pool.alloc().unwrap();
                if fragmenter.write_next(&mut out).is_none() {
                    break;
                }
            }
        }
    }
}
