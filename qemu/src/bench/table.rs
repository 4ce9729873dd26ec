//! Records as a table for people: [`of`].

use serde_json::Value;

use super::Record;

/// Sets records in columns: a line for each, medians with the lowest and highest value.
#[must_use]
pub fn of(records: &[Record]) -> String {
    let mut text = String::new();
    for record in records {
        text += &line(record);
        text.push('\n');
    }
    text
}

/// Sets one record.
#[must_use]
pub fn line(record: &Record) -> String {
    let conditions = record.conditions.iter().map(|(name, value)| format!("{name} {}", plain(value)));
    let conditions = conditions.collect::<Vec<_>>().join(", ");
    let figures = record.figures.iter().filter_map(|(name, values)| {
        let (least, most) =
            (values.iter().copied().fold(f64::INFINITY, f64::min), values.iter().copied().fold(0.0, f64::max));
        let median = record.median(name)?;
        let span = if values.len() > 1 { format!(" ({}..{})", number(least), number(most)) } else { String::new() };
        Some(format!("{name} {}{span}", number(median)))
    });
    let figures = figures.collect::<Vec<_>>().join(", ");
    format!("{:12} {:12} {conditions}: {figures}", record.measure, record.subject)
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

/// Writes a number with three digits that count.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 || value == 0.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}
