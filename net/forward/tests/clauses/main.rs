//! The clauses that this crate keeps, each as a test that carries its number.

mod any_frame;
mod fragment;
mod icmp;
mod input;
mod plain;
mod reassembly;
mod support;
