//! The window of a buffer against a naive model: two copies of indices into a plain array.

// Loom's locks work inside a model only.
#![cfg(not(any(loom, shuttle)))]

use pktbuf::{DATA_ROOM, FRAME_STRIDE, HEADROOM, LinkCast, Origin, PacketBuf, PacketPool};
use proptest::prelude::*;

fn fresh() -> PacketBuf {
    PacketPool::leak_for_tests(1).alloc().unwrap()
}

#[derive(Clone, Debug)]
enum Op {
    Prepend(usize, u8),
    Extend(usize, u8),
    TrimFront(usize),
    Truncate(usize),
    SetWindow(usize, usize),
    Fill(u8),
    Reset,
}

fn op() -> impl Strategy<Value = Op> {
    let n = prop_oneof![0_usize..64, 0_usize..3000, Just(usize::MAX)];
    prop_oneof![
        (n.clone(), any::<u8>()).prop_map(|(n, b)| Op::Prepend(n, b)),
        (n.clone(), any::<u8>()).prop_map(|(n, b)| Op::Extend(n, b)),
        n.clone().prop_map(Op::TrimFront),
        n.clone().prop_map(Op::Truncate),
        (n.clone(), n).prop_map(|(o, l)| Op::SetWindow(o, l)),
        any::<u8>().prop_map(Op::Fill),
        Just(Op::Reset),
    ]
}

proptest! {
    #[test]
    fn the_window_moves_over_the_storage_as_over_a_plain_array(ops in proptest::collection::vec(op(), 0..60)) {
        let mut buf = fresh();
        let mut storage = vec![0_u8; FRAME_STRIDE];
        let (mut start, mut end) = (HEADROOM, HEADROOM);
        for op in ops {
            match op {
                Op::Prepend(n, octet) => {
                    let added = buf.prepend(n);
                    prop_assert_eq!(added.is_some(), n <= start);
                    if let Some(added) = added {
                        prop_assert_eq!(added.len(), n);
                        added.fill(octet);
                        storage[start - n..start].fill(octet);
                        start -= n;
                    }
                }
                Op::Extend(n, octet) => {
                    let added = buf.extend(n);
                    prop_assert_eq!(added.is_some(), n <= FRAME_STRIDE - end);
                    if let Some(added) = added {
                        prop_assert!(added.len() == n && added.iter().all(|&o| o == 0), "stale octets leak");
                        added.fill(octet);
                        storage[end..end + n].fill(octet);
                        end += n;
                    }
                }
                Op::TrimFront(n) => {
                    prop_assert_eq!(buf.trim_front(n), n.min(end - start));
                    start += n.min(end - start);
                }
                Op::Truncate(n) => {
                    buf.truncate(n);
                    end = start + n.min(end - start);
                }
                Op::SetWindow(offset, len) => {
                    let fits = offset.checked_add(len).is_some_and(|end| end <= FRAME_STRIDE);
                    prop_assert_eq!(buf.set_window(offset, len).is_some(), fits);
                    if fits {
                        (start, end) = (offset, offset + len);
                    }
                }
                Op::Fill(octet) => {
                    buf.bytes_mut().fill(octet);
                    storage[start..end].fill(octet);
                }
                Op::Reset => {
                    buf.reset();
                    (start, end) = (HEADROOM, HEADROOM);
                }
            }
            prop_assert_eq!(buf.bytes(), &storage[start..end]);
            prop_assert_eq!(buf.bytes_mut().len(), end - start);
            prop_assert_eq!((buf.headroom(), buf.len(), buf.tailroom()), (start, end - start, FRAME_STRIDE - end));
            prop_assert_eq!(buf.is_empty(), start == end);
        }
    }
}

#[test]
fn a_fresh_buffer_is_empty_behind_its_headroom() {
    let buf = fresh();
    assert_eq!((buf.headroom(), buf.len(), buf.tailroom()), (HEADROOM, 0, DATA_ROOM));
    assert_eq!((buf.rx_if(), buf.origin(), buf.link_cast()), (None, Origin::Local, LinkCast::Unicast));
}

#[test]
fn a_frame_that_is_used_again_carries_no_description_of_its_last_packet() {
    let pool = PacketPool::leak_for_tests(1);
    let mut buf = pool.alloc().unwrap();
    buf.set_rx_if(3);
    buf.set_link_cast(LinkCast::Broadcast);
    buf.append(b"old").unwrap();
    assert_eq!((buf.rx_if(), buf.origin()), (Some(3), Origin::Received));
    drop(buf);
    let buf = pool.alloc().unwrap();
    assert_eq!((buf.rx_if(), buf.origin(), buf.link_cast(), buf.len()), (None, Origin::Local, LinkCast::Unicast, 0));
}

#[test]
fn the_storage_keeps_its_address_while_the_handle_moves() {
    let buf = fresh();
    let before = buf.bytes().as_ptr();
    let moved = std::hint::black_box([Box::new(Some(buf))]);
    let after = moved[0].as_ref().as_ref().unwrap().bytes().as_ptr();
    assert_eq!(before, after);
}

#[test]
fn the_whole_storage_is_usable_and_not_one_octet_more() {
    let mut buf = fresh();
    assert!(buf.prepend(HEADROOM).is_some() && buf.prepend(1).is_none());
    assert!(buf.extend(DATA_ROOM).is_some() && buf.extend(1).is_none());
    assert_eq!(buf.len(), FRAME_STRIDE);
    assert!(buf.append(&[]).is_some() && buf.append(&[0]).is_none());
    assert_eq!(buf.trim_front(usize::MAX), FRAME_STRIDE);
    assert_eq!((buf.headroom(), buf.tailroom()), (FRAME_STRIDE, 0));
}
