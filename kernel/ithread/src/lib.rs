//! Interrupt events, filters and interrupt threads.
//!
//! The protocol follows `kern_intr`: one [`IntrEvent`] per interrupt source, any number of handlers on it (a line may be shared), one
//! thread that runs their threaded parts.
//!
//! 1. The vector stub calls [`IntrEvent::handle`] (interrupt context). Every handler's [`Filter`] is asked. If one wants its
//!    thread, the line is masked, `need` is stored, the interrupt acknowledged and the thread unparked.
//! 2. The thread takes `need` and runs every [`Handler`] whose filter asked, until none has more to do.
//! 3. It re-arms the devices, unmasks the line, looks at `need` once more, and parks. A handler that finds something to do as it re-arms
//!    is run again first.
//!
//! Teardown is by the thread's own acknowledgement: removing a handler, suspending one and quiescing the event return only when the
//! thread itself has said that it no longer runs them. A thread that does not answer in time is named
//! ([`WedgedThread`]) and nothing it may still touch is freed.
//!
//! The crate is pure: interrupt controller, threads and time are the traits [`LineControl`] and [`Scheduler`].

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod entry;
mod event;
mod linger;
mod notice;
mod register;
mod report;
pub mod spread;
mod storm;
mod teardown;
mod thread;

use alloc::boxed::Box;
use core::{fmt, time::Duration};

use arrayvec::ArrayString;
use ksync::{cpu::CpuId, time::Instant};

pub use entry::{HandlerId, HandlerStatistics};
pub use event::IntrEvent;
pub use linger::Linger;
pub use notice::{MAX_STRAY_LOG, Notice};
pub use report::{EventStatistics, Hands};
pub use storm::{DEFAULT_STORM_THRESHOLD, TICK};
pub use teardown::Quiesced;

/// The longest description of an event, as in `irq10: em0 em1`.
pub const MAX_NAME: usize = 47;

/// A name of bounded length, cheap to copy into errors and reports.
pub type Name = ArrayString<MAX_NAME>;

/// What a filter found at its device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterResult {
    /// The interrupt is not from this device.
    Stray,
    /// It was, and the filter has dealt with it.
    Handled,
    /// It was, the device is masked, and the threaded handler must run.
    ScheduleThread,
}

/// The part of a handler that runs in interrupt context.
pub trait Filter: Send + Sync {
    /// Asks the device whether it interrupts and, if the thread is wanted, masks it at the device.
    ///
    /// # Context
    /// Interrupt context, under the event's lock: no allocation, no log, no call back into the event.
    fn filter(&self) -> FilterResult;
}

/// How one run of a threaded handler went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// There was nothing to do. Only this counts towards an interrupt storm, so a handler must say it when it is true.
    Idle,
    /// Something was served, and nothing is left.
    Done,
    /// The budget ran out; the handler is run again before the line is unmasked.
    Again,
    /// There was nothing to do, but more is expected at once ([`Linger`] tells): the handler is run again before the line is
    /// unmasked, as long as no other thread wants the CPU.
    Poll,
}

/// What came of letting a device interrupt again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rearm {
    /// It may interrupt.
    Armed,
    /// Something has come after the handler's last pass, and no interrupt may tell of it: the device stays masked, and the handler is run
    /// again before the line is unmasked.
    Busy,
}

/// The part of a handler that runs in the interrupt thread, which owns it.
pub trait Handler: Send {
    /// Serves the device within a budget.
    ///
    /// # Context
    /// The interrupt thread; preemptible, should not park.
    fn run(&mut self) -> Pass;

    /// Lets the device interrupt again, unless there is something to do after all; called once no pass is due, just before the line is
    /// unmasked.
    ///
    /// May still be running when a quiesce begins, hence a driver is masked at the device once more after the join.
    fn rearm(&mut self) -> Rearm {
        Rearm::Armed
    }

    /// Takes leave: called once, by the interrupt thread, as the last use of this handler. The place to hand rings back.
    fn retire(self: Box<Self>) {}
}

/// The interrupt controller's side of a line.
///
/// All functions are called with interrupts off, in interrupt or thread context, and under the event's lock.
pub trait LineControl: Send + Sync {
    /// Stops delivery; in effect when the call returns (read back if the controller posts writes).
    fn mask(&self, irq: u32);
    /// Allows delivery; a line that is asserted interrupts at once.
    fn unmask(&self, irq: u32);
    /// Acknowledges the interrupt in service at this CPU.
    fn eoi(&self, irq: u32);
    /// Routes the line to `cpu`.
    fn route(&self, irq: u32, cpu: CpuId) {
        let _ = (irq, cpu);
    }
}

/// Threads and time, as the event needs them.
pub trait Scheduler: Send + Sync + 'static {
    /// A handle by which a thread is woken.
    type Thread: Send + Sync;

    /// Returns the calling thread.
    fn current(&self) -> Self::Thread;

    /// Starts a thread at interrupt priority, bound to `cpu` if one is given; `None` when no thread can be had.
    fn spawn(&self, name: &str, cpu: Option<CpuId>, body: Box<dyn FnOnce() + Send>) -> Option<Self::Thread>;
    /// Wakes `thread`, or makes its next park return at once. Called in interrupt context.
    fn unpark(&self, thread: &Self::Thread);
    /// Sleeps until unparked (a token from an earlier unpark counts); may return early.
    fn park(&self);
    /// As [`Scheduler::park`], but no longer than until `deadline`.
    fn park_until(&self, deadline: Instant);
    /// Sleeps for `span` whatever happens, without consuming a token.
    fn sleep(&self, span: Duration);
    /// Lets threads of the same priority run.
    fn yield_now(&self);
    /// Returns whether some other thread waits for the calling CPU. Cheap, and may be a moment old.
    fn is_contended(&self) -> bool;
    /// Returns the time. Called in interrupt context too.
    fn now(&self) -> Instant;
    /// Changes the name that thread listings show.
    fn rename(&self, thread: &Self::Thread, name: &str);
    /// Moves `thread` to `cpu` for good.
    fn bind(&self, thread: &Self::Thread, cpu: CpuId);
    /// Passes a message on to the log. Called in thread context only.
    fn notice(&self, notice: Notice<'_>);
}

/// Why a handler could not be added or found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The event has been quiesced, or is about to be.
    Dying,
    /// The scheduler has no thread to give.
    NoThread,
    /// No handler of that id is on this event.
    NoSuchHandler,
    /// The thread did not acknowledge in time.
    Wedged(WedgedThread),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dying => f.write_str("the interrupt event is shutting down"),
            Self::NoThread => f.write_str("no thread for the interrupt event"),
            Self::NoSuchHandler => f.write_str("no such interrupt handler"),
            Self::Wedged(wedged) => wedged.fmt(f),
        }
    }
}

impl core::error::Error for Error {}

/// An interrupt thread that did not acknowledge within the caller's deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WedgedThread {
    /// The thread, as in `irq10: em0 em1`.
    pub thread: Name,
    /// The handler it was in when we gave up, if it was in one.
    pub handler: Option<Name>,
}

impl fmt::Display for WedgedThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "interrupt thread \"{}\" does not answer", self.thread)?;
        match &self.handler {
            Some(handler) => write!(f, " (running {handler})"),
            None => Ok(()),
        }
    }
}

impl core::error::Error for WedgedThread {}
