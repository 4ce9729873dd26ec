//! What the sequencer asks of a device and of the machine around it.
//!
//! The traits are split where the proof changes hands: everything in [`Quiesce`] may be asked of a device whose
//! neighbours still run; everything in [`Teardown`] demands a token that says they do not.

use core::fmt;
use ksync::time::Instant;

/// Proof that every interrupt thread, timer and deferred callback has acknowledged its end by itself.
///
/// Made only by [`crate::Ladder::join`], and only when nothing was left running.
#[derive(Debug)]
pub struct AllJoined(pub(crate) ());

/// Proof that every device's DMA has stopped, after everything had joined.
#[derive(Debug)]
pub struct AllStopped(pub(crate) ());

/// Whether a thing that is waited for is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Nothing is left.
    Idle,
    /// So many items (frames, descriptors) are still inside.
    Busy(usize),
}

/// Why a device failed a stage. The sequencer prints it with the device's name and goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Did not finish within the stage's budget.
    TimedOut,
    /// The interrupt mask did not read back as written.
    StillUnmasked,
    /// An interrupt thread, timer or callback did not acknowledge its end.
    Wedged,
    /// The device did not acknowledge that its DMA stopped.
    DmaRunning,
    /// The device reads all ones: it is gone.
    Gone,
    /// DMA resources are still live.
    Busy(Residue),
    /// Bus mastering did not read back as off.
    BusMasterOn,
    /// So many CPUs did not confirm that they are parked.
    CpusRunning(usize),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("timed out"),
            Self::StillUnmasked => f.write_str("interrupt mask did not take"),
            Self::Wedged => f.write_str("does not acknowledge its end"),
            Self::DmaRunning => f.write_str("does not acknowledge that DMA stopped"),
            Self::Gone => f.write_str("is gone (reads all ones)"),
            Self::Busy(residue) => write!(f, "still live: {residue}"),
            Self::BusMasterOn => f.write_str("bus mastering is still on"),
            Self::CpusRunning(count) => write!(f, "{count} CPUs did not park"),
        }
    }
}

/// DMA resources that exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Residue {
    /// Tags not destroyed.
    pub tags: usize,
    /// Maps not destroyed.
    pub maps: usize,
    /// Coherent memory blocks not freed.
    pub memories: usize,
}

impl Residue {
    /// Returns whether nothing is left.
    #[must_use]
    pub const fn is_zero(&self) -> bool {
        self.tags == 0 && self.maps == 0 && self.memories == 0
    }
}

impl fmt::Display for Residue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tags, {} maps, {} memories", self.tags, self.maps, self.memories)
    }
}

/// What may be asked of a device while others still run.
///
/// # Context
/// Thread context, from the sequencer's thread only; no method may block longer than its deadline says.
pub trait Quiesce {
    /// Returns the device's name, as in `em0`.
    fn name(&self) -> &str;

    /// Closes reception at the wire. What was received before stays valid. Called once.
    ///
    /// # Errors
    /// [`Fault::Gone`] when the device no longer answers.
    fn close_ingress(&mut self) -> Result<(), Fault>;

    /// Returns how much received or queued work the device still holds: receive ring, transmit ring. Called repeatedly.
    fn drain(&mut self) -> Progress;

    /// Masks the device's interrupts at the device, then at the interrupt controller, and reads back.
    ///
    /// # Errors
    /// [`Fault::StillUnmasked`], [`Fault::Gone`].
    fn mask(&mut self) -> Result<(), Fault>;

    /// Waits until every interrupt thread of the device acknowledged its end, then masks once more (a thread that was
    /// at its end may have re-armed the line: race class R20).
    ///
    /// # Errors
    /// [`Fault::Wedged`] when the deadline passes first.
    fn join(&mut self, deadline: Instant) -> Result<(), Fault>;
}

/// What may be asked of a device only after everything has joined.
pub trait Teardown: Quiesce {
    /// Stops the device's DMA, acknowledged by the device or by its reset.
    ///
    /// # Errors
    /// [`Fault::DmaRunning`] or [`Fault::Gone`]; the device is then quarantined: its memory is never freed.
    fn stop_dma(&mut self, joined: &AllJoined) -> Result<(), Fault>;

    /// Stops what can be stopped while something else is still running: best effort, frees nothing.
    fn force_stop(&mut self);

    /// Frees what DMA used: maps, then memory, then child tags, then the parent tag.
    ///
    /// # Errors
    /// [`Fault::Busy`] naming what is live.
    fn tear_down(&mut self, stopped: &AllStopped) -> Result<(), Fault>;

    /// Switches bus mastering off and reads it back.
    ///
    /// # Errors
    /// [`Fault::BusMasterOn`].
    fn bus_master_off(&mut self) -> Result<(), Fault>;
}

/// The machine around the devices.
pub trait Plant {
    /// Returns the time since boot.
    fn now(&self) -> Instant;

    /// Gives the CPU away for about a millisecond.
    fn relax(&self);

    /// Prints one line, at once.
    fn say(&self, line: fmt::Arguments<'_>);

    /// Announces the shutdown: refuses new work from configuration and console.
    fn announce(&self);

    /// Returns how many frames wait in queues that belong to no device (netisr).
    fn queued(&self) -> Progress;

    /// Empties the queues that cannot drain by themselves (ARP hold), counting each frame with its cause; returns how
    /// many there were.
    fn flush_held(&self) -> usize;

    /// Ends and joins the machine's own timers, callouts and queue threads.
    ///
    /// # Errors
    /// [`Fault::Wedged`] when one does not answer by the deadline.
    fn join_callouts(&self, deadline: Instant) -> Result<(), Fault>;

    /// Returns the DMA resources that exist in the whole machine.
    fn residue(&self) -> Residue;

    /// Stops every other CPU and waits until each confirmed by its APIC id; returns how many did.
    ///
    /// # Errors
    /// [`Fault::CpusRunning`].
    fn park_cpus(&self) -> Result<usize, Fault>;
}
