//! Who owns what until when: tags, maps and memory from birth to destruction.

use std::sync::atomic::Ordering;

use bus_dma::{
    Busy, Constraints, Damage, DmaError, DmaMap, DmaStopped, DmaTag, FromDevice, PAGE_SIZE, PostRead, PostWrite,
    PreRead, PreWrite, Segment, ToDevice,
};
use pktbuf::{BufferSize, HEADROOM, PacketBuf, PacketPool};

use crate::sim::{ARENA_BASE, Event, Sim};

const FIRST: u64 = ARENA_BASE / PAGE_SIZE as u64;

/// A machine whose packet pool lies in one physical piece.
fn machine() -> (&'static Sim, &'static PacketPool, DmaTag) {
    let (sim, arena) = Sim::linear(FIRST, 16);
    let sim = sim.leak();
    let pool = Box::leak(Box::new(PacketPool::new(arena, BufferSize::K2)));
    (sim, pool, DmaTag::root("root", sim))
}

fn packet(pool: &'static PacketPool, octets: usize) -> PacketBuf {
    let mut packet = pool.alloc().unwrap();
    packet.extend(octets).unwrap().fill(0x42);
    packet
}

#[test]
fn a_packet_travels_out_and_back_without_a_walk_or_an_allocation() {
    let (sim, pool, root) = machine();
    let mut tx: DmaMap<ToDevice> = root.create_map().unwrap();
    tx.load(packet(pool, 60)).unwrap();
    tx.sync(PreWrite);
    assert_eq!(sim.dma_read(tx.segments()), [0x42; 60]);
    tx.sync(PostWrite);
    let packet = tx.unload().unwrap();

    let mut rx: DmaMap<FromDevice> = root.create_map().unwrap();
    let address = packet.bytes().as_ptr();
    rx.load(packet).unwrap();
    rx.sync(PreRead);
    sim.dma_write(rx.segments(), &[7; 60]);
    rx.sync(PostRead);
    let packet = rx.unload().unwrap();
    assert_eq!(packet.bytes(), [7; 60]);
    assert_eq!((packet.bytes().as_ptr(), packet.headroom()), (address, HEADROOM));
    assert_eq!(sim.walks.load(Ordering::Relaxed), 0);
}

#[test]
fn tag_destroy_is_busy_while_a_map_exists_and_names_the_loaded_ones() {
    let (_, pool, root) = machine();
    let idle: DmaMap<FromDevice> = root.create_map().unwrap();
    let mut loaded: DmaMap<FromDevice> = root.create_map().unwrap();
    loaded.load(packet(pool, 1)).unwrap();
    let (root, busy) = root.destroy().unwrap_err();
    assert_eq!(busy, Busy { maps: 2, loaded: 1, ..Busy::default() });
    assert_eq!(busy.to_string(), "busy: 2 maps 1 loaded");
    idle.destroy().unwrap();
    loaded.unload().unwrap();
    assert_eq!(root.live().loaded, 0);
    loaded.destroy().unwrap();
    root.destroy().unwrap();
}

#[test]
fn tag_destroy_is_busy_while_a_child_or_memory_exists() {
    let (sim, _, root) = machine();
    let child = root.child("rx", Constraints { alignment: 128, ..Constraints::ANY }).unwrap();
    let ring = child.alloc_mem(4096).unwrap();
    let (root, busy) = root.destroy().unwrap_err();
    assert_eq!(busy, Busy { children: 1, ..Busy::default() });
    let (child, busy) = child.destroy().unwrap_err();
    assert_eq!(busy, Busy { memories: 1, ..Busy::default() });
    ring.free(&DmaStopped::attest("em0", &root));
    child.destroy().unwrap();
    root.destroy().unwrap();
    assert!(sim.allocations.lock().unwrap().is_empty());
}

#[test]
fn a_child_keeps_its_parents_constraints_even_if_it_asks_for_more() {
    let (_, _, root) = machine();
    let parent = root.child("bus", Constraints { lowaddr: u64::from(u32::MAX), alignment: 64, ..Constraints::ANY });
    let parent = parent.unwrap();
    let child = parent.child("em0", Constraints { alignment: 16, nsegments: 1000, ..Constraints::ANY }).unwrap();
    let limits = child.constraints();
    assert_eq!((limits.lowaddr, limits.alignment, limits.nsegments), (u64::from(u32::MAX), 64, 64));
}

#[test]
fn constraints_that_nothing_satisfies_are_refused() {
    let (_, _, root) = machine();
    let any = Constraints::ANY;
    for wrong in [
        Constraints { alignment: 0, ..any },
        Constraints { alignment: 3, ..any },
        Constraints { boundary: 100, ..any },
        Constraints { alignment: 4096, boundary: 2048, ..any },
        Constraints { maxsize: 0, ..any },
        Constraints { nsegments: 0, ..any },
        Constraints { maxsegsz: 0, ..any },
    ] {
        assert_eq!(root.child("x", wrong).unwrap_err(), DmaError::InvalidConstraints);
    }
    let parent = root.child("x", Constraints { boundary: 1024, ..any }).unwrap();
    let contradiction = parent.child("y", Constraints { alignment: 2048, ..any });
    assert_eq!(contradiction.unwrap_err(), DmaError::InvalidConstraints);
}

#[test]
fn a_loaded_map_refuses_a_second_buffer_and_its_own_destruction() {
    let (_, pool, root) = machine();
    let mut map: DmaMap<ToDevice> = root.create_map().unwrap();
    map.load(packet(pool, 10)).unwrap();
    let (second, error) = map.load(packet(pool, 20)).unwrap_err();
    assert_eq!((second.len(), error), (20, DmaError::AlreadyLoaded));
    let (mut map, busy) = map.destroy().unwrap_err();
    assert_eq!(busy, Busy { maps: 1, loaded: 1, ..Busy::default() });
    assert_eq!(map.unload().unwrap().len(), 10);
    assert!(map.unload().is_none());
}

#[test]
fn a_map_dropped_while_loaded_puts_its_buffer_in_quarantine() {
    let (_, pool, root) = machine();
    let mut map: DmaMap<FromDevice> = root.create_map().unwrap();
    map.load(packet(pool, 10)).unwrap();
    drop(map);
    assert_eq!(pool.census().owned, 1, "the frame is not handed out again");
    let (root, busy) = root.destroy().unwrap_err();
    assert_eq!(busy, Busy { quarantined: 1, ..Busy::default() });
    drop(root);
}

#[test]
fn memory_dropped_without_the_devices_consent_is_not_freed() {
    let (sim, _, root) = machine();
    drop(root.alloc_mem(64).unwrap());
    assert_eq!(root.live().quarantined, 1);
    assert_eq!(root.live().memories, 0);
    assert_eq!(sim.allocations.lock().unwrap().len(), 1);
}

#[test]
fn a_stopped_devices_buffers_come_back_from_whatever_state() {
    let (_, pool, root) = machine();
    let stopped = DmaStopped::attest("em0", &root);
    let mut loaded: DmaMap<FromDevice> = root.create_map().unwrap();
    loaded.load(packet(pool, 10)).unwrap();
    let idle: DmaMap<FromDevice> = root.create_map().unwrap();
    assert_eq!(loaded.reclaim(&stopped).unwrap().len(), 10);
    assert!(idle.reclaim(&stopped).is_none());
    assert_eq!(stopped.device(), "em0");
    assert_eq!(pool.free(), pool.total());
    root.destroy().unwrap();
}

#[test]
fn one_devices_proof_frees_nothing_of_another() {
    let (sim, pool, root) = machine();
    let [em0, em1] = ["em0", "em1"].map(|name| root.child(name, Constraints::ANY).unwrap());
    let rings = em1.child("em1 rx ring", Constraints::ANY).unwrap();
    let ring = rings.alloc_mem(64).unwrap();
    let mut map: DmaMap<FromDevice> = em1.create_map().unwrap();
    map.load(packet(pool, 10)).unwrap();
    let stopped = DmaStopped::attest("em0", &em0);
    ring.free(&stopped);
    assert!(map.reclaim(&stopped).is_none());
    assert_eq!((rings.live().quarantined, em1.live().quarantined), (1, 1));
    assert_eq!((sim.allocations.lock().unwrap().len(), pool.free()), (1, pool.total() - 1));
    // What is the device's own, or below it, goes.
    let ring = em0.child("em0 rx ring", Constraints::ANY).unwrap().alloc_mem(64).unwrap();
    ring.free(&DmaStopped::attest("em0", &em0));
    assert_eq!(sim.allocations.lock().unwrap().len(), 1);
}

#[test]
fn a_write_to_freed_memory_is_found_with_its_tag_and_address() {
    let (sim, pool, root) = machine();
    root.arm_tripwire();
    let port = root.child("em0", Constraints::ANY).unwrap();
    let [rx, tx] = ["em0 rx ring", "em0 tx ring"].map(|name| port.child(name, Constraints::ANY).unwrap());
    let [ring, other] = [&rx, &tx].map(|tag| tag.alloc_mem(4096).unwrap());
    let at = ring.bus_addr_at(1000).unwrap();
    let stopped = DmaStopped::attest("em0", &port);
    ring.free(&stopped);
    other.free(&stopped);
    assert_eq!((rx.live().memories, sim.allocations.lock().unwrap().len()), (0, 2), "freed, and kept from others");
    assert_eq!(root.check_tripwire(&mut |damage| panic!("{damage:?}")), 8192);
    // Stands for a device that has not stopped after all.
    sim.dma_write(&[Segment { addr: at, len: 3 }], &[1, 2, 3]);
    let mut found = Vec::new();
    root.check_tripwire(&mut |damage| found.push(damage));
    assert_eq!(found, [Damage { tag: "em0 rx ring".into(), address: at, octets: 3 }]);
    // And of a packet that went home to the pool it is known whose it was.
    let mut map: DmaMap<FromDevice> = rx.create_map().unwrap();
    let packet = packet(pool, 10);
    let (inside, outside) = (packet.bytes()[4..].as_ptr(), pool.alloc().unwrap());
    map.load(packet).unwrap();
    let address = map.segments()[0].addr;
    drop(map.reclaim(&stopped));
    let (found, tag) = root.lender(inside).unwrap();
    assert_eq!((tag.as_deref(), found.as_u64()), (Some("em0 rx ring"), address.as_u64() + 4));
    assert!(root.lender(outside.bytes().as_ptr()).is_some_and(|(_, tag)| tag.is_none()));
}

#[test]
fn an_idle_map_may_simply_be_dropped() {
    let (_, _, root) = machine();
    drop(root.create_map::<ToDevice, PacketBuf>().unwrap());
    root.destroy().unwrap();
}

#[test]
fn memory_is_zeroed_cells_where_the_constraints_want_it() {
    let (sim, _, root) = machine();
    let limits = Constraints { alignment: 128, boundary: 4096, ..Constraints::ANY };
    let tag = root.child("rings", limits).unwrap();
    let rings: Vec<_> = (0..5).map(|_| tag.alloc_mem(1000).unwrap()).collect();
    for ring in &rings {
        let first = ring.bus_addr().as_u64();
        assert_eq!((ring.size(), ring.cells().len(), first % 128), (1000, 125, 0));
        assert_eq!(first / 4096, (first + 999) / 4096);
        assert!(ring.cells().iter().all(|cell| cell.load(Ordering::Relaxed) == 0));
        assert_eq!(ring.bus_addr_at(16).map(|addr| addr.as_u64()), Some(first + 16));
        assert_eq!((ring.bus_addr_at(999).is_some(), ring.bus_addr_at(1000)), (true, None));
        ring.cells()[3].store(0xfeed, Ordering::Relaxed);
        ring.sync();
    }
    let stopped = DmaStopped::attest("never started", &root);
    rings.into_iter().for_each(|ring| ring.free(&stopped));
    assert!(sim.allocations.lock().unwrap().is_empty());
}

#[test]
fn memory_beyond_the_constraints_is_refused() {
    let (_, _, root) = machine();
    let small = root.child("x", Constraints { maxsize: 64, ..Constraints::ANY }).unwrap();
    assert_eq!(small.alloc_mem(65).unwrap_err(), DmaError::TooLarge);
    let short = root.child("x", Constraints { maxsegsz: 64, ..Constraints::ANY }).unwrap();
    assert_eq!(short.alloc_mem(65).unwrap_err(), DmaError::TooLarge);
    let cut = root.child("x", Constraints { boundary: 64, ..Constraints::ANY }).unwrap();
    assert_eq!(cut.alloc_mem(65).unwrap_err(), DmaError::TooLarge);
    let low = root.child("x", Constraints { lowaddr: 1000, ..Constraints::ANY }).unwrap();
    assert_eq!(low.alloc_mem(8).unwrap_err(), DmaError::NoMemory);
    assert_eq!(root.alloc_mem(usize::MAX).unwrap_err(), DmaError::TooLarge);
    assert!(root.alloc_mem(0).is_ok_and(|memory| memory.size() == 8));
}

#[test]
fn a_platform_that_breaks_its_word_is_found_out() {
    let (mut sim, _) = Sim::linear(FIRST, 1);
    sim.skew = 4;
    let sim = sim.leak();
    let root = DmaTag::root("root", sim);
    assert_eq!(root.alloc_mem(64).unwrap_err(), DmaError::BrokenPlatform);
    assert_eq!(bus_dma::BouncePool::new(sim, 2, ARENA_BASE).unwrap_err(), DmaError::BrokenPlatform);
    assert!(sim.allocations.lock().unwrap().is_empty(), "what it gave was given back");
}

#[test]
fn what_is_not_mapped_or_empty_is_not_loaded() {
    let (sim, _) = Sim::new(&[FIRST]);
    let root = DmaTag::root("root", sim.leak());
    let mut map: DmaMap<ToDevice, Box<[u8]>> = root.create_map().unwrap();
    let (buf, error) = map.load(vec![1, 2, 3].into()).unwrap_err();
    assert_eq!((&*buf, error), (&[1, 2, 3][..], DmaError::NoBusAddress));
    assert_eq!(map.load(Box::default()).unwrap_err().1, DmaError::Empty);
    map.sync(PreWrite);
    map.destroy().unwrap();
}

#[test]
fn an_observing_platform_sees_each_access_open_and_close() {
    let (mut sim, arena) = Sim::linear(FIRST, 4);
    sim.observes = true;
    let sim = sim.leak();
    let pool: &'static PacketPool = Box::leak(Box::new(PacketPool::new(arena, BufferSize::K2)));
    let root = DmaTag::root("root", sim);
    let ring = root.alloc_mem(64).unwrap();
    let mut rx: DmaMap<FromDevice> = root.create_map().unwrap();
    let mut tx: DmaMap<ToDevice> = root.create_map().unwrap();
    rx.load(packet(pool, 100)).unwrap();
    tx.load(packet(pool, 50)).unwrap();
    let (in_, out) = (rx.segments()[0], tx.segments()[0]);
    assert_eq!(
        sim.events.lock().unwrap()[1..],
        [Event::Opened(in_.addr.as_u64(), 100, true), Event::Opened(out.addr.as_u64(), 50, false)]
    );
    assert_eq!(sim.open_regions(), 3);
    rx.unload().unwrap();
    assert_eq!(sim.open_regions(), 2);
    drop(tx);
    assert_eq!(sim.open_regions(), 2, "a quarantined buffer stays open, as the device may still read it");
    ring.free(&DmaStopped::attest("em0", &root));
    assert_eq!(sim.open_regions(), 1);
}

#[test]
fn the_walk_visits_the_whole_tree_with_what_lives_there() {
    let (_, _, root) = machine();
    let em0 = root.child("em0", Constraints::ANY).unwrap();
    let rx = em0.child("em0 rx", Constraints::ANY).unwrap();
    let gone = em0.child("gone", Constraints::ANY).unwrap();
    gone.destroy().unwrap();
    let maps: Vec<DmaMap<FromDevice>> = (0..100).map(|_| rx.create_map().unwrap()).collect();
    let mut seen = Vec::new();
    root.walk(&mut |depth, name, live| seen.push((depth, name.to_owned(), live.maps, live.children)));
    let expected = [(0, "root", 0, 1), (1, "em0", 0, 1), (2, "em0 rx", 100, 0)];
    assert_eq!(seen, expected.map(|(depth, name, maps, children)| (depth, name.to_owned(), maps, children)));
    drop(maps);
}
