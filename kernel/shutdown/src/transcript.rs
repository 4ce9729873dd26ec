//! What happened in a shutdown: one record per stage.

use crate::device::Fault;
use alloc::{string::String, vec::Vec};
use core::{fmt, time::Duration};

/// The stages of the ladder, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// New work is refused.
    Announce,
    /// Reception closed on every device: the quiesce point.
    CloseIngress,
    /// Rings and queues emptied.
    Drain,
    /// Interrupts masked at device and controller.
    Mask,
    /// Threads, timers and callbacks acknowledged their end.
    Join,
    /// DMA stopped.
    StopDma,
    /// Maps, memory and tags destroyed.
    TearDown,
    /// Bus mastering off.
    BusMasterOff,
    /// Other CPUs parked.
    ParkCpus,
}

impl Stage {
    /// Returns the stage as the transcript names it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Announce => "announce",
            Self::CloseIngress => "close ingress",
            Self::Drain => "drain",
            Self::Mask => "mask interrupts",
            Self::Join => "join threads",
            Self::StopDma => "stop DMA",
            Self::TearDown => "tear down DMA",
            Self::BusMasterOff => "bus mastering off",
            Self::ParkCpus => "park CPUs",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a stage ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Every device passed.
    Done,
    /// Some did not; the ladder went on by force.
    Faulted(Vec<(String, Fault)>),
    /// The stage could not be done safely, so nothing was freed.
    Quarantined,
}

/// One stage's record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Which stage.
    pub stage: Stage,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took.
    pub took: Duration,
}

/// The records of one shutdown, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transcript {
    records: Vec<Record>,
}

impl Transcript {
    pub(crate) fn push(&mut self, record: Record) {
        self.records.push(record);
    }

    /// Returns the records, oldest first.
    #[must_use]
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Returns whether every stage was passed by every device.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.records.iter().all(|record| record.outcome == Outcome::Done)
    }
}
