//! Where instructions go: [`Profile`], summed up by symbol, inlined function, line or stage.

use std::collections::BTreeMap;

use anyhow::Result;
use clap::ValueEnum;

use super::{
    code::{Code, Frame, Place},
    snapshot::Snapshot,
    stage,
};

/// What instructions are summed up by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// The stage of a packet's way
    Stage,
    /// The symbol: a function with all that was inlined into it
    #[default]
    Symbol,
    /// The innermost function of ours, inlined or not
    Inline,
    /// The innermost function, be it a library's
    Leaf,
    /// The innermost line of ours
    Line,
    /// The instruction
    Address,
}

/// Instructions with something in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// What they have in common.
    pub name: String,
    /// How many of them each vCPU has executed.
    pub executed: Vec<u64>,
}

impl Row {
    /// Returns how many all vCPUs have executed together.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.executed.iter().sum()
    }
}

/// Executed instructions in groups, the largest group first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// The groups.
    pub rows: Vec<Row>,
}

impl Profile {
    /// Sums up what was executed. Without `code` there are no names: everything is outside of the kernel.
    ///
    /// # Errors
    /// When the kernel's debug information is damaged.
    pub fn of(counted: &Snapshot, code: Option<&Code<'_>>, by: By) -> Result<Self> {
        let find = |address| code.map_or(Ok(None), |code| code.place(address));
        Self::with(counted, find, by)
    }

    /// As [`of`](Self::of), with what finds an address's place.
    fn with(counted: &Snapshot, find: impl Fn(u64) -> Result<Option<Place>>, by: By) -> Result<Self> {
        let mut groups: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for (address, counts) in counted.by_instruction() {
            let name = name(address, find(address)?.as_ref(), by);
            let sums = groups.entry(name).or_insert_with(|| vec![0; counted.vcpus]);
            sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
        let mut rows: Vec<Row> = groups.into_iter().map(|(name, executed)| Row { name, executed }).collect();
        rows.sort_by(|a, b| b.sum().cmp(&a.sum()).then_with(|| a.name.cmp(&b.name)));
        Ok(Self { rows })
    }
}

/// Returns what the instruction at `address` is summed up under.
fn name(address: u64, place: Option<&Place>, by: By) -> String {
    if by == By::Stage {
        return stage::of(place).to_owned();
    }
    let Some(place) = place else { return stage::ELSEWHERE.to_owned() };
    let inner = place.frames.first();
    let ours = place.frames.iter().find(|frame| frame.is_ours).or(inner);
    let line = || ours.map_or_else(|| place.symbol.clone(), |frame| format!("{}:{}", frame.file, frame.line));
    match by {
        By::Stage | By::Symbol => place.symbol.clone(),
        // A function inlined into several is told apart by where it is: its cost there is the caller's to change.
        By::Inline => match ours {
            Some(frame) if place.frames.len() > 1 => format!("{} < {}", located(frame), place.symbol),
            _ => place.symbol.clone(),
        },
        By::Leaf => inner.map_or_else(|| place.symbol.clone(), located),
        By::Line => line(),
        By::Address => format!("{address:#x} {}", line()),
    }
}

/// Returns a function with its file: for what is inlined, debug information knows the name alone, and there is many a `get`.
fn located(frame: &Frame) -> String {
    format!("{} ({})", frame.function, frame.file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(function: &str, file: &str, line: u32) -> Frame {
        let is_ours = !file.starts_with("core/");
        Frame { function: function.into(), file: file.into(), line, is_ours }
    }

    /// A kernel of two functions: `outer` at 0x1000 with an inlined lookup, which calls into the library, and `other` at 0x2000.
    fn find(address: u64) -> Option<Place> {
        let frames = match address {
            0x1000 => vec![frame("outer", "net/forward/src/a.rs", 10)],
            0x1004 => vec![
                frame("get", "core/slice.rs", 7),
                frame("lookup", "net/fib/src/b.rs", 20),
                frame("outer", "net/forward/src/a.rs", 11),
            ],
            0x2000 => vec![frame("other", "net/arp/src/c.rs", 30)],
            _ => return None,
        };
        let symbol = if address < 0x2000 { "outer" } else { "other" };
        Some(Place { symbol: symbol.into(), frames })
    }

    fn profile(by: By) -> Vec<(String, u64)> {
        let lines = ["meter 1 vcpus 2", "block 1000 4,2 10 1", "block 2000 4 4 0", "block 9000 1 0 1"];
        let counted = Snapshot::parse(lines).unwrap();
        let profile = Profile::with(&counted, |address| Ok(find(address)), by).unwrap();
        let total: u64 = profile.rows.iter().map(Row::sum).sum();
        assert_eq!(total, counted.instructions().iter().sum::<u64>(), "nothing is lost or counted twice");
        profile.rows.into_iter().map(|row| (row.name.clone(), row.sum())).collect()
    }

    fn rows(rows: &[(&str, u64)]) -> Vec<(String, u64)> {
        rows.iter().map(|(name, sum)| ((*name).to_owned(), *sum)).collect()
    }

    #[test]
    fn each_way_to_sum_up_accounts_for_every_instruction() {
        let outside = (stage::ELSEWHERE, 1);
        assert_eq!(profile(By::Symbol), rows(&[("outer", 22), ("other", 4), outside]));
        assert_eq!(
            profile(By::Inline),
            rows(&[("lookup (net/fib/src/b.rs) < outer", 11), ("outer", 11), ("other", 4), outside])
        );
        assert_eq!(
            profile(By::Leaf),
            rows(&[
                ("get (core/slice.rs)", 11),
                ("outer (net/forward/src/a.rs)", 11),
                ("other (net/arp/src/c.rs)", 4),
                outside
            ])
        );
        assert_eq!(profile(By::Stage), rows(&[("fib", 11), ("ip", 11), ("arp", 4), outside]));
        let lines = [("net/fib/src/b.rs:20", 11), ("net/forward/src/a.rs:10", 11), ("net/arp/src/c.rs:30", 4), outside];
        assert_eq!(profile(By::Line), rows(&lines));
    }
}
