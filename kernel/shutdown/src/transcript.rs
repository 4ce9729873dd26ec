//! What happened in a shutdown: one record per stage, and every line that was said, for the next boot to read.

use crate::{claim::Exit, fault::Fault};
use alloc::{string::String, vec::Vec};
use core::{
    fmt::{self, Write},
    time::Duration,
};

/// Octets of text a transcript keeps; what is said beyond is printed only.
const TEXT_LIMIT: usize = 16 * 1024;

/// The stages of the ladder, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// One owner found, its request known.
    Claim,
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
    /// Bus mastering off, freed memory looked at.
    BusMasterOff,
    /// Other CPUs parked.
    ParkCpus,
    /// The books closed, the exit settled.
    Exit,
}

impl Stage {
    /// All stages in order.
    pub const ALL: [Self; 11] = [
        Self::Claim,
        Self::Announce,
        Self::CloseIngress,
        Self::Drain,
        Self::Mask,
        Self::Join,
        Self::StopDma,
        Self::TearDown,
        Self::BusMasterOff,
        Self::ParkCpus,
        Self::Exit,
    ];

    /// Returns the stage as the transcript names it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Claim => "claim",
            Self::Announce => "announce",
            Self::CloseIngress => "close ingress",
            Self::Drain => "drain",
            Self::Mask => "mask interrupts",
            Self::Join => "join threads",
            Self::StopDma => "stop DMA",
            Self::TearDown => "tear down DMA",
            Self::BusMasterOff => "bus mastering off",
            Self::ParkCpus => "park CPUs",
            Self::Exit => "exit",
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
    /// The stage could not be done safely for anybody, so nothing was freed.
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

/// The records of one shutdown, in order, and what was said.
///
/// Its text form (`Display`) is what is kept for the next boot: the first line sums up, the lines after it are those that were
/// printed. It can be written at any time, so that a shutdown that dies half way has said how far it got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transcript {
    exit: Exit,
    records: Vec<Record>,
    /// The stage that has begun and not ended.
    current: Option<Stage>,
    /// Whom the stage under way waits for.
    waiting: String,
    /// From the claim to the end, once that is reached.
    took: Option<Duration>,
    text: String,
}

impl Transcript {
    pub(crate) fn new(exit: Exit) -> Self {
        Self { exit, records: Vec::new(), current: None, waiting: String::new(), took: None, text: String::new() }
    }

    pub(crate) fn begin(&mut self, stage: Stage) {
        self.current = Some(stage);
    }

    /// Notes for whom the stage under way waits now.
    pub(crate) fn wait_for(&mut self, whom: &str) {
        self.waiting = whom.into();
    }

    pub(crate) fn push(&mut self, record: Record) {
        self.current = None;
        self.waiting.clear();
        self.records.push(record);
    }

    pub(crate) fn end(&mut self, exit: Exit, took: Duration) {
        self.exit = exit;
        self.took = Some(took);
    }

    /// Keeps what was said, as far as there is room.
    pub(crate) fn note(&mut self, text: fmt::Arguments<'_>) {
        let _ = Bounded(&mut self.text).write_fmt(text);
    }

    /// Returns the records, oldest first.
    #[must_use]
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Returns the stage under way.
    #[must_use]
    pub fn current(&self) -> Option<Stage> {
        self.current
    }

    /// Returns what is, or was, to be carried out.
    #[must_use]
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// Returns from when the shutdown was claimed to its end, if it has come to that.
    #[must_use]
    pub fn took(&self) -> Option<Duration> {
        self.took
    }

    /// Returns everything that was said.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns whether every stage so far was passed by every device.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.records.iter().all(|record| record.outcome == Outcome::Done)
    }

    /// Sums up in one line: `reboot, clean, 87 ms`.
    #[must_use]
    pub fn summary(&self) -> Summary<'_> {
        Summary(self)
    }
}

/// Writes as long as there is room, then swallows.
struct Bounded<'a>(&'a mut String);

impl Write for Bounded<'_> {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        if self.0.len() + piece.len() <= TEXT_LIMIT {
            self.0.push_str(piece);
        }
        Ok(())
    }
}

impl fmt::Display for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.summary())?;
        f.write_str(&self.text)
    }
}

/// A transcript in one line: what was asked for, how it went, how long it took.
#[derive(Debug)]
pub struct Summary<'t>(&'t Transcript);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transcript = self.0;
        f.write_str(transcript.exit.as_str())?;
        f.write_str(if transcript.is_clean() { ", clean" } else { ", forced" })?;
        match (transcript.took, transcript.current, transcript.records.last()) {
            (Some(took), ..) => write!(f, ", {} ms", took.as_millis())?,
            (None, Some(stage), _) if self.0.waiting.is_empty() => write!(f, ", did not get beyond `{stage}'")?,
            (None, Some(stage), _) => write!(f, ", did not get beyond `{stage}', waiting for `{}'", self.0.waiting)?,
            (None, None, Some(last)) => write!(f, ", did not get beyond `{}'", last.stage)?,
            (None, None, None) => f.write_str(", did not begin")?,
        }
        for record in &transcript.records {
            match &record.outcome {
                Outcome::Done => {}
                Outcome::Quarantined => write!(f, "; {}: nothing freed", record.stage)?,
                Outcome::Faulted(faults) => {
                    for (name, fault) in faults {
                        write!(f, "; {}: {name} {fault}", record.stage)?;
                    }
                }
            }
        }
        Ok(())
    }
}
