//! What the kernel says to whoever tests it: one definition for both ends of the serial line.
//!
//! - [`console`]: the few fixed texts of the serial console that a program may wait for.
//! - [`Event`]: one line per happening of an in-guest test run; writes itself, and is parsed by [`Event::parse`].
//! - [`ExitCode`]: how a guest ends QEMU through the `isa-debug-exit` device (QEMU documentation, "isa-debug-exit":
//!   writing `v` ends QEMU with status `(v << 1) | 1`).
//!
//! Pure: any context, no allocation.

#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod console;
mod event;
mod exit;

pub use event::{Event, MARKER};
pub use exit::{DEBUG_EXIT_PORT, ExitCode};
