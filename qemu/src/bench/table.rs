//! Records as tables for people: [`of`].

use std::{collections::BTreeSet, fmt::Write as _};

use serde_json::Value;

use super::{Record, goal, record::median};

/// How one kind of measurement is set: a heading, the conditions and the figures that have columns.
struct Layout {
    measure: &'static str,
    heading: &'static str,
    conditions: &'static [&'static str],
    /// Name of the figure, head of the column, what the value is multiplied with.
    figures: &'static [(&'static str, &'static str, f64)],
}

const LAYOUTS: &[Layout] = &[
    Layout {
        measure: "throughput",
        heading: "Throughput, closed loop",
        conditions: &["frame", "cpus", "ways"],
        figures: &[
            ("rate_pps", "kpps", 1e-3),
            ("vcpu_us_per_packet", "vCPU us", 1.0),
            ("qemu_us_per_packet", "QEMU us", 1.0),
            ("lost_frames", "lost", 1.0),
            ("fairness", "fair", 1.0),
            ("generator_cpu", "gen. CPU", 1.0),
        ],
    },
    Layout {
        measure: "zero-loss",
        heading: "Highest rate without loss, one way (RFC 2544, 26.1)",
        conditions: &["frame", "cpus"],
        figures: &[("zero_loss_pps", "kpps", 1e-3), ("trials", "trials", 1.0), ("generator_cpu", "gen. CPU", 1.0)],
    },
    Layout {
        measure: "dispatch",
        heading: "Dispatch policies, closed loop",
        conditions: &["frame", "cpus", "ways", "dispatch"],
        figures: &[("rate_pps", "kpps", 1e-3), ("vcpu_us_per_packet", "vCPU us", 1.0), ("lost_frames", "lost", 1.0)],
    },
    Layout {
        measure: "overload",
        heading: "Overload, both ways, in multiples of the zero-loss rate",
        conditions: &["frame", "cpus", "factor"],
        figures: &[
            ("offered_pps", "offered k", 1e-3),
            ("rate_pps", "kpps", 1e-3),
            ("fairness", "fair", 1.0),
            ("console_ms", "console ms", 1.0),
            ("arp_ms", "ARP ms", 1.0),
            ("vcpu_us_per_packet", "vCPU us", 1.0),
            ("vcpu_runs", "vCPU runs", 1.0),
            ("vcpu_waits", "waits", 1.0),
            ("generator_cpu", "gen. CPU", 1.0),
        ],
    },
    Layout {
        measure: "latency",
        heading: "Latency",
        conditions: &["frame", "cpus", "load"],
        figures: &[
            ("rate_pps", "kpps", 1e-3),
            ("p50_us", "p50 us", 1.0),
            ("p90_us", "p90 us", 1.0),
            ("p99_us", "p99 us", 1.0),
            ("p999_us", "p99.9 us", 1.0),
            ("lost_frames", "lost", 1.0),
        ],
    },
    Layout {
        measure: "instructions",
        heading: "A forwarded packet, closed loop: the guest's instructions, accesses to the cards' registers",
        conditions: &["frame", "cpus", "ways"],
        figures: &[
            ("instructions_per_packet", "instr.", 1.0),
            ("idle_instructions_per_packet", "idle", 1.0),
            ("register_reads_per_packet", "reads", 1.0),
            ("register_writes_per_packet", "writes", 1.0),
            ("lost_frames", "lost", 1.0),
        ],
    },
    Layout {
        measure: "scale",
        heading: "A forwarded packet against what there is more of, 64 octets, closed loop",
        conditions: &["over", "count"],
        figures: &[
            ("instructions_per_packet", "instr.", 1.0),
            ("idle_instructions_per_packet", "idle", 1.0),
            ("lost_frames", "lost", 1.0),
        ],
    },
];

/// Measurements whose records say what was measured rather than how it went.
const SILENT: &[&str] = &["subject"];

/// The width of a column, and of the subject's.
const COLUMN: usize = 11;
const SUBJECT: usize = 14;

/// Sets records: a table for each kind of measurement, notes, and the goals that the records say something about.
#[must_use]
pub fn of(records: &[Record]) -> String {
    let mut text = String::new();
    for record in records.iter().filter(|record| record.measure == "subject") {
        let _ = writeln!(text, "{}: {}", record.subject, record.notes.join("; "));
    }
    for layout in LAYOUTS {
        let rows: Vec<&Record> = records.iter().filter(|record| record.measure == layout.measure).collect();
        if !rows.is_empty() {
            layout.set(&rows, &mut text);
        }
    }
    let is_set = |record: &Record| LAYOUTS.iter().any(|layout| layout.measure == record.measure);
    let rest = records.iter().filter(|record| !is_set(record) && !SILENT.contains(&record.measure.as_str()));
    let lines: Vec<String> = rest.map(line).collect();
    if !lines.is_empty() {
        let _ = writeln!(text, "\nFurther\n{}", lines.join("\n"));
    }
    let goals = goal::all(records);
    if !goals.is_empty() {
        let _ = writeln!(text, "\nGoals");
        goals.iter().for_each(|goal| text += &goal.line());
    }
    text
}

impl Layout {
    fn set(&self, rows: &[&Record], text: &mut String) {
        let _ = write!(text, "\n{}\n{:SUBJECT$}", self.heading, "");
        for name in self.conditions {
            let _ = write!(text, " {name:>8}");
        }
        for (_, head, _) in self.figures {
            let _ = write!(text, " {head:>COLUMN$}");
        }
        text.push('\n');
        for record in rows {
            let _ = write!(text, "{:SUBJECT$}", record.subject);
            for name in self.conditions {
                let _ = write!(text, " {:>8}", record.conditions.get(*name).map_or_else(String::new, plain));
            }
            for (name, _, scale) in self.figures {
                let value = record.median(name).map_or_else(String::new, |value| number(value * scale));
                let _ = write!(text, " {value:>COLUMN$}");
            }
            text.push('\n');
        }
        let notes: BTreeSet<String> = rows
            .iter()
            .flat_map(|record| record.notes.iter().map(|note| format!("{}: {note}", record.subject)))
            .collect();
        for note in notes {
            let _ = writeln!(text, "  ({note})");
        }
    }
}

/// Sets one record in a line: medians, with the lowest and the highest value.
#[must_use]
pub fn line(record: &Record) -> String {
    let conditions = record.conditions.iter().map(|(name, value)| format!("{name} {}", plain(value)));
    let conditions = conditions.collect::<Vec<_>>().join(", ");
    let figures = record.figures.iter().filter_map(|(name, values)| {
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let span = if values.len() > 1 { format!(" ({}..{})", number(least), number(most)) } else { String::new() };
        Some(format!("{name} {}{span}", number(median(values)?)))
    });
    let figures = figures.collect::<Vec<_>>().join(", ");
    let notes: String = record.notes.iter().map(|note| format!(" ({note})")).collect();
    format!("{} {} {conditions}: {figures}{notes}", record.measure, record.subject)
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

/// Writes a number with the digits that count.
pub(super) fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 || value == 0.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_table_and_nothing_is_left_out() {
        let mut throughput = Record::new("throughput", "sluice").with("frame", 64).with("cpus", 1).with("ways", "one");
        [3e5, 4e5, 5e5].into_iter().for_each(|rate| throughput.add("rate_pps", rate));
        throughput.note("said");
        let mut other = Record::new("something", "else");
        other.add("length_m", 2.5);
        other.add("length_m", -1.0);
        let mut subject = Record::new("subject", "sluice");
        subject.note("as built");
        let text = of(&[subject, throughput, other]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "sluice: as built");
        let (head, row) = (lines[3], lines[4]);
        assert_eq!(head.find("kpps").map(|at| at + 4), row.find(" 400").map(|at| at + 4), "{text}");
        assert!(text.contains("(sluice: said)") && text.contains("length_m 0.750 (-1.00..2.50)"), "{text}");
    }
}
