//! Dispatch policy and bounded per-CPU protocol queues (`net.isr.dispatch`).
//!
//! Where is a received packet processed: at once in the interrupt thread that received it, or later in the netisr thread of a
//! CPU? [`Netisr::dispatch`] decides by the [`Policy`], which may change while traffic flows. Key types: [`Netisr`], the per-CPU
//! queues; [`Source`], one stream of packets whose order is kept; [`Taken`], a batch on its way through a netisr thread.
//!
//! **Order.** Packets of one source leave in the order they came, in all three policies and across changes:
//! 1. A source has one home queue for ever, served by one thread in order.
//! 2. A packet is processed at once only while nothing of its source is queued or in the hands of a netisr thread
//!    ([`Netisr::complete`] says when it no longer is: after the thread has *sent* what came of it).
//! 3. A packet is queued only after what came of earlier ones, processed at once, has been sent: until the caller has said so
//!    ([`Netisr::end_pass`]) the answer is [`Dispatch::FlushFirst`].
//!
//! The default is direct; FreeBSD's netisr(9) has the same three policies.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod dispatch;
mod policy;
mod queue;

pub use dispatch::{Dispatch, MAX_SOURCES, Netisr, NetisrError, Source, TAKE_LIMIT, Taken, WorkstreamStatistics};
pub use policy::Policy;
pub use queue::{DEFAULT_LIMIT, MAX_LIMIT};
