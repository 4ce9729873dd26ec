//! Whole-router tests: traffic through a booted router.
//!
//! - [`Router`]: the kernel in a virtual machine, with its console and its [`Books`]; [`Router::finish`] is how every test ends.
//! - [`Bench`]: a router between built-in hosts, one for each interface.
//! - [`trunk`]: the same with a card whose link carries VLANs.
//! - [`screen`]: what the screen shows, as text.
//! - [`noise`]: frames that no good host sends, from a seed.
//!
//! Runs on the host, in tests. Everything that waits has a limit; no limit is a measure of performance.

#![forbid(unsafe_code)]

mod bench;
mod books;
pub mod noise;
mod router;
pub mod screen;
pub mod trunk;

pub use bench::{Bench, Plan, Port};
pub use books::Books;
pub use router::{PATIENCE, Router, image, image_of, kernel, workspace};
