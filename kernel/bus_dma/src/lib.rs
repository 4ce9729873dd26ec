//! DMA tags, maps and memory with FreeBSD's bus_dma semantics.

#![no_std]
