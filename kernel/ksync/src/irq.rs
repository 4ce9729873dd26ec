//! The interrupt flag of this CPU (RFLAGS.IF).
//!
//! On hosts there is no flag to touch: disabling does nothing and the flag reads as set. SDM volume 3, 6.8.1.

use core::marker::PhantomData;

/// Interrupts stay off on this CPU while this value lives; dropping restores the state found.
///
/// Values must be dropped in the reverse order of their making (scopes do that by themselves). Not `Send`: it speaks of this CPU.
#[derive(Debug)]
#[must_use = "interrupts come back on as soon as this is dropped"]
pub struct Disabled {
    restore: bool,
    cpu_local: PhantomData<*mut ()>,
}

/// Turns interrupts off until the returned value is dropped.
///
/// # Context
/// Any.
#[inline]
pub fn disable() -> Disabled {
    let restore = interrupts_enabled();
    if restore {
        flag::clear();
    }
    Disabled { restore, cpu_local: PhantomData }
}

impl Drop for Disabled {
    #[inline]
    fn drop(&mut self) {
        if self.restore {
            flag::set();
        }
    }
}

/// Turns interrupts on, whatever they were: the first act of a new thread, which starts with them off.
///
/// # Context
/// Thread context, no lock held.
#[inline]
pub fn enable() {
    flag::set();
}

/// Runs `f` with interrupts off on this CPU and restores the state found.
///
/// # Context
/// Any. `f` must not park.
#[inline]
pub fn without_interrupts<R>(f: impl FnOnce() -> R) -> R {
    let _off = disable();
    f()
}

/// Returns whether interrupts are enabled on this CPU; always true on hosts.
#[inline]
#[must_use]
pub fn interrupts_enabled() -> bool {
    flag::is_set()
}

#[cfg(target_os = "none")]
mod flag {
    //! RFLAGS.IF, bit 9.
    use core::arch::asm;

    const IF: u64 = 1 << 9;

    #[inline]
    pub(super) fn is_set() -> bool {
        let flags: u64;
        // SAFETY: reads RFLAGS through the stack; the red zone is disabled for the kernel target, and no memory that Rust knows of is
        // touched.
        unsafe { asm!("pushfq", "pop {}", out(reg) flags, options(preserves_flags)) };
        flags & IF != 0
    }

    // `clear` and `set` have no `nomem` option: they are compiler barriers too, so that an access of the critical section cannot move
    // out of it.
    #[inline]
    pub(super) fn clear() {
        // SAFETY: the kernel runs at ring 0, where CLI is allowed; it changes no memory.
        unsafe { asm!("cli", options(nostack, preserves_flags)) };
    }

    #[inline]
    pub(super) fn set() {
        // SAFETY: an interrupt that comes in uses memory only as a safe program may; whoever calls holds no lock that its handler wants:
        // either the flag was found set before, or a new thread begins.
        unsafe { asm!("sti", options(nostack, preserves_flags)) };
    }
}

#[cfg(not(target_os = "none"))]
mod flag {
    //! A host process has no interrupt flag.
    pub(super) fn is_set() -> bool {
        true
    }

    pub(super) fn clear() {}

    pub(super) fn set() {}
}
