//! Latency: with one frame under way, and at half of the highest rate without loss (RFC 2544, 26.2, has that rate itself): of each
//! subject's own, and of the slowest subject's, so that all have the same to do. Or at rates that were asked for.

use std::{fmt, time::Duration};

use anyhow::Result;

use super::{Bench, add_effort};
use crate::bench::{
    Record,
    generator::{Load, Mode, Outcome},
    session::Arena,
};

/// What is asked of the times.
const PERCENTILES: [(&str, f64); 4] = [("p50_us", 50.0), ("p90_us", 90.0), ("p99_us", 99.0), ("p999_us", 99.9)];

/// How long a processor is watched that has nothing to do.
const IDLE: Duration = Duration::from_secs(3);

impl Bench {
    /// Measures latencies of every subject at every number of processors and size, in turn; and first what an idle one costs.
    ///
    /// # Errors
    /// When a subject does not boot, or a frame is not as it must be.
    pub fn latency(&mut self) -> Result<()> {
        for cpus in self.options.cpus.clone() {
            let mut arena = self.arena(cpus)?;
            let mut idle = Vec::new();
            arena.each(|_, session| {
                let mut record = Record::new("idle", session.name()).with("cpus", cpus);
                record.add("vcpu_share", session.idle(IDLE)?);
                idle.push(record);
                Ok(())
            })?;
            self.tell(&idle);
            idle.into_iter().try_for_each(|record| self.folder.put(record))?;
            for size in self.options.frames.clone() {
                let mut offered = vec![Offered::Single];
                if self.options.rates.is_empty() {
                    let mut halves = Vec::new();
                    arena.each(|_, session| {
                        halves.push(self.zero_loss_rate(session, cpus, size)? / 2.0);
                        Ok(())
                    })?;
                    let slowest = halves.iter().copied().reduce(f64::min);
                    let is_compared = halves.len() > 1;
                    offered.push(Offered::Half(halves));
                    offered.extend(slowest.filter(|_| is_compared).map(Offered::Same));
                }
                offered.extend(self.options.rates.iter().copied().map(Offered::Rate));
                for offered in offered {
                    self.latency_at(&mut arena, &offered, cpus, size)?;
                }
            }
            arena.stop()?;
        }
        Ok(())
    }

    fn latency_at(&mut self, arena: &mut Arena, offered: &Offered, cpus: u32, size: usize) -> Result<()> {
        let bar = self.progress.line(&format!("{size} octets, latency, load {offered}"));
        let mut records: Vec<Record> = Vec::new();
        for _ in 0..self.options.rounds {
            arena.each(|index, session| {
                if records.len() <= index {
                    let record = Record::new("latency", session.name()).with("frame", size);
                    records.push(record.with("cpus", cpus).with("load", offered.to_string()));
                }
                let load = Load::new(false, size, offered.mode(index), self.options.duration).timed();
                let measured = session.measure(&load, &bar)?;
                let Some(record) = records.get_mut(index) else { return Ok(()) };
                add_times(record, &measured.outcome);
                record.add("vcpu_us_per_packet", measured.vcpu_us_per_packet());
                Ok(())
            })?;
        }
        bar.finish_and_clear();
        self.tell(&records);
        records.into_iter().try_for_each(|record| self.folder.put(record))
    }
}

/// What a subject is given to forward.
enum Offered {
    /// One frame, and the next when it has come.
    Single,
    /// Half of what each forwards without loss, a second.
    Half(Vec<f64>),
    /// So many a second to all: half of what the slowest forwards without loss.
    Same(f64),
    /// So many a second to all, as was asked for.
    Rate(f64),
}

impl Offered {
    /// Returns what it is for the subject of this number.
    fn mode(&self, subject: usize) -> Mode {
        match self {
            Self::Single => Mode::Closed { window: 1 },
            Self::Half(halves) => Mode::Open { rate: halves.get(subject).copied().unwrap_or_default() },
            Self::Same(rate) | Self::Rate(rate) => Mode::Open { rate: *rate },
        }
    }
}

/// As records name it.
impl fmt::Display for Offered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Single => f.write_str("single"),
            Self::Half(_) => f.write_str("half"),
            Self::Same(_) => f.write_str("same"),
            Self::Rate(rate) => write!(f, "{rate}/s"),
        }
    }
}

fn add_times(record: &mut Record, outcome: &Outcome) {
    for (name, percent) in PERCENTILES {
        record.add(name, outcome.percentile_us(percent));
    }
    record.add("max_us", outcome.times.max() as f64 / 1000.0);
    record.add("rate_pps", outcome.rate());
    record.add("lost_frames", outcome.lost() as f64);
    add_effort(record, outcome);
}
