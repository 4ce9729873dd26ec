//! Vector → handler, read by interrupt dispatch without a lock.
//!
//! A handler is a plain function and one word. Registration writes the word, then publishes the function; dispatch reads the
//! function, then the word. A vector is never reused for another handler before [`HandlerTable::remove`] has been followed by
//! the caller's own wait for running handlers (the IRQ is masked and its ithread joined by then).

use core::{
    mem,
    sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering},
};

/// Called in interrupt context, interrupts off, before the acknowledgement.
pub type Handler = fn(argument: usize);

struct Slot {
    handler: AtomicPtr<()>,
    argument: AtomicUsize,
    delivered: AtomicU64,
    stray: AtomicU64,
}

/// One slot per vector.
pub struct HandlerTable {
    slots: [Slot; 256],
}

impl core::fmt::Debug for HandlerTable {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("HandlerTable").finish_non_exhaustive()
    }
}

impl HandlerTable {
    /// No handlers.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            slots: [const {
                Slot {
                    handler: AtomicPtr::new(core::ptr::null_mut()),
                    argument: AtomicUsize::new(0),
                    delivered: AtomicU64::new(0),
                    stray: AtomicU64::new(0),
                }
            }; 256],
        }
    }

    fn slot(&self, vector: u8) -> &Slot {
        &self.slots[usize::from(vector)]
    }

    /// Registers a handler; false if the vector has one.
    pub fn set(&self, vector: u8, handler: Handler, argument: usize) -> bool {
        let slot = self.slot(vector);
        if !slot.handler.load(Ordering::Acquire).is_null() {
            return false;
        }
        slot.argument.store(argument, Ordering::Relaxed);
        // ORDERING: release pairs with the acquire in `dispatch`: whoever sees the function sees its word.
        let free = core::ptr::null_mut();
        slot.handler.compare_exchange(free, handler as *mut (), Ordering::Release, Ordering::Relaxed).is_ok()
    }

    /// Forgets a handler. Another processor may be inside it; the caller waits as the module says.
    pub fn remove(&self, vector: u8) {
        self.slot(vector).handler.store(core::ptr::null_mut(), Ordering::Release);
    }

    /// Runs the handler of a delivered vector; false, and counted as stray, if there is none. Interrupt context.
    #[inline]
    pub fn dispatch(&self, vector: u8) -> bool {
        let slot = self.slot(vector);
        // ORDERING: acquire pairs with the release in `set`.
        let handler = slot.handler.load(Ordering::Acquire);
        if handler.is_null() {
            slot.stray.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        slot.delivered.fetch_add(1, Ordering::Relaxed);
        // SAFETY: only `set` stores non-null values, and they are `Handler` functions.
        let handler: Handler = unsafe { mem::transmute::<*mut (), Handler>(handler) };
        handler(slot.argument.load(Ordering::Relaxed));
        true
    }

    /// Deliveries of a vector that reached a handler.
    #[must_use]
    pub fn delivered(&self, vector: u8) -> u64 {
        self.slot(vector).delivered.load(Ordering::Relaxed)
    }

    /// Deliveries of a vector that had none.
    #[must_use]
    pub fn stray(&self, vector: u8) -> u64 {
        self.slot(vector).stray.load(Ordering::Relaxed)
    }
}

impl Default for HandlerTable {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::HandlerTable;
    use core::sync::atomic::{AtomicUsize, Ordering};

    static SUM: AtomicUsize = AtomicUsize::new(0);

    fn add(argument: usize) {
        SUM.fetch_add(argument, Ordering::Relaxed);
    }

    #[test]
    fn a_registered_vector_runs_its_handler_with_its_word_and_others_are_stray() {
        let table = HandlerTable::new();
        assert!(table.set(0x40, add, 7));
        assert!(!table.set(0x40, add, 8), "a vector has one handler");
        assert!(table.dispatch(0x40) && table.dispatch(0x40));
        assert!(!table.dispatch(0x41));
        assert_eq!(SUM.load(Ordering::Relaxed), 14);
        assert_eq!((table.delivered(0x40), table.stray(0x40), table.stray(0x41)), (2, 0, 1));
        table.remove(0x40);
        assert!(!table.dispatch(0x40));
        assert_eq!(table.stray(0x40), 1);
    }
}
