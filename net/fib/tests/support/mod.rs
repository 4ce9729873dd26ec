//! What the table tests share with the measurements: Internet-like tables from a seed, and reference lookups that owe nothing to the crate.

use std::net::Ipv4Addr;

pub(crate) use lpm::{ByLength, Plain, Random, hop, internet_like, linear_lookup, mask, prefix, rib_of, route};

/// The number of the next hop that the forwarding table gives.
pub(crate) fn fib_lookup(fib: &fib::Fib, address: u32) -> Option<u16> {
    fib.lookup(Ipv4Addr::from_bits(address)).map(|next_hop| next_hop.out)
}
