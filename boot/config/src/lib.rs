//! The configuration schema that host and kernel share.

#![no_std]
#![forbid(unsafe_code)]
