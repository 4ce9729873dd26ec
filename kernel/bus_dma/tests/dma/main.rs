//! bus_dma against a simulated machine: the rules, the lifetimes, the bounce pages.

mod bounce;
mod lifetime;
mod rules;
mod sim;
