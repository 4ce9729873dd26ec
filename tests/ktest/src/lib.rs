//! In-guest test protocol over the serial line, shared by kernel and host.

#![no_std]
#![forbid(unsafe_code)]
