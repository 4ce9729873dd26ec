//! The data path assembled: what happens to every received frame.
//!
//! `forward`, `fib`, `arp` and `netisr` decide; this crate carries out. [`Router`] is what all threads share, [`Worker`] what one thread
//! owns. A driver's interrupt thread does one [`Worker::pass`] per wake-up and hands its frames to [`Pass::receive`]; every
//! frame ends in exactly one named counter, and [`Router::audit`] prints the difference.
//!
//! ```text
//! frame → Pass::receive → netisr: here or later? → process: Ethernet → ARP, or
//!   forward::input → Verdict → send_to: ARP lookup → batch of the outgoing interface → finish: one transmit per interface
//! ```
//!
//! Nearly all frames are plain ([`forward::Plain`]); those of a batch go through [`Pass::receive_all`] in runs, stage by stage, with a
//! few dozen instructions each, and come to the same end.
//!
//! Locks on the way of a forwarded packet: none but the outgoing interface's, once per pass. No allocation, no log.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod control;
mod counters;
mod delivery;
mod egress;
mod error;
mod express;
mod ingress;
mod interfaces;
mod local;
mod look;
mod neighbours;
mod ping;
pub mod profile;
mod router;
mod routes;
mod shutdown;
mod snapshot;
mod sysctl;
mod tally;
mod tick;
mod vlan;
mod ways;
mod worker;

pub use config::RouteTarget;
pub use counters::{Audit, Equation, InterfaceAudit, WorkerCounters};
pub use error::{ApplyError, RouterError};
pub use interfaces::InterfaceError;
pub use look::InterfaceLook;
pub use ping::{MAX_PING_BODY, PingError, PingReply, PingRequest};
pub use router::{InterfaceStatus, MAX_WORKERS, Router};
pub use shutdown::Flushed;
pub use sysctl::{SYSCTLS, Sysctl, SysctlError, check_sysctl};
pub use vlan::VlanInterface;
pub use worker::{Pass, Worker, WorkerConfig};

/// How many interfaces there can be, ports and VLANs: as many as a word has bits, but for frames of none of them and packets of our
/// own. A model checker has fewer to look after.
pub const MAX_INTERFACES: usize = if cfg!(any(loom, shuttle)) { 32 } else { 62 };
