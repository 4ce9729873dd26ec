//! Driver for Intel's em family: the 82540EM and its relatives on PCI, the 82574L and its relatives on PCI Express.
//!
//! [`Adapter::attach`] makes an [`Attached`]: the shared [`Adapter`] (sends, answers questions, stops) and the [`RxRing`],
//! which one interrupt thread owns. Registers are reached through [`RegisterIo`], time through [`Delay`], memory through
//! `bus_dma`: the driver has no unsafe code and runs on a host against `nic_model`.
//!
//! # The walk of a frame
//! [`Adapter::filter`] (interrupt: mine? mask) → [`RxRing::service`] (thread: swap buffers, hand frames to the sink, one
//! RDT) → … → `Adapter::transmit` of the outgoing port (lock, reclaim, fill, one TDT) → [`Adapter::unmask`].
//!
//! # Life of a port
//! attach → [`start`](Adapter::start) → traffic, [`tick`](Adapter::tick) once a second → [`close_ingress`] → drain →
//! [`mask_interrupts`] → (ithread joined) → [`close_egress`] → drain → [`stop_dma`] → [`teardown`]. A device that reads all ones is `Gone`:
//! everything refuses, nothing is freed. Every wait for the device is bounded.
//!
//! [`close_ingress`]: Adapter::close_ingress
//! [`close_egress`]: Adapter::close_egress
//! [`mask_interrupts`]: Adapter::mask_interrupts
//! [`stop_dma`]: Adapter::stop_dma
//! [`teardown`]: Adapter::teardown
//!
//! # How a kernel uses it
//! ```no_run
//! use std::sync::Arc;
//!
//! use e1000::{Adapter, Attached, Config, Delay, FilterCause, RegisterIo, RxRing, Variant};
//! use ifnet::Interface;
//! use pktbuf::{PacketBuf, PacketPool, PoolCache};
//!
//! fn attach<R: RegisterIo>(
//!     (vendor, device, window): (u16, u16, R),
//!     bus: &bus_dma::DmaTag,
//!     pool: &'static PacketPool,
//!     delay: &'static dyn Delay,
//! ) -> Option<Attached<R>> {
//!     let variant = Variant::find(vendor, device)?;
//!     Adapter::attach(window, bus, pool, Config::new("em0", 0, variant), delay).ok()
//! }
//!
//! /// Interrupt context.
//! fn filter<R: RegisterIo>(adapter: &Adapter<R>) -> bool {
//!     adapter.filter() == FilterCause::Schedule
//! }
//!
//! /// One pass of the ithread, which owns ring and cache. Again if the budget was used up; else `adapter.unmask()`.
//! fn pass<R: RegisterIo>(
//!     adapter: &Arc<Adapter<R>>,
//!     rx: &mut RxRing,
//!     cache: &mut PoolCache,
//!     mut input: impl FnMut(PacketBuf),
//! ) -> bool {
//!     if let Some(link) = adapter.service_link() {
//!         println!("{}: {link}", adapter.name());
//!     }
//!     rx.service(adapter, 64, cache, &mut input) == 64
//! }
//! ```
//!
//! Source: Intel, "PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's Manual" (section numbers all
//! over are of that manual).

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod adapter;
mod attach;
mod config;
pub mod desc;
pub mod eeprom;
mod error;
pub mod filter;
mod flow;
mod frames;
mod hardware;
mod intr;
mod ledger;
mod link;
mod loopback;
mod phy;
mod queue;
pub mod regs;
mod rings;
mod rx;
mod rxsum;
mod stat;
mod stats;
mod stop;
mod tick;
mod transmit;
mod tx;
mod txsum;
mod variant;

pub use adapter::{Adapter, Phase};
pub use attach::Attached;
pub use config::{Config, Delivery, Moderation};
pub use error::{Delay, Error};
pub use filter::ReceiveFilter;
pub use flow::{FlowControl, Pause};
pub use frames::AROUND_PACKET;
pub use intr::{FilterCause, Vector};
pub use ledger::Ledger;
pub use link::{Duplex, LinkState, Speed};
pub use loopback::{FRAMES as LOOPBACK_FRAMES, LoopbackFault, Looped};
pub use regs::{Reg, RegisterIo, Stat};
pub use rings::{DeviceRing, RxLook, TxLook};
pub use rx::RxRing;
pub use rxsum::ChecksumTrial;
pub use stats::HardwareTotals;
pub use stop::{DmaStopped, Leftovers, TeardownError, TornDown};
pub use tick::{Remedy, TickReport, TxHang};
pub use txsum::{TxContext, TxExtended, TxSums, tx_extended};
pub use variant::{DmaStop, EerdLayout, VARIANTS, VENDOR_INTEL, Variant};
