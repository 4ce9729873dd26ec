//! The unsafe floor: CPU, interrupts, paging, processor start, consoles, reset.

#![no_std]
