//! IPv4 input to verdict: validation, lookup, TTL, ICMP, fragmentation.

#![no_std]
#![forbid(unsafe_code)]
