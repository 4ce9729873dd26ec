//! The data plane assembled: what happens to every received frame.

#![no_std]
#![forbid(unsafe_code)]
