//! Address resolution: cache, hold queues, retries, ageing (RFC 826, RFC 1122 2.3.2, RFC 5227).
//!
//! [`ArpTable`] is the one type to know. Known neighbours are found without a lock ([`ArpTable::lookup`]); everything else goes
//! through one spin lock that is never held across a transmission. The table sends nothing itself: it says what should
//! be sent ([`Request`], [`Release`], [`ArpInput::reply`], [`ArpAction`]), and takes the time as an argument.
//!
//! **Order.** Packets held for a neighbour leave before any later one: the neighbour's address is published to
//! `lookup` only when its hold queue is empty and the packets taken from it have been sent ([`ArpTable::release`]).
//! **Conservation.** A held packet comes out exactly once: from [`ArpTable::release`], as the displaced or refused packet of a
//! [`Resolution`], in an [`ArpAction::Unreachable`], or from [`ArpTable::flush`].
//! **Bounds.** Entries, unresolved entries, packets per entry and held packets in all are limited by [`ArpConfig`]; all memory is
//! allocated when the table is made.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod config;
mod entry;
mod hold;
mod index;
mod input;
mod store;
mod table;
mod timer;

pub use config::{ArpConfig, ArpStatistics};
pub use entry::{ArpEntry, ArpState};
pub use input::{ArpInput, ArpInterface, ArpTransmission};
pub use table::{ArpTable, Release, Request, Resolution};
pub use timer::ArpAction;
