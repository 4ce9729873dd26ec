//! The subjects: Sluice and those that it is compared with.

pub mod sluice;

pub use sluice::Sluice;
