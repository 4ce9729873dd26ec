//! Dispatch policy and bounded per-CPU protocol queues.

#![no_std]
#![forbid(unsafe_code)]
