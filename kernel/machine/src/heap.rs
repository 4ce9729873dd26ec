//! The kernel heap: lists of small blocks over `linked_list_allocator`, behind an interrupt-safe lock, growing in chunks of fresh
//! frames up to a limit.
//!
//! Exhaustion is an answer, not a crash: the allocator returns null, [`try_box`] and [`try_vec`] (and `Vec::try_reserve`) turn
//! that into a `Result`, and infallible callers end in a readable panic which prints [`usage`]. The data path does not allocate.
//!
//! Context: thread; interrupt context works but is against the rules of this kernel. Never in an NMI.

mod classes;

use alloc::{
    alloc::{Layout, alloc},
    boxed::Box,
    vec::Vec,
};
use core::{
    alloc::GlobalAlloc,
    fmt,
    ptr::{self, NonNull},
};

use classes::{Class, SLAB, SizeClasses};
use ksync::SpinLock;
use linked_list_allocator::Heap;

use crate::{
    frame::FRAME_SIZE,
    paging::{self, HEAP_BASE},
};

/// Octets the heap grows by at a time, at least.
const CHUNK: usize = 512 * 1024;
/// A hole of the allocator takes this much at the end of a chunk.
const SLACK: usize = 64;

/// The heap has no room for an allocation of this size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeapExhausted {
    /// Octets asked for.
    pub size: usize,
}

impl fmt::Display for HeapExhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the heap has no room for {} octets", self.size)
    }
}

impl core::error::Error for HeapExhausted {}

/// Figures for `show memory` and for panic reports; octets unless said otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeapUsage {
    /// Allocated now.
    pub used: usize,
    /// The most that was ever allocated.
    pub peak: usize,
    /// Backed by frames.
    pub mapped: usize,
    /// How far it may grow.
    pub limit: usize,
    /// Number of allocations that failed.
    pub failures: u64,
    /// Size of the last one that failed.
    pub last_failure: usize,
}

impl fmt::Display for HeapUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { used, peak, mapped, limit, failures, last_failure } = self;
        write!(f, "{used} octets in use, peak {peak}, {mapped} mapped, limit {limit}, {failures} failed")?;
        if *failures > 0 { write!(f, " (the last of {last_failure} octets)") } else { Ok(()) }
    }
}

struct State {
    heap: Heap,
    small: SizeClasses,
    usage: HeapUsage,
}

/// The global allocator.
struct KernelHeap(SpinLock<State>);

#[cfg_attr(target_os = "none", global_allocator)]
static HEAP: KernelHeap = KernelHeap(SpinLock::new(State {
    heap: Heap::empty(),
    small: SizeClasses::new(),
    usage: HeapUsage { used: 0, peak: 0, mapped: 0, limit: 0, failures: 0, last_failure: 0 },
}));

impl State {
    /// Allocates: a small block from its list, others from the heap.
    fn allocate(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        let found = match Class::of(layout) {
            Some(class) => self.small.take(class).or_else(|| self.small_from_slab(class)),
            None => self.take_from_heap(layout),
        };
        if found.is_some() {
            self.note_used();
            self.usage.peak = self.usage.peak.max(self.usage.used);
        } else {
            self.usage.failures += 1;
            self.usage.last_failure = layout.size();
        }
        found
    }

    /// Frees what [`allocate`](Self::allocate) gave.
    ///
    /// # Safety
    /// It was given for this layout, and nobody uses it any more.
    unsafe fn free(&mut self, pointer: NonNull<u8>, layout: Layout) {
        match Class::of(layout) {
            // SAFETY: the caller's contract.
            Some(class) => unsafe { self.small.give(class, pointer) },
            // SAFETY: the caller's contract; what is not small comes from the heap.
            None => unsafe { self.heap.deallocate(pointer, layout) },
        }
        self.note_used();
    }

    fn note_used(&mut self) {
        self.usage.used = self.heap.used() - self.small.idle();
    }

    fn small_from_slab(&mut self, class: Class) -> Option<NonNull<u8>> {
        let slab = self.take_from_heap(SLAB)?;
        // SAFETY: allocated by the line before, and never given back.
        unsafe { self.small.cut(class, slab) };
        self.small.take(class)
    }

    /// Allocates from the heap, growing once if need be.
    fn take_from_heap(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        let found = self.heap.allocate_first_fit(layout).or_else(|()| {
            self.grow(layout)?;
            self.heap.allocate_first_fit(layout)
        });
        found.ok()
    }

    /// Maps enough fresh memory behind the heap for `layout`.
    fn grow(&mut self, layout: Layout) -> Result<(), ()> {
        let needed = layout.size().checked_add(layout.align()).and_then(|size| size.checked_add(SLACK)).ok_or(())?;
        let room = self.usage.limit.saturating_sub(self.usage.mapped);
        let needed = needed.checked_next_multiple_of(FRAME_SIZE as usize).filter(|needed| *needed <= room).ok_or(())?;
        let by = needed.max(CHUNK).min(room);
        let end = HEAP_BASE + self.usage.mapped as u64;
        // SAFETY: the heap's addresses are ours and those beyond its end have never been mapped.
        unsafe { paging::map_fresh(end, by as u64) }.map_err(|_| ())?;
        if self.usage.mapped == 0 {
            // SAFETY: the first chunk: mapped above, for ever, and the heap is empty.
            unsafe { self.heap.init(ptr::with_exposed_provenance_mut(HEAP_BASE as usize), by) };
        } else {
            // SAFETY: mapped above, directly behind the heap, for ever.
            unsafe { self.heap.extend(by) };
        }
        self.usage.mapped += by;
        Ok(())
    }
}

// SAFETY: `linked_list_allocator` hands out disjoint blocks of the right size and alignment, slabs are cut into such, and the lock
// makes it exclusive.
unsafe impl GlobalAlloc for KernelHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.0.lock().allocate(layout).map_or(ptr::null_mut(), NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        let mut state = self.0.lock();
        if let Some(pointer) = NonNull::new(pointer) {
            // SAFETY: the caller's contract: from `alloc` with the same layout.
            unsafe { state.free(pointer, layout) };
        }
    }
}

/// Lets the heap grow up to `limit` octets (whole frames); the first allocation maps the first chunk.
pub(crate) fn init(limit: usize) {
    HEAP.0.lock().usage.limit = limit / FRAME_SIZE as usize * FRAME_SIZE as usize;
}

/// Returns the figures.
#[must_use]
pub fn usage() -> HeapUsage {
    HEAP.0.lock().usage
}

/// As [`usage`], but gives up when the lock's holder has been stopped: for panic reports and the debugger.
#[must_use]
pub fn usage_bounded() -> Option<HeapUsage> {
    HEAP.0.look().ok().map(|state| state.usage)
}

/// Calls `visit` with the name of each lock in here and whether somebody holds it. Any context; never waits.
pub(crate) fn locks(visit: &mut dyn FnMut(&'static str, bool)) {
    visit("heap", HEAP.0.is_held());
}

/// Boxes `value`, or gives it back if the heap is exhausted.
///
/// # Errors
/// The value, when there is no room for it.
pub fn try_box<T>(value: T) -> Result<Box<T>, T> {
    let layout = Layout::new::<T>();
    if layout.size() == 0 {
        return Ok(Box::new(value));
    }
    // SAFETY: the size is not zero.
    let Some(pointer) = NonNull::new(unsafe { alloc(layout) }.cast::<T>()) else { return Err(value) };
    // SAFETY: fresh memory of the right layout.
    unsafe { pointer.write(value) };
    // SAFETY: allocated by the global allocator with `T`'s layout and initialised above.
    Ok(unsafe { Box::from_raw(pointer.as_ptr()) })
}

/// Returns an empty vector with room for `capacity` elements.
///
/// # Errors
/// [`HeapExhausted`] when there is no room for them.
pub fn try_vec<T>(capacity: usize) -> Result<Vec<T>, HeapExhausted> {
    let mut vec = Vec::new();
    let size = capacity.saturating_mul(size_of::<T>());
    vec.try_reserve_exact(capacity).map_err(|_| HeapExhausted { size })?;
    Ok(vec)
}

#[cfg(test)]
mod tests {
    use super::{HeapExhausted, try_box, try_vec};

    #[test]
    fn fallible_allocation_returns_the_value_or_the_size() {
        assert_eq!(try_box(7_u64).map(|boxed| *boxed), Ok(7));
        assert_eq!(try_vec::<u64>(usize::MAX / 16).map(|_| ()), Err(HeapExhausted { size: usize::MAX / 2 - 7 }));
        assert!(try_vec::<u32>(10).is_ok_and(|vec| vec.capacity() >= 10));
    }
}
