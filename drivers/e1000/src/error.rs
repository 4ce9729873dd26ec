//! What can go wrong with the device, and how one waits for it.
//!
//! Key types: [`Error`], [`Delay`]. Every wait for the device goes through [`poll`] and is bounded.

use core::fmt;

use ksync::time::Instant;

use crate::regs::{ALL_ONES, Reg, RegisterIo};

/// Why an operation on the device failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The device reads all ones: it has left the bus.
    Gone,
    /// CTRL.RST did not clear within its budget.
    ResetTimeout,
    /// The EEPROM did not answer, and no address was preloaded.
    EepromTimeout,
    /// Neither the EEPROM nor the receive address register holds the address of a station.
    InvalidMac,
    /// A ring length that is not a multiple of 8 in 80..=4096.
    RingLength,
    /// An MTU below 68, or above what the part can do ([`Variant::max_mtu`](crate::Variant::max_mtu)).
    Mtu,
    /// An MTU whose frames do not fit the pool's buffers.
    SmallBuffers,
    /// More queues than the part or the delivery of its interrupts allows, or none.
    Queues,
    /// The bus has no memory for a ring within its constraints.
    NoDmaMemory,
    /// The packet pool cannot fill the receive ring.
    NoBuffers,
    /// The interrupt mask did not read back as empty.
    StillUnmasked,
    /// Master requests are still pending after the budget.
    MasterPending,
    /// Somebody holds the transmit lock and does not let go.
    TransmitWedged,
    /// The port is in no state for this: started already, or stopped.
    State,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gone => "device is gone (reads all ones)",
            Self::ResetTimeout => "reset was not acknowledged",
            Self::EepromTimeout => "EEPROM does not answer",
            Self::InvalidMac => "no valid station address",
            Self::RingLength => "ring length must be a multiple of 8 in 80..=4096",
            Self::Mtu => "MTU is below 68 or above what the part can do",
            Self::SmallBuffers => "packet buffers are smaller than the MTU's frames",
            Self::Queues => "the part has not so many queues or interrupt messages",
            Self::NoDmaMemory => "no DMA memory for a ring",
            Self::NoBuffers => "no packet buffers for the receive ring",
            Self::StillUnmasked => "interrupt mask did not take",
            Self::MasterPending => "master requests are pending",
            Self::TransmitWedged => "transmit lock is held and not released",
            Self::State => "not possible in this state of the port",
        })
    }
}

impl core::error::Error for Error {}

/// A busy wait and the time, given by the machine (or a model, which lets its device take a step meanwhile).
pub trait Delay: Send + Sync {
    /// Waits about `micros` microseconds.
    ///
    /// # Context
    /// Thread.
    fn micros(&self, micros: u32);

    /// Returns the time, on which [`micros`](Self::micros) is spent.
    ///
    /// # Context
    /// Thread.
    fn now(&self) -> Instant;
}

/// What became of a bounded wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Polled {
    /// The condition held; this is the register.
    Done(u32),
    /// The budget was used up.
    TimedOut,
    /// The register reads all ones.
    Gone,
}

/// Reads `reg` up to `tries` times, `interval` microseconds apart, until `done` holds.
pub(crate) fn poll<R: RegisterIo>(
    regs: &R,
    delay: &dyn Delay,
    reg: Reg,
    (tries, interval): (u32, u32),
    done: impl Fn(u32) -> bool,
) -> Polled {
    for _ in 0..tries {
        match regs.read32(reg) {
            ALL_ONES => return Polled::Gone,
            value if done(value) => return Polled::Done(value),
            _ => delay.micros(interval),
        }
    }
    Polled::TimedOut
}

/// Reads a register that a decision depends on.
///
/// # Errors
/// [`Error::Gone`] if it reads all ones.
pub(crate) fn read_checked<R: RegisterIo>(regs: &R, reg: Reg) -> Result<u32, Error> {
    match regs.read32(reg) {
        ALL_ONES => Err(Error::Gone),
        value => Ok(value),
    }
}
