//! Throughput: frames a second in a closed loop, one way and both, and the highest rate without loss (RFC 2544, 26.1).

use std::time::Duration;

use anyhow::Result;
use indicatif::ProgressBar;

use super::{
    Bench, DISPATCH, add_effort, add_measured,
    search::{Trial, zero_loss},
    ways,
};
use crate::bench::{
    Record,
    generator::{Load, Mode, self_test},
    session::{Arena, Session},
};

/// How close the highest rate without loss is found.
const RESOLUTION: f64 = 0.02;

/// How much above the closed loop's rate the search begins.
const HEADROOM: f64 = 1.25;

/// The shortest and longest trial of the search. RFC 2544 has 60 seconds, for which nobody waits at each of ten trials.
const TRIAL: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));

/// How long the generator is measured without a subject.
const SELF_TEST: Duration = Duration::from_millis(500);

impl Bench {
    /// Measures throughput: every subject at every number of processors, size and direction, in turn; then Sluice under each
    /// dispatch policy.
    ///
    /// # Errors
    /// When a subject does not boot, or a frame is not as it must be.
    pub fn throughput(&mut self) -> Result<()> {
        for size in self.options.frames.clone() {
            let (rate, effort) = self_test(size, self.options.window, SELF_TEST)?;
            let mut record = Record::new("self-test", "generator").with("frame", size);
            record.add("rate_pps", rate);
            record.add("generator_cpu", effort.cpu);
            self.folder.put(record)?;
        }
        for cpus in self.options.cpus.clone() {
            let mut arena = self.arena(cpus)?;
            for size in self.options.frames.clone() {
                for both in [false, true] {
                    self.closed(&mut arena, cpus, size, both, None)?;
                }
                self.without_loss(&mut arena, cpus, size)?;
            }
            arena.stop()?;
        }
        self.dispatch()
    }

    /// Measures Sluice under each dispatch policy, in turn.
    fn dispatch(&mut self) -> Result<()> {
        let Some(cpus) = self.options.cpus.first().copied().filter(|_| !self.options.dispatch.is_empty()) else {
            return Ok(());
        };
        let Some(sluice) = self.subjects.first() else { return Ok(()) };
        let mut arena = Arena::default();
        for policy in &self.options.dispatch {
            let setting = (DISPATCH.to_owned(), policy.clone());
            arena.add(self.session(&**sluice, cpus, |setup| setup.settings.push(setting))?)?;
        }
        let (size, policies) = (self.options.frames.first().copied().unwrap_or(64), self.options.dispatch.clone());
        for both in [false, true] {
            self.closed(&mut arena, cpus, size, both, Some(&policies))?;
        }
        arena.stop()
    }

    /// Measures the closed loop in turn, round by round; a record for each session.
    fn closed(
        &mut self,
        arena: &mut Arena,
        cpus: u32,
        size: usize,
        both: bool,
        policies: Option<&[String]>,
    ) -> Result<()> {
        let load = Load::new(both, size, Mode::Closed { window: self.options.window }, self.options.duration);
        let title = format!("{size} octets, {} {}", ways(both), if both { "ways" } else { "way" });
        let bar = self.progress.line(&title);
        let mut records: Vec<Record> = Vec::new();
        for _ in 0..self.options.rounds {
            arena.each(|index, session| {
                if records.len() <= index {
                    let measure = if policies.is_some() { "dispatch" } else { "throughput" };
                    let mut record = Record::new(measure, session.name()).with("frame", size).with("cpus", cpus);
                    record = record.with("ways", ways(both)).with("window", self.options.window);
                    if let Some(policy) = policies.and_then(|policies| policies.get(index)) {
                        record = record.with("dispatch", policy.as_str());
                    }
                    records.push(record);
                }
                let measured = session.measure(&load, &bar)?;
                if let Some(record) = records.get_mut(index) {
                    add_measured(record, &measured);
                }
                Ok(())
            })?;
        }
        bar.finish_and_clear();
        self.tell(&records);
        records.into_iter().try_for_each(|record| self.folder.put(record))
    }

    /// Searches the highest rate without loss of each session, in turn.
    fn without_loss(&mut self, arena: &mut Arena, cpus: u32, size: usize) -> Result<()> {
        arena.each(|_, session| self.zero_loss_rate(session, cpus, size).map(drop))
    }

    /// Returns the highest rate without loss of a session, one way; searched unless this run has it already.
    pub(super) fn zero_loss_rate(&mut self, session: &mut Session, cpus: u32, size: usize) -> Result<f64> {
        if let Some(rate) = self.known("zero-loss", session.name(), cpus, size, "zero_loss_pps") {
            return Ok(rate);
        }
        let title = format!("{size} octets, zero loss");
        let bar = self.progress.line(&title);
        let duration = self.options.duration.clamp(TRIAL.0, TRIAL.1);
        let best = match self.known("throughput", session.name(), cpus, size, "rate_pps") {
            Some(rate) => rate,
            None => {
                let mode = Mode::Closed { window: self.options.window };
                session.measure(&Load::new(false, size, mode, duration), &bar)?.outcome.rate()
            }
        };
        let mut record = Record::new("zero-loss", session.name()).with("frame", size).with("cpus", cpus);
        record = record.with("ways", "one").with("seconds", duration.as_secs_f64());
        let rate = find(session, size, HEADROOM * best, duration, &bar, &mut record)?;
        bar.finish_and_clear();
        self.tell(std::slice::from_ref(&record));
        self.folder.put(record)?;
        Ok(rate)
    }

    /// Returns the highest value of a figure of this run, measured one way.
    fn known(&self, measure: &str, subject: &str, cpus: u32, size: usize, figure: &str) -> Option<f64> {
        let of_case = |record: &&Record| {
            let same = |condition: &str, value: f64| record.number(condition) == Some(value);
            (record.measure == measure && record.subject == subject && record.text("ways") == Some("one"))
                && (same("cpus", cpus.into()) && same("frame", size as f64))
        };
        let values = self.folder.records().iter().filter(of_case).flat_map(|record| record.values(figure));
        values.copied().reduce(f64::max)
    }
}

/// Searches one session's highest rate without loss.
fn find(
    session: &mut Session,
    size: usize,
    highest: f64,
    duration: Duration,
    bar: &ProgressBar,
    record: &mut Record,
) -> Result<f64> {
    let mut effort = None;
    let (best, trials) = zero_loss(highest, RESOLUTION, |rate| {
        let load = Load { warm_up: Duration::ZERO, ..Load::new(false, size, Mode::Open { rate }, duration) };
        let measured = session.measure(&load, bar)?;
        let trial = Trial { rate, offered: measured.outcome.offered_rate(), lost: measured.outcome.lost() };
        effort = Some(measured.outcome);
        Ok(trial)
    })?;
    let rate = best.map_or(0.0, |trial| trial.offered);
    record.add("zero_loss_pps", rate);
    record.add("trials", trials as f64);
    if let Some(outcome) = effort {
        add_effort(record, &outcome);
    }
    Ok(rate)
}
