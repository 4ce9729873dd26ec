//! Driver for the Intel e1000 family (82540EM).

#![no_std]
#![forbid(unsafe_code)]
