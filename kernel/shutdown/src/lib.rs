//! The shutdown sequencer: a ladder of stages that consume each other.
//!
//! A router that stops its cards one after another lets one card's interrupt thread forward into another card that is
//! already gone: that is how a FreeBSD router panicked on `reboot` in 2004. Here *all* devices pass a stage before
//! *any* device enters the next, and the order is a matter of types:
//!
//! ```text
//! Owner → Claimed → Announced → IngressClosed → Drained → Masked → Joined → Stopped → TornDown → Quiet → Parked → Finished
//! ```
//!
//! Each method takes the stage before it by value, so a stage can be neither skipped nor repeated, and what a device
//! offers for a late stage demands a token ([`AllJoined`], [`DeviceStopped`]) that only this crate makes, only there.
//!
//! Key types: [`Claim`] (who shuts down, and what wins when two ask), [`Ladder`] (the typestate), [`Quiesce`] and
//! [`Teardown`] (what a device answers), [`Plant`] (the machine around it), [`Budgets`] (how long it may take),
//! [`Transcript`] (what happened, and how long), [`Watch`] (the watchdog's judgement).
//!
//! # Context
//! The sequencer runs in a thread of its own. It owns no packet and takes no lock that an interrupt thread holds. Every
//! stage has a budget, a result and a time; what did not answer is named, with whatever it can say about itself, forced as
//! far as that is safe, and memory a device might still own is never freed (quarantine).
//!
//! # A shutdown always ends
//! Within [`Budgets::bound`]: the budgets of all stages, and what questions may take beyond their deadlines. A call that
//! does not return at all would break that promise, so [`Plant::must_end_by`] tells the machine's watchdog the time.
//!
//! # The words of the exit
//! The last line printed says whether the walk was clean; `Uptime:` and the line that ends the machine are FreeBSD's.
//! [`Transcript`]'s text form is kept for the next boot stage by stage, so that a walk that dies half way is told too.
//!
//! # Stages out of order do not compile
//! Stopping DMA before the interrupt threads are joined:
//! ```compile_fail,E0599
//! fn wrong(masked: shutdown::Ladder<'_, shutdown::stage::Masked>) {
//!     let _ = masked.stop_dma();
//! }
//! ```
//! not even of one device:
//! ```compile_fail,E0061
//! fn wrong(device: &mut dyn shutdown::Teardown, deadline: ksync::time::Instant) {
//!     let _ = device.stop_dma(deadline);
//! }
//! ```
//! Destroying tags before DMA stopped:
//! ```compile_fail,E0599
//! fn wrong(joined: shutdown::Ladder<'_, shutdown::stage::Joined>) {
//!     let _ = joined.tear_down();
//! }
//! ```
//! nor with the proof of the stage before:
//! ```compile_fail,E0308
//! fn wrong(device: &mut dyn shutdown::Teardown, joined: shutdown::AllJoined) {
//!     let _ = device.tear_down(joined);
//! }
//! ```
//! nor two devices with one device's proof:
//! ```compile_fail,E0382
//! fn wrong(em0: &mut dyn shutdown::Teardown, em1: &mut dyn shutdown::Teardown, em0s: shutdown::DeviceStopped) {
//!     let _ = em0.tear_down(em0s);
//!     let _ = em1.tear_down(em0s);
//! }
//! ```
//! Skipping a stage (masking before the drain):
//! ```compile_fail,E0599
//! fn wrong(closed: shutdown::Ladder<'_, shutdown::stage::IngressClosed>) {
//!     let _ = closed.mask();
//! }
//! ```
//! Running a stage twice:
//! ```compile_fail,E0382
//! fn wrong(ladder: shutdown::Ladder<'_, shutdown::stage::Announced>) {
//!     let _ = ladder.close_ingress();
//!     let _ = ladder.close_ingress();
//! }
//! ```
//! Making a proof oneself, of joined threads, of a stopped device, or of the right to walk:
//! ```compile_fail,E0423
//! let forged = shutdown::AllJoined(());
//! ```
//! ```compile_fail,E0423
//! let forged = shutdown::DeviceStopped(());
//! ```
//! ```compile_fail,E0451
//! static CLAIM: shutdown::Claim = shutdown::Claim::new();
//! let forged = shutdown::Owner { claim: &CLAIM, asked: shutdown::Exit::Reboot };
//! ```
//! The right way round compiles:
//! ```
//! fn walk(announced: shutdown::Ladder<'_, shutdown::stage::Announced>) -> shutdown::Finished {
//!     let joined = announced.close_ingress().drain().mask().join();
//!     joined.stop_dma().tear_down().bus_masters_off().park_cpus().exit()
//! }
//! ```

#![no_std]
#![forbid(unsafe_code)]

#[cfg(all(feature = "mutations", target_os = "none"))]
compile_error!("`mutations` leaves out edges of the ladder: it is for tests on hosts");

extern crate alloc;
#[cfg(test)]
extern crate std;

mod budget;
mod claim;
mod device;
mod edge;
mod fault;
mod ladder;
pub mod past;
mod plant;
pub mod transcript;
mod uptime;
mod watch;

pub use budget::Budgets;
pub use claim::{Claim, Claimed, Exit, Owner};
pub use device::{AllJoined, DeviceStopped, Pending, Quiesce, Teardown};
pub use edge::Edge;
pub use fault::{Fault, Forced, Residue};
pub use ladder::{Finished, Ladder, stage};
pub use past::{Keeper, Past};
pub use plant::{Faults, Flushed, Plant};
pub use transcript::{Outcome, Record, Stage, Transcript};
pub use uptime::Uptime;
pub use watch::{Alarm, Progress, Roll, Watch};
