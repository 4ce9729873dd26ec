//! The forwarding table: longest-prefix match with lock-free readers.

#![no_std]
#![forbid(unsafe_code)]
