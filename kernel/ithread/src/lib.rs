//! Interrupt events, filters and interrupt threads.

#![no_std]
#![forbid(unsafe_code)]
