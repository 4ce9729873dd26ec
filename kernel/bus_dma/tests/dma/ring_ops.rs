//! A ring's steps: exchange, lend and take back are their longer spellings, also through bounce pages and when refused.

use bus_dma::{
    BouncePool, Constraints, DmaError, DmaMap, DmaStopped, DmaTag, FromDevice, PAGE_SIZE, PostRead, PreRead, ToDevice,
};
use pktbuf::{BufferSize, PacketBuf, PacketPool};

use crate::sim::{ARENA_BASE, Sim};

fn packets(arena: &'static mut [u8]) -> &'static PacketPool {
    Box::leak(Box::new(PacketPool::new(arena, BufferSize::K2)))
}

fn packet(pool: &'static PacketPool, octets: &[u8]) -> PacketBuf {
    let mut packet = pool.alloc().unwrap();
    packet.append(octets).unwrap();
    packet
}

/// Loads `first`, lets the device fill it, exchanges it for `second`, and lets the device fill that.
fn exchange_twice(sim: &Sim, tag: &DmaTag, pool: &'static PacketPool) {
    let mut map: DmaMap<FromDevice> = tag.create_map().unwrap();
    map.load(packet(pool, b"1111")).unwrap();
    map.sync(PreRead);
    for (octets, next) in [(b"abcd", b"2222"), (b"efgh", b"3333"), (b"ijkl", b"4444")] {
        sim.dma_write(map.segments(), octets);
        let (full, segment) = map.exchange(packet(pool, next)).unwrap();
        assert_eq!(full.bytes(), octets);
        assert_eq!(map.segments(), [segment]);
        assert_eq!(sim.dma_read(&[segment]), next);
        assert_eq!(tag.live().loaded, 1);
    }
    map.sync(PostRead);
    assert_eq!(map.unload().unwrap().bytes(), b"4444");
}

#[test]
fn an_exchange_hands_the_full_buffer_out_and_lends_the_fresh_one() {
    let (sim, arena) = Sim::linear(ARENA_BASE / PAGE_SIZE as u64, 8);
    let (sim, pool) = (sim.leak(), packets(arena));
    let tag = DmaTag::root("root", sim).child("card", Constraints { nsegments: 1, ..Constraints::ANY }).unwrap();
    exchange_twice(sim, &tag, pool);
    assert_eq!(sim.walks.load(std::sync::atomic::Ordering::Relaxed), 0, "the fast path asks for no address");
    assert_eq!(pool.census().owned, 0);
}

#[test]
fn an_exchange_through_bounce_pages_copies_and_gives_the_page_back() {
    let (sim, arena) = Sim::linear(ARENA_BASE / PAGE_SIZE as u64, 8);
    let (sim, pool) = (sim.leak(), packets(arena));
    let bounce = BouncePool::new(sim, 2, ARENA_BASE - 1).unwrap();
    let root = DmaTag::root_with_bounce("root", sim, bounce.clone());
    let tag = root.child("old card", Constraints { lowaddr: ARENA_BASE - 1, ..Constraints::ANY }).unwrap();
    exchange_twice(sim, &tag, pool);
    assert_eq!((bounce.statistics().free, tag.live().bounced), (2, 4));
}

#[test]
fn an_observer_sees_each_buffer_opened_and_closed() {
    let (mut sim, arena) = Sim::new(&[0x10007, 0x10003, 0x10001]);
    sim.observes = true;
    let sim = sim.leak();
    let pool = packets(arena);
    let tag = DmaTag::root("root", sim).child("card", Constraints { nsegments: 2, ..Constraints::ANY }).unwrap();
    exchange_twice(sim, &tag, pool);
    assert_eq!((sim.open_regions(), sim.events.lock().unwrap().len()), (0, 8));
}

#[test]
fn a_refused_exchange_leaves_the_full_buffer_where_it_is() {
    let (sim, arena) = Sim::linear(ARENA_BASE / PAGE_SIZE as u64, 8);
    let (sim, pool) = (sim.leak(), packets(arena));
    let tag = DmaTag::root("root", sim).child("card", Constraints { maxsize: 16, ..Constraints::ANY }).unwrap();
    let mut map: DmaMap<FromDevice> = tag.create_map().unwrap();
    let (fresh, error) = map.exchange(packet(pool, b"fresh")).unwrap_err();
    assert_eq!((fresh.bytes(), error), (&b"fresh"[..], DmaError::Empty));
    map.load(packet(pool, b"full")).unwrap();
    let lent = map.segments().to_vec();
    let (fresh, error) = map.exchange(packet(pool, &[7; 17])).unwrap_err();
    assert_eq!((fresh.len(), error), (17, DmaError::TooLarge));
    assert_eq!(map.segments(), lent);
    assert_eq!(map.unload().unwrap().bytes(), b"full");
}

#[test]
fn a_fresh_buffer_in_two_pieces_is_refused_for_a_ring_of_single_segments() {
    // The third frame of the pool straddles the end of the first page, and the next page is elsewhere.
    let (sim, arena) = Sim::new(&[0x10007, 0x10003, 0x10001]);
    let (sim, pool) = (sim.leak(), packets(arena));
    let tag = DmaTag::root("root", sim).child("card", Constraints { nsegments: 2, ..Constraints::ANY }).unwrap();
    let all: Vec<PacketBuf> = std::iter::from_fn(|| pool.alloc()).collect();
    let straddles = |packet: &mut PacketBuf| {
        packet.set_window(0, BufferSize::K2.stride()).unwrap();
        packet.bytes().as_ptr().addr() % PAGE_SIZE + BufferSize::K2.stride() > PAGE_SIZE
    };
    let (mut wide, mut whole): (Vec<_>, Vec<_>) =
        all.into_iter().map(|mut packet| (straddles(&mut packet), packet)).partition(|(wide, _)| *wide);
    let (wide, whole) = (wide.pop().unwrap().1, whole.pop().unwrap().1);
    let mut map: DmaMap<FromDevice> = tag.create_map().unwrap();
    map.load(whole).unwrap();
    let (_, error) = map.exchange(wide).unwrap_err();
    assert_eq!((error, map.segments().len()), (DmaError::TooManySegments, 1));
    drop(map.unload());
}

#[test]
fn what_is_lent_for_sending_comes_back_once() {
    let (sim, arena) = Sim::linear(ARENA_BASE / PAGE_SIZE as u64, 8);
    let (sim, pool) = (sim.leak(), packets(arena));
    let tag = DmaTag::root("root", sim).child("card", Constraints::ANY).unwrap();
    let mut map: DmaMap<ToDevice> = tag.create_map().unwrap();
    assert!(map.take_back().is_none());
    let segment = map.lend(packet(pool, b"to the wire")).unwrap();
    assert_eq!(sim.dma_read(&[segment]), b"to the wire");
    let (again, error) = map.lend(packet(pool, b"again")).unwrap_err();
    assert_eq!((again.bytes(), error), (&b"again"[..], DmaError::AlreadyLoaded));
    assert_eq!(map.take_back().unwrap().bytes(), b"to the wire");
    assert!(map.take_back().is_none());
}

#[test]
fn an_exchanged_map_gives_its_buffer_up_at_the_teardown() {
    let (sim, arena) = Sim::linear(ARENA_BASE / PAGE_SIZE as u64, 8);
    let (sim, pool) = (sim.leak(), packets(arena));
    let tag = DmaTag::root("root", sim).child("card", Constraints::ANY).unwrap();
    let mut map: DmaMap<FromDevice> = tag.create_map().unwrap();
    map.load(packet(pool, b"1")).unwrap();
    drop(map.exchange(packet(pool, b"2")).unwrap());
    assert_eq!(pool.census().owned, 1);
    drop(map.reclaim(&DmaStopped::attest("card", &tag)));
    assert_eq!((pool.census().owned, tag.live().maps), (0, 0));
}
