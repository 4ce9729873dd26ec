//! Hardware watchdogs: a timer outside the processors that resets the machine unless it is fed.
//!
//! - [`Watchdog`]: what every one of them can do.
//! - [`i6300esb`]: the watchdog function of Intel's 6300ESB, a PCI device. [`tco`]: the TCO timer of Intel's chipsets since ICH6.
//! - [`RegisterIo`] and [`Place`]: how a driver reaches its registers, on a machine or on a model of one.
//!
//! Both count down twice before they reset. The first time may raise an interrupt or an SMI on some boards; these drivers ask
//! for none: the kernel's own watchdog looks earlier, and says more.
//!
//! Context: any, a panic included: nothing in here waits, allocates or locks. Two callers at a time do no harm to memory, and at
//! worst make a feeding fail; the next one counts.

#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod i6300esb;
mod io;
pub mod tco;

use core::{fmt, time::Duration};

pub use io::{Place, RegisterIo};

/// Why a watchdog cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The device is not there any more: its registers read all ones.
    Gone,
    /// Firmware has not given the device an address.
    Unassigned,
    /// The board is wired so that the timer never resets it.
    NoReboot,
    /// Firmware has locked the device in the state it is in.
    Locked,
    /// The device did not take what was written.
    NotAccepted,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gone => "reads all ones",
            Self::Unassigned => "firmware gave it no address",
            Self::NoReboot => "the board is wired so that it never resets",
            Self::Locked => "locked by firmware",
            Self::NotAccepted => "does not take what is written to it",
        })
    }
}

/// A watchdog.
pub trait Watchdog: Send + Sync {
    /// Returns what it is called.
    fn name(&self) -> &'static str;

    /// Returns whether it has reset the machine since this was asked last, and forgets it.
    fn take_fired(&self) -> bool;

    /// Lets it count, from the beginning: it resets the machine after `timeout` without [`feed`](Self::feed). Returns the time it
    /// really takes, which is the nearest it can do.
    ///
    /// # Errors
    /// Any [`Error`]; then it is not to be relied upon.
    fn start(&self, timeout: Duration) -> Result<Duration, Error>;

    /// Lets it count from the beginning again.
    fn feed(&self);

    /// Stops it.
    ///
    /// # Errors
    /// [`Error::Locked`] or [`Error::NotAccepted`] if it goes on counting.
    fn stop(&self) -> Result<(), Error>;
}
