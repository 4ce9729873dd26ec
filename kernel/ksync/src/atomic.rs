//! The atomics of the whole kernel: `core`'s, or loom's under `--cfg loom`, or shuttle's under `--cfg shuttle`.
//!
//! Context: any. The one difference that shows: loom's constructors are not `const`, so a `static` atomic has to be hidden from
//! loom builds.

#[cfg(not(any(loom, shuttle)))]
pub use core::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};
#[cfg(loom)]
pub use loom::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};
#[cfg(shuttle)]
pub use shuttle::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};

/// A word of memory that a device shares: always `core`'s, because a model checker's atomics are larger than the word they
/// stand for, and a device does not ask its scheduler.
pub use core::sync::atomic::AtomicU64 as DeviceU64;

/// Words of large tables that are read for every packet: loom's in loom's models, else `core`'s. To shuttle a lookup is one step, or
/// its schedules would be spent on tables.
#[cfg(not(loom))]
pub use core::sync::atomic::{AtomicU16 as TableU16, AtomicU32 as TableU32, AtomicU64 as TableU64};
#[cfg(loom)]
pub use loom::sync::atomic::{AtomicU16 as TableU16, AtomicU32 as TableU32, AtomicU64 as TableU64};

/// Tells the processor (or the model checker's scheduler) that this is a spin-wait iteration.
///
/// # Context
/// Any. A loop that waits for another thread must call this, or loom explores it for ever.
#[inline]
pub fn spin_loop() {
    #[cfg(not(any(loom, shuttle)))]
    core::hint::spin_loop();
    #[cfg(loom)]
    loom::thread::yield_now();
    #[cfg(shuttle)]
    shuttle::thread::yield_now();
}

/// Asks the memory for the cache line in which `word` is, for reading, and waits for nothing. To models it is no access.
///
/// # Context
/// Either; does not block.
#[inline]
pub fn prefetch<T>(word: &T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: PREFETCHT0 is a hint that changes nothing a program can see and faults for no address (Intel SDM vol. 2B, PREFETCHh).
    unsafe {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(core::ptr::from_ref(word).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = word;
}
