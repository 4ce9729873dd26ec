//! What is measured between two hosts: one file for each kind, and what they share: [`Options`] and [`Bench`].

mod footprint;
mod latency;
mod overload;
pub mod search;
mod throughput;

use std::{fmt, time::Duration};

use anyhow::Result;

use super::{
    Record, Setup, Subject,
    generator::Outcome,
    record::Folder,
    session::{Arena, Measured, Session},
    table,
};
use crate::{machine::NicModel, progress::Progress, workspace::Workspace};

/// The setting that says where packets are forwarded.
pub const DISPATCH: &str = "net.isr.dispatch";

/// How much is measured, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Sizes of frames in octets, check sequence counted.
    pub frames: Vec<usize>,
    /// For how long each value is measured.
    pub duration: Duration,
    /// How many values there are of each figure.
    pub rounds: usize,
    /// Numbers of processors of the subjects.
    pub cpus: Vec<u32>,
    /// Frames a second at which times are measured; none for those that follow from what was measured.
    pub rates: Vec<f64>,
    /// Dispatch policies of Sluice, besides its default for the comparison with others.
    pub dispatch: Vec<String>,
    /// Frames of each stream that are on their way in a closed loop.
    pub window: u32,
    /// What the cards are.
    pub cards: NicModel,
    /// Whether frames are tagged, as in [`Setup`].
    pub tagged: bool,
    /// The longest IP packet where it is not the usual one, as in [`Setup`].
    pub mtu: Option<u16>,
}

/// A run of measurements: the subjects, where the records go, and who is told.
pub struct Bench {
    /// The subjects; Sluice is the first.
    pub subjects: Vec<Box<dyn Subject>>,
    /// How much is measured.
    pub options: Options,
    /// The records.
    pub folder: Folder,
    /// Who is told.
    pub progress: Progress,
    /// Where run folders are made.
    pub workspace: Workspace,
}

impl fmt::Debug for Bench {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.subjects.iter().map(|subject| subject.name()).collect();
        f.debug_struct("Bench").field("subjects", &names).field("options", &self.options).finish_non_exhaustive()
    }
}

impl Bench {
    /// Boots all subjects with so many processors.
    fn arena(&self, cpus: u32) -> Result<Arena> {
        let mut arena = Arena::default();
        for subject in &self.subjects {
            arena.add(self.session(&**subject, cpus, |_| ())?)?;
        }
        Ok(arena)
    }

    /// Boots one subject.
    fn session(&self, subject: &dyn Subject, cpus: u32, adapt: impl FnOnce(&mut Setup)) -> Result<Session> {
        let plural = if cpus == 1 { "CPU" } else { "CPUs" };
        let bar = self.progress.line("Booting");
        bar.set_message(format!("{}, {cpus} {plural}", subject.name()));
        let session = Session::boot(subject, &self.workspace, cpus, |setup| {
            let Options { cards, tagged, mtu, .. } = self.options;
            (setup.cards, setup.tagged, setup.mtu) = (cards, tagged, mtu);
            adapt(setup);
        });
        bar.finish_and_clear();
        session
    }
}

impl Bench {
    /// Says the medians of what was just measured.
    fn tell(&self, records: &[Record]) {
        for record in records {
            self.progress.say(&table::line(record));
        }
    }
}

/// Adds what every measurement under load has.
fn add_measured(record: &mut Record, measured: &Measured) {
    let outcome = &measured.outcome;
    record.add("rate_pps", outcome.rate());
    record.add("vcpu_us_per_packet", measured.vcpu_us_per_packet());
    record.add("qemu_us_per_packet", measured.qemu_us_per_packet());
    let (runs, waits) = measured.vcpu_shares();
    record.add("vcpu_runs", runs);
    waits.into_iter().for_each(|waits| record.add("vcpu_waits", waits));
    record.add("lost_frames", outcome.lost() as f64);
    record.add("reordered_frames", outcome.reordered() as f64);
    if outcome.streams.len() > 1 {
        record.add("fairness", outcome.fairness());
    }
    add_effort(record, outcome);
}

/// Adds what the generator needed, and says so if it was the limit.
fn add_effort(record: &mut Record, outcome: &Outcome) {
    record.add("generator_cpu", outcome.effort.cpu);
    record.add("generator_calls_per_packet", outcome.effort.reads_per_frame + outcome.effort.writes_per_frame);
    if outcome.effort.is_limit() {
        record.note("the generator used a whole processor: it may have been the limit");
    }
    if outcome.stalls > 0 {
        record.note("nothing came for 200 ms: frames on their way were given up");
    }
}

/// Returns the name of one direction or both.
const fn ways(both: bool) -> &'static str {
    if both { "both" } else { "one" }
}
