//! IPv4 input to verdict: what is to become of a packet (RFC 1812 chapters 4 and 5), as pure functions.
//!
//! - [`input`]: the walk from a received frame to a [`Verdict`], in numbered steps, cheapest test first.
//! - [`local::deliver`]: the same for packets addressed to this router.
//! - [`icmp`]: building errors and echo replies, and the rules when to keep silent; [`RateLimiter`]: how often.
//! - [`Fragmenter`]: cutting a packet that is too long for its link; [`Reassembler`]: collecting the pieces of one for us.
//! - [`Plain`]: the usual packet, recognised with few instructions; [`Adjacency`]: what it needs to be sent.
//! - [`Tables`]: all that these decisions depend on, as one immutable snapshot.
//!
//! Nothing here locks, logs, keeps time or sends; only `Tables::new` and `Reassembler::new` allocate. The effects are the `router` crate's.
//! In all packet buffers the window starts at the Ethernet header. Any context.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod fragment;
pub mod icmp;
mod input;
mod limit;
pub mod local;
mod options;
mod plain;
mod reassembly;
mod tables;
mod verdict;

pub use fragment::{FragmentError, Fragmenter};
pub use input::{decide, input};
pub use limit::RateLimiter;
pub use plain::{Adjacency, Judged, Plain, PortAddress, Rewrite};
pub use reassembly::{Insertion, MAX_PIECES, Reassembler};
pub use tables::{ForwardConfig, IfConfig, Tables};
pub use verdict::{IcmpErrorKind, LocalKind, Verdict};
