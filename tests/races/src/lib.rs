//! x
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
