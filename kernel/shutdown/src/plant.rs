//! What the sequencer asks of the machine around the devices.

use crate::{
    fault::{Fault, Residue},
    transcript::Transcript,
};
use alloc::{string::String, vec::Vec};
use core::fmt;
use ksync::time::Instant;

/// Packets that could only be dropped, each counted under its own reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flushed {
    /// Waited for a neighbour's address.
    pub arp: usize,
    /// Waited in a protocol queue.
    pub netisr: usize,
    /// Fragments that waited for the others.
    pub fragments: usize,
}

impl Flushed {
    /// Returns how many there were.
    #[must_use]
    pub const fn total(&self) -> usize {
        self.arp + self.netisr + self.fragments
    }
}

/// Writes `3 held for ARP, 1 in netisr queues`: what there was.
impl fmt::Display for Flushed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts =
            [(self.arp, "held for ARP"), (self.netisr, "in netisr queues"), (self.fragments, "waiting for fragments")];
        let mut separator = "";
        for (count, what) in parts.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, "{separator}{count} {what}")?;
            separator = ", ";
        }
        if separator.is_empty() { f.write_str("none") } else { Ok(()) }
    }
}

/// Faults with the names of the culprits.
pub type Faults = Vec<(String, Fault)>;

/// The machine around the devices.
///
/// # Context
/// As for [`Quiesce`](crate::Quiesce): called by the sequencer's thread only.
pub trait Plant {
    /// Returns the time since boot.
    fn now(&self) -> Instant;

    /// Gives the CPU away for about a millisecond.
    fn relax(&self);

    /// Prints text at once, without adding a newline. Whole lines are not torn by other writers.
    fn write(&self, text: fmt::Arguments<'_>);

    /// Keeps the transcript, as far as it goes, where the next boot finds it (see [`Keeper`](crate::Keeper)). Called when a
    /// stage begins, when it ends, and before each thread that is waited for.
    fn keep(&self, transcript: &Transcript) {
        let _ = transcript;
    }

    /// Learns by when the shutdown has to be over, so that a watchdog can end what the ladder itself cannot: a call that
    /// never returns.
    fn must_end_by(&self, deadline: Instant) {
        let _ = deadline;
    }

    /// A panic has taken the machine: the calling thread does nothing more, for ever.
    fn yield_to_panic(&self) -> !;

    /// Announces the shutdown: refuses new work from configuration and console.
    fn announce(&self);

    /// Returns how many frames wait in queues that belong to no device (netisr), or are in the hands of those queues' threads.
    fn queued(&self) -> usize;

    /// Empties the places that cannot drain by themselves (ARP hold), counting each packet with its cause.
    fn flush_held(&self) -> Flushed;

    /// Ends and joins the machine's own timers, callouts and queue threads; returns those that did not answer by the deadline,
    /// having said what is known about each (a backtrace) to `say`.
    fn join_callouts(&self, deadline: Instant, say: &mut dyn FnMut(fmt::Arguments<'_>)) -> Faults;

    /// Returns the DMA resources that exist in the whole machine.
    fn residue(&self) -> Residue;

    /// Marks what the teardown has given back, so that [`check_freed`](Self::check_freed) can tell whether somebody writes to it.
    fn watch_freed(&self) {}

    /// Looks at all memory that the teardown has given back: nobody may have written to it since. Says how much was looked at,
    /// and returns what had changed.
    fn check_freed(&self, say: &mut dyn FnMut(fmt::Arguments<'_>)) -> Faults {
        let _ = say;
        Faults::new()
    }

    /// Stops every other CPU and waits until each confirmed by its APIC id; returns how many did.
    ///
    /// # Errors
    /// [`Fault::CpusRunning`].
    fn park_cpus(&self, deadline: Instant) -> Result<usize, Fault>;

    /// States where every frame went, a line per device and one in total; returns what could not be explained. Nothing runs
    /// any more, so the numbers are exact.
    fn account(&self, say: &mut dyn FnMut(fmt::Arguments<'_>)) -> Faults {
        let _ = say;
        Faults::new()
    }
}
