//! The forwarding table beside other ways to find the longest match: [`internet_like`] tables, references that are too simple to be wrong
//! ([`ByLength`]), the [`anchors`] it is measured against, and how it is measured ([`race`], [`churn`]).
//!
//! `cargo run -- bench fib` runs the program of this crate and shows what it prints.

#![forbid(unsafe_code)]

pub mod anchors;
pub mod callgrind;
pub mod churn;
pub mod path;
pub mod race;
mod random;
mod reference;
mod routes;
mod streams;

pub use race::Contender;
pub use random::Random;
pub use reference::{ByLength, linear_lookup};
pub use routes::{NEXT_HOPS, Plain, PlainRoute, hop, internet_like, mask, prefix, rib_of, route};
pub use streams::Stream;
