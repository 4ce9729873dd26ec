//! The whole router between built-in hosts: each test boots the real kernel in a virtual machine, lets hosts talk
//! through it, and ends with its books balanced and an orderly power-off.
//!
//! No test measures speed: every wait has a limit far beyond what it should take.

mod addresses;
mod bad_input;
mod bad_packets;
mod configuration;
mod console;
mod crash;
mod debugger;
mod dispatch;
mod dump;
mod em_82574l;
mod errors;
mod exits;
mod footprint;
mod forwarding;
mod gdb;
mod jumbo;
mod links;
mod machines;
mod offload;
mod packets;
mod restart;
mod selftest;
mod selftest_stick;
mod stick;
mod topology;
mod vlan;
mod watchdog;
