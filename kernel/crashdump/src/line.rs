//! One line of a dump, found in whatever a console showed.

use alloc::{
    borrow::ToOwned,
    string::{String, ToString},
};

use crate::escape;

/// What a line begins with.
pub const MARKER: &str = "%D";
/// The format that this crate writes and reads.
pub const VERSION: u32 = 1;

/// A line whose checksum is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Which dump it belongs to.
    pub dump: u16,
    /// Its number in there, from 0.
    pub number: u32,
    /// What it says, still escaped.
    pub text: &'a str,
}

/// The marker of a line, but no whole line behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scrap<'a> {
    /// Which dump it claims to belong to, if that can be read.
    pub dump: Option<u16>,
    /// The number it claims to have, if that can be read.
    pub number: Option<u32>,
    /// What is there.
    pub text: &'a str,
}

/// What a line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// The first line.
    Begin(Begin),
    /// From here on it is about this.
    Section(String),
    /// A line of the section.
    Text(String),
    /// More of the line before.
    More(String),
    /// The last line; there are so many, this one included.
    End(u32),
    /// Something a later version writes.
    Unknown(String),
}

/// What the first line says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Begin {
    /// The build id of the kernel, in hexadecimal digits; empty if it has none.
    pub build: String,
    /// What was added to an address in the kernel file to get the address it ran at.
    pub image_offset: u64,
    /// Time since boot in microseconds.
    pub uptime: u64,
    /// Why there is a dump.
    pub reason: String,
}

/// Finds the lines in `text`, a console's line or any other piece of its output, in order.
pub fn lines(text: &str) -> impl Iterator<Item = Result<Line<'_>, Scrap<'_>>> {
    // What stands before the first marker is not the dump's.
    text.split(MARKER).skip(1).map(parse)
}

/// The checksum of what stands between marker and equals sign.
pub(crate) fn checksum(body: &[u8]) -> u32 {
    crc32fast::hash(body)
}

/// Reads what stands behind a marker. What follows the checksum is somebody else's.
fn parse(rest: &str) -> Result<Line<'_>, Scrap<'_>> {
    let dump = rest.get(..4).and_then(hexadecimal).and_then(|dump| u16::try_from(dump).ok());
    let number = rest.get(4..).and_then(|rest| rest.strip_prefix(' ')).and_then(|rest| {
        let digits = rest.split(' ').next().unwrap_or_default();
        // One way to write a number: the same line is always the same text.
        digits.parse::<u32>().ok().filter(|number| number.to_string() == digits)
    });
    let whole = || {
        let (dump, number) = (dump?, number?);
        // The text may hold " =" too; the checksum tells which one is the end.
        let (end, _) = rest.match_indices(" =").find(|(at, _)| {
            let digits = rest.get(at + 2..at + 10).and_then(hexadecimal);
            rest.get(..*at).is_some_and(|body| digits == Some(checksum(body.as_bytes())))
        })?;
        let text = rest.get(..end)?.splitn(3, ' ').nth(2)?;
        Some(Line { dump, number, text })
    };
    whole().ok_or_else(|| Scrap { dump, number, text: rest.trim_end() })
}

/// Reads lower-case digits and nothing else.
fn hexadecimal(digits: &str) -> Option<u32> {
    let fine = digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    if fine { u32::from_str_radix(digits, 16).ok() } else { None }
}

impl Line<'_> {
    /// Returns what the line says.
    #[must_use]
    pub fn piece(&self) -> Piece {
        let mut rest = self.text.chars();
        let kind = rest.next();
        let text = escape::undo(rest.as_str());
        let unknown = || Piece::Unknown(escape::undo(self.text));
        match kind {
            Some('.') => Piece::Text(text),
            Some('+') => Piece::More(text),
            Some('S') => Piece::Section(text),
            Some('E') => text.parse().map_or_else(|_| unknown(), Piece::End),
            Some('B') => Begin::parse(&text).map_or_else(unknown, Piece::Begin),
            _ => unknown(),
        }
    }
}

impl Begin {
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.splitn(5, ' ');
        let version: u32 = words.next()?.parse().ok()?;
        let (build, image_offset, uptime) = (words.next()?, words.next()?, words.next()?);
        let begin = Self {
            build: if build == "-" { String::new() } else { build.to_owned() },
            image_offset: u64::from_str_radix(image_offset, 16).ok()?,
            uptime: uptime.parse().ok()?,
            reason: words.next()?.to_owned(),
        };
        (version == VERSION).then_some(begin)
    }
}

#[cfg(test)]
mod tests {
    use std::{format, vec::Vec};

    use super::{Begin, Line, Piece, Scrap, checksum, lines};

    fn line(body: &str) -> std::string::String {
        format!("%D{body} ={:08x}", checksum(body.as_bytes()))
    }

    #[test]
    fn a_line_is_found_among_other_output() {
        let text = format!("r1> 100 %, {} [ 1.0] em0: link up", line("7f3a 12 .rip = 5"));
        let found: Vec<_> = lines(&text).collect();
        assert_eq!(found, [Ok(Line { dump: 0x7f3a, number: 12, text: ".rip = 5" })]);
    }

    #[test]
    fn two_lines_without_a_line_break_are_two() {
        let text = format!("{}{}", line("7f3a 12 .a"), line("7f3a 13 .b"));
        let numbers: Vec<_> = lines(&text).map(|line| line.unwrap().number).collect();
        assert_eq!(numbers, [12, 13]);
    }

    #[test]
    fn a_damaged_line_tells_what_can_still_be_read() {
        let good = line("7f3a 12 .abc");
        let scraps = [
            (good.replace("abc", "abd"), Some(0x7f3a), Some(12)),
            (good.replace(" =", " "), Some(0x7f3a), Some(12)),
            (good.replace("12", "x2"), Some(0x7f3a), None),
            (good.replace("12", "012"), Some(0x7f3a), None),
            (good.replace("7f3a", "7F3a"), None, Some(12)),
            (good[..10].into(), Some(0x7f3a), Some(12)),
            ("%D".into(), None, None),
        ];
        for (text, dump, number) in scraps {
            let Some(Err(Scrap { dump: d, number: n, .. })) = lines(&text).next() else { panic!("{text}") };
            assert_eq!((d, n), (dump, number), "{text}");
        }
    }

    #[test]
    fn every_kind_of_line_says_what_it_is() {
        let piece = |text| Line { dump: 0, number: 0, text }.piece();
        assert_eq!(piece(".a\\pb"), Piece::Text("a%b".into()));
        assert_eq!(piece("+more"), Piece::More("more".into()));
        assert_eq!(piece("Sthreads"), Piece::Section("threads".into()));
        assert_eq!(piece("E7"), Piece::End(7));
        let begin = Begin { build: "ab".into(), image_offset: 0x10, uptime: 5, reason: "panic: no way".into() };
        assert_eq!(piece("B1 ab 10 5 panic: no way"), Piece::Begin(begin));
        for unknown in ["", "B2 ab 10 5 later", "B1 ab", "Ex", "?"] {
            assert_eq!(piece(unknown), Piece::Unknown(unknown.into()));
        }
    }
}
