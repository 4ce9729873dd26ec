//! Putting a dump together again: [`Reader`] collects lines from any number of logs, [`Dump`] is what came of them.

use alloc::{
    borrow::ToOwned,
    collections::{BTreeMap, btree_map::Entry},
    format,
    string::String,
    vec::Vec,
};
use core::ops::RangeInclusive;

use crate::line::{Begin, Line, Piece, lines};

/// A damaged line: where it was, and what can be told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Name of the log and number of the line in it, from 1.
    pub place: String,
    /// The number it claims to have, if that can be read.
    pub number: Option<u32>,
    /// What is there.
    pub text: String,
    /// The dump it claims to belong to.
    dump: Option<u16>,
}

/// What a section holds, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A line.
    Text(String),
    /// These lines of the dump are not there.
    Missing(RangeInclusive<u32>),
}

/// A part of a dump.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Section {
    /// Its name; empty for what stands before the first.
    pub name: String,
    /// Its lines and gaps.
    pub content: Vec<Content>,
}

/// A dump, as far as it was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dump {
    /// Its number, which every line carries.
    pub id: u16,
    /// What the first line says, if it is there.
    pub begin: Option<Begin>,
    /// Number of lines by the last line, if that is there.
    pub total: Option<u32>,
    /// Lines found.
    pub found: usize,
    /// How many came more than once, the same each time.
    pub repeated: usize,
    /// Numbers that came with two different texts, both with a right checksum; the first was taken.
    pub contradictions: Vec<u32>,
    /// Gaps between the lines found; what is missing behind the last one is not among them (see [`commands`](Self::commands)).
    pub missing: Vec<RangeInclusive<u32>>,
    /// Damaged lines, whether or not another copy of them was found.
    pub damaged: Vec<Damage>,
    /// The sections in order.
    pub sections: Vec<Section>,
    /// One behind the highest number found.
    beyond: u32,
}

impl Dump {
    /// Returns whether every line is there and none contradicts another.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.begin.is_some() && self.total.is_some() && self.missing.is_empty() && self.contradictions.is_empty()
    }

    /// Returns what to type on the router's console to have sent what is missing.
    #[must_use]
    pub fn commands(&self) -> Vec<String> {
        let gaps = self.missing.iter().map(|gap| format!("dump {} {}", gap.start(), gap.end()));
        let rest = self.total.is_none().then(|| format!("dump {}", self.beyond));
        gaps.chain(rest).collect()
    }

    /// Returns whether this line was found.
    #[must_use]
    pub fn has(&self, number: u32) -> bool {
        number < self.beyond && !self.missing.iter().any(|gap| gap.contains(&number))
    }

    /// Returns the first section of this name.
    #[must_use]
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }
}

/// Lines of one dump, as they were found.
#[derive(Clone, Debug, Default)]
struct Collected {
    id: u16,
    /// Number to text, still escaped.
    lines: BTreeMap<u32, String>,
    repeated: usize,
    contradictions: Vec<u32>,
}

/// Collects the lines of dumps from logs with anything between them.
#[derive(Clone, Debug, Default)]
pub struct Reader {
    /// In the order of their first lines.
    dumps: Vec<Collected>,
    damaged: Vec<Damage>,
}

impl Reader {
    /// Returns a reader that has read nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a whole log; `name` names it in complaints.
    pub fn read(&mut self, name: &str, log: &str) {
        for (index, text) in log.lines().enumerate() {
            for found in lines(text) {
                match found {
                    Ok(line) => self.add(&line),
                    Err(scrap) => self.damaged.push(Damage {
                        place: format!("{name}:{}", index + 1),
                        number: scrap.number,
                        text: scrap.text.to_owned(),
                        dump: scrap.dump,
                    }),
                }
            }
        }
    }

    fn add(&mut self, line: &Line<'_>) {
        let index = self.dumps.iter().position(|dump| dump.id == line.dump).unwrap_or_else(|| {
            self.dumps.push(Collected { id: line.dump, ..Collected::default() });
            self.dumps.len() - 1
        });
        let Some(dump) = self.dumps.get_mut(index) else { return };
        match dump.lines.entry(line.number) {
            Entry::Vacant(entry) => {
                entry.insert(line.text.to_owned());
            }
            Entry::Occupied(entry) if entry.get() == line.text => dump.repeated += 1,
            Entry::Occupied(_) => dump.contradictions.push(line.number),
        }
    }

    /// Returns the dumps found, in the order of their first lines.
    #[must_use]
    pub fn dumps(&self) -> Vec<Dump> {
        let known = |id: u16| self.dumps.iter().any(|dump| dump.id == id);
        let mut dumps: Vec<Dump> = self.dumps.iter().map(Collected::assemble).collect();
        for dump in &mut dumps {
            // A claim to belong to a dump that is not there is damage too, and may be any dump's.
            let ours = |damage: &&Damage| damage.dump.is_none_or(|id| id == dump.id || !known(id));
            dump.damaged = self.damaged.iter().filter(ours).cloned().collect();
        }
        dumps
    }

    /// Returns the damaged lines of all dumps.
    #[must_use]
    pub fn damaged(&self) -> &[Damage] {
        &self.damaged
    }
}

impl Collected {
    fn assemble(&self) -> Dump {
        let mut dump = Dump {
            id: self.id,
            found: self.lines.len(),
            repeated: self.repeated,
            contradictions: self.contradictions.clone(),
            sections: Vec::from([Section::default()]),
            ..Dump::default()
        };
        for (&number, text) in &self.lines {
            if number > dump.beyond {
                let gap = dump.beyond..=number - 1;
                dump.missing.push(gap.clone());
                dump.put(Content::Missing(gap));
            }
            let after_gap = dump.beyond != number;
            dump.beyond = number.saturating_add(1);
            let line = Line { dump: self.id, number, text };
            match line.piece() {
                Piece::Begin(begin) if number == 0 => dump.begin = Some(begin),
                Piece::End(total) if total == dump.beyond => dump.total = Some(total),
                Piece::Section(name) => dump.sections.push(Section { name, content: Vec::new() }),
                Piece::Text(text) => dump.put(Content::Text(text)),
                Piece::More(text) => dump.continue_line(&text, number, after_gap),
                // A first or last line elsewhere, or what only a later version understands: shown as it is.
                Piece::Begin(_) | Piece::End(_) | Piece::Unknown(_) => dump.put(Content::Text(text.clone())),
            }
        }
        if dump.total.is_some_and(|total| total != dump.beyond) {
            // There are lines behind the last: two dumps of one number, perhaps.
            dump.total = None;
        }
        dump.sections.retain(|section| !(section.name.is_empty() && section.content.is_empty()));
        dump
    }
}

impl Dump {
    fn put(&mut self, content: Content) {
        if let Some(section) = self.sections.last_mut() {
            section.content.push(content);
        }
    }

    /// Continues the line before; the reason, when that is the first line of all.
    fn continue_line(&mut self, text: &str, number: u32, after_gap: bool) {
        let only_begin = self.sections.len() == 1 && self.sections.iter().all(|section| section.content.is_empty());
        match (&mut self.begin, self.sections.last_mut().and_then(|section| section.content.last_mut())) {
            (Some(begin), None) if only_begin && number > 0 && !after_gap => begin.reason.push_str(text),
            (_, Some(Content::Text(line))) if !after_gap => line.push_str(text),
            _ => self.put(Content::Text(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests;
