//! The tripwire: did a device write to memory after its driver had given it back?
//!
//! Armed on the root tag before a shutdown tears the devices down. From then on [`DmaMem::free`](crate::DmaMem::free) fills the
//! memory with a pattern and keeps it instead of handing it to the platform, and [`DmaMap::reclaim`](crate::DmaMap::reclaim) notes
//! whose buffer it was. Before the machine resets, [`DmaTag::check_tripwire`](crate::DmaTag::check_tripwire) looks: nothing that
//! was freed is ever used again, so every octet that changed was changed by a device.
//!
//! Context: threads; the lists grow.

use alloc::{sync::Arc, vec::Vec};
use core::ptr::NonNull;

use ksync::{
    SpinLock,
    atomic::{AtomicBool, Ordering},
};

use crate::{BusAddr, fence};

/// What freed memory is filled with. Not zero and not all ones, which is what dead memory and dead devices read as.
const PATTERN: u8 = 0xd6;

/// Freed memory that something wrote to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The tag under which it was.
    pub tag: Arc<str>,
    /// The first octet that changed.
    pub address: BusAddr,
    /// How many octets changed.
    pub octets: usize,
}

/// Freed, patterned memory that nobody but this module reaches.
struct Freed {
    tag: Arc<str>,
    ptr: NonNull<u8>,
    bus: BusAddr,
    size: usize,
}

// SAFETY: the memory is owned: it was taken from its last owner and is never given back.
unsafe impl Send for Freed {}

/// A buffer that a device had and its map gave back.
struct Lent {
    tag: Arc<str>,
    bus: BusAddr,
    len: u32,
}

/// The tripwire of one bus: in its root tag.
pub(crate) struct Tripwire {
    armed: AtomicBool,
    /// Protects: the freed memory; held across: one push, or one look at all of it.
    freed: SpinLock<Vec<Freed>>,
    /// Protects: the list of buffers; held across: one push, or one search.
    lent: SpinLock<Vec<Lent>>,
}

impl Tripwire {
    pub(crate) fn new() -> Self {
        Self { armed: AtomicBool::new(false), freed: SpinLock::new(Vec::new()), lent: SpinLock::new(Vec::new()) }
    }

    pub(crate) fn arm(&self) {
        // ORDERING: relaxed; memory freed by others meanwhile is not watched, or is.
        self.armed.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_armed(&self) -> bool {
        self.armed.load(Ordering::Relaxed)
    }

    /// Takes freed memory over, patterned.
    ///
    /// # Safety
    /// `ptr` is valid for reads and writes of `size` octets for ever, and nobody else uses it from here on.
    pub(crate) unsafe fn take(&self, tag: &Arc<str>, ptr: NonNull<u8>, bus: BusAddr, size: usize) {
        // SAFETY: the caller's contract.
        unsafe { ptr.as_ptr().write_bytes(PATTERN, size) };
        fence::device_barrier();
        self.freed.lock().push(Freed { tag: Arc::clone(tag), ptr, bus, size });
    }

    /// Notes whose buffer went home.
    pub(crate) fn note(&self, tag: &Arc<str>, bus: BusAddr, len: u32) {
        self.lent.lock().push(Lent { tag: Arc::clone(tag), bus, len });
    }

    /// Returns whose buffer it was that held `address`.
    pub(crate) fn lender(&self, address: BusAddr) -> Option<Arc<str>> {
        let at = address.as_u64();
        let holds = |lent: &&Lent| (lent.bus.as_u64()..lent.bus.as_u64() + u64::from(lent.len)).contains(&at);
        self.lent.lock().iter().rev().find(holds).map(|lent| Arc::clone(&lent.tag))
    }

    /// Looks at all freed memory. Returns how many octets that were.
    pub(crate) fn check(&self, tell: &mut dyn FnMut(Damage)) -> usize {
        fence::device_barrier();
        let freed = self.freed.lock();
        for memory in freed.iter() {
            let changed = |octet: &usize| {
                let at = memory.ptr.as_ptr().wrapping_add(*octet);
                // SAFETY: within the memory, by `take`'s contract. Volatile, because a device may write there.
                unsafe { at.read_volatile() != PATTERN }
            };
            let mut damaged = (0..memory.size).filter(changed);
            if let Some(first) = damaged.next() {
                let address = BusAddr::from_raw(memory.bus.as_u64() + first as u64);
                tell(Damage { tag: Arc::clone(&memory.tag), address, octets: 1 + damaged.count() });
            }
        }
        freed.iter().map(|memory| memory.size).sum()
    }
}
