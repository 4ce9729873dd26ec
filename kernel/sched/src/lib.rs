//! Threads, run queues and callouts.

#![no_std]
#![forbid(unsafe_code)]
