//! The local APIC of each processor: xAPIC by memory, x2APIC by MSR, behind one register trait.
//!
//! [`init_bsp`] chooses the mode once, [`init_ap`] follows it; [`local()`] is the executing processor's controller, usable in any
//! context from then on. Source: SDM volume 3, chapter 11.

pub mod command;
mod hardware;
pub mod local;
pub mod mode;
pub mod regs;

pub use command::{Ipi, Target};
pub use hardware::{Hardware, init_ap, init_bsp, local, ready};
pub use local::{ApicAccess, LocalApic, Mode, SendError};
pub use mode::ModeError;

/// Vector of the spurious interrupt; its low four bits are ones, as the oldest parts demand.
pub const SPURIOUS_VECTOR: u8 = 0xFF;
/// Vector of the APIC's own errors.
pub const ERROR_VECTOR: u8 = 0xFE;
