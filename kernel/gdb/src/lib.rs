//! The kernel's end of gdb's remote protocol, for a machine that stands still: [`Session`].
//!
//! gdb runs on another computer, with the kernel's file, at the far end of a serial line ([`Line`]). Whenever the machine has
//! stopped, [`Session::attend`] serves gdb until it lets the machine go on. The processors are gdb's threads, numbered from 1.
//! Memory is read and written as the [`Machine`] allows; what it refuses is an error at gdb's prompt and nothing else.
//!
//! A session outlives the stops, while the stopped machine does not. The protocol's state machine (crate `gdbstub`) borrows the
//! machine, so it is made anew at each stop and brought to where the last one ended by what gdb would have said: see [`mod@session`].
//!
//! # Context
//! Any, with the machine stopped: allocates nothing, waits only for the line. What reads a machine's memory may be wrong about it, so
//! the caller guards the whole.
//!
//! Source: *Debugging with GDB*, appendix E (remote serial protocol).

#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod session;
mod stub;

use core::fmt;

pub use session::Session;

/// The registers of a processor that stands still.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Registers {
    /// rax, rbx, rcx, rdx, rsi, rdi, rbp, rsp, r8 to r15: in gdb's order.
    pub general: [u64; 16],
    /// The instruction pointer.
    pub rip: u64,
    /// The flags.
    pub rflags: u64,
    /// The code segment; not changed by gdb.
    pub cs: u16,
    /// The stack segment; not changed by gdb.
    pub ss: u16,
}

/// A machine that stands still.
pub trait Machine {
    /// Returns the processor that asks, which is the one that goes on or steps.
    fn cpu(&self) -> u16;

    /// Calls `each` for every processor.
    fn each_cpu(&self, each: &mut dyn FnMut(u16));

    /// Returns a processor's registers; `None` if it did not stop.
    fn registers(&self, cpu: u16) -> Option<Registers>;

    /// Changes the registers that the asking processor goes on with.
    fn set_registers(&mut self, registers: &Registers);

    /// Reads memory, and returns how many octets could be read.
    fn read(&mut self, address: u64, out: &mut [u8]) -> usize;

    /// Writes memory, and returns whether all of it could be written.
    fn write(&mut self, address: u64, data: &[u8]) -> bool;

    /// Sets a breakpoint, and returns whether there is one now.
    fn set_breakpoint(&mut self, address: u64) -> bool;

    /// Removes a breakpoint, and returns whether there was one.
    fn clear_breakpoint(&mut self, address: u64) -> bool;

    /// Writes what gdb shows behind a processor's number: what it was doing.
    ///
    /// # Errors
    /// Those of `out`; what does not fit is cut.
    fn describe(&self, cpu: u16, out: &mut dyn fmt::Write) -> fmt::Result;
}

/// The line to gdb.
pub trait Line {
    /// Waits for the next octet; `None` if whoever stands before the machine does not want to wait any longer.
    fn receive(&mut self) -> Option<u8>;

    /// Sends an octet; waits for the line, but not for ever.
    fn send(&mut self, octet: u8);
}

/// Why the machine has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// A breakpoint.
    Breakpoint,
    /// The step is done.
    Step,
    /// Somebody asked for it.
    Interrupt,
    /// A memory access that failed.
    BadAccess,
    /// An instruction that failed otherwise.
    BadInstruction,
    /// A panic.
    Panic,
}

/// What gdb wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The machine goes on; gdb waits for it to stop.
    Continue,
    /// One instruction of the asking processor.
    Step,
    /// The machine goes on, and gdb is gone.
    Detached,
    /// gdb's `kill`.
    Killed,
    /// Nobody wants to wait for gdb any longer.
    Abandoned,
}
