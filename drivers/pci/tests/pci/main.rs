//! pci over a made-up configuration space.

mod fake;
mod function;
mod message;
mod walk;
