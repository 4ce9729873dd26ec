//! The forwarding table: longest-prefix match with lock-free readers.
//!
//! - [`Rib`]: the control plane's side. All routes, several per prefix if several sources know one.
//! - [`Fib`]: the data path's side. Most lookups touch one cache line; one takes no lock, and can be made for many addresses at once.
//! - [`Table`]: both, with each change of the one entered into the other while it is read.
//! - [`NextHop`]: where a matching packet goes.
//!
//! Interfaces are plain `u16` numbers here: this crate knows no network interface. Source: RFC 1812 5.2.4.3 (longest match). The table's
//! form was chosen by measurement; what it was measured against is in `tests/lpm`.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod batch;
mod bucket;
mod build;
mod cells;
mod entry;
mod hops;
mod nexthop;
mod paint;
mod rib;
mod shape;
mod space;
mod table;

pub use cells::{Fib, FibSize, Sought};
pub use nexthop::{NextHop, NextHopId, NextHopKind};
pub use rib::{FibError, Rib, Route, RouteSource};
pub use table::Table;
