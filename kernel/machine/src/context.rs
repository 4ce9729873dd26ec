//! Switching between threads: callee-saved registers and the stack pointer.
//!
//! The kernel is built without floating point or vector registers, so these are all there is. The first switch to a new context
//! arrives in a trampoline that calls the entry function. Interrupts are off across a switch; the scheduler that calls
//! [`switch`] decides when they come back. Source: System V ABI, x86-64 supplement, 3.2.1.

/// A thread that is not running: where its registers are saved, on its own stack.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Context {
    rsp: u64,
}

/// Where a new thread starts; it must not return.
pub type Entry = extern "C" fn(argument: usize) -> !;

/// Words below the top of a new stack: six registers, the trampoline's address, and two to keep the ABI's alignment.
const INITIAL_WORDS: usize = 9;

impl Context {
    /// A place to save the running thread in; it has no meaning until [`switch`] has saved into it.
    #[must_use]
    pub const fn empty() -> Self {
        Self { rsp: 0 }
    }

    /// Returns the saved stack pointer.
    pub(crate) const fn stack_pointer(&self) -> u64 {
        self.rsp
    }

    /// The context that was saved with this stack pointer.
    pub(crate) const fn saved_at(rsp: u64) -> Self {
        Self { rsp }
    }

    /// Prepares a context which, when switched to, calls `entry(argument)` on the stack that ends at `stack_top`.
    ///
    /// # Safety
    /// `stack_top` is the 16-octet aligned end of a mapped, writable stack that nobody uses, and the stack outlives the thread.
    #[must_use]
    pub unsafe fn new(stack_top: u64, entry: Entry, argument: usize) -> Self {
        let rsp = stack_top - (INITIAL_WORDS * 8) as u64;
        // In the order `switch` pops: r15 r14 r13 r12 rbx rbp, then the return address, then the end of the backtrace.
        let words: [u64; INITIAL_WORDS] =
            [0, 0, entry as usize as u64, argument as u64, 0, 0, trampoline_address(), 0, 0];
        let slots = core::ptr::with_exposed_provenance_mut::<[u64; INITIAL_WORDS]>(rsp as usize);
        // SAFETY: inside the caller's unused stack.
        unsafe { slots.write(words) };
        Self { rsp }
    }
}

core::arch::global_asm!(
    ".pushsection .text.sluice_context, \"ax\", @progbits",
    // rdi: *mut Context to save into, rsi: *const Context to load.
    ".global sluice_switch",
    "sluice_switch:",
    "push rbp",
    "push rbx",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "mov [rdi], rsp",
    "mov rsp, [rsi]",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbx",
    "pop rbp",
    "ret",
    // First arrival: r13 is the entry function, r12 its argument; the two zero words above end the backtrace.
    ".global sluice_thread_start",
    "sluice_thread_start:",
    "mov rdi, r12",
    "xor ebp, ebp",
    "call r13",
    "ud2",
    ".popsection",
);

unsafe extern "C" {
    fn sluice_switch(previous: *mut Context, next: *const Context);
    static sluice_thread_start: u8;
}

fn trampoline_address() -> u64 {
    (&raw const sluice_thread_start).addr() as u64
}

/// Saves the running thread in `previous` and continues `next`; returns when somebody switches back.
///
/// # Safety
/// Interrupts are off. `next` was prepared by [`Context::new`] or saved by this function, is not running on any CPU, and is not
/// switched to a second time before it has been saved again. Both stay valid until the switch is over: the other side must not
/// let `previous` run elsewhere before this CPU has left its stack.
#[inline]
pub unsafe fn switch(previous: *mut Context, next: *const Context) {
    // SAFETY: the caller's contract.
    unsafe { sluice_switch(previous, next) };
}

#[cfg(test)]
mod tests {
    use core::{
        cell::UnsafeCell,
        sync::atomic::{AtomicU32, Ordering::Relaxed},
    };

    use super::{Context, INITIAL_WORDS, switch};

    /// Two contexts that hand the processor to each other, and what happened, as decimal digits.
    struct Pair {
        here: UnsafeCell<Context>,
        there: UnsafeCell<Context>,
        log: AtomicU32,
    }

    impl Pair {
        fn note(&self, digit: u32) {
            self.log.store(self.log.load(Relaxed) * 10 + digit, Relaxed);
        }
    }

    extern "C" fn there(pair: usize) -> ! {
        // SAFETY: the test keeps the pair alive.
        let pair: &Pair = unsafe { &*core::ptr::with_exposed_provenance(pair) };
        for round in 7.. {
            pair.note(round);
            // SAFETY: `here` was saved by the test's switch.
            unsafe { switch(pair.there.get(), pair.here.get()) };
        }
        unreachable!("the test switches twice")
    }

    #[test]
    fn a_new_context_starts_in_its_entry_and_continues_where_it_left() {
        let mut stack = std::vec![0_u128; 4096];
        let top = stack.as_mut_ptr_range().end.expose_provenance() as u64;
        let mut pair = Pair {
            here: UnsafeCell::new(Context::empty()),
            there: UnsafeCell::new(Context::empty()),
            log: AtomicU32::new(0),
        };
        let address = (&raw const pair).expose_provenance();
        // SAFETY: the vector is the stack; it outlives the last switch.
        *pair.there.get_mut() = unsafe { Context::new(top, there, address) };
        for round in 1..=2 {
            pair.note(round);
            // SAFETY: `there` was prepared above, then saved by its own switch.
            unsafe { switch(pair.here.get(), pair.there.get()) };
        }
        assert_eq!(pair.log.load(Relaxed), 1728);
    }

    #[test]
    fn a_new_context_touches_nothing_below_its_first_frame() {
        let mut stack = [0xAA_u64; 32];
        let top = stack.as_mut_ptr_range().end.expose_provenance() as u64;
        // SAFETY: the array is the stack, and nobody runs on it.
        let context = unsafe { Context::new(top, there, 7) };
        assert_eq!(context.rsp, top - 8 * INITIAL_WORDS as u64);
        assert_eq!(stack[32 - INITIAL_WORDS - 1], 0xAA);
    }
}
