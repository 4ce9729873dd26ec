//! Bounce pages: used where a constraint demands, waited for in order, and given up without a trace.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use bus_dma::{
    Bidirectional, BouncePool, Busy, Constraints, DmaError, DmaMap, DmaStopped, DmaTag, FromDevice, LoadOutcome,
    LoadReady, PAGE_SIZE, PostRead, PreRead, ToDevice,
};
use pktbuf::{BufferSize, PacketBuf, PacketPool};

use crate::sim::{ARENA_BASE, Sim};

const LOW: u64 = ARENA_BASE - 1;

/// A machine whose packets no device under `tag` can reach, with `pages` pages that it can.
struct Machine {
    sim: &'static Sim,
    packets: &'static PacketPool,
    pool: Arc<BouncePool>,
    tag: DmaTag,
}

fn machine(pages: usize) -> Machine {
    let (sim, arena) = Sim::linear(ARENA_BASE / PAGE_SIZE as u64, 32);
    let sim = sim.leak();
    let pool = BouncePool::new(sim, pages, LOW).unwrap();
    let root = DmaTag::root_with_bounce("root", sim, pool.clone());
    let tag = root.child("old card", Constraints { lowaddr: LOW, ..Constraints::ANY }).unwrap();
    Machine { sim, packets: Box::leak(Box::new(PacketPool::new(arena, BufferSize::K2))), pool, tag }
}

impl Machine {
    fn packet(&self) -> PacketBuf {
        let mut packet = self.packets.alloc().unwrap();
        packet.append(b"on the processor's side").unwrap();
        packet
    }

    fn free(&self) -> usize {
        self.pool.statistics().free
    }
}

#[derive(Default)]
struct Calls(AtomicU32);

impl LoadReady for Calls {
    fn load_ready(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Calls {
    fn count(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

#[test]
fn a_buffer_out_of_reach_is_bounced_and_only_below_the_limit() {
    let m = machine(2);
    let mut map: DmaMap<FromDevice> = m.tag.create_map().unwrap();
    map.load(m.packet()).unwrap();
    let segment = map.segments()[0];
    assert!(segment.addr.as_u64() + u64::from(segment.len) - 1 <= LOW);
    assert_eq!((m.free(), m.tag.live().bounced), (1, 1));
    map.sync(PreRead);
    m.sim.dma_write(map.segments(), b"from");
    map.sync(PostRead);
    assert_eq!(map.unload().unwrap().bytes(), b"fromhe processor's side", "octets the device left alone are unchanged");
    assert_eq!(m.free(), 2);
}

#[test]
fn a_bounce_page_shows_no_octet_of_the_packet_before() {
    let m = machine(1);
    let mut map: DmaMap<FromDevice> = m.tag.create_map().unwrap();
    map.load(m.packet()).unwrap();
    map.sync(PreRead);
    m.sim.dma_write(map.segments(), b"a secret of the network");
    map.sync(PostRead);
    drop(map.unload());
    let mut next = m.packets.alloc().unwrap();
    next.extend(23).unwrap();
    map.load(next).unwrap();
    map.sync(PreRead);
    map.sync(PostRead);
    assert_eq!(map.unload().unwrap().bytes(), [0; 23]);
}

#[test]
fn without_a_pool_that_helps_the_load_is_refused() {
    let m = machine(1);
    let alone = DmaTag::root("root", m.sim);
    let low = Constraints { lowaddr: LOW, ..Constraints::ANY };
    let mut map: DmaMap<ToDevice> = alone.child("x", low).unwrap().create_map().unwrap();
    assert_eq!(map.load(m.packet()).unwrap_err().1, DmaError::CannotBounce);
    let lower = m.tag.child("x", Constraints { lowaddr: LOW / 2, ..Constraints::ANY }).unwrap();
    let mut map: DmaMap<ToDevice> = lower.create_map().unwrap();
    assert_eq!(map.load(m.packet()).unwrap_err().1, DmaError::CannotBounce);
}

#[test]
fn a_load_that_does_not_wait_answers_no_memory_and_returns_the_buffer() {
    let m = machine(1);
    let mut first: DmaMap<ToDevice> = m.tag.create_map().unwrap();
    let mut second: DmaMap<ToDevice> = m.tag.create_map().unwrap();
    first.load(m.packet()).unwrap();
    let (packet, error) = second.load(m.packet()).unwrap_err();
    assert_eq!((packet.bytes(), error), (&b"on the processor's side"[..], DmaError::NoMemory));
    first.unload().unwrap();
    second.load(packet).unwrap();
    second.unload().unwrap();
}

#[test]
fn a_load_larger_than_the_whole_pool_never_waits() {
    let m = machine(2);
    let tag = m.tag.child("x", Constraints { nsegments: 8, ..Constraints::ANY }).unwrap();
    let mut map: DmaMap<ToDevice, Vec<PacketBuf>> = tag.create_map().unwrap();
    let calls = Arc::new(Calls::default());
    let chain = (0..3).map(|_| m.packet()).collect();
    assert_eq!(map.load_or_wait(chain, calls).unwrap_err().1, DmaError::TooLarge);
    assert_eq!(m.free(), 2);
}

#[test]
fn waiting_loads_are_served_in_order_and_called_once() {
    let m = machine(1);
    let mut maps: Vec<DmaMap<ToDevice>> = (0..3).map(|_| m.tag.create_map().unwrap()).collect();
    let calls: Vec<_> = (0..3).map(|_| Arc::new(Calls::default())).collect();
    assert_eq!(maps[0].load_or_wait(m.packet(), calls[0].clone()).unwrap(), LoadOutcome::Loaded);
    for i in [1, 2] {
        assert_eq!(maps[i].load_or_wait(m.packet(), calls[i].clone()).unwrap(), LoadOutcome::InProgress);
        assert!(maps[i].segments().is_empty() && !maps[i].is_loaded());
        assert_eq!(maps[i].load(m.packet()).unwrap_err().1, DmaError::InProgress);
    }
    assert_eq!(m.tag.live().waiting, 2);
    assert_eq!(m.pool.run_deferred(), 0, "there are no pages yet");
    for i in [1, 2] {
        maps[i - 1].unload().unwrap();
        assert_eq!(m.pool.run_deferred(), 1);
        assert_eq!(calls[i].count(), 1);
        assert_eq!(maps[i].finish_load().unwrap(), LoadOutcome::Loaded);
        assert_eq!(maps[i].segments().len(), 1);
    }
    assert_eq!((calls[0].count(), calls[1].count(), calls[2].count()), (0, 1, 1));
    maps[2].unload().unwrap();
    assert_eq!((m.free(), m.pool.statistics().deferred, m.tag.live().deferred), (1, 2, 2));
    assert_eq!(maps[2].finish_load().unwrap_err().1, DmaError::Empty);
}

#[test]
fn a_load_that_does_not_wait_takes_no_page_from_one_that_does() {
    let m = machine(1);
    let mut maps: Vec<DmaMap<ToDevice>> = (0..3).map(|_| m.tag.create_map().unwrap()).collect();
    maps[0].load(m.packet()).unwrap();
    maps[1].load_or_wait(m.packet(), Arc::new(Calls::default())).unwrap();
    maps[0].unload().unwrap();
    assert_eq!(m.free(), 1);
    assert_eq!(maps[2].load(m.packet()).unwrap_err().1, DmaError::NoMemory);
    assert_eq!(maps[1].finish_load().unwrap(), LoadOutcome::InProgress);
    m.pool.run_deferred();
    assert_eq!(maps[1].finish_load().unwrap(), LoadOutcome::Loaded);
    maps[1].unload().unwrap();
    maps[2].load(m.packet()).unwrap();
    maps[2].unload().unwrap();
}

#[test]
fn a_cancelled_load_is_never_called_and_does_not_hold_up_the_queue() {
    let m = machine(1);
    let mut maps: Vec<DmaMap<ToDevice>> = (0..3).map(|_| m.tag.create_map().unwrap()).collect();
    let calls: Vec<_> = (0..3).map(|_| Arc::new(Calls::default())).collect();
    for i in 0..3 {
        let _ = maps[i].load_or_wait(m.packet(), calls[i].clone()).unwrap();
    }
    assert_eq!(maps[1].cancel_load().unwrap().bytes(), b"on the processor's side");
    assert!(maps[1].cancel_load().is_none());
    assert_eq!(m.pool.statistics().waiting, 1);
    maps[0].unload().unwrap();
    assert_eq!(m.pool.run_deferred(), 1);
    assert_eq!((calls[1].count(), calls[2].count()), (0, 1));
    // Served, but cancelled before it went on: the page goes home.
    assert!(maps[2].cancel_load().is_some());
    assert_eq!((m.free(), m.packets.free()), (1, m.packets.total()));
    for map in maps {
        map.destroy().unwrap();
    }
}

#[test]
fn destroying_a_waiting_map_is_busy_and_dropping_it_cancels() {
    let m = machine(1);
    let mut holder: DmaMap<ToDevice> = m.tag.create_map().unwrap();
    holder.load(m.packet()).unwrap();
    let calls = Arc::new(Calls::default());
    let mut waiting: DmaMap<ToDevice> = m.tag.create_map().unwrap();
    let _ = waiting.load_or_wait(m.packet(), calls.clone()).unwrap();
    let (waiting, busy) = waiting.destroy().unwrap_err();
    assert_eq!(busy, Busy { maps: 1, waiting: 1, ..Busy::default() });
    drop(waiting);
    holder.unload().unwrap();
    assert_eq!((m.pool.run_deferred(), calls.count()), (0, 0));
    assert_eq!(m.packets.free(), m.packets.total());
    assert_eq!(m.tag.live().quarantined, 0, "the device never knew of it");
}

#[test]
fn reclaiming_a_waiting_map_returns_its_buffer() {
    let m = machine(1);
    let mut holder: DmaMap<ToDevice> = m.tag.create_map().unwrap();
    holder.load(m.packet()).unwrap();
    let mut waiting: DmaMap<ToDevice> = m.tag.create_map().unwrap();
    let _ = waiting.load_or_wait(m.packet(), Arc::new(Calls::default())).unwrap();
    let stopped = DmaStopped::attest("old card", &m.tag);
    assert!(waiting.reclaim(&stopped).is_some() && holder.reclaim(&stopped).is_some());
    assert_eq!((m.free(), m.pool.statistics().waiting), (1, 0));
}

#[test]
fn a_quarantined_map_takes_its_bounce_pages_along() {
    let m = machine(2);
    let mut map: DmaMap<Bidirectional> = m.tag.create_map().unwrap();
    map.load(m.packet()).unwrap();
    drop(map);
    assert_eq!((m.free(), m.tag.live().quarantined), (1, 1));
    let Machine { sim, pool, tag, .. } = m;
    drop((pool, tag));
    assert_eq!(sim.allocations.lock().unwrap().len(), 1, "the page the device may own was not freed");
}
