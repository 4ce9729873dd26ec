//! A backtrace in one line: `@ 932a6 962e2 !20 96f34 0x1073`, innermost first.

use core::fmt;

/// What such a line begins with.
pub const START: &str = "@";

/// One step of a backtrace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// An address in the kernel's file: of the instruction in question if it comes first or after a trap, else the address its call
    /// returns to.
    Kernel(u64),
    /// An address that is not the kernel's.
    Elsewhere(u64),
    /// An exception or interrupt of this vector: what follows was interrupted.
    Trap(u8),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel(address) => write!(f, "{address:x}"),
            Self::Elsewhere(address) => write!(f, "{address:#x}"),
            Self::Trap(vector) => write!(f, "!{vector:x}"),
        }
    }
}

/// Returns the steps of a line, each with whether it is a call's return address; `None` for any other line.
pub fn parse(line: &str) -> Option<impl Iterator<Item = (Step, bool)>> {
    let steps = line.strip_prefix(START)?;
    let whole = || steps.split(' ').skip(1).map(step);
    if !steps.starts_with(' ') || whole().any(|step| step.is_none()) {
        return None;
    }
    let mut exact = true;
    Some(whole().flatten().map(move |step| {
        let is_call = !core::mem::replace(&mut exact, matches!(step, Step::Trap(_)));
        (step, is_call)
    }))
}

fn step(word: &str) -> Option<Step> {
    match (word.strip_prefix('!'), word.strip_prefix("0x")) {
        (Some(vector), _) => u8::from_str_radix(vector, 16).ok().map(Step::Trap),
        (None, Some(address)) => u64::from_str_radix(address, 16).ok().map(Step::Elsewhere),
        (None, None) => u64::from_str_radix(word, 16).ok().map(Step::Kernel),
    }
}

#[cfg(test)]
mod tests {
    use std::{format, vec::Vec};

    use super::{Step, parse};

    #[test]
    fn a_backtrace_is_read_as_it_was_written() {
        let steps =
            [Step::Kernel(0x932A6), Step::Kernel(0x962E2), Step::Trap(0x20), Step::Kernel(1), Step::Elsewhere(2)];
        let line = steps.iter().fold("@".into(), |line: std::string::String, step| format!("{line} {step}"));
        assert_eq!(line, "@ 932a6 962e2 !20 1 0x2");
        let calls = [false, true, true, false, true];
        let expected: Vec<_> = steps.into_iter().zip(calls).collect();
        assert_eq!(parse(&line).unwrap().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn other_lines_are_no_backtraces() {
        for line in ["", "@", "@1", "@ x", "@ 1 !", "@ 1  2", "rip 1", " @ 1", "@ 0x"] {
            assert!(parse(line).is_none(), "{line}");
        }
    }
}
