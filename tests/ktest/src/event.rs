//! The happenings of an in-guest test run, one line each: [`Event`]. Any context.

use core::fmt;

/// What every line of the protocol begins with; nothing else the kernel prints does.
pub const MARKER: &str = "#ktest ";

/// A happening, as written to and read from one line of the serial console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// The run begins; so many tests follow.
    Plan(u32),
    /// The named test begins.
    Start(&'a str),
    /// The named test did what its name promises.
    Pass(&'a str),
    /// The named test did not, and why.
    Fail(&'a str, &'a str),
    /// The run is over.
    Done {
        /// How many tests passed.
        passed: u32,
        /// How many did not.
        failed: u32,
    },
}

impl<'a> Event<'a> {
    /// Reads the event that `line` carries. Text before the marker is passed over, because a prompt may stand there.
    #[must_use]
    pub fn parse(line: &'a str) -> Option<Self> {
        let (_, rest) = line.split_once(MARKER)?;
        let (verb, rest) = rest.trim_end().split_once(' ')?;
        match verb {
            "plan" => rest.parse().ok().map(Self::Plan),
            "start" => Some(Self::Start(rest)),
            "pass" => Some(Self::Pass(rest)),
            "fail" => rest.split_once(": ").map(|(name, why)| Self::Fail(name, why)),
            "done" => {
                let (passed, failed) = rest.split_once(' ')?;
                Some(Self::Done { passed: passed.parse().ok()?, failed: failed.parse().ok()? })
            }
            _ => None,
        }
    }
}

impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MARKER)?;
        match self {
            Self::Plan(tests) => write!(f, "plan {tests}"),
            Self::Start(name) => write!(f, "start {name}"),
            Self::Pass(name) => write!(f, "pass {name}"),
            Self::Fail(name, why) => write!(f, "fail {name}: {why}"),
            Self::Done { passed, failed } => write!(f, "done {passed} {failed}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{format, string::ToString};

    use super::*;

    #[test]
    fn every_event_is_read_as_it_was_written() {
        let events = [
            Event::Plan(3),
            Event::Start("heap::grows"),
            Event::Pass("heap::grows"),
            Event::Fail("heap::shrinks", "left: 1: right: 2"),
            Event::Done { passed: 2, failed: 1 },
        ];
        for event in events {
            assert_eq!(Event::parse(&event.to_string()), Some(event));
            assert_eq!(Event::parse(&format!("sluice> {event}\r")), Some(event));
        }
    }

    #[test]
    fn other_lines_are_no_events() {
        for line in ["", "sluice> ", "#ktest", "#ktest plan", "#ktest plan x", "#ktest fail name", "#ktest hello you"] {
            assert_eq!(Event::parse(line), None, "{line}");
        }
    }
}
