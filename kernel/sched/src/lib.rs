//! Threads, run queues and callouts.
//!
//! Kernel threads with five priorities, a run queue per CPU, preemption on return from interrupt, and one sleep primitive:
//! [`Scheduler::park`] with a token that [`ThreadRef::unpark`] leaves behind when it comes first.
//!
//! The crate is policy and protocol only. Stacks, the register switch, the clock, the timer and the inter-processor interrupt are
//! the [`Platform`]'s, so the whole scheduler runs on a host with simulated CPUs and time, and under loom.
//!
//! Rules that the rest relies on:
//! - A thread runs on at most one CPU. Its `on_cpu` flag is set by the CPU that switches to it and cleared by the thread that runs
//!   next on that CPU, after the registers are saved. While it is set, the thread is only ever queued on that same CPU,
//!   therefore no CPU waits for another in a switch.
//! - Wakeups take spin locks only and allocate nothing: they are allowed in interrupt context.
//! - A thread that has been ready for [`STARVATION`] gets a turn of [`TURN`] whatever its priority, so that a flood of packets cannot
//!   lock the console out on a machine with one CPU.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod callout;
mod core_state;
mod cpu;
mod idle;
mod runqueue;
mod sleep;
mod switch;
mod thread;
mod timers;

use core::{fmt, time::Duration};

use ksync::{cpu::CpuId, time::Instant};

pub use callout::{Callout, CalloutHost, Callouts, Drained, Due};
pub use core_state::Scheduler;
pub use thread::{Name, ThreadId, ThreadInfo, ThreadLook, ThreadRef, ThreadState};

/// The most threads there can be at once, idle threads included.
pub const MAX_THREADS: usize = 256;

/// How long a thread runs before another of its priority gets the CPU.
pub const SLICE: Duration = Duration::from_millis(10);

/// How long a ready thread waits at most for a turn.
pub const STARVATION: Duration = Duration::from_millis(50);

/// How long the turn of a starved thread is: two parts in a hundred.
pub const TURN: Duration = Duration::from_millis(1);

/// What goes first. A thread of a higher priority preempts one of a lower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Priority {
    /// Only when nothing else is ready: the CPU's own idle thread.
    Idle = 0,
    /// The console, shutdown, housekeeping.
    Normal = 1,
    /// Network threads of the deferred dispatch.
    Netisr = 2,
    /// Callouts.
    Realtime = 3,
    /// Interrupt threads.
    Interrupt = 4,
}

impl Priority {
    /// How many there are.
    pub(crate) const COUNT: usize = 5;
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Idle => "idle",
            Self::Normal => "normal",
            Self::Netisr => "netisr",
            Self::Realtime => "realtime",
            Self::Interrupt => "intr",
        })
    }
}

/// Where a thread may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Affinity {
    /// Anywhere; the scheduler prefers idle CPUs.
    Any,
    /// Only there.
    Bound(CpuId),
}

/// Why a thread could not be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpawnError {
    /// [`MAX_THREADS`] are alive.
    TooManyThreads,
    /// The platform has no stack to give.
    NoStack,
    /// The CPU it should be bound to does not run threads.
    NoSuchCpu(CpuId),
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyThreads => write!(f, "more than {MAX_THREADS} threads"),
            Self::NoStack => f.write_str("no memory for a thread's stack"),
            Self::NoSuchCpu(cpu) => write!(f, "CPU {cpu} does not run threads"),
        }
    }
}

impl core::error::Error for SpawnError {}

/// The machine under the scheduler.
pub trait Platform: Send + Sync + Sized + 'static {
    /// Names a thread's stack and saved registers (a pointer, say): what it names lives until [`Platform::free_context`].
    type Context: Copy + Send + Sync + 'static;

    /// Returns how many CPUs may come; CPU numbers are below it.
    fn cpus(&self) -> usize;

    /// Returns the CPU that executes the call. Called with interrupts off.
    fn current_cpu(&self) -> CpuId;

    /// Returns the time since boot.
    fn now(&self) -> Instant;

    /// Makes a stack whose first switch-to calls [`Scheduler::thread_main`] with interrupts off; `None` when memory is short.
    ///
    /// Called in thread context.
    fn new_context(&self) -> Option<Self::Context>;

    /// Returns a context to save the calling CPU's own boot stack in, for its idle thread.
    fn boot_context(&self) -> Self::Context;

    /// Gives a stack back. Its thread has ended and will not be switched to again. Called in thread context.
    fn free_context(&self, context: &Self::Context);

    /// Saves the registers in `previous` and goes on where `next` was saved. Called with interrupts off, no lock held.
    ///
    /// Returns when somebody switches back to `previous`, maybe on another CPU.
    fn switch(&self, previous: &Self::Context, next: &Self::Context);

    /// Leaves `previous`, whose thread has ended, for `next`. As [`Platform::switch`], but never comes back.
    ///
    /// Only a simulated platform, whose threads are the host's, returns from this, to let the host's thread end.
    fn switch_last(&self, previous: &Self::Context, next: &Self::Context) {
        self.switch(previous, next);
    }

    /// Interrupts `cpu` (maybe the caller's own) so that it calls [`Scheduler::preempt`] on the way out.
    fn resched_ipi(&self, cpu: CpuId);

    /// Has this CPU's timer interrupt call [`Scheduler::timer_expired`] at `deadline`, replacing an earlier request.
    fn arm_timer(&self, deadline: Instant);

    /// Returns whether the caller is an interrupt handler, after which [`Scheduler::preempt`] will be called. With interrupts off.
    fn in_interrupt(&self) -> bool;

    /// Halts until an interrupt has been served. Called with interrupts off, returns with interrupts off; enabling and halting must be
    /// one step (`sti; hlt`), or an interrupt in between is slept through.
    fn idle(&self);
}
