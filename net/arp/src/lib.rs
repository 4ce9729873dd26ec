//! Address resolution: cache, hold queues, retries, ageing.

#![no_std]
#![forbid(unsafe_code)]
