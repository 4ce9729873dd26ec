//! The shutdown sequencer: a ladder of stages that consume each other.
//!
//! A router that stops its cards one after another lets one card's interrupt thread forward into another card that is
//! already gone: that is how a FreeBSD router panicked on `reboot` in 2004. Here *all* devices pass a stage before
//! *any* device enters the next, and the order is a matter of types:
//!
//! ```text
//! claim → Announced → IngressClosed → Drained → Masked → Joined → Stopped → TornDown → Quiet → Parked → exit
//! ```
//!
//! Each method takes the stage before it by value, so a stage can be neither skipped nor repeated, and what a device
//! offers for a late stage demands a token ([`AllJoined`], [`AllStopped`]) that only this crate makes, only there.
//!
//! Key types: [`Claim`] (who shuts down, and what wins when two ask), [`Ladder`] (the typestate), [`Quiesce`] and
//! [`Teardown`] (what a device answers), [`Plant`] (the machine around it), [`Transcript`] (what happened, and how long).
//!
//! # Context
//! The sequencer runs in a thread of its own. It owns no packet and takes no lock that an interrupt thread holds. Every
//! stage has a budget, so a shutdown always ends; what did not answer is named, and memory a device might still own is
//! never freed (quarantine).
//!
//! # Stages out of order do not compile
//! Stopping DMA before the interrupt threads are joined:
//! ```compile_fail,E0599
//! fn wrong(masked: shutdown::Ladder<'_, shutdown::stage::Masked>) {
//!     let _ = masked.stop_dma();
//! }
//! ```
//! Destroying tags before DMA stopped:
//! ```compile_fail,E0599
//! fn wrong(joined: shutdown::Ladder<'_, shutdown::stage::Joined>) {
//!     let _ = joined.tear_down();
//! }
//! ```
//! Running a stage twice:
//! ```compile_fail,E0382
//! fn wrong(ladder: shutdown::Ladder<'_, shutdown::stage::Announced>) {
//!     let _ = ladder.close_ingress();
//!     let _ = ladder.close_ingress();
//! }
//! ```
//! Making the proof oneself:
//! ```compile_fail,E0423
//! let forged = shutdown::AllStopped(());
//! ```

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod claim;
mod device;
mod ladder;
pub mod transcript;

pub use claim::{Claim, Claimed, Exit};
pub use device::{AllJoined, AllStopped, Fault, Plant, Progress, Quiesce, Residue, Teardown};
pub use ladder::{Budgets, Finished, Ladder, stage};
pub use transcript::{Outcome, Record, Stage, Transcript};
