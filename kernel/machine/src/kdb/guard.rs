//! Running code that may fault, panic or want a lock that nobody will release, in a stopped world.
//!
//! [`run`] calls a function; if it goes wrong, the trap handler, the panic handler or a waiting lock calls [`escape`], and `run`
//! returns an error. The frames in between are abandoned, not unwound, so what they held is leaked:
//!
//! - heap memory they owned;
//! - locks they had taken themselves stay locked (a view that fails *while holding* one makes that lock useless after
//!   `continue`; views take locks for as long as one copy takes, so that this is rare, and the error says so);
//! - reference counts they had raised.
//!
//! Interrupts, the direction flag and the depth of exceptions are as before. Guards nest. Context: the owner of the stopped world
//! only; it is one CPU, so one static word names the innermost guard.

use core::{
    cell::UnsafeCell,
    fmt::{self, Write},
    panic::PanicInfo,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use super::{WORLD, me};
use crate::{percpu, text::Text};

/// Why a guarded function did not return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caught {
    /// It took an exception.
    Fault {
        /// The vector.
        vector: u8,
        /// CR2 after a page fault, else 0.
        address: u64,
        /// The instruction.
        rip: u64,
    },
    /// It panicked.
    Panicked(Text<96>),
    /// It wanted a lock whose holder is stopped.
    Locked,
}

impl fmt::Display for Caught {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fault { vector: 14, address, rip } => write!(f, "page fault at {address:#x}, instruction {rip:#x}"),
            Self::Fault { vector, rip, .. } => write!(f, "exception {vector}, instruction {rip:#x}"),
            Self::Panicked(message) => write!(f, "panic: {}", message.as_str()),
            Self::Locked => f.write_str("a stopped CPU or thread holds the lock"),
        }
    }
}

core::arch::global_asm!(
    ".pushsection .text.sluice_guard, \"ax\", @progbits",
    // run(function: rdi, argument: rsi, place: rdx) -> rax
    // Saves the callee-saved registers and flags, leaves the stack pointer in *place and calls function(argument). Returns 0; or
    // 1 through `sluice_guard_escape`.
    ".global sluice_guard_run",
    "sluice_guard_run:",
    "push rbp",
    "mov rbp, rsp",
    "push rbx",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "pushfq",
    "mov [rdx], rsp",
    "mov rax, rdi",
    "mov rdi, rsi",
    "call rax",
    "xor eax, eax",
    "jmp 2f",
    // escape(saved stack pointer: rdi) -> !
    ".global sluice_guard_escape",
    "sluice_guard_escape:",
    "mov rsp, rdi",
    "mov eax, 1",
    "2:",
    "popfq",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbx",
    "pop rbp",
    "ret",
    ".popsection",
);

unsafe extern "C" {
    fn sluice_guard_run(function: unsafe extern "C" fn(*mut u8), argument: *mut u8, place: *const AtomicUsize)
    -> usize;
    fn sluice_guard_escape(saved: usize) -> !;
}

/// Stack pointer of the innermost guard, 0 without one.
static INNERMOST: AtomicUsize = AtomicUsize::new(0);

/// A panic's message is being written; ORDERING: relaxed, one CPU.
static FORMATTING: AtomicBool = AtomicBool::new(false);

/// Why the last guard was left.
struct Why(UnsafeCell<Caught>);

// SAFETY: written by the owner of the world in `escape`, read by the same CPU in `run` after that.
unsafe impl Sync for Why {}

static WHY: Why = Why(UnsafeCell::new(Caught::Locked));

struct Job<F, R> {
    work: Option<F>,
    result: Option<R>,
}

unsafe extern "C" fn trampoline<F: FnOnce() -> R, R>(job: *mut u8) {
    // SAFETY: `run` passes its own job of exactly these types, which lives until it returns.
    let job = unsafe { &mut *job.cast::<Job<F, R>>() };
    if let Some(work) = job.work.take() {
        job.result = Some(work());
    }
}

/// Runs `work`; for the owner of the stopped world.
///
/// # Errors
/// What stopped `work`, see [`Caught`].
pub(crate) fn run<F: FnOnce() -> R, R>(work: F) -> Result<R, Caught> {
    let block = percpu::this_block();
    let depth = block.exceptions();
    let mut job = Job { work: Some(work), result: None };
    // ORDERING: relaxed throughout; one CPU. The word is saved here and restored below, so guards nest.
    let outer = INNERMOST.load(Ordering::Relaxed);
    let argument = (&raw mut job).cast::<u8>();
    // SAFETY: the trampoline gets a pointer to this frame's job, of its own types. If the call is left by `escape`, the registers that a
    // function must preserve are those of the entry, and the abandoned frames lie below this one.
    let escaped = unsafe { sluice_guard_run(trampoline::<F, R>, argument, &raw const INNERMOST) };
    INNERMOST.store(outer, Ordering::Relaxed);
    if escaped == 0 {
        return job.result.ok_or(Caught::Locked);
    }
    block.set_exceptions(depth);
    // What `work` owned is leaked: its frames may have been half way through dropping it.
    core::mem::forget(job);
    // SAFETY: this CPU wrote it in `escape`.
    Err(unsafe { *WHY.0.get() })
}

/// Whether a guard can be left from here: this CPU owns the stopped world and is inside one.
pub(crate) fn is_active() -> bool {
    INNERMOST.load(Ordering::Relaxed) != 0 && WORLD.is_mine(me())
}

/// Leaves the innermost guard.
fn escape(why: Caught) -> ! {
    // SAFETY: only the owner of the world comes here, and `run` reads it on the same CPU.
    unsafe { *WHY.0.get() = why };
    // SAFETY: `is_active` was true: `run` waits on this stack (or below an interrupt stack) with its registers at INNERMOST, and
    // nothing above it is ever resumed.
    unsafe { sluice_guard_escape(INNERMOST.load(Ordering::Relaxed)) }
}

/// Called by the exception handler before it reports: does not return if a guarded function took the exception.
pub(crate) fn on_fault(vector: u8, address: u64, rip: u64) {
    if is_active() {
        escape(Caught::Fault { vector, address, rip });
    }
}

/// Called by the panic handler: does not return if a guarded function panicked.
pub(crate) fn on_panic(info: &PanicInfo<'_>) {
    if is_active() {
        let mut message = Text::new();
        // A longer message is cut; one that panics itself is left out.
        if !FORMATTING.swap(true, Ordering::Relaxed) {
            let _ = write!(message, "{}", info.message());
        }
        FORMATTING.store(false, Ordering::Relaxed);
        escape(Caught::Panicked(message));
    }
}

/// Called by a CPU that waits for a lock: does not return if it waits inside a guard, for nobody will release the lock.
pub(super) fn on_contended() {
    if is_active() {
        escape(Caught::Locked);
    }
}
