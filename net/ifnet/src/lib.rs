//! Network interfaces as the data path sees them.

#![no_std]
#![forbid(unsafe_code)]
