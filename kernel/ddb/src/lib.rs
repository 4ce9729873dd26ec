//! The debugger on the console: the language, over a machine that stands still.
//!
//! [`Session::run`] reads lines from a polled [`Console`] and answers them from a [`Target`]: registers, memory, symbols,
//! threads, views, breakpoints. Commands and their output follow FreeBSD's ddb where there is a choice. Nothing in here knows the
//! machine, so all of it runs on a host over a made-up target; `system` has the real one.
//!
//! - [`Target`], [`Console`]: what is asked of the world. [`Outcome`]: how it goes on.
//! - `words`: commands and abbreviations. `expression`: addresses. `output`: bounded lines, and `q` to stop a listing.
//! - `session`: the loop, and what each command does. `examine`: memory in all formats.
//!
//! # Context
//! Any in which the target stands still; allocates nothing, takes no lock, waits only for keys.

#![no_std]
#![forbid(unsafe_code)]

mod error;
mod examine;
mod expression;
mod output;
mod session;
mod show;
mod target;
mod words;

pub use error::{Error, Refusal};
pub use session::Session;
pub use target::{
    Console, Faulted, Found, Location, MAX_BREAKS, Outcome, Reason, Registers, Symbol, Target, ThreadLine, Whom,
};
