//! Measurements of the router, side by side with others that do the same job: `cargo run -- bench`.
//!
//! A [`Subject`] is something that forwards between two e1000 cards in QEMU; [`boot`](Subject::boot)ed with a [`Setup`] it
//! is [`Running`]. What is measured of it becomes a [`Record`], and tables and plots are made of records alone.

pub mod cputime;
pub mod fib;
pub mod figures;
pub mod generator;
pub mod goal;
pub mod instructions;
pub mod measure;
pub mod meter;
pub mod peer;
pub mod plot;
pub mod record;
pub mod scale;
pub mod session;
pub mod subject;
pub mod table;

pub use record::Record;
pub use subject::{
    Behaviour, Extremity, HOSTS, LONGEST_FRAME, PluginLoad, ROUTER, Running, Setup, Subject, USUAL_FRAME, VLANS,
};
