//! What many runs came to: [`Tally`].

use std::{collections::BTreeMap, fmt, time::Duration};

use super::{Outcome, VARIANTS};

/// Figures of many runs, by variant.
#[derive(Debug, Default)]
pub struct Tally {
    rows: BTreeMap<&'static str, Row>,
    failures: Vec<String>,
}

#[derive(Debug, Default)]
struct Row {
    failures: usize,
    guest: Vec<Duration>,
    host: Vec<Duration>,
    rates: Vec<f64>,
    held: u64,
}

impl Tally {
    /// Adds a run.
    pub fn add(&mut self, outcome: &Outcome) {
        let row = self.rows.entry(outcome.variant.name).or_default();
        match &outcome.result {
            Ok(figures) => {
                row.guest.push(figures.guest);
                row.host.push(figures.host);
                row.rates.push(figures.rate);
                row.held += figures.held;
            }
            Err(error) => {
                row.failures += 1;
                self.failures.push(format!("{error:#}"));
            }
        }
    }

    /// Returns the number of runs.
    #[must_use]
    pub fn runs(&self) -> usize {
        self.rows.values().map(|row| row.guest.len() + row.failures).sum()
    }

    /// Returns what was wrong with the runs that failed.
    #[must_use]
    pub fn failures(&self) -> &[String] {
        &self.failures
    }
}

/// Returns the middle (of an even number the lesser of two) and the greatest of some times, in milliseconds.
fn spread(times: &[Duration]) -> [String; 2] {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let at = |index: usize| {
        sorted.get(index).map_or_else(|| "-".into(), |time| format!("{:.1}", time.as_secs_f64() * 1000.0))
    };
    [at(sorted.len().saturating_sub(1) / 2), at(sorted.len().saturating_sub(1))]
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:18} {:>5} {:>6} {:>12} {:>12} {:>12} {:>12} {:>6} {:>6}",
            "variant", "runs", "failed", "ladder ms", "max", "to end ms", "max", "kpps", "held"
        )?;
        for name in VARIANTS.iter().map(|variant| variant.name) {
            let Some(row) = self.rows.get(name) else { continue };
            let ([median, max], [host_median, host_max]) = (spread(&row.guest), spread(&row.host));
            let rate = row.rates.iter().fold(0.0, |sum, rate| sum + rate) / row.rates.len().max(1) as f64 / 1000.0;
            writeln!(
                f,
                "{name:18} {:>5} {:>6} {median:>12} {max:>12} {host_median:>12} {host_max:>12} {rate:>6.1} {:>6}",
                row.guest.len() + row.failures,
                row.failures,
                row.held
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{shutdown::Ending, siege::Figures};

    #[test]
    fn the_table_has_median_and_maximum_of_each_variant_and_counts_failures() {
        let mut tally = Tally::default();
        for milliseconds in [30, 10, 20] {
            let guest = Duration::from_millis(milliseconds);
            let figures = Figures { ending: Ending::Halt, guest, host: guest * 2, rate: 5000.0, held: 1 };
            tally.add(&Outcome { variant: &VARIANTS[0], seed: 1, result: Ok(figures) });
        }
        tally.add(&Outcome { variant: &VARIANTS[0], seed: 4, result: Err(anyhow::anyhow!("it hung")) });
        assert_eq!((tally.runs(), tally.failures()), (4, &["it hung".to_owned()][..]));
        let text = tally.to_string();
        let row: Vec<&str> = text.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(row, ["saturated", "4", "1", "20.0", "30.0", "40.0", "60.0", "5.0", "3"], "{text}");
    }
}
