//! The running system: devices attached to threads, tables and the console.

#![no_std]
#![forbid(unsafe_code)]
