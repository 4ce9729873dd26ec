//! Typed views of Ethernet, ARP, IPv4, ICMPv4 and UDP bytes, and the Internet checksum.

#![no_std]
#![forbid(unsafe_code)]
