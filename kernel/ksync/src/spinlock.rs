//! The kernel's only lock: it spins, with interrupts off on this CPU while held.
//!
//! Because the holder cannot be interrupted it cannot be preempted either, so a critical section lasts as long as its code and no
//! priority inversion exists. Under a model checker it is the checker's mutex. The unlocking order is carried by the field order of [`SpinLockGuard`]:
//! the lock goes first, then the interrupt flag.

use core::{
    fmt,
    ops::{Deref, DerefMut},
};

use crate::irq;

#[cfg(loom)]
use loom::sync::{Mutex as Inner, MutexGuard as InnerGuard};
#[cfg(shuttle)]
use shuttle::sync::{Mutex as Inner, MutexGuard as InnerGuard};
#[cfg(not(any(loom, shuttle)))]
use spin::mutex::{SpinMutex as Inner, SpinMutexGuard as InnerGuard};

/// A value that one CPU at a time may touch.
///
/// # Context
/// Thread or interrupt context. Never held across anything that parks, and never taken in an NMI (use
/// [`SpinLock::lock_bounded`] there).
pub struct SpinLock<T> {
    inner: Inner<T>,
}

/// How often [`SpinLock::look`] tries: milliseconds, where a critical section takes microseconds.
const PATIENCE: u32 = 50_000;

/// The lock's holder does not let go: it has been stopped in the middle of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held;

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the lock is held and not let go")
    }
}

impl core::error::Error for Held {}

/// Access to the value of a [`SpinLock`]; dropping it unlocks and then restores the interrupt flag.
#[must_use = "the lock is released as soon as the guard is dropped"]
pub struct SpinLockGuard<'a, T> {
    // Field order matters: fields drop in the order of their declaration.
    inner: InnerGuard<'a, T>,
    _interrupts: irq::Disabled,
}

impl<T> SpinLock<T> {
    /// Returns an unlocked lock around `value`.
    #[cfg(not(loom))]
    #[must_use]
    pub const fn new(value: T) -> Self {
        Self { inner: Inner::new(value) }
    }

    /// Returns an unlocked lock around `value`.
    #[cfg(loom)]
    #[must_use]
    pub fn new(value: T) -> Self {
        Self { inner: Inner::new(value) }
    }

    /// Spins until the lock is ours.
    ///
    /// Interrupts are served while we wait (if they were on), and are off from then on until the guard is dropped.
    ///
    /// # Context
    /// Thread or interrupt. Deadlocks if this CPU already holds the lock. In a stopped world a lock that is held is never released:
    /// see [`crate::contended`].
    #[inline]
    pub fn lock(&self) -> SpinLockGuard<'_, T> {
        #[cfg(any(loom, shuttle))]
        return SpinLockGuard {
            inner: self.inner.lock().expect("a thread panicked in a critical section"),
            _interrupts: irq::disable(),
        };
        #[cfg(not(any(loom, shuttle)))]
        loop {
            if let Some(guard) = self.try_lock() {
                return guard;
            }
            while self.inner.is_locked() {
                crate::contended::still_waiting();
                core::hint::spin_loop();
            }
        }
    }

    /// Takes the lock if it is free right now.
    ///
    /// # Context
    /// Any, including NMI.
    #[inline]
    pub fn try_lock(&self) -> Option<SpinLockGuard<'_, T>> {
        let interrupts = irq::disable();
        #[cfg(any(loom, shuttle))]
        let inner = self.inner.try_lock().ok()?;
        #[cfg(not(any(loom, shuttle)))]
        let inner = self.inner.try_lock()?;
        Some(SpinLockGuard { inner, _interrupts: interrupts })
    }

    /// Tries `spins` times and then gives up: for panic paths, where the holder may be a CPU that has been stopped.
    ///
    /// # Context
    /// Any, including NMI.
    pub fn lock_bounded(&self, spins: u32) -> Option<SpinLockGuard<'_, T>> {
        for _ in 0..spins {
            if let Some(guard) = self.try_lock() {
                return Some(guard);
            }
            crate::atomic::spin_loop();
        }
        None
    }

    /// Returns where the value is, whoever holds the lock: for crash reports, when the holder is stopped.
    #[cfg(not(any(loom, shuttle)))]
    pub fn as_ptr(&self) -> *mut T {
        self.inner.as_mut_ptr()
    }

    /// Takes the lock for a moment's look, on behalf of a view: waits longer than anybody holds it who runs, and gives up on a
    /// holder who has been stopped.
    ///
    /// # Errors
    /// [`Held`].
    ///
    /// # Context
    /// Any, also the debugger in a world that stands still.
    pub fn look(&self) -> Result<SpinLockGuard<'_, T>, Held> {
        self.lock_bounded(PATIENCE).ok_or(Held)
    }

    /// Returns whether somebody holds the lock right now: old news when it returns, unless the world stands still.
    ///
    /// # Context
    /// Any.
    pub fn is_held(&self) -> bool {
        self.try_lock().is_none()
    }

    /// Returns the value; nobody can hold a lock that is owned by value.
    pub fn into_inner(self) -> T {
        #[cfg(any(loom, shuttle))]
        return self.inner.into_inner().expect("a thread panicked in a critical section");
        #[cfg(not(any(loom, shuttle)))]
        self.inner.into_inner()
    }
}

impl<T> Deref for SpinLockGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T> DerefMut for SpinLockGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

impl<T> fmt::Debug for SpinLockGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SpinLockGuard")
    }
}

impl<T> fmt::Debug for SpinLock<T> {
    /// Does not lock: a debug print must not change who waits for whom.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SpinLock")
    }
}

impl<T: Default> Default for SpinLock<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::{Held, SpinLock};

    #[test]
    fn a_held_lock_refuses_try_and_bounded_attempts() {
        let lock = SpinLock::new(1);
        let guard = lock.lock();
        assert!(lock.try_lock().is_none());
        assert!(lock.lock_bounded(3).is_none());
        assert_eq!(lock.look().err(), Some(Held));
        assert!(lock.is_held());
        drop(guard);
        *lock.lock_bounded(1).expect("the lock is free") += 1;
        assert!(!lock.is_held());
        assert_eq!(lock.look().map(|value| *value), Ok(2));
        assert_eq!(lock.into_inner(), 2);
    }

    #[test]
    fn increments_of_four_threads_are_all_kept() {
        let lock = SpinLock::new(0_u32);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1000).for_each(|_| *lock.lock() += 1));
            }
        });
        assert_eq!(lock.into_inner(), 4000);
    }
}
