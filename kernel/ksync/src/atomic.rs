//! The atomics of the whole kernel: `core`'s, or loom's under `--cfg loom`.
//!
//! Context: any. The one difference that shows: loom's constructors are not `const`, so a `static` atomic has to be hidden from
//! loom builds.

#[cfg(not(loom))]
pub use core::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};
#[cfg(loom)]
pub use loom::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};

/// Tells the processor (or loom's scheduler) that this is a spin-wait iteration.
///
/// # Context
/// Any. A loop that waits for another thread must call this, or loom explores it for ever.
#[inline]
pub fn spin_loop() {
    #[cfg(not(loom))]
    core::hint::spin_loop();
    #[cfg(loom)]
    loom::thread::yield_now();
}
