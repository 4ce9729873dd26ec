//! Threads' stacks and registers behind an interface that cannot be misused.
//!
//! [`ThreadContext`] owns a guarded stack and the place where its thread's registers are saved. [`switch`] is safe because
//! it checks what [`context::switch`] demands of its caller:
//!
//! - interrupts are off;
//! - `previous` is the thread that calls: the stack pointer lies in its stack;
//! - `next` is saved and nobody else resumes it: its saved stack pointer is *taken*, by an atomic exchange with 0.
//!
//! A violation is a bug of the scheduler and panics before any register changes.

use alloc::{boxed::Box, vec::Vec};
use core::sync::atomic::{AtomicU64, Ordering};

use ksync::{SpinLock, irq};

use crate::{
    context::{self, Context},
    cpu,
    stack::{KernelStack, StackError, THREAD_STACK_PAGES},
    trap::probe,
};

/// How far a boot stack reaches at most from where it was first seen, in octets.
const BOOT_STACK_REACH: u64 = 256 * 1024;

/// A thread's stack and saved registers.
#[derive(Debug)]
#[repr(C)]
pub struct ThreadContext {
    /// The saved stack pointer; 0 while the thread runs, and for ever once the stack has been given back. First, because
    /// the switch stores through a pointer to it.
    saved: AtomicU64,
    /// The stack's addresses; they change only when a context is used again for another thread.
    bottom: AtomicU64,
    top: AtomicU64,
    /// Protects: the stack until it is given back; held for the exchange only. `None` for boot stacks.
    stack: SpinLock<Option<KernelStack>>,
}

/// Where a thread that does not run goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SavedPlace {
    /// The instruction.
    pub instruction: u64,
    /// The frame pointer of its function.
    pub frame_pointer: u64,
    /// The stack pointer.
    pub stack_pointer: u64,
}

/// Contexts whose stack was given back. Protects: the list; held across: one push or pop.
static UNUSED: SpinLock<Vec<&'static ThreadContext>> = SpinLock::new(Vec::new());

impl ThreadContext {
    /// Makes a thread that starts in `entry` with interrupts off. The context lives for ever; [`release`](Self::release)
    /// makes it available for another thread.
    ///
    /// # Errors
    /// [`StackError`] when there is no memory for the stack.
    ///
    /// # Context
    /// Thread; allocates.
    pub fn create(entry: context::Entry, argument: usize) -> Result<&'static Self, StackError> {
        let stack = KernelStack::allocate(THREAD_STACK_PAGES)?;
        let (bottom, top) = (stack.bottom(), stack.top());
        let this = UNUSED.lock().pop().unwrap_or_else(|| Box::leak(Box::new(Self::unused())));
        // SAFETY: the stack was allocated above, nobody uses it, and this value keeps it until `release`.
        let context = unsafe { Context::new(top, entry, argument) };
        *this.stack.lock() = Some(stack);
        this.bottom.store(bottom, Ordering::Relaxed);
        this.top.store(top, Ordering::Relaxed);
        // ORDERING: release pairs with the acquire in `switch`: the first frame is written.
        this.saved.store(context.stack_pointer(), Ordering::Release);
        Ok(this)
    }

    /// Makes the context of the running CPU's boot stack, on which it becomes its idle thread.
    ///
    /// # Context
    /// Thread, on the boot stack in question; allocates.
    #[must_use]
    pub fn boot() -> &'static Self {
        let here = cpu::frame_pointer();
        let this = Self::unused();
        this.bottom.store(here.saturating_sub(BOOT_STACK_REACH), Ordering::Relaxed);
        this.top.store(here.saturating_add(BOOT_STACK_REACH), Ordering::Relaxed);
        Box::leak(Box::new(this))
    }

    fn unused() -> Self {
        Self { saved: AtomicU64::new(0), bottom: AtomicU64::new(0), top: AtomicU64::new(0), stack: SpinLock::new(None) }
    }

    /// Gives the stack of a thread back that has switched away for the last time, or never ran.
    ///
    /// # Panics
    /// If the thread is running.
    ///
    /// # Context
    /// Thread.
    pub fn release(&'static self) {
        // ORDERING: acquire pairs with the store of the stack pointer in the switch: the thread has left its stack.
        let saved = self.saved.swap(0, Ordering::Acquire);
        assert!(saved != 0, "the stack of a running thread was given back");
        drop(self.stack.lock().take());
        UNUSED.lock().push(self);
    }

    /// Returns where the thread goes on when it is switched to, for a backtrace; `None` while it runs, or if its stack does not hold
    /// that.
    ///
    /// # Context
    /// Any; takes no lock. Old news when it returns, unless the world stands still.
    #[must_use]
    pub fn saved(&self) -> Option<SavedPlace> {
        // ORDERING: acquire pairs with the store of the stack pointer in the switch: what it pushed is on the stack.
        let stack_pointer = self.saved.load(Ordering::Acquire);
        let word = |index: u64| {
            let address = stack_pointer.checked_add(8 * index).filter(|address| self.holds(*address))?;
            probe::read(address).ok()
        };
        // As `context::switch` pushes: r15 r14 r13 r12 rbx rbp, above them the return address.
        (stack_pointer != 0).then_some(())?;
        Some(SavedPlace { instruction: word(6)?, frame_pointer: word(5)?, stack_pointer })
    }

    fn holds(&self, address: u64) -> bool {
        (self.bottom.load(Ordering::Relaxed)..self.top.load(Ordering::Relaxed)).contains(&address)
    }
}

/// Saves the calling thread in `previous` and continues `next`; returns when somebody continues `previous`.
///
/// # Panics
/// If interrupts are on, `previous` is not the caller, or `next` is running or ended.
///
/// # Context
/// Thread, interrupts off, no lock held.
#[inline]
pub fn switch(previous: &ThreadContext, next: &ThreadContext) {
    let here = cpu::frame_pointer();
    assert!(!irq::interrupts_enabled(), "thread switch with interrupts on");
    assert!(previous.holds(here), "thread switch from a stack that is not the caller's");
    assert!(previous.saved.load(Ordering::Relaxed) == 0, "thread switch from a thread that is not running");
    // ORDERING: acquire pairs with the store of the stack pointer in the switch that saved `next` (x86 stores are
    // releases): its registers are on its stack, and its CPU has left that stack.
    let resumed = next.saved.swap(0, Ordering::Acquire);
    assert!(resumed != 0, "thread switch to a thread that runs or has ended");
    let target = Context::saved_at(resumed);
    let place = previous.saved.as_ptr().cast::<Context>();
    // SAFETY: 1. Interrupts are off. 2. `target` was prepared or saved, and taking it by exchange made us its only user.
    // 3. `place` is a word of the calling thread's own context, which lives for ever. 4. The store of the
    // stack pointer is the last use of the old stack, so whoever sees it may resume the thread.
    #[cfg(target_os = "none")]
    unsafe {
        context::switch(place, &raw const target);
    }
    #[cfg(not(target_os = "none"))]
    let _ = (place, target);
}

/// Calls `visit` with the name of each lock in here and whether somebody holds it. Any context; never waits.
pub(crate) fn locks(visit: &mut dyn FnMut(&'static str, bool)) {
    visit("thread contexts", UNUSED.is_held());
}
