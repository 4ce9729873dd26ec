//! Conservation: whatever happens to the handles, every frame is somewhere, once.

// Loom's locks work inside a model only.
#![cfg(not(any(loom, shuttle)))]

use std::{collections::HashSet, sync::mpsc, thread};

use pktbuf::{BufferSize, PacketBatch, PacketBuf, PacketPool, PoolCache};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Op {
    PoolAlloc,
    CacheAlloc(usize),
    Drop(usize),
    Recycle(usize, usize),
    Batch(usize),
    Unbatch,
    PutBack,
    Flush(usize),
    Replace(usize, usize),
    Resize(usize, usize),
}

fn op() -> impl Strategy<Value = Op> {
    let any = 0_usize..1000;
    prop_oneof![
        2 => Just(Op::PoolAlloc),
        6 => (0_usize..3).prop_map(Op::CacheAlloc),
        2 => any.clone().prop_map(Op::Drop),
        4 => (0_usize..3, any.clone()).prop_map(|(c, i)| Op::Recycle(c, i)),
        3 => any.clone().prop_map(Op::Batch),
        2 => Just(Op::Unbatch),
        1 => Just(Op::PutBack),
        1 => (0_usize..3).prop_map(Op::Flush),
        1 => (0_usize..3, 0_usize..9).prop_map(|(c, n)| Op::Replace(c, n)),
        2 => (any, 0_usize..17_000).prop_map(|(i, n)| Op::Resize(i, n)),
    ]
}

/// All handles in existence, and the caches they go through.
struct World {
    pool: &'static PacketPool,
    caches: Vec<PoolCache>,
    owned: Vec<PacketBuf>,
    batch: PacketBatch,
}

impl World {
    fn pick(&mut self, index: usize) -> Option<PacketBuf> {
        (!self.owned.is_empty()).then(|| self.owned.swap_remove(index % self.owned.len()))
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::PoolAlloc => self.owned.extend(self.pool.alloc()),
            Op::CacheAlloc(cache) => {
                let made = self.caches[cache].alloc();
                self.owned.extend(made);
            }
            Op::Drop(index) => drop(self.pick(index)),
            Op::Recycle(cache, index) => {
                if let Some(buf) = self.pick(index) {
                    self.caches[cache].recycle(buf);
                }
            }
            Op::Batch(index) => {
                if let Some(buf) = self.pick(index)
                    && let Err(refused) = self.batch.push(buf)
                {
                    self.owned.push(refused);
                }
            }
            Op::Unbatch => self.owned.extend(self.batch.pop()),
            Op::PutBack => {
                if let Some(buf) = self.batch.pop() {
                    self.batch.push_front(buf).expect("a place was just freed");
                }
            }
            Op::Flush(cache) => self.caches[cache].flush(),
            Op::Replace(cache, capacity) => self.caches[cache] = PoolCache::new(self.pool, capacity),
            Op::Resize(index, n) => {
                if let Some(mut buf) = self.pick(index) {
                    buf.reset();
                    if buf.extend(n).is_some() {
                        buf.bytes_mut().fill(0x5a);
                    }
                    self.owned.push(buf);
                }
            }
        }
    }

    /// The law, against counts and addresses that the pool knows nothing of.
    fn check(&self) {
        let census = self.pool.census();
        let cached: usize = self.caches.iter().map(PoolCache::len).sum();
        assert_eq!(census.cached, cached);
        assert_eq!(census.free, self.pool.free());
        assert_eq!(census.owned, self.owned.len() + self.batch.len());
        assert_eq!(census.free + census.cached + census.owned, census.total);
        let bufs = || self.owned.iter().chain(self.batch.iter());
        let places: HashSet<_> = bufs().map(|buf| buf.bytes().as_ptr().addr() - buf.headroom()).collect();
        assert_eq!(places.len(), census.owned, "two handles share a frame");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_frame_is_somewhere_once_under_random_operations(
        frames in 0_usize..40,
        size in proptest::sample::select(&BufferSize::ALL),
        ops in proptest::collection::vec(op(), 0..300),
    ) {
        let pool = PacketPool::leak_sized_for_tests(frames, size);
        let caches = [0, 1, 8].map(|capacity| PoolCache::new(pool, capacity)).into();
        let mut world = World { pool, caches, owned: Vec::new(), batch: PacketBatch::new() };
        for op in &ops {
            world.apply(op);
            world.check();
        }
        drop(world);
        prop_assert_eq!(pool.free(), frames);
        prop_assert_eq!(pool.census().cached, 0);
    }

    #[test]
    fn a_batch_is_a_bounded_queue(ops in proptest::collection::vec(0_u8..4, 0..400)) {
        let pool = PacketPool::leak_for_tests(80);
        let mut batch = PacketBatch::new();
        let mut model = std::collections::VecDeque::new();
        let mut serial = 0_u16;
        for op in ops {
            if op == 3 {
                prop_assert_eq!(batch.pop().and_then(|buf| buf.rx_if()), model.pop_front());
            } else {
                let mut buf = pool.alloc().expect("the pool is larger than a batch");
                buf.set_rx_if(serial);
                let full = model.len() == pktbuf::BATCH_CAPACITY;
                prop_assert_eq!(batch.is_full(), full);
                let refused = if op == 2 { batch.push_front(buf) } else { batch.push(buf) };
                prop_assert_eq!(refused.is_err(), full);
                if !full && op == 2 {
                    model.push_front(serial);
                } else if !full {
                    model.push_back(serial);
                }
                serial = (serial + 1) % 1000;
            }
            prop_assert_eq!(batch.len(), model.len());
            prop_assert_eq!(batch.front().and_then(PacketBuf::rx_if), model.front().copied());
            prop_assert!(batch.iter().map(|buf| buf.rx_if().unwrap()).eq(model.iter().copied()));
        }
        prop_assert!(batch.drain().map(|buf| buf.rx_if().unwrap()).eq(model));
        drop(batch);
        prop_assert_eq!(pool.free(), 80);
    }
}

#[test]
fn frames_wander_between_threads_and_all_come_home() {
    const THREADS: usize = 4;
    let pool = PacketPool::leak_for_tests(100);
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..THREADS).map(|_| mpsc::sync_channel::<PacketBuf>(8)).unzip();
    thread::scope(|scope| {
        for (me, receiver) in receivers.into_iter().enumerate() {
            let next = senders[(me + 1) % THREADS].clone();
            scope.spawn(move || {
                let mut cache = PoolCache::new(pool, 16);
                let stamp = [u8::try_from(me).unwrap(); 64];
                for _ in 0..5_000 {
                    if let Some(mut buf) = cache.alloc() {
                        buf.append(&stamp).expect("a fresh buffer has room");
                        if let Err(mpsc::TrySendError::Full(buf) | mpsc::TrySendError::Disconnected(buf)) =
                            next.try_send(buf)
                        {
                            cache.recycle(buf);
                        }
                    }
                    while let Ok(buf) = receiver.try_recv() {
                        // A frame with two owners would carry a mixture of stamps.
                        let from = (me + THREADS - 1) % THREADS;
                        assert!(buf.bytes().iter().all(|&octet| usize::from(octet) == from));
                        cache.recycle(buf);
                    }
                }
            });
        }
        drop(senders);
    });
    let census = pool.census();
    assert_eq!((census.free, census.cached, census.owned), (100, 0, 0));
    assert!(census.low_water < 100);
}

#[test]
fn exhaustion_is_counted_and_answered_with_none() {
    let pool = PacketPool::leak_for_tests(2);
    let mut cache = PoolCache::new(pool, 4);
    let held = [pool.alloc().unwrap(), cache.alloc().unwrap()];
    assert!(pool.alloc().is_none() && cache.alloc().is_none());
    assert_eq!(pool.census().exhausted, 2);
    assert_eq!(pool.census().low_water, 0);
    drop(held);
    assert!(cache.alloc().is_some());
}

#[test]
fn a_buffer_of_another_pool_goes_home_to_that_pool() {
    let (ours, theirs) = (PacketPool::leak_for_tests(1), PacketPool::leak_for_tests(1));
    let mut cache = PoolCache::new(ours, 4);
    cache.recycle(theirs.alloc().unwrap());
    assert_eq!((cache.len(), theirs.free(), ours.free()), (0, 1, 1));
}

#[test]
fn many_buffers_of_several_pools_each_go_home_however_full_the_cache_is() {
    for capacity in 0..6 {
        let pools = [PacketPool::leak_for_tests(16), PacketPool::leak_for_tests(16), PacketPool::leak_for_tests(16)];
        let mut cache = PoolCache::new(pools[0], capacity);
        for order in [[0, 1, 2, 0, 0, 1, 1, 2], [1, 1, 0, 0, 0, 0, 0, 2], [2, 1, 2, 1, 2, 1, 0, 1]] {
            order.map(|pool| pools[pool].alloc().unwrap()).into_iter().for_each(|buf| cache.recycle_later(buf));
            assert!(pools[1].free() < 16, "the lock is taken once, when all are there");
            cache.publish();
            assert_eq!(pools[0].free() + cache.len(), 16, "capacity {capacity}");
            assert_eq!((pools[1].free(), pools[2].free()), (16, 16), "capacity {capacity}");
            assert_eq!(pools[0].census().cached, cache.len());
            pktbuf::send_home(order.map(|pool| pools[pool].alloc().unwrap()));
            assert_eq!((pools[1].free(), pools[2].free()), (16, 16), "capacity {capacity}");
        }
    }
}

/// Two nodes: each has a pool, and threads whose caches draw from it; packets cross over and are done with anywhere.
#[derive(Clone, Debug)]
enum Crossing {
    Alloc(usize),
    Receive(usize),
    Recycle(usize, usize),
    RecycleMany(usize, usize),
    SendHome(usize),
    Drop(usize),
    Flush(usize),
}

fn crossing() -> impl Strategy<Value = Crossing> {
    let (cache, any) = (0_usize..4, 0_usize..1000);
    prop_oneof![
        1 => (0_usize..2).prop_map(Crossing::Alloc),
        8 => cache.clone().prop_map(Crossing::Receive),
        2 => (cache.clone(), any.clone()).prop_map(|(c, i)| Crossing::Recycle(c, i)),
        2 => (cache.clone(), any.clone()).prop_map(|(c, n)| Crossing::RecycleMany(c, n)),
        1 => any.clone().prop_map(Crossing::SendHome),
        1 => any.prop_map(Crossing::Drop),
        1 => cache.prop_map(Crossing::Flush),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_frame_ever_changes_pools(ops in proptest::collection::vec(crossing(), 0..300)) {
        const FRAMES: usize = 40;
        let pools = [(); 2].map(|()| PacketPool::leak_for_tests(FRAMES));
        // By address, of which the pools know nothing.
        let place = |buf: &PacketBuf| buf.bytes().as_ptr().addr() - buf.headroom();
        let all = pools.map(|pool| Vec::from_iter(std::iter::from_fn(|| pool.alloc())));
        let homes = all.each_ref().map(|bufs| HashSet::<_>::from_iter(bufs.iter().map(place)));
        pktbuf::send_home(all.into_iter().flatten());
        let mut caches = [(0, 8), (1, 8), (0, 3), (1, 0)].map(|(pool, capacity)| (pool, PoolCache::new(pools[pool], capacity)));
        let mut owned: Vec<PacketBuf> = Vec::new();
        for op in ops {
            match op {
                Crossing::Alloc(pool) => {
                    let made = pools[pool].alloc();
                    prop_assert!(made.iter().all(|buf| homes[pool].contains(&place(buf))));
                    owned.extend(made);
                }
                Crossing::Receive(cache) => {
                    let (pool, cache) = &mut caches[cache];
                    let made = cache.alloc();
                    prop_assert!(made.iter().all(|buf| homes[*pool].contains(&place(buf))));
                    owned.extend(made);
                }
                Crossing::Recycle(cache, index) if !owned.is_empty() => {
                    let buf = owned.swap_remove(index % owned.len());
                    caches[cache].1.recycle(buf);
                }
                Crossing::RecycleMany(cache, many) => {
                    let many = many.min(owned.len());
                    owned.drain(..many).for_each(|buf| caches[cache].1.recycle_later(buf));
                    caches[cache].1.publish();
                }
                Crossing::SendHome(many) => {
                    let many = many.min(owned.len());
                    pktbuf::send_home(owned.drain(..many));
                }
                Crossing::Drop(index) if !owned.is_empty() => drop(owned.swap_remove(index % owned.len())),
                Crossing::Flush(cache) => caches[cache].1.flush(),
                Crossing::Recycle(..) | Crossing::Drop(_) => {}
            }
            for (which, pool) in pools.iter().enumerate() {
                let census = pool.census();
                let cached: usize = caches.iter().filter(|(of, _)| *of == which).map(|(_, cache)| cache.len()).sum();
                let out = owned.iter().filter(|buf| homes[which].contains(&place(buf))).count();
                prop_assert_eq!((census.cached, census.owned, census.free), (cached, out, FRAMES - cached - out));
            }
        }
        drop((caches, owned));
        for (pool, home) in pools.iter().zip(&homes) {
            let back = Vec::from_iter(std::iter::from_fn(|| pool.alloc()));
            prop_assert_eq!(&HashSet::from_iter(back.iter().map(place)), home);
        }
    }
}

#[test]
fn threads_of_two_nodes_send_through_each_other_and_every_frame_ends_in_its_own_pool() {
    const THREADS: usize = 4;
    let pools = [(); 2].map(|()| PacketPool::leak_for_tests(60));
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..THREADS).map(|_| mpsc::sync_channel::<PacketBuf>(8)).unzip();
    thread::scope(|scope| {
        for (me, receiver) in receivers.into_iter().enumerate() {
            let next = senders[(me + 1) % THREADS].clone();
            scope.spawn(move || {
                let mut cache = PoolCache::new(pools[me % 2], 16);
                for _ in 0..5_000 {
                    if let Some(buf) = cache.alloc()
                        && let Err(mpsc::TrySendError::Full(buf) | mpsc::TrySendError::Disconnected(buf)) =
                            next.try_send(buf)
                    {
                        cache.recycle(buf);
                    }
                    receiver.try_iter().for_each(|buf| cache.recycle_later(buf));
                    cache.publish();
                }
            });
        }
        drop(senders);
    });
    for pool in pools {
        let census = pool.census();
        assert_eq!((census.free, census.cached, census.owned), (60, 0, 0));
    }
}

#[test]
fn a_cache_beyond_the_census_limit_passes_through() {
    let pool = PacketPool::leak_for_tests(4);
    let caches: Vec<_> = (0..pktbuf::MAX_CACHES).map(|_| PoolCache::new(pool, 1)).collect();
    let mut beyond = PoolCache::new(pool, 4);
    let buf = beyond.alloc().unwrap();
    beyond.recycle(buf);
    assert_eq!((beyond.len(), pool.free()), (0, 4));
    drop(caches);
    let mut within = PoolCache::new(pool, 4);
    let buf = within.alloc().unwrap();
    within.recycle(buf);
    assert_eq!(within.len(), 2, "half a capacity was drawn and is kept");
}

#[test]
fn a_region_too_small_for_a_frame_makes_an_empty_pool() {
    for size in BufferSize::ALL {
        for octets in [0, 1, 63, 64, size.stride() - 1] {
            let pool = Box::leak(Box::new(PacketPool::new(vec![0; octets].leak(), size)));
            assert_eq!(pool.total(), 0);
            assert!(pool.alloc().is_none());
        }
    }
}

#[test]
fn frames_start_at_cache_lines_wherever_the_region_starts() {
    for size in BufferSize::ALL {
        let region = vec![0; 5 * size.stride()].leak();
        let pool = Box::leak(Box::new(PacketPool::new(&mut region[1..], size)));
        assert!(pool.total() >= 4);
        let all: Vec<_> = std::iter::from_fn(|| pool.alloc()).collect();
        let starts: Vec<_> = all.iter().map(|buf| buf.bytes().as_ptr().addr()).collect();
        assert!(starts.iter().all(|start| start % 64 == 0));
        assert!(starts.windows(2).all(|pair| pair[1] - pair[0] == size.stride()), "frames overlap or leave gaps");
    }
}
