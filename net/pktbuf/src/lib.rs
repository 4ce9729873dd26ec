//! Packet buffers: a preallocated pool, owned buffers, per-thread caches.
//!
//! A [`PacketPool`] carves one contiguous region into frames of one [`BufferSize`] at boot and never allocates again. A [`PacketBuf`] is the
//! one owner of one frame: it is moved, never cloned, and goes home when it is dropped. A [`PoolCache`] belongs to one
//! thread and makes `alloc` and `recycle` a matter of a few instructions; it trades with the pool in bulk. A
//! [`PacketBatch`] is the bounded queue in which packets travel together to one interface.
//!
//! Context: everything here may be used in thread and in interrupt context, nothing parks. Only `PacketPool::new` and
//! `PoolCache::new` allocate (their lists, once).
//!
//! Conservation: `free + cached + owned = total`, see [`Census`].

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod arrival;
mod batch;
mod buffer;
mod cache;
mod home;
mod pool;
mod size;
mod tripwire;

pub use arrival::{Arrival, LinkCast, Origin};
pub use batch::{BATCH_CAPACITY, Drain, PacketBatch};
pub use buffer::PacketBuf;
pub use cache::PoolCache;
pub use home::send as send_home;
pub use pool::{Census, MAX_CACHES, PacketPool};
pub use size::BufferSize;
pub use tripwire::{Armed, Disturbed, TripwireReport};

/// Octets in front of a fresh buffer's window: room for link headers that are prepended later.
pub const HEADROOM: usize = 128;

const _: () = assert!(HEADROOM.is_multiple_of(64));
const _: () =
    assert!(size_of::<PacketBuf>() == size_of::<usize>() && size_of::<Option<PacketBuf>>() == size_of::<usize>());
