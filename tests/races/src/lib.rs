//! The races of a router that is shut down, as scenarios over a whole router on the host: modelled devices, the real driver, the
//! real interrupt threads, the real router, and the real ladder.

#![forbid(unsafe_code)]

mod frames;
mod host;
mod line;
mod plant;
mod port;
mod rig;
mod walk;

pub use rig::{Rig, Setup};
pub use walk::Ending;
