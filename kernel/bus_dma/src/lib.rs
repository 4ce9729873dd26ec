//! DMA tags, maps and memory with FreeBSD's bus_dma semantics.
//!
//! - [`DmaTag`]: a set of constraints (alignment, boundary, reachable addresses, sizes, segments). A child intersects its
//!   constraints with its parent's and keeps it alive; `destroy` answers [`Busy`] and names what is live.
//! - [`DmaMem`]: memory shared with a device for long (descriptor rings), seen as atomic cells.
//! - [`DmaMap`]: lends one buffer at a time to a device: `load` → `sync` → … → `sync` → `unload`. A loaded map *owns* its
//!   buffer; the direction is in the map's type.
//! - [`BouncePool`]: pages that every device can reach, for buffers that a constraint keeps out of the device's reach.
//! - [`BusAddr`]: what a device is told. Minted only here, so a driver without `unsafe` can only name memory that a tag
//!   allowed and that a map or a [`DmaMem`] holds: on a machine without an IOMMU that is what makes a safe driver honest.
//!
//! # Directions
//! From the memory's point of view: a *read* brings data from the device into memory ([`PreRead`] before the device
//! writes, [`PostRead`] after), a *write* takes memory to the device ([`PreWrite`], [`PostWrite`]).
//!
//! A transmit map cannot be synchronised for reading, which would mean that the device wrote into it:
//! ```compile_fail,E0277
//! fn wrong(map: &mut bus_dma::DmaMap<bus_dma::ToDevice>) {
//!     map.sync(bus_dma::PostRead);
//! }
//! ```
//! nor a receive map for writing:
//! ```compile_fail,E0277
//! fn wrong(map: &mut bus_dma::DmaMap<bus_dma::FromDevice>) {
//!     map.sync(bus_dma::PreWrite);
//! }
//! ```
//! A bus address cannot be made up:
//! ```compile_fail,E0423
//! let _ = bus_dma::BusAddr(0x1000);
//! ```
//! nor can a buffer be touched while a map holds it:
//! ```compile_fail,E0382
//! fn wrong(map: &mut bus_dma::DmaMap<bus_dma::ToDevice>, mut packet: pktbuf::PacketBuf) {
//!     let _ = map.load(packet);
//!     packet.bytes_mut().fill(0);
//! }
//! ```
//! A buffer cannot be taken back from a map that may be in use without the proof that the device has stopped:
//! ```compile_fail,E0061
//! fn wrong(map: bus_dma::DmaMap<bus_dma::FromDevice>) {
//!     let _ = map.reclaim();
//! }
//! ```
//! nor can descriptor memory be freed without it:
//! ```compile_fail,E0061
//! fn wrong(ring: bus_dma::DmaMem) {
//!     ring.free();
//! }
//! ```
//! The proof is about one device's tag and cannot be made without naming it, and it does not outlive that tag:
//! ```compile_fail,E0505
//! fn wrong(port: bus_dma::DmaTag, ring: bus_dma::DmaMem) {
//!     let stopped = bus_dma::DmaStopped::attest("em0", &port);
//!     let _ = port.destroy();
//!     ring.free(&stopped);
//! }
//! ```
//! A tag that is destroyed cannot make maps any more:
//! ```compile_fail,E0382
//! fn wrong(tag: bus_dma::DmaTag) {
//!     let _ = tag.destroy();
//!     let _ = tag.create_map::<bus_dma::ToDevice, pktbuf::PacketBuf>();
//! }
//! ```
//! The right way round compiles:
//! ```
//! fn transmit(map: &mut bus_dma::DmaMap<bus_dma::ToDevice>, packet: pktbuf::PacketBuf) -> Option<bus_dma::BusAddr> {
//!     map.load(packet).ok()?;
//!     map.sync(bus_dma::PreWrite);
//!     map.segments().first().map(|segment| segment.addr)
//! }
//! ```
//!
//! # Who may have memory back
//! `unload` is for a buffer the device has *said* to be done with (a descriptor's DD bit). Everything else wants a
//! [`DmaStopped`] of a tag above it: with another device's proof, memory is put in quarantine as if it were dropped. A loaded map or a [`DmaMem`] that is merely dropped is put in *quarantine*: leaked and counted, because
//! memory that a device may still write to must never be used again.
//!
//! Source: the FreeBSD manual page bus_dma(9), for the semantics; the deviations stand where they are made.

#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod addr;
mod bounce;
mod buffer;
mod constraints;
mod deferred;
mod direction;
mod error;
mod fast_path;
mod fence;
mod map;
mod mem;
mod platform;
mod ring_ops;
mod scatter;
mod segment;
mod stopped;
mod tag;
mod tripwire;

pub use addr::{BusAddr, PhysAddr, Segment};
pub use bounce::{BouncePool, BounceStatistics};
pub use buffer::DmaBuffer;
pub use constraints::Constraints;
pub use deferred::LoadReady;
pub use direction::{
    Bidirectional, Direction, DmaSync, FromDevice, PostRead, PostWrite, PreRead, PreWrite, SyncOperation, ToDevice,
};
pub use error::{Busy, DmaError};
pub use map::{DmaMap, LoadOutcome};
pub use mem::DmaMem;
pub use platform::{DmaLayout, DmaPlatform, LinearWindow, PAGE_SIZE};
pub use stopped::DmaStopped;
pub use tag::{DmaTag, Live};
pub use tripwire::Damage;
