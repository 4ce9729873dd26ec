//! Overload: what is forwarded when 1 to 8 times as much is offered as gets through without loss, both ways, and whether the
//! router is still there for others meanwhile.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;

use super::{Bench, add_measured};
use crate::bench::{
    Record, Running,
    generator::{Asked, Load, Mode},
};

/// How much more is offered than gets through without loss.
const FACTORS: [f64; 7] = [1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0];

/// How often the host at port 0 asks for the router's station address meanwhile. Its requests wait in the same rings as
/// everything else, so most of them are lost as well; what counts is when one gets through.
const ASKS_EVERY: Duration = Duration::from_millis(20);

/// How long the console may take before it counts as dead, and how long it is left alone after each answer.
const CONSOLE_LIMIT: Duration = Duration::from_secs(20);
const CONSOLE_PAUSE: Duration = Duration::from_millis(200);

impl Bench {
    /// Measures the overload curve of every subject at every number of processors, with the smallest frames.
    ///
    /// # Errors
    /// When a subject does not boot, or a frame is not as it must be.
    pub fn overload(&mut self) -> Result<()> {
        let size = self.options.frames.iter().copied().min().unwrap_or(64);
        for cpus in self.options.cpus.clone() {
            let mut arena = self.arena(cpus)?;
            let mut rates = Vec::new();
            arena.each(|_, session| {
                rates.push(self.zero_loss_rate(session, cpus, size)?);
                Ok(())
            })?;
            let mut curves: Vec<Vec<Record>> = FACTORS.map(|_| Vec::new()).into();
            // Each round is a whole curve: what disturbs the machine for some seconds must not fall on one point alone.
            for round in 1..=self.options.rounds {
                for (factor, records) in FACTORS.into_iter().zip(&mut curves) {
                    let what = format!("{size} octets, both ways, {factor} times the zero-loss rate, round {round}");
                    let bar = self.progress.line(&what);
                    arena.each(|index, session| {
                        let rate = rates.get(index).copied().unwrap_or_default() * factor;
                        if records.len() <= index {
                            let record = Record::new("overload", session.name()).with("frame", size);
                            records.push(record.with("cpus", cpus).with("ways", "both").with("factor", factor));
                        }
                        let mode = Mode::Open { rate: rate / 2.0 };
                        let load = Load::new(true, size, mode, self.options.duration);
                        let load = Load { asks_every: Some(ASKS_EVERY), ..load };
                        let (measured, console) = session
                            .measure_while(&load, &bar, |running| answers(running, load.warm_up, load.duration))?;
                        let Some(record) = records.get_mut(index) else { return Ok(()) };
                        add_measured(record, &measured);
                        record.add("asked_pps", rate);
                        record.add("late_pps", measured.outcome.late_rate());
                        record.add("offered_pps", measured.outcome.offered_rate());
                        add_answers(record, &console, &measured.outcome.asked);
                        Ok(())
                    })?;
                    bar.finish_and_clear();
                }
            }
            for records in curves {
                self.tell(&records);
                records.into_iter().try_for_each(|record| self.folder.put(record))?;
            }
            arena.stop()?;
        }
        Ok(())
    }
}

/// Types a command again and again, and returns how long each answer took; an answer that does not come ends it.
fn answers(running: &mut dyn Running, after: Duration, duration: Duration) -> Vec<Option<Duration>> {
    let Some(command) = running.harmless_command().map(ToOwned::to_owned) else { return Vec::new() };
    thread::sleep(after);
    let (began, mut times) = (Instant::now(), Vec::new());
    while began.elapsed() < duration {
        let typed = Instant::now();
        let answer = running.command(&command, CONSOLE_LIMIT).ok().map(|_| typed.elapsed());
        times.push(answer);
        if answer.is_none() {
            break;
        }
        thread::sleep(CONSOLE_PAUSE.min(duration.saturating_sub(began.elapsed())));
    }
    times
}

/// Adds the longest waits for the console and for ARP; one that did not end is noted.
fn add_answers(record: &mut Record, console: &[Option<Duration>], asked: &Asked) {
    let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
    if let Some(longest) = console.iter().flatten().max() {
        record.add("console_ms", milliseconds(*longest));
    }
    if console.iter().any(Option::is_none) {
        record.note("the console did not answer under load");
    }
    match asked.answers.iter().max() {
        Some(longest) => record.add("arp_ms", milliseconds(*longest)),
        None => record.note("no ARP request was answered under load"),
    }
    record.add("arp_answered", asked.answers.len() as f64 / f64::from(asked.requests.max(1)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_wait_counts_and_silence_is_noted() {
        let times = [10, 30, 20].map(|ms| Some(Duration::from_millis(ms)));
        let asked = Asked { requests: 8, answers: vec![Duration::from_millis(5), Duration::from_millis(2)] };
        let mut record = Record::new("overload", "x");
        add_answers(&mut record, &times, &asked);
        assert_eq!((record.values("console_ms"), record.values("arp_ms")), (&[30.0][..], &[5.0][..]));
        assert_eq!((record.values("arp_answered"), record.notes.len()), (&[0.25][..], 0));
        add_answers(&mut record, &[None], &Asked { requests: 9, answers: vec![] });
        assert_eq!(record.notes.len(), 2);
    }
}
