//! bus_dma against a simulated machine: the rules, the lifetimes, the bounce pages.

// Loom's locks work inside a model only: see `races.rs`.
#![cfg(not(any(loom, shuttle)))]

mod bounce;
mod lifetime;
mod ring_ops;
mod rules;
mod sim;
