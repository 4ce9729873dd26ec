//! The forwarding table: longest-prefix match with lock-free readers.
//!
//! - [`Rib`]: the control plane's side. A sorted map of all routes, several per prefix if several sources know one.
//! - [`Fib`]: the data path's side. An immutable snapshot made by [`Rib::build`]; a lookup touches two to four cache lines and takes
//!   no lock. Publishing a new snapshot (by `ksync::rcu`) and retiring the old one is the router's business.
//! - [`NextHop`]: where a matching packet goes.
//!
//! Interfaces are plain `u16` numbers here: this crate knows no network interface. Source: RFC 1812 5.2.4.3 (longest match); the shape of the
//! table is a poptrie (Asai and Ohara, SIGCOMM 2015) written from its description.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod builder;
mod nexthop;
mod poptrie;
mod rib;

pub use nexthop::{NextHop, NextHopId, NextHopKind};
pub use poptrie::{Fib, FibSize};
pub use rib::{FibError, Rib, Route, RouteSource};
