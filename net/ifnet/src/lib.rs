//! Network interfaces as the data path sees them, and the fates of frames.
//!
//! [`Interface`] is what a driver offers to the network code: a name, an address, a state and one
//! verb, `transmit`. [`DropReason`] names every exit of the data path at which a frame can end, and
//! [`FateCounters`] counts them so that the sum over all fates equals the number of frames received
//! (RFC 2863 and RFC 4293 ask for the counters; the equation is this project's own law).
//!
//! Nothing here allocates, blocks or touches hardware; it runs on any host.

#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod counters;
mod fate;
mod interface;

pub use counters::{FateCounters, FateSnapshot};
pub use fate::{DropReason, Fate};
pub use interface::{IfIndex, IfStatistics, Interface, TxOutcome, TxRefusal};
