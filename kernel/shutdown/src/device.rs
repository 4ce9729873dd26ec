//! What the sequencer asks of a device, and the proofs that change hands.
//!
//! The traits are split where a proof changes hands: everything in [`Quiesce`] may be asked of a device whose neighbours
//! still run; what frees or stops in [`Teardown`] demands a token that says they do not.

use crate::fault::{Fault, Forced};
use core::fmt;
use ksync::time::Instant;

/// Proof that every interrupt thread, timer and deferred callback has acknowledged its end by itself.
///
/// Made only by the ladder's stage `join`, and only when nothing was left running.
#[derive(Debug)]
pub struct AllJoined(pub(crate) ());

/// Proof that a device's DMA has stopped, after everything that could give it more to do had joined.
///
/// Made only by the ladder's stage `stop DMA`, one for each device that acknowledged; taken by value, so that it lets one
/// device's memory go, once.
#[derive(Debug)]
pub struct DeviceStopped(pub(crate) ());

/// Frames that are still inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pending {
    /// Received, not yet looked at: in the receive ring.
    pub received: usize,
    /// Accepted, not yet on the wire: in the transmit ring.
    pub unsent: usize,
    /// Interrupt threads in the pass in which the receive ring was found empty: they may have frames in hand.
    pub passes: usize,
}

impl Pending {
    /// Returns whether nothing is inside.
    #[must_use]
    pub const fn is_zero(&self) -> bool {
        self.received == 0 && self.unsent == 0 && self.passes == 0
    }
}

impl fmt::Display for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} received, {} unsent", self.received, self.unsent)?;
        if self.passes > 0 { write!(f, ", {} threads at work", self.passes) } else { Ok(()) }
    }
}

/// What may be asked of a device while others still run.
///
/// # Context
/// Thread context, from the sequencer's thread only. A method may run past its deadline by one bounded wait for the
/// hardware ([`Budgets::call`](crate::Budgets::call)), no longer; a method without a deadline by the same, from its start.
pub trait Quiesce {
    /// Returns the device's name, as in `em0`.
    fn name(&self) -> &str;

    /// Writes the name of the thread that serves the device, as in `irq11: em0`.
    ///
    /// # Errors
    /// Those of `out`.
    fn thread(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        out.write_str(self.name())
    }

    /// Closes reception at the wire. What was received before stays valid. Called once.
    ///
    /// # Errors
    /// [`Fault::Gone`] when the device no longer answers.
    fn close_ingress(&mut self) -> Result<(), Fault>;

    /// Returns what the device still holds. Called repeatedly; may take finished frames out of the transmit ring.
    fn pending(&mut self) -> Pending;

    /// Masks the device's interrupts at the device, then at the interrupt controller, and reads back. Called before the
    /// threads are joined and again after.
    ///
    /// # Errors
    /// [`Fault::StillUnmasked`], [`Fault::Gone`].
    fn mask(&mut self) -> Result<(), Fault>;

    /// Asks the device's threads to end, without waiting: all devices are asked before the first is waited for, so that one
    /// that does not answer uses up nobody else's time.
    fn begin_join(&mut self) {}

    /// Waits until every interrupt thread of the device acknowledged its end. [`mask`](Self::mask) is called once more after
    /// that, since a thread that was at its end may have re-armed the device (race class R20).
    ///
    /// # Errors
    /// [`Fault::Wedged`] when the deadline passes first.
    fn join(&mut self, deadline: Instant) -> Result<(), Fault>;

    /// Refuses to send anything new, with the refusal counted; what the transmit ring holds still goes out. Called after the
    /// threads have joined, so that only what nobody joins (a command on the console) can be refused.
    fn close_egress(&mut self) {}

    /// Says what is known about why the device failed a stage: a line or more, such as a backtrace of its thread.
    fn explain(&mut self, fault: Fault, say: &mut dyn FnMut(fmt::Arguments<'_>)) {
        let _ = (fault, say);
    }
}

/// What may be asked of a device only after everything has joined.
pub trait Teardown: Quiesce {
    /// Stops the device's DMA, acknowledged by the device or by its reset.
    ///
    /// # Errors
    /// [`Fault::DmaRunning`], [`Fault::Gone`], or [`Fault::SentLate`] if it sent anything after its ring was last found empty.
    fn stop_dma(&mut self, joined: &AllJoined, deadline: Instant) -> Result<(), Fault>;

    /// Stops by force what did not stop, or must stop while something else is still running: one step after the other until one
    /// is known to have worked. Frees nothing; the device's memory is in quarantine from here on.
    fn force_stop(&mut self) -> Forced;

    /// Frees what DMA used: maps, then memory, then child tags, then the parent tag.
    ///
    /// # Errors
    /// [`Fault::Busy`] naming what is live.
    fn tear_down(&mut self, stopped: DeviceStopped) -> Result<(), Fault>;

    /// Switches bus mastering off and reads it back.
    ///
    /// # Errors
    /// [`Fault::BusMasterOn`].
    fn bus_master_off(&mut self) -> Result<(), Fault>;
}
