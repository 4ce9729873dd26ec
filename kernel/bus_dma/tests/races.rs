//! The races of the DMA life cycle, in every interleaving under `--cfg loom`, on real threads otherwise:
//! `RUSTFLAGS="--cfg loom" cargo test -p bus_dma --profile loom --test races`.

use std::{
    alloc::{Layout, alloc_zeroed, dealloc},
    ptr::NonNull,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bus_dma::{
    BouncePool, Busy, Constraints, DmaError, DmaLayout, DmaMap, DmaPlatform, DmaTag, LoadReady, PhysAddr, ToDevice,
};
use ksync::model;

/// Everything the heap has is out of reach; what `alloc` hands out is within. No device ever looks.
struct Far {
    next: AtomicU64,
}

const LOW: u64 = u64::MAX / 2;

fn host_layout(layout: &DmaLayout) -> Layout {
    Layout::from_size_align(layout.size, layout.align).unwrap()
}

// SAFETY: the memory is the host's allocator's. The physical addresses are fiction, and stay within this test.
unsafe impl DmaPlatform for Far {
    fn phys_of(&self, ptr: *const u8) -> Option<PhysAddr> {
        Some(PhysAddr::new(LOW + 1 + ptr.addr() as u64))
    }

    fn alloc(&self, layout: &DmaLayout) -> Result<(NonNull<u8>, PhysAddr), DmaError> {
        let phys = self.next.fetch_add(layout.size as u64, Ordering::Relaxed);
        // SAFETY: the size is not zero, says the contract of `alloc`.
        let virt = unsafe { alloc_zeroed(host_layout(layout)) };
        Ok((NonNull::new(virt).ok_or(DmaError::NoMemory)?, PhysAddr::new(phys)))
    }

    unsafe fn free(&self, ptr: NonNull<u8>, layout: &DmaLayout) {
        // SAFETY: the caller promises that it came from `alloc` with this layout.
        unsafe { dealloc(ptr.as_ptr(), host_layout(layout)) };
    }
}

static FAR: Far = Far { next: AtomicU64::new(0x1000) };

type Map = DmaMap<ToDevice, Box<[u8]>>;

fn buffer() -> Box<[u8]> {
    vec![7; 64].into()
}

fn pool_and_tag() -> (Arc<BouncePool>, DmaTag) {
    let pool = BouncePool::new(&FAR, 1, LOW).unwrap();
    let root = DmaTag::root_with_bounce("root", &FAR, pool.clone());
    (pool, root.child("low", Constraints { lowaddr: LOW, ..Constraints::ANY }).unwrap())
}

/// Touches a cell that the owner touches after the cancellation: a late call is a data race, which the model reports.
struct Watch(model::RaceCell);

impl LoadReady for Watch {
    fn load_ready(&self) {
        self.0.write();
    }
}

#[test]
fn after_a_cancellation_no_call_is_running_or_to_come() {
    model::check(|| {
        let (pool, tag) = pool_and_tag();
        let (mut holder, mut waiting): (Map, Map) = (tag.create_map().unwrap(), tag.create_map().unwrap());
        holder.load(buffer()).unwrap();
        let watch = Arc::new(Watch(model::RaceCell::new()));
        let _ = waiting.load_or_wait(buffer(), watch.clone()).unwrap();
        holder.unload().unwrap();
        let server = {
            let pool = pool.clone();
            model::spawn(move || pool.run_deferred())
        };
        assert!(waiting.cancel_load().is_some());
        watch.0.write();
        server.join().unwrap();
        assert_eq!((pool.statistics().free, pool.statistics().waiting), (1, 0));
    });
}

#[test]
fn a_page_that_comes_back_while_a_load_queues_is_not_lost() {
    model::check(|| {
        let (pool, tag) = pool_and_tag();
        let (mut holder, mut waiting): (Map, Map) = (tag.create_map().unwrap(), tag.create_map().unwrap());
        holder.load(buffer()).unwrap();
        let other = {
            let pool = pool.clone();
            model::spawn(move || {
                holder.unload().unwrap();
                pool.run_deferred()
            })
        };
        let watch = Arc::new(Watch(model::RaceCell::new()));
        let _ = waiting.load_or_wait(buffer(), watch).unwrap();
        let served = other.join().unwrap();
        // Loaded at once, served by the other thread, or in the queue for the next run.
        assert_eq!(pool.run_deferred() + served, usize::from(pool.statistics().deferred == 1));
        waiting.finish_load().map_err(|(_, error)| error).unwrap();
        assert!(waiting.is_loaded());
        waiting.unload().unwrap();
        assert_eq!(pool.statistics().free, 1);
    });
}

#[test]
fn a_tag_whose_last_map_dies_elsewhere_is_busy_or_destroyed_but_never_both() {
    model::check(|| {
        let root = DmaTag::root("root", &FAR);
        let map: Map = root.create_map().unwrap();
        let other = model::spawn(move || drop(map));
        let early = root.destroy();
        other.join().unwrap();
        if let Err((root, busy)) = early {
            assert_eq!(busy, Busy { maps: 1, ..Busy::default() });
            root.destroy().unwrap();
        }
    });
}

#[test]
fn a_tag_is_not_seen_idle_while_a_buffer_goes_into_quarantine() {
    model::check(|| {
        let root = DmaTag::root("root", &FAR);
        let mut map: Map = root.create_map().unwrap();
        map.load(buffer()).unwrap();
        let other = model::spawn(move || drop(map));
        let (root, _) = root.destroy().unwrap_err();
        other.join().unwrap();
        assert_eq!(root.live().busy(), Some(Busy { quarantined: 1, ..Busy::default() }));
    });
}
