//! Packet buffers: a preallocated pool, owned buffers, per-thread caches.

#![no_std]
#![forbid(unsafe_code)]
