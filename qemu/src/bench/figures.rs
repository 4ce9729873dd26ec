//! The plots of a run, drawn from its records: [`draw`].

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::ValueEnum;

use super::{
    Record,
    instructions::{INSTRUCTIONS, STAGE},
    plot::Chart,
    record::median,
    scale::Sweep,
};

/// Draws what the records have into `folder`; returns the files.
///
/// # Errors
/// When a file cannot be written.
pub fn draw(records: &[Record], folder: &Path) -> Result<Vec<PathBuf>> {
    let charts = [
        ("throughput", throughput(records)),
        ("zero-loss", zero_loss(records)),
        ("overload", overload(records)),
        ("latency", latency(records, "p50_us", "one frame in flight, median", "single")),
        ("latency-half-p50", latency(records, "p50_us", "at half of the zero-loss rate, median", "half")),
        ("latency-half-p99", latency(records, "p99_us", "at half of the zero-loss rate, 99th percentile", "half")),
        ("vcpu", vcpu(records)),
    ];
    let mut files = Vec::new();
    for (name, chart) in charts.into_iter().filter(|(_, chart)| !chart.series.is_empty()) {
        let path = folder.join(format!("{name}.svg"));
        chart.lines(&path)?;
        files.push(path);
    }
    for sweep in Sweep::value_variants() {
        let chart = scale(records, *sweep);
        if !chart.series.is_empty() {
            let path = folder.join(format!("scale-{}.svg", sweep.name()));
            chart.lines(&path)?;
            files.push(path);
        }
    }
    let bars = [("dispatch", dispatch(records)), ("instructions", instructions(records)), ("stages", stages(records))];
    for (name, chart) in bars.into_iter().filter(|(_, chart)| !chart.series.is_empty()) {
        let path = folder.join(format!("{name}.svg"));
        chart.bars(&path)?;
        files.push(path);
    }
    Ok(files)
}

/// Returns a subject with what tells its case from others of the same measurement.
fn name(record: &Record, conditions: &[&str]) -> String {
    let mut name = record.subject.clone();
    for condition in conditions {
        match (*condition, record.text(condition), record.number(condition)) {
            ("ways", Some(ways), _) => name += &format!(", {ways} way{}", if ways == "both" { "s" } else { "" }),
            ("cpus", _, Some(cpus)) => name += &format!(", {cpus} CPU{}", if cpus > 1.0 { "s" } else { "" }),
            (_, Some(text), _) => name += &format!(", {text}"),
            _ => {}
        }
    }
    name
}

fn of<'a>(records: &'a [Record], measure: &'a str) -> impl Iterator<Item = &'a Record> {
    records.iter().filter(move |record| record.measure == measure)
}

/// Adds a point for each record of a measurement: a condition across, the median of a figure up.
fn add(
    chart: &mut Chart,
    records: &[Record],
    measure: &str,
    across: &str,
    (figure, scale): (&str, f64),
    names: &[&str],
) {
    for record in of(records, measure) {
        if let (Some(x), Some(y)) = (record.number(across), record.median(figure)) {
            chart.add(&name(record, names), (x, y * scale));
        }
    }
}

fn throughput(records: &[Record]) -> Chart {
    let mut chart = Chart::new("Throughput, closed loop", "frame (octets)", "kpps");
    add(&mut chart, records, "throughput", "frame", ("rate_pps", 1e-3), &["cpus", "ways"]);
    chart
}

fn vcpu(records: &[Record]) -> Chart {
    let mut chart = Chart::new("Processor time of the guest, closed loop", "frame (octets)", "us a packet");
    add(&mut chart, records, "throughput", "frame", ("vcpu_us_per_packet", 1.0), &["cpus", "ways"]);
    chart
}

fn zero_loss(records: &[Record]) -> Chart {
    let mut chart = Chart::new("Highest rate without loss (RFC 2544, 26.1)", "frame (octets)", "kpps");
    add(&mut chart, records, "zero-loss", "frame", ("zero_loss_pps", 1e-3), &["cpus"]);
    chart
}

fn latency(records: &[Record], figure: &str, what: &str, load: &str) -> Chart {
    let mut chart = Chart::new(&format!("Latency, {what}"), "frame (octets)", "us");
    let of_load: Vec<Record> =
        of(records, "latency").filter(|record| record.text("load") == Some(load)).cloned().collect();
    add(&mut chart, &of_load, "latency", "frame", (figure, 1.0), &["cpus"]);
    chart
}

/// Offered against forwarded, both as they were and not as they were asked for.
fn overload(records: &[Record]) -> Chart {
    let mut chart = Chart::new("Overload, both ways", "offered (kpps)", "forwarded (kpps)");
    for record in of(records, "overload") {
        let pair = (median(record.values("offered_pps")), median(record.values("rate_pps")));
        if let (Some(offered), Some(forwarded)) = pair {
            chart.add(&name(record, &["cpus"]), (offered / 1e3, forwarded / 1e3));
        }
    }
    chart
}

fn dispatch(records: &[Record]) -> Chart {
    let mut chart = Chart::new("Dispatch policies, 64 octets", "", "kpps");
    for record in of(records, "dispatch") {
        if let (Some(policy), Some(ways), Some(rate)) =
            (record.text("dispatch"), record.text("ways"), record.median("rate_pps"))
        {
            chart.add(&format!("{policy}, {ways}"), (0.0, rate / 1e3));
        }
    }
    chart
}

fn scale(records: &[Record], sweep: Sweep) -> Chart {
    let title = format!("Instructions against the number of {}, 64 octets", sweep.name());
    let mut chart = Chart::new(&title, sweep.name(), "instructions a packet");
    chart.logarithmic = sweep.is_wide();
    let swept: Vec<Record> =
        of(records, "scale").filter(|record| record.text("over") == Some(sweep.name())).cloned().collect();
    add(&mut chart, &swept, "scale", "count", (INSTRUCTIONS, 1.0), &[]);
    if !chart.series.is_empty() && sweep == Sweep::Routes {
        chart.goal = Some((350.0, "goal with 1 million".into()));
    }
    chart
}

fn instructions(records: &[Record]) -> Chart {
    let mut chart = Chart::new("Instructions of a forwarded packet, 64 octets", "", "instructions");
    for record in of(records, "instructions").filter(|record| record.number("frame") == Some(64.0)) {
        if let Some(each) = record.median(INSTRUCTIONS) {
            chart.add(&name(record, &["cpus", "ways"]), (0.0, each));
        }
    }
    chart
}

/// The stages of the first record that has any: one CPU, one way, unless told otherwise.
fn stages(records: &[Record]) -> Chart {
    let has_stages = |record: &&Record| record.figures.keys().any(|name| name.starts_with(STAGE));
    let Some(record) = of(records, "instructions").find(has_stages) else { return Chart::default() };
    let title = format!("Instructions of a forwarded packet by stage: {}", name(record, &["cpus", "ways"]));
    let mut chart = Chart::new(&title, "", "instructions");
    let staged = record.figures.iter().filter_map(|(name, values)| Some((name.strip_prefix(STAGE)?, median(values)?)));
    // What is less than one instruction a packet is no bar.
    let mut staged: Vec<(&str, f64)> = staged.filter(|(_, each)| *each >= 1.0).collect();
    staged.sort_by(|a, b| b.1.total_cmp(&a.1));
    staged.into_iter().for_each(|(stage, each)| chart.add(stage, (0.0, each)));
    chart
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_measurement_has_its_plot_and_what_was_not_measured_has_none() {
        let folder = crate::workspace::scratch("figures");
        let mut records = Vec::new();
        for (subject, rate) in [("sluice", 4e5), ("linux", 1e5)] {
            for frame in [64, 512] {
                let mut record = Record::new("throughput", subject).with("frame", frame).with("cpus", 1);
                record = record.with("ways", "both");
                record.add("rate_pps", rate);
                records.push(record);
            }
            let mut record = Record::new("overload", subject).with("factor", 2.0).with("cpus", 2);
            record.add("offered_pps", 2.0 * rate);
            record.add("rate_pps", rate);
            records.push(record);
        }
        let files = draw(&records, &folder).unwrap();
        let names: Vec<_> = files.iter().filter_map(|file| file.file_stem()?.to_str()).collect();
        assert_eq!(names, ["throughput", "overload"]);
        let text = std::fs::read_to_string(&files[0]).unwrap();
        assert!(text.contains("sluice, 1 CPU, both ways"), "{text}");
        assert_eq!(text.matches("<circle").count(), 4);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn instructions_have_a_bar_each_for_case_and_stage_and_sweeps_a_line() {
        let folder = crate::workspace::scratch("figures-instructions");
        let mut record = Record::new("instructions", "sluice").with("frame", 64).with("cpus", 1).with("ways", "one");
        record.add(INSTRUCTIONS, 300.0);
        record.add(&format!("{STAGE}driver rx"), 80.0);
        record.add(&format!("{STAGE}time"), 0.2);
        let mut records = vec![record];
        for count in [10, 1000] {
            let mut record = Record::new("scale", "sluice").with("over", "routes").with("count", count);
            record.add(INSTRUCTIONS, 310.0);
            records.push(record);
        }
        let files = draw(&records, &folder).unwrap();
        let names: Vec<_> = files.iter().filter_map(|file| file.file_stem()?.to_str()).collect();
        assert_eq!(names, ["scale-routes", "instructions", "stages"]);
        let text = std::fs::read_to_string(&files[2]).unwrap();
        assert!(text.contains("driver rx") && !text.contains("time"), "{text}");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
