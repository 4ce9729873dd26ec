//! What a shutdown leaves for the next boot, and how that is read.
//!
//! The record is text that only grows: the lines that were said, and between them, whenever a stage begins or ends, a line that
//! sums up how far it has come. The last of these is what counts, so wherever the walk dies, the record says where.

use crate::transcript::Transcript;
use core::fmt;

/// What a line that sums up begins with; no line that is said does.
const MARK: &str = "= ";

/// Writes a growing transcript into a growing record.
#[derive(Debug, Default)]
pub struct Keeper {
    /// Octets of the transcript's text that are in the record.
    kept: usize,
}

impl Keeper {
    /// Nothing is in the record yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { kept: 0 }
    }

    /// Appends what was said since the last time, and how things stand.
    ///
    /// # Errors
    /// Those of `record`: it is full. How things stand is tried to be written all the same.
    pub fn keep(&mut self, transcript: &Transcript, record: &mut dyn fmt::Write) -> fmt::Result {
        let text = transcript.text();
        let said = record.write_str(text.get(self.kept..).unwrap_or_default());
        self.kept = text.len();
        said.and(writeln!(record, "{MARK}{}", transcript.summary()))
    }
}

/// The record of an earlier shutdown.
#[derive(Debug, Clone, Copy)]
pub struct Past<'t> {
    text: &'t str,
}

impl<'t> Past<'t> {
    /// Reads a record, whole or cut.
    #[must_use]
    pub const fn new(text: &'t str) -> Self {
        Self { text }
    }

    /// Returns how the shutdown ended, or how far it came: `reboot, clean, 87 ms`. `None` if the record does not say.
    #[must_use]
    pub fn summary(&self) -> Option<&'t str> {
        self.text.lines().rev().find_map(|line| line.strip_prefix(MARK))
    }

    /// Returns the lines that were said.
    pub fn lines(&self) -> impl Iterator<Item = &'t str> + use<'t> {
        self.text.lines().filter(|line| !line.starts_with(MARK))
    }
}

/// Writes the summary, then the lines.
impl fmt::Display for Past<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.summary().unwrap_or("unreadable"))?;
        self.lines().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// Returns the line that sums up a panic, which has no transcript: for the same record.
#[must_use]
pub fn panic_mark(during: Option<&'static str>) -> impl fmt::Display {
    fmt::from_fn(move |f| match during {
        Some(exit) => writeln!(f, "{MARK}panic during {exit}"),
        None => writeln!(f, "{MARK}panic"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{format, string::String, vec::Vec};

    #[test]
    fn the_last_mark_counts_and_marks_are_no_lines() {
        let past = Past::new("one\n= reboot, clean, did not begin\ntwo\n= reboot, clean, 87 ms\n");
        assert_eq!(past.summary(), Some("reboot, clean, 87 ms"));
        assert_eq!(past.lines().collect::<Vec<_>>(), ["one", "two"]);
        assert_eq!(format!("{past}"), "reboot, clean, 87 ms\none\ntwo\n");
    }

    #[test]
    fn a_cut_or_foreign_record_is_read_as_far_as_it_goes() {
        assert_eq!(Past::new("").summary(), None);
        assert_eq!(Past::new("one\n= halt, clean, did not get").summary(), Some("halt, clean, did not get"));
        assert_eq!(format!("{}", Past::new("one")), "unreadable\none\n");
    }

    #[test]
    fn a_panic_is_told_even_over_a_shutdown() {
        let mut record = String::from("one\n= reboot, clean, did not get beyond `drain'\n");
        record += &format!("{}", panic_mark(Some("reboot")));
        assert_eq!(Past::new(&record).summary(), Some("panic during reboot"));
        assert_eq!(Past::new(&format!("{}", panic_mark(None))).summary(), Some("panic"));
    }
}
