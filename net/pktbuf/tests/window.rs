//! The window of a buffer against a naive model: two copies of indices into a plain array.

// Loom's locks work inside a model only.
#![cfg(not(any(loom, shuttle)))]

use pktbuf::{Arrival, BufferSize, HEADROOM, LinkCast, Origin, PacketBuf, PacketPool};
use proptest::prelude::*;

fn fresh(size: BufferSize) -> PacketBuf {
    PacketPool::leak_sized_for_tests(1, size).alloc().unwrap()
}

#[derive(Clone, Debug)]
enum Op {
    Prepend(usize, u8),
    Extend(usize, u8),
    TrimFront(usize),
    Truncate(usize),
    SetWindow(usize, usize),
    SetReceived(usize),
    Fill(u8),
    Reset,
}

fn op() -> impl Strategy<Value = Op> {
    let n = prop_oneof![0_usize..64, 0_usize..3000, 0_usize..20_000, Just(usize::MAX)];
    prop_oneof![
        (n.clone(), any::<u8>()).prop_map(|(n, b)| Op::Prepend(n, b)),
        (n.clone(), any::<u8>()).prop_map(|(n, b)| Op::Extend(n, b)),
        n.clone().prop_map(Op::TrimFront),
        n.clone().prop_map(Op::Truncate),
        (n.clone(), n.clone()).prop_map(|(o, l)| Op::SetWindow(o, l)),
        n.prop_map(Op::SetReceived),
        any::<u8>().prop_map(Op::Fill),
        Just(Op::Reset),
    ]
}

proptest! {
    #[test]
    fn the_window_moves_over_the_storage_as_over_a_plain_array(
        size in proptest::sample::select(&BufferSize::ALL),
        ops in proptest::collection::vec(op(), 0..60),
    ) {
        let stride = size.stride();
        let mut buf = fresh(size);
        let mut storage = vec![0_u8; stride];
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
                    prop_assert_eq!(added.is_some(), n <= stride - end);
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
                    let fits = offset.checked_add(len).is_some_and(|end| end <= stride);
                    prop_assert_eq!(buf.set_window(offset, len).is_some(), fits);
                    if fits {
                        (start, end) = (offset, offset + len);
                    }
                }
                Op::SetReceived(len) => {
                    let fits = len <= stride - HEADROOM;
                    let from = Arrival::interface(5, LinkCast::Unicast);
                    prop_assert_eq!(buf.set_received(len, from).is_some(), fits);
                    if fits {
                        (start, end) = (HEADROOM, HEADROOM + len);
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
            let window = buf.window();
            prop_assert_eq!(window, (buf.bytes_mut().as_mut_ptr(), end - start));
            prop_assert_eq!(buf.front().copied(), storage[start..end].first_chunk::<14>().copied());
            prop_assert_eq!(buf.front_mut().copied(), storage[start..end].first_chunk::<34>().copied());
            prop_assert_eq!(buf.bytes_mut().len(), end - start);
            prop_assert_eq!((buf.headroom(), buf.len(), buf.tailroom()), (start, end - start, stride - end));
            prop_assert_eq!(buf.is_empty(), start == end);
        }
    }
}

#[test]
fn a_fresh_buffer_is_empty_behind_its_headroom() {
    for size in BufferSize::ALL {
        let buf = fresh(size);
        assert_eq!((buf.headroom(), buf.len(), buf.tailroom()), (HEADROOM, 0, size.stride() - HEADROOM));
        assert!(buf.tailroom() > size.octets());
        assert_eq!((buf.rx_if(), buf.origin(), buf.link_cast()), (None, Origin::Local, LinkCast::Unicast));
        assert_eq!(buf.vlan(), 0);
        assert_eq!(buf.pool().map(PacketPool::buffer_size), Some(size));
    }
}

#[test]
fn a_frame_that_is_used_again_carries_no_description_of_its_last_packet() {
    let pool = PacketPool::leak_for_tests(1);
    let mut buf = pool.alloc().unwrap();
    buf.set_rx_if(3);
    buf.set_link_cast(LinkCast::Broadcast);
    buf.set_vlan(10);
    buf.append(b"old").unwrap();
    assert_eq!((buf.rx_if(), buf.vlan(), buf.origin()), (Some(3), 10, Origin::Received));
    drop(buf);
    let buf = pool.alloc().unwrap();
    assert_eq!((buf.rx_if(), buf.origin(), buf.link_cast(), buf.len()), (None, Origin::Local, LinkCast::Unicast, 0));
    assert_eq!(buf.vlan(), 0);
}

#[test]
fn the_storage_keeps_its_address_while_the_handle_moves() {
    let buf = fresh(BufferSize::K4);
    let before = buf.bytes().as_ptr();
    let moved = std::hint::black_box([Box::new(Some(buf))]);
    let after = moved[0].as_ref().as_ref().unwrap().bytes().as_ptr();
    assert_eq!(before, after);
}

#[test]
fn the_whole_storage_is_usable_and_not_one_octet_more() {
    for size in BufferSize::ALL {
        let stride = size.stride();
        let mut buf = fresh(size);
        assert!(buf.prepend(HEADROOM).is_some() && buf.prepend(1).is_none());
        assert!(buf.extend(stride - HEADROOM).is_some() && buf.extend(1).is_none());
        assert_eq!(buf.len(), stride);
        assert!(buf.append(&[]).is_some() && buf.append(&[0]).is_none());
        assert_eq!(buf.trim_front(usize::MAX), stride);
        assert_eq!((buf.headroom(), buf.tailroom()), (stride, 0));
    }
}

#[test]
fn a_frame_gets_the_smallest_buffer_that_takes_it() {
    let sizes = [0, 1518, 2048, 2049, 4096, 4097, 8192, 8193, 9018, 16_384, 16_385].map(BufferSize::holding);
    let [k2, k4, k8, k16] = BufferSize::ALL.map(Some);
    assert_eq!(sizes, [k2, k2, k2, k4, k4, k8, k8, k16, k16, k16, None]);
    assert_eq!(BufferSize::ALL.map(BufferSize::octets), [2048, 4096, 8192, 16_384]);
    assert_eq!(BufferSize::default().stride(), 2304, "the usual buffer has grown");
}
