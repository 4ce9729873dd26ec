//! Typed views of Ethernet, ARP, IPv4, ICMPv4 and UDP bytes, and the Internet checksum.
//!
//! - Views ([`Ethernet`], [`Arp`], [`Ipv4`], [`Icmpv4`], [`Udp`]) borrow bytes. `new_checked` looks at
//!   every length once; a view that exists cannot panic, whatever the bytes say, because its header
//!   is an array reference and its variable parts are slices already cut to size.
//! - Headers ([`EthernetHeader`], [`ArpPacket`], [`Ipv4Header`], [`UdpHeader`], [`icmpv4::Message`]) are plain
//!   values that write all of their bytes, so that nothing stale in a reused buffer gets out.
//! - [`checksum`]: RFC 1071 sums and RFC 1624 updates. [`MacAddr`], [`VlanId`], [`Ipv4Prefix`] and [`Ipv4Cidr`]: addresses.
//!
//! Pure and allocation-free: any context. All numbers in the API are in host byte order.

#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod arp;
pub mod checksum;
mod ethernet;
mod field;
pub mod icmpv4;
mod ipv4;
mod mac;
pub mod options;
mod prefix;
pub mod protocol;
mod udp;
mod vlan;

pub use arp::{Arp, ArpOperation, ArpPacket};
pub use ethernet::{ETHERNET_HEADER_LEN, EtherType, Ethernet, EthernetHeader};
pub use icmpv4::Icmpv4;
pub use ipv4::{IPV4_HEADER_LEN, Ipv4, Ipv4Error, Ipv4Header};
pub use mac::MacAddr;
pub use prefix::{Ipv4Cidr, Ipv4Prefix, PrefixError};
pub use udp::{Udp, UdpHeader};
pub use vlan::{VLAN_TAG_LEN, VlanId, vlan_number};

/// The bytes end before the header that should be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooShort;

impl core::fmt::Display for TooShort {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("too short")
    }
}

impl core::error::Error for TooShort {}
