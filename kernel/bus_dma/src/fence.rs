//! The barrier between the processor's view of memory and a device's.
//!
//! x86 keeps caches coherent with DMA, keeps stores in order among themselves and loads in order among themselves
//! (SDM volume 3, 8.2.2), and completes write-back stores before a later uncached doorbell store becomes visible. What is
//! left to order is the compiler. `core`'s fences speak about threads of this program only; a device is none, and no
//! Rust fence is specified for it. An `asm!` block without `nomem` may read and write all memory whose address has
//! escaped, so the compiler may neither move accesses across it nor keep values over it: that is the specified tool.

/// Keeps the compiler from moving memory accesses across, in either direction. No instruction on x86.
#[inline(always)]
pub(crate) fn device_barrier() {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: the block is empty: no register, flag, stack or memory is changed.
    unsafe {
        core::arch::asm!("", options(nostack, preserves_flags));
    }
    // Hosts of other kinds run the tests only; the strongest fence will do.
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    core::sync::atomic::fence(core::sync::atomic::Ordering::SeqCst);
}

/// The same, and lets `memory` escape: from here on the compiler believes that something outside can change it.
#[inline(always)]
pub(crate) fn expose(memory: *mut u8) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: the block is empty but for a comment; it names a register and changes nothing.
    unsafe {
        core::arch::asm!("/* {0} */", in(reg) memory, options(nostack, preserves_flags));
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    {
        let _ = memory.expose_provenance();
        device_barrier();
    }
}
