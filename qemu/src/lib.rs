//! Everything around the router on the host: toolchain, builds, virtual machines, and hosts to talk through it.
//!
//! The program `sluice` is a thin command line over this library; the tests that boot the router use it as well.
//! [`prepare`] makes the machine ready, [`build`] makes kernel and image, [`machine`] describes a virtual machine as
//! data, [`guest`] runs one, [`host`] talks through it, and a [`testbed`] is both together. [`flash`] writes the image to a
//! stick for a real one.

#![forbid(unsafe_code)]

pub mod bench;
pub mod build;
pub mod dump;
pub mod flash;
pub mod footprint;
pub mod gdb;
pub mod guest;
pub mod host;
pub mod machine;
pub mod prepare;
pub mod progress;
pub mod shutdown;
pub mod siege;
pub mod symbols;
pub mod terminal;
pub mod testbed;
pub mod toolchain;
pub mod workspace;
