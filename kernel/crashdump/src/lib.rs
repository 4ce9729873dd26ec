//! The line format of a crash dump: written by the kernel, sent over a serial line, checked and put together again.
//!
//! A dump is text, because a serial console carries nothing else reliably. Every line stands for itself:
//!
//! ```text
//! %D7f3a 12 rip 0xffff800000012345 =1a2b3c4d
//! ```
//!
//! the marker, the dump's own number (so that two dumps in one log are never mixed), the line's number, what it says, and the
//! CRC-32 of all between marker and equals sign. Other output may stand before, between and behind; a line that was hit by some is
//! noticed and can be asked for again, and the same line sent twice does no harm.
//!
//! - [`Encoder`]: what the kernel writes with; no allocation, no lock, any context, NMI and panic included.
//! - [`Line`]: one line, parsed; [`Piece`]: what it says. [`lines`] finds them in any text.
//! - [`mod@trace`]: backtraces in one line, to be named by who has the symbols.
//! - [`Reader`]: puts logs together to a [`Dump`] and says what is missing and which command asks for it.
//!
//! Pure, no `unsafe`; kernel and host share it.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod encode;
mod escape;
mod line;
mod read;
pub mod trace;

pub use encode::Encoder;
pub use line::{Begin, Line, MARKER, Piece, Scrap, VERSION, lines};
pub use read::{Content, Damage, Dump, Reader, Section};

/// Names of the sections, the same for who writes and who looks for one.
pub mod section {
    /// Registers of each CPU.
    pub const REGISTERS: &str = "registers";
    /// Every thread: number, name, state, where it is.
    pub const THREADS: &str = "threads";
    /// The message buffer, newest lines; always the last section, so that a cut dump lacks only the end of it.
    pub const MESSAGES: &str = "messages";
}
