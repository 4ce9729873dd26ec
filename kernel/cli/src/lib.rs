//! The serial console's line editor and command language.
//!
//! Pure: bytes in, echo and parsed [`Command`]s out. What a command *does* is the business of `system`, which also
//! runs the console thread. Key types: [`LineEditor`], [`Command`], [`ParseError`].
//!
//! # Context
//! Thread context; [`Command::parse`] allocates, [`LineEditor`] does not; neither blocks.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod command;
mod editor;

pub use command::{Command, HELP, ParseError, RouteTarget, VIEWS, View, dump_range};
pub use editor::{HISTORY_MAX, Input, LINE_MAX, LineEditor};
