//! A stack of its own for code that may panic or loop: the bytecode interpreter.
//!
//! [`run`] calls a function on a fresh stack. If it panics, the kernel's panic handler offers the panic to [`on_panic`]; if it
//! outlasts its limit, the timer interrupt offers it to [`on_timer`]. Either way control returns to `run`'s caller and the
//! function never runs again: it is a thread that is not scheduled any more, and its stack, borrowed by what it left unfinished,
//! is leaked with it. Locks it may hold at that moment: none of the kernel's at the timer (they disable interrupts), and at a
//! panic only if a kernel lock's own critical section panics, which is a kernel bug that may as well hang.
//!
//! Context: thread at boot, bootstrap processor, one at a time.

use alloc::boxed::Box;
use core::{
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

use ksync::time::Instant;

use crate::time;

/// Why there is no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The function panicked.
    Panicked,
    /// The function outlasted its limit.
    TimedOut,
    /// Another contained function is running.
    Busy,
    /// There is no memory for a stack.
    NoStack,
}

/// Pages of stack: 256 KiB.
const STACK_PAGES: usize = 64;

/// Set while a contained function runs; the escape takes it.
static ACTIVE: AtomicBool = AtomicBool::new(false);
/// Stack pointer of the waiting caller, valid while ACTIVE.
static CALLER: AtomicUsize = AtomicUsize::new(0);
/// When the limit is reached, in nanoseconds since boot.
static DEADLINE: AtomicU64 = AtomicU64::new(0);

const FINISHED: usize = 0;
const PANICKED: usize = 1;
const TIMED_OUT: usize = 2;

core::arch::global_asm!(
    // enter(stack_top: rdi, function: rsi, argument: rdx, caller: rcx) -> rax
    // Saves the callee-saved registers and flags on the caller's stack, leaves the stack pointer in *caller, and calls
    // function(argument) on the new stack. Returns 0; or what `contained_escape` was given.
    ".global sluice_contained_enter",
    "sluice_contained_enter:",
    "push rbp",
    "push rbx",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "pushfq",
    "mov [rcx], rsp",
    "mov rbx, rcx",
    "mov rsp, rdi",
    "xor ebp, ebp",
    "mov rdi, rdx",
    "call rsi",
    "mov rsp, [rbx]",
    "xor eax, eax",
    "jmp 2f",
    // escape(caller stack pointer: rdi, code: rsi) -> !
    ".global sluice_contained_escape",
    "sluice_contained_escape:",
    "mov rsp, rdi",
    "mov rax, rsi",
    "2:",
    "popfq",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbx",
    "pop rbp",
    "ret",
);

unsafe extern "C" {
    fn sluice_contained_enter(
        stack_top: usize,
        function: unsafe extern "C" fn(*mut u8),
        argument: *mut u8,
        caller: *const AtomicUsize,
    ) -> usize;
    fn sluice_contained_escape(caller: usize, code: usize) -> !;
}

struct Job<F, T> {
    work: Option<F>,
    result: Option<T>,
}

unsafe extern "C" fn trampoline<T, F: FnOnce() -> T>(job: *mut u8) {
    // SAFETY: `run` passes its own boxed job of exactly these types and waits until this returns or never returns.
    let job = unsafe { &mut *job.cast::<Job<F, T>>() };
    if let Some(work) = job.work.take() {
        job.result = Some(work());
    }
}

/// Runs `work` on a stack of its own, for at most `limit`. On failure the stack and the job are leaked on purpose.
pub fn run<T: 'static, F: FnOnce() -> T + 'static>(limit: Duration, work: F) -> Result<T, Failure> {
    // ORDERING: acquire/release pair with the release in `leave`: one contained function at a time.
    if ACTIVE.swap(true, Ordering::AcqRel) {
        return Err(Failure::Busy);
    }
    let Some(stack) = stack::allocate() else {
        ACTIVE.store(false, Ordering::Release);
        return Err(Failure::NoStack);
    };
    let job: *mut Job<F, T> = Box::into_raw(Box::new(Job { work: Some(work), result: None }));
    let deadline = time::now() + limit;
    DEADLINE.store(deadline.as_nanos(), Ordering::Relaxed);
    watch(deadline);
    // SAFETY: the stack is 16-byte aligned, unused, and freed only if the function returned; the job outlives the call; the assembly keeps the ABI.
    let code = unsafe { sluice_contained_enter(stack::top(&stack), trampoline::<T, F>, job.cast(), &raw const CALLER) };
    ACTIVE.store(false, Ordering::Release);
    match code {
        FINISHED => {
            // SAFETY: the function returned, so nothing refers to the job any more; it came from `Box::into_raw`.
            let job = unsafe { Box::from_raw(job) };
            job.result.ok_or(Failure::Panicked)
        }
        code => {
            core::mem::forget(stack);
            Err(if code == TIMED_OUT { Failure::TimedOut } else { Failure::Panicked })
        }
    }
}

/// Makes sure that a timer interrupt arrives when the limit is reached.
#[cfg(target_os = "none")]
fn watch(deadline: Instant) {
    crate::timer::arm(deadline);
}

#[cfg(not(target_os = "none"))]
fn watch(_deadline: Instant) {}

/// The kernel's stacks have guard pages; a host's test makes do with the heap.
#[cfg(target_os = "none")]
mod stack {
    use crate::stack::KernelStack;

    pub(super) fn allocate() -> Option<KernelStack> {
        KernelStack::allocate(super::STACK_PAGES).ok()
    }

    pub(super) fn top(stack: &KernelStack) -> usize {
        stack.top() as usize
    }
}

#[cfg(not(target_os = "none"))]
mod stack {
    use alloc::{boxed::Box, vec};

    pub(super) fn allocate() -> Option<Box<[u128]>> {
        Some(vec![0u128; super::STACK_PAGES * 256].into_boxed_slice())
    }

    pub(super) fn top(stack: &[u128]) -> usize {
        stack.as_ptr_range().end as usize
    }
}

fn on_contained_stack() -> bool {
    ACTIVE.load(Ordering::Acquire) && crate::percpu::current_cpu() == ksync::cpu::CpuId::BOOT
}

/// Called first by the kernel's panic handler. Returns if the panic is the kernel's own; otherwise does not return.
pub fn on_panic(message: &core::panic::PanicInfo<'_>) {
    if on_contained_stack() {
        log::error!("acpi: firmware's bytecode stopped the interpreter: {message}");
        // SAFETY: ACTIVE says that `run` waits with its registers saved at CALLER; the panicking stack is never resumed.
        unsafe { sluice_contained_escape(CALLER.load(Ordering::Relaxed), PANICKED) };
    }
}

/// Called by the timer interrupt after its acknowledgement. Returns unless a contained function has outlasted its limit.
pub fn on_timer(now: Instant) {
    if on_contained_stack() && now.as_nanos() >= DEADLINE.load(Ordering::Relaxed) {
        // SAFETY: as in `on_panic`; the interrupted stack is never resumed, and kernel locks cannot be held here because they
        // disable interrupts.
        unsafe { sluice_contained_escape(CALLER.load(Ordering::Relaxed), TIMED_OUT) };
    }
}

#[cfg(test)]
mod tests;
