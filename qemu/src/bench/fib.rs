//! Longest-prefix match on the host: builds and runs the program of `tests/lpm` and takes its [`Record`]s.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

use super::{Record, plot::Chart};
use crate::{progress::Progress, workspace::Workspace};

/// What the streams of addresses are called in figures.
const STREAMS: [&str; 3] = ["random", "inside", "zipf"];
/// What the ways to look up are called in figures.
const MODES: [&str; 2] = ["batched", "dependent"];

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// How many routes the table has.
    pub routes: u32,
    /// How often each structure has its turn.
    pub turns: u16,
    /// For how many seconds the table is changed while it is read.
    pub seconds: f64,
}

/// Measures, and calls `each` with every record as it comes.
///
/// # Errors
/// When the program does not build or run, or an answer was wrong.
pub fn run(
    workspace: &Workspace,
    progress: Progress,
    extent: Extent,
    mut each: impl FnMut(&Record) -> Result<()>,
) -> Result<Vec<Record>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.current_dir(workspace.root()).args(["build", "--release", "--package", "lpm"]);
    build.arg("--target-dir").arg(workspace.target("lpm"));
    progress.run("Building the longest-prefix matches", &mut build)?;
    let mut lpm = Command::new(workspace.target("lpm").join("release").join("lpm"));
    lpm.args(["--routes", &extent.routes.to_string(), "--turns", &extent.turns.to_string()]);
    lpm.args(["--seconds", &extent.seconds.to_string()]).stdout(Stdio::piped());
    // All structures in large pages where the machine has some, as the kernel's memory is mapped.
    lpm.env("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1");
    let mut child = lpm.spawn().context("cannot run the longest-prefix matches")?;
    let output = child.stdout.take().context("its output is a pipe")?;
    let mut records = Vec::new();
    for line in BufReader::new(output).lines() {
        let record: Record = serde_json::from_str(&line?).context("a line is no record")?;
        each(&record)?;
        records.push(record);
    }
    ensure!(child.wait()?.success(), "the measurement failed");
    let wrong = records.iter().filter(|record| record.values("mismatches").iter().any(|&count| count > 0.0));
    let wrong: Vec<&str> = wrong.map(|record| record.subject.as_str()).collect();
    ensure!(wrong.is_empty(), "wrong answers of {}", wrong.join(", "));
    Ok(records)
}

/// Sets the records in columns: one structure a line, nanoseconds batched / dependent for each stream.
#[must_use]
pub fn table(records: &[Record]) -> String {
    let mut text = format!("{:12}", "structure");
    for stream in STREAMS {
        text += &format!(" {:>16}", format!("{stream} ns"));
    }
    text += &format!(" {:>7} {:>8} {:>10}\n", "MiB", "build s", "mismatches");
    for record in records.iter().filter(|record| record.measure == "fib") {
        text += &format!("{:12}", record.subject);
        for stream in STREAMS {
            let [batched, dependent] = MODES.map(|mode| cell(record, &format!("{stream}_{mode}_ns"), 1));
            text += &format!(" {:>16}", format!("{batched} / {dependent}"));
        }
        let (size, build) = (cell(record, "size_mib", 1), cell(record, "build_s", 2));
        text += &format!(" {size:>7} {build:>8} {:>10}\n", cell(record, "mismatches", 0));
    }
    for record in records.iter().filter(|record| record.measure == "fib-updates") {
        text += &format!(
            "{}: {} single-route updates a second under a reader, {} a second of processor time ({} answers checked, {} wrong, table made anew {} times)\n",
            record.subject,
            cell(record, "updates_per_second", 0),
            cell(record, "updates_per_processor_second", 0),
            cell(record, "lookups_checked_meanwhile", 0),
            cell(record, "mismatches", 0),
            cell(record, "tables_made_anew", 0),
        );
    }
    text
}

fn cell(record: &Record, figure: &str, digits: usize) -> String {
    record.median(figure).map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
}

/// Draws the times of random addresses as bars, a plot for each way to look up, in `folder`. Returns the files' names.
///
/// # Errors
/// When a file cannot be written.
pub fn plot(records: &[Record], folder: &Path) -> Result<Vec<String>> {
    let routes = records.first().and_then(|record| record.number("routes")).unwrap_or(0.0);
    let mut names = Vec::new();
    for (mode, goal) in MODES.into_iter().zip([6.0, 40.0]) {
        let title = format!("Longest-prefix match, {routes:.0} routes, random addresses, {mode}");
        let mut chart = Chart::new(&title, "", "ns a lookup");
        for record in records.iter().filter(|record| record.measure == "fib") {
            if let Some(time) = record.median(&format!("random_{mode}_ns")) {
                chart.add(&record.subject, (0.0, time));
            }
        }
        chart.goal = Some((goal, format!("goal: {goal} ns")));
        let name = format!("fib-{mode}.svg");
        chart.bars(&folder.join(&name))?;
        names.push(name);
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_line_for_each_structure_and_one_for_updates() {
        let mut one = Record::new("fib", "sluice").with("routes", 1000);
        one.add("random_batched_ns", 5.06);
        let mut updates = Record::new("fib-updates", "sluice").with("routes", 1000);
        updates.add("updates_per_second", 1_234_567.0);
        let text = table(&[one, updates]);
        assert_eq!(text.lines().count(), 3);
        assert!(text.contains("5.1 / -"), "{text}");
        assert!(text.contains("1234567 single-route updates"), "{text}");
    }
}
