//! Latency: with one frame under way, and at half of the highest rate without loss (RFC 2544, 26.2, has that rate itself).

use std::time::Duration;

use anyhow::Result;

use super::{Bench, add_effort};
use crate::bench::{
    Record,
    generator::{Load, Mode, Outcome},
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
                let mut halves = Vec::new();
                arena.each(|_, session| {
                    halves.push(self.zero_loss_rate(session, cpus, size)? / 2.0);
                    Ok(())
                })?;
                for half in [false, true] {
                    let title = if half { "half load" } else { "one in flight" };
                    let bar = self.progress.line(&format!("{size} octets, {title}"));
                    let mut records: Vec<Record> = Vec::new();
                    for _ in 0..self.options.rounds {
                        arena.each(|index, session| {
                            if records.len() <= index {
                                let record = Record::new("latency", session.name()).with("frame", size);
                                records
                                    .push(record.with("cpus", cpus).with("load", if half { "half" } else { "single" }));
                            }
                            let rate = halves.get(index).copied().unwrap_or_default();
                            let mode = if half { Mode::Open { rate } } else { Mode::Closed { window: 1 } };
                            let measured =
                                session.measure(&Load::new(false, size, mode, self.options.duration).timed(), &bar)?;
                            let Some(record) = records.get_mut(index) else { return Ok(()) };
                            add_times(record, &measured.outcome);
                            record.add("vcpu_us_per_packet", measured.vcpu_us_per_packet());
                            Ok(())
                        })?;
                    }
                    bar.finish_and_clear();
                    self.tell(&records);
                    records.into_iter().try_for_each(|record| self.folder.put(record))?;
                }
            }
            arena.stop()?;
        }
        Ok(())
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
