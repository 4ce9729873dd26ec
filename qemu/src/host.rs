//! Small hosts in user space that talk through the router: [`Lab`] and what it is made of.
//!
//! Each host sits at the far end of one of QEMU's `stream` network sockets: no root, no tap interface. It resolves and
//! answers ARP, answers pings, reassembles fragments, and sends and verifies [flows](FlowSpec) of UDP packets. One
//! thread serves all hosts of a lab; its methods may be called from any thread and wait only with a limit.
//!
//! Packets are made and taken apart with a library that shares no code with the router, so that an error of the
//! router's own cannot cancel itself out.

mod capture;
mod flow;
mod lab;
mod link;
mod neighbour;
mod packet;
mod payload;
mod ping;
mod reassembly;
mod seen;
mod service;
mod station;

use std::net::Ipv4Addr;

pub use capture::{Capture, Frame};
pub use flow::{FlowId, FlowReport, FlowSpec, Sizes};
pub use lab::Lab;
pub use packet::{IcmpError, Quote};
pub use ping::{Echo, Ping, PingOutcome};
pub use station::StationCounters;
use wire::{Ipv4Cidr, MacAddr};

/// Names a host of a lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(pub(crate) usize);

/// What a host is.
#[derive(Clone, Debug)]
pub struct HostSpec {
    /// Its name in messages.
    pub name: String,
    /// Its station address.
    pub mac: MacAddr,
    /// Its address and network.
    pub address: Ipv4Cidr,
    /// The router for everything outside its network.
    pub gateway: Ipv4Addr,
    /// Its maximum transmission unit in octets; what is longer leaves in fragments.
    pub mtu: u16,
    /// Whether it answers ARP requests for its address.
    pub answers_arp: bool,
    /// Whether it answers echo requests.
    pub answers_ping: bool,
}

impl HostSpec {
    /// Makes the host `name` with the given address and router, and a station address made of the former.
    #[must_use]
    pub fn new(name: &str, address: Ipv4Cidr, gateway: Ipv4Addr) -> Self {
        let [a, b, c, d] = address.address().octets();
        let mac = MacAddr([0x02, 0x48, a, b, c, d]);
        let name = name.to_owned();
        Self { name, mac, address, gateway, mtu: 1500, answers_arp: true, answers_ping: true }
    }
}
