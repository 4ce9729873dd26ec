//! Kernel stacks: a virtual range of its own for each, with an unmapped guard page below.
//!
//! Freed stacks stay mapped and are handed out again, so no CPU ever holds a stale translation and no shootdown is needed: the
//! mapped memory is bounded by the largest number of stacks alive at once. Context: thread.

use core::ptr;

use ksync::SpinLock;

use crate::{
    boot,
    frame::FRAME_SIZE,
    paging::{self, PagingError, STACK_BASE},
};

/// Frames of an ordinary thread's stack (32 KiB): deep enough for an interrupt on top of the deepest thread.
pub const THREAD_STACK_PAGES: usize = 8;
/// Number of different stack sizes the reuse pool tells apart.
const SIZES: usize = 4;

/// Why there is no stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StackError {
    /// Zero pages, or too many sizes in use at once for the pool.
    BadSize,
    /// The pages could not be mapped.
    Paging(PagingError),
}

/// An owned stack; dropping it gives it back for reuse.
#[derive(Debug)]
pub struct KernelStack {
    bottom: u64,
    pages: usize,
}

/// Free stacks of one size, linked through their lowest word.
#[derive(Clone, Copy, Debug)]
struct FreeList {
    pages: usize,
    /// Bottom of the first free stack, 0 for none.
    head: u64,
}

#[derive(Debug)]
struct Pool {
    next: u64,
    lists: [FreeList; SIZES],
}

static POOL: SpinLock<Pool> = SpinLock::new(Pool { next: STACK_BASE, lists: [FreeList { pages: 0, head: 0 }; SIZES] });

impl Pool {
    /// Returns the list for stacks of `pages`, opening one if need be.
    fn list(&mut self, pages: usize) -> Option<&mut FreeList> {
        let index = self.lists.iter().position(|list| list.pages == pages || list.pages == 0)?;
        let list = self.lists.get_mut(index)?;
        list.pages = pages;
        Some(list)
    }

    /// Takes a free stack of `pages`, if there is one.
    fn reuse(&mut self, pages: usize) -> Result<Option<u64>, StackError> {
        let list = self.list(pages).ok_or(StackError::BadSize)?;
        if list.head == 0 {
            return Ok(None);
        }
        let bottom = list.head;
        // SAFETY: free stacks are mapped, and their lowest word was written by `Drop`.
        list.head = unsafe { ptr::with_exposed_provenance::<u64>(bottom as usize).read() };
        Ok(Some(bottom))
    }

    /// Reserves addresses for a guard page and a stack above it, and returns the stack's bottom.
    fn reserve(&mut self, pages: usize) -> u64 {
        let bottom = self.next + FRAME_SIZE;
        self.next = bottom + pages as u64 * FRAME_SIZE;
        bottom
    }
}

impl KernelStack {
    /// Allocates a stack of `pages` frames.
    ///
    /// # Errors
    /// [`StackError`]; the memory of a half-mapped stack is given back.
    pub fn allocate(pages: usize) -> Result<Self, StackError> {
        if pages == 0 {
            return Err(StackError::BadSize);
        }
        let bottom = {
            let mut pool = POOL.lock();
            if let Some(bottom) = pool.reuse(pages)? {
                return Ok(Self { bottom, pages });
            }
            pool.reserve(pages)
        };
        // SAFETY: the addresses were reserved for us above and have never been mapped.
        unsafe { paging::map_fresh(bottom, pages as u64 * FRAME_SIZE) }.map_err(StackError::Paging)?;
        Ok(Self { bottom, pages })
    }

    /// The address above the highest octet: the initial stack pointer, 16-octet aligned.
    #[must_use]
    pub fn top(&self) -> u64 {
        self.bottom + self.pages as u64 * FRAME_SIZE
    }

    /// The lowest usable address; the page below is the guard.
    #[must_use]
    pub fn bottom(&self) -> u64 {
        self.bottom
    }
}

impl Drop for KernelStack {
    fn drop(&mut self) {
        let mut pool = POOL.lock();
        // The list was opened by `allocate`, so this cannot fail; if it did, the stack would stay allocated, which is safe.
        if let Some(list) = pool.list(self.pages) {
            // SAFETY: the stack is mapped, writable and ours, and nobody runs on it any more.
            unsafe { ptr::with_exposed_provenance_mut::<u64>(self.bottom as usize).write(list.head) };
            list.head = self.bottom;
        }
    }
}

/// Returns whether an address that faulted is a guard page: below a kernel stack, or below the boot stack.
///
/// # Context
/// Any, including a double fault; takes no lock.
#[must_use]
pub(crate) fn is_guard(address: u64) -> bool {
    let boot_guard = boot::record()
        .is_some_and(|record| (record.stack_bottom.saturating_sub(FRAME_SIZE)..record.stack_bottom).contains(&address));
    let in_stacks = (STACK_BASE..paging::HEAP_BASE).contains(&address);
    // In the stack range everything reserved is mapped except the guards; the page above a guard is a stack's lowest.
    boot_guard || (in_stacks && !paging::is_mapped(address) && paging::is_mapped(address + FRAME_SIZE))
}

/// Calls `visit` with the name of each lock in here and whether somebody holds it. Any context; never waits.
pub(crate) fn locks(visit: &mut dyn FnMut(&'static str, bool)) {
    visit("stacks", POOL.is_held());
}
