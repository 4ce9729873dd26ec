//! What was measured: [`Record`], one line of JSON each.
//!
//! Tables and plots are made of records and of nothing else, so that they can be made again from the file.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The name of the file of records in a run's folder.
pub const FILE_NAME: &str = "records.jsonl";

/// One measurement of one subject under one set of conditions, with every single value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// What was measured: `throughput`, `overload`, `latency`, `instructions`, `fib`, `scale`, `footprint`, ...
    pub measure: String,
    /// Of what: `sluice`, `linux`, `dpdk`, ...; for host benchmarks the structure, such as `dir-24-8`.
    pub subject: String,
    /// Under which conditions, such as `frame` (octets, FCS counted), `cpus`, `ways`, `dispatch`, `routes`.
    pub conditions: BTreeMap<String, Value>,
    /// The figures by name; the name ends with the unit (`rate_pps`, `vcpu_us_per_packet`, `p50_us`). One value for each
    /// repetition, in the order of measuring; or the points of a curve, then each figure has as many.
    pub figures: BTreeMap<String, Vec<f64>>,
    /// What a reader of the figures must know: the generator was the limit, a symbol's name, the settings.
    pub notes: Vec<String>,
    /// When it was measured, in seconds since 1970.
    pub time: u64,
}

impl Record {
    /// Begins a record.
    #[must_use]
    pub fn new(measure: &str, subject: &str) -> Self {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        Self { measure: measure.to_owned(), subject: subject.to_owned(), time, ..Self::default() }
    }

    /// Adds a condition.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.conditions.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a value to a figure.
    pub fn add(&mut self, figure: &str, value: f64) {
        self.figures.entry(figure.to_owned()).or_default().push(value);
    }

    /// Adds a note, once.
    pub fn note(&mut self, text: &str) {
        if !self.notes.iter().any(|note| note == text) {
            self.notes.push(text.to_owned());
        }
    }

    /// Returns the values of a figure.
    #[must_use]
    pub fn values(&self, figure: &str) -> &[f64] {
        self.figures.get(figure).map_or(&[], Vec::as_slice)
    }

    /// Returns the median of a figure's values.
    #[must_use]
    pub fn median(&self, figure: &str) -> Option<f64> {
        median(self.values(figure))
    }

    /// Returns a condition as a number.
    #[must_use]
    pub fn number(&self, condition: &str) -> Option<f64> {
        self.conditions.get(condition).and_then(Value::as_f64)
    }

    /// Returns a condition as a text.
    #[must_use]
    pub fn text(&self, condition: &str) -> Option<&str> {
        self.conditions.get(condition).and_then(Value::as_str)
    }
}

/// Returns the median: of an even number of values the mean of the two in the middle.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    sorted.get(middle.checked_sub(1)?).map(|lower| f64::midpoint(*lower, upper))
}

/// A folder with records: what is [`put`](Self::put) there is in the file at once, so that a run that ends early keeps it.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    file: File,
    records: Vec<Record>,
}

impl Folder {
    /// Makes the folder, and an empty file of records in it.
    ///
    /// # Errors
    /// When that is not possible.
    pub fn create(path: &Path) -> Result<Self> {
        std::fs::create_dir_all(path).with_context(|| format!("cannot make the folder {}", path.display()))?;
        let name = path.join(FILE_NAME);
        let file = OpenOptions::new().create(true).write(true).truncate(true).open(&name);
        let file = file.with_context(|| format!("cannot write {}", name.display()))?;
        Ok(Self { path: path.to_path_buf(), file, records: Vec::new() })
    }

    /// Returns the path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a record.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put(&mut self, record: Record) -> Result<()> {
        let line = serde_json::to_string(&record)?;
        writeln!(self.file, "{line}").with_context(|| format!("cannot write to {}", self.path.display()))?;
        self.records.push(record);
        Ok(())
    }

    /// Returns the records so far.
    #[must_use]
    pub fn records(&self) -> &[Record] {
        &self.records
    }
}

/// Reads the records of an earlier run from its folder.
///
/// # Errors
/// When there are none, or a line is no record.
pub fn read(folder: &Path) -> Result<Vec<Record>> {
    let name = folder.join(FILE_NAME);
    let file = File::open(&name).with_context(|| format!("cannot read {}", name.display()))?;
    let lines = BufReader::new(file).lines().enumerate();
    let parse = |(index, line): (usize, std::io::Result<String>)| {
        serde_json::from_str(&line?).with_context(|| format!("{}:{}: this is no record", name.display(), index + 1))
    };
    lines.map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0, 3.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0, 3.0, 4.0]), Some(3.5));
    }

    #[test]
    fn records_are_read_as_they_were_written() {
        let folder = crate::workspace::scratch("records");
        let mut written = Folder::create(&folder).unwrap();
        let mut record = Record::new("throughput", "sluice").with("frame", 64).with("ways", "both");
        record.add("rate_pps", 4.5e5);
        record.add("rate_pps", 4.0e5);
        record.note("said twice, kept once");
        record.note("said twice, kept once");
        written.put(record.clone()).unwrap();
        written.put(Record::new("latency", "linux")).unwrap();
        let read = read(&folder).unwrap();
        assert_eq!(read, written.records());
        assert_eq!(read[0], record);
        assert_eq!((read[0].number("frame"), read[0].text("ways")), (Some(64.0), Some("both")));
        assert_eq!((read[0].median("rate_pps"), read[0].notes.len()), (Some(4.25e5), 1));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
