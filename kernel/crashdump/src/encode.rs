//! Writing a dump: [`Encoder`].

use core::fmt::{self, Write};

use crate::{
    escape,
    line::{MARKER, VERSION, checksum},
};

/// Longest text of one line, escaped; what is longer goes on in the next.
const LONGEST: usize = 160;
/// Room for the numbers in front of it.
const FRONT: usize = 32;

/// Text of a line under construction; what does not fit is an error.
#[derive(Debug)]
struct Buffer {
    octets: [u8; FRONT + LONGEST],
    len: usize,
}

impl Write for Buffer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.len + text.len();
        self.octets.get_mut(self.len..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

impl Buffer {
    fn as_bytes(&self) -> &[u8] {
        self.octets.get(..self.len).unwrap_or_default()
    }
}

/// Writes a dump line by line. Section text goes in through [`fmt::Write`].
///
/// With a range, only the lines in it are written: sending a part again is writing the same dump with another range.
///
/// # Context
/// Any, NMI and panic included: no allocation and no lock; as bounded as `W`.
#[derive(Debug)]
pub struct Encoder<W> {
    out: W,
    dump: u16,
    /// Number of the next line.
    number: u32,
    first: u32,
    last: u32,
    /// The text of the line begun.
    text: Buffer,
    /// Whether there is one, empty as it may be.
    open: bool,
    /// The first error of `out`; nothing is written after it.
    failed: fmt::Result,
}

impl<W: Write> Encoder<W> {
    /// Writes dump number `dump` to `out`: all lines.
    pub fn new(out: W, dump: u16) -> Self {
        Self::with_range(out, dump, 0, u32::MAX)
    }

    /// Writes lines `first` to `last` of dump number `dump` to `out`.
    pub fn with_range(out: W, dump: u16, first: u32, last: u32) -> Self {
        let text = Buffer { octets: [0; _], len: 0 };
        Self { out, dump, number: 0, first, last, text, open: false, failed: Ok(()) }
    }

    /// Writes the first line. `build` is the kernel's build id, or nothing.
    pub fn begin(&mut self, build: &[u8], image_offset: u64, uptime: u64, reason: fmt::Arguments<'_>) {
        self.start('B');
        self.push(format_args!("{VERSION} "));
        build.iter().for_each(|octet| self.push(format_args!("{octet:02x}")));
        self.push(format_args!("{} {image_offset:x} {uptime} ", if build.is_empty() { "-" } else { "" }));
        // One line, whatever the reason says.
        let _ = OneLine(self).write_fmt(reason);
        self.finish_line();
    }

    /// Begins a section.
    pub fn section(&mut self, name: &str) {
        self.finish_line();
        self.start('S');
        self.push(format_args!("{name}"));
        self.finish_line();
    }

    /// Writes the last line and returns how many there are.
    ///
    /// # Errors
    /// When `out` failed at any time: from there on nothing was written.
    pub fn end(mut self) -> Result<u32, fmt::Error> {
        self.finish_line();
        self.start('E');
        let total = self.number + 1;
        self.push(format_args!("{total}"));
        self.finish_line();
        self.failed.map(|()| total)
    }

    /// Returns the number of lines so far.
    #[must_use]
    pub fn lines(&self) -> u32 {
        self.number
    }

    /// Begins a line.
    fn start(&mut self, kind: char) {
        self.text.len = 0;
        self.open = true;
        let _ = write!(self.text, "{:04x} {} {kind}", self.dump, self.number);
    }

    /// Adds to the line begun, escaped; a line that is full goes on in the next.
    fn push(&mut self, text: fmt::Arguments<'_>) {
        let _ = OneLine(self).write_fmt(text);
    }

    fn push_char(&mut self, character: char) {
        let before = self.text.len;
        if escape::put(&mut self.text, character).is_err() {
            // An escape that did not fit may have left a part.
            self.text.len = before;
            self.finish_line();
            self.start('+');
            // The longest escape is much shorter than a line.
            let _ = escape::put(&mut self.text, character);
        }
    }

    /// Sends the line begun, if there is one.
    fn finish_line(&mut self) {
        if !core::mem::take(&mut self.open) {
            return;
        }
        let wanted = (self.first..=self.last).contains(&self.number);
        self.number = self.number.saturating_add(1);
        if wanted && self.failed.is_ok() {
            let body = self.text.as_bytes();
            let sum = checksum(body);
            // Only characters went in, so this is text.
            let body = core::str::from_utf8(body).unwrap_or_default();
            self.failed = writeln!(self.out, "{MARKER}{body} ={sum:08x}");
        }
    }
}

/// Takes text into the line begun, line breaks as spaces.
struct OneLine<'a, W>(&'a mut Encoder<W>);

impl<W: Write> Write for OneLine<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().for_each(|character| self.0.push_char(if character == '\n' { ' ' } else { character }));
        Ok(())
    }
}

impl<W: Write> Write for Encoder<W> {
    /// Adds text to the section; line breaks are kept.
    ///
    /// # Errors
    /// When `out` has failed: who writes much can stop.
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            if !self.open {
                self.start('.');
            }
            match character {
                '\n' => self.finish_line(),
                '\r' => {}
                _ => self.push_char(character),
            }
        }
        self.failed
    }
}

#[cfg(test)]
mod tests {
    use std::{string::String, vec::Vec};

    use super::{Encoder, FRONT, LONGEST, Write};
    use crate::{MARKER, Piece, lines};

    fn pieces(text: &str) -> Vec<Piece> {
        lines(text).map(|line| line.expect("every line is whole").piece()).collect()
    }

    #[test]
    fn a_dump_is_written_as_documented() {
        let mut out = String::new();
        let mut encoder = Encoder::new(&mut out, 0x7f3a);
        encoder.begin(&[0xAB, 0x01], 0xFFFF_8000, 1_500_000, format_args!("panic: first\nsecond"));
        encoder.section("registers");
        write!(encoder, "rip 0x10\n\nno end").unwrap();
        assert_eq!(encoder.end(), Ok(6));
        let expected = "%D7f3a 0 B1 ab01 ffff8000 1500000 panic: first second =";
        assert!(out.starts_with(expected), "{out}");
        let said = pieces(&out);
        let Some(Piece::Begin(begin)) = said.first() else { panic!("{said:?}") };
        assert_eq!((begin.build.as_str(), begin.reason.as_str()), ("ab01", "panic: first second"));
        let text = |text: &str| Piece::Text(text.into());
        assert_eq!(
            said[1..],
            [Piece::Section("registers".into()), text("rip 0x10"), text(""), text("no end"), Piece::End(6)]
        );
    }

    #[test]
    fn a_long_line_goes_on_and_no_line_is_longer_than_the_limit() {
        let mut out = String::new();
        let mut encoder = Encoder::new(&mut out, 1);
        let long = "ab%\u{e9}".repeat(200);
        writeln!(encoder, "{long}").unwrap();
        encoder.end().unwrap();
        assert!(out.lines().all(|line| line.len() <= MARKER.len() + FRONT + LONGEST + 10), "{out}");
        let whole: String = pieces(&out)
            .into_iter()
            .filter_map(|piece| match piece {
                Piece::Text(text) | Piece::More(text) => Some(text),
                _ => None,
            })
            .collect();
        assert_eq!(whole, long);
    }

    #[test]
    fn a_range_writes_the_same_lines_and_no_others() {
        let dump = |first, last| {
            let mut out = String::new();
            let mut encoder = Encoder::with_range(&mut out, 9, first, last);
            encoder.begin(&[], 0, 0, format_args!("why"));
            (0..20).for_each(|number| writeln!(encoder, "{number}").unwrap());
            assert_eq!(encoder.end(), Ok(22));
            out
        };
        let whole = dump(0, u32::MAX);
        let part: Vec<_> = whole.lines().skip(3).take(4).collect();
        assert_eq!(dump(3, 6).lines().collect::<Vec<_>>(), part);
        assert_eq!(dump(22, u32::MAX), "");
        assert_eq!(dump(6, 3), "");
    }

    #[test]
    fn a_full_medium_is_noticed_and_nothing_follows() {
        struct Short(String);
        impl Write for Short {
            fn write_str(&mut self, text: &str) -> std::fmt::Result {
                if self.0.len() + text.len() > 100 { Err(std::fmt::Error) } else { self.0.write_str(text) }
            }
        }
        let mut encoder = Encoder::new(Short(String::new()), 1);
        let failed = (0..50).any(|number| writeln!(encoder, "line {number}").is_err());
        assert!(failed);
        assert!(encoder.end().is_err());
    }
}
