//! Locks, atomics, RCU snapshots and time: the door model checkers look through.
//!
//! Every crate of the kernel takes its atomics, locks and parking from here and from nowhere else. Built with `--cfg loom`, the
//! same names are loom's, so that the protocols above (`ithread`, `sched`, `shutdown`) are explored interleaving by
//! interleaving. Built with `--cfg shuttle` they are shuttle's, which explores random schedules, for scenarios too large to be
//! exhausted: a whole router with its devices. Anything that does not pass through this door is invisible to both proofs.
//!
//! - [`SpinLock`]: the only lock; interrupts are off on this CPU while it is held.
//! - [`rcu`]: immutable snapshots (routes, interfaces) that the data path reads without a lock.
//! - [`Homing`]: the owner of a thing that goes home when it is dropped. [`AtLeast`]: memory of a known least length.
//! - [`Once`], [`CachePadded`], [`counter`], [`time`], [`cpu`], [`irq`]: the small parts.
//! - [`model`] (hosts only): one scenario runner for loom, for shuttle and for plain threads.

#![no_std]

extern crate alloc;
#[cfg(not(target_os = "none"))]
extern crate std;

mod at_least;
pub mod atomic;
pub mod contended;
pub mod counter;
pub mod cpu;
mod homing;
pub mod irq;
#[cfg(not(target_os = "none"))]
pub mod model;
mod once;
mod padded;
pub mod rcu;
mod spinlock;
pub mod time;

pub use at_least::AtLeast;
pub use homing::{Home, Homing};
pub use once::Once;
pub use padded::CachePadded;
pub use rcu::{Rcu, Reader, Retired};
pub use spinlock::{Held, SpinLock, SpinLockGuard};
