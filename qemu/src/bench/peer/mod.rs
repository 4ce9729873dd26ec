//! The subjects: Sluice and those that it is compared with.

mod dpdk;
mod guest;
mod initramfs;
mod library;
mod linux;
mod module;
pub mod sluice;

pub use dpdk::Dpdk;
pub use linux::Linux;
pub use sluice::Sluice;
