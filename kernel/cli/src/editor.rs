//! A line editor for a serial line: emacs keys, arrows, history; asks nothing of the terminal.
//!
//! It never queries the terminal (no cursor reports), so that a dumb terminal, a log file or a test script on the other
//! end sees just the prompt and the echo. Redraws use `CR`, `ESC [ K` and plain text only. Nothing is allocated: the
//! debugger edits its lines with this too, and there the heap may be locked by a processor that has been stopped.

use core::fmt::{self, Write};

use arrayvec::ArrayVec;

/// The longest line, in characters; what is typed past it rings the bell.
pub const LINE_MAX: usize = 256;
/// How many lines the history keeps unless the editor's type says otherwise.
pub const HISTORY_MAX: usize = 32;

/// A line of printable ASCII, so byte and character positions agree.
type Line = ArrayVec<u8, LINE_MAX>;

/// What a byte completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// A whole line: see [`LineEditor::entered`].
    Line,
    /// Control-C: the line was dropped.
    Interrupt,
}

/// Where in an escape sequence the editor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Escape {
    None,
    /// `ESC` seen.
    Started,
    /// `ESC [` or `ESC O` seen, and a numeric parameter.
    Bracket(u8),
}

/// The line being typed, its cursor, and the `HISTORY` lines before it. About as large as its history: 260 octets a line.
#[derive(Debug)]
pub struct LineEditor<const HISTORY: usize = HISTORY_MAX> {
    prompt: &'static str,
    line: Line,
    /// The line that was ended last.
    entered: Line,
    /// Always `<= line.len()`.
    cursor: usize,
    /// Oldest first.
    history: ArrayVec<Line, HISTORY>,
    /// Position in the history while it is browsed; `history.len()` is the line being typed.
    browsing: usize,
    escape: Escape,
    /// The last byte was `CR`: a following `LF` belongs to it.
    after_cr: bool,
}

impl<const HISTORY: usize> LineEditor<HISTORY> {
    /// Makes an editor that shows `prompt`.
    #[must_use]
    pub const fn new(prompt: &'static str) -> Self {
        Self {
            prompt,
            line: Line::new_const(),
            entered: Line::new_const(),
            cursor: 0,
            history: ArrayVec::new_const(),
            browsing: 0,
            escape: Escape::None,
            after_cr: false,
        }
    }

    /// Returns the line that the last [`Input::Line`] ended, without its end.
    #[must_use]
    pub fn entered(&self) -> &str {
        text(&self.entered)
    }

    /// Writes the prompt and what is typed so far (for a fresh line, or after other output went over it).
    ///
    /// # Errors
    /// Passes on the error of `out`.
    pub fn redraw(&self, out: &mut dyn Write) -> fmt::Result {
        write!(out, "\r{}{}\x1b[K", self.prompt, text(&self.line))?;
        for _ in self.cursor..self.line.len() {
            out.write_char('\x08')?;
        }
        Ok(())
    }

    /// Takes one received byte, echoes to `out`, and returns a line when one is complete.
    ///
    /// # Errors
    /// Passes on the error of `out`; the byte has been taken all the same.
    pub fn push(&mut self, byte: u8, out: &mut dyn Write) -> Result<Option<Input>, fmt::Error> {
        let after_cr = core::mem::take(&mut self.after_cr);
        match (self.escape, byte) {
            (Escape::Started, b'[' | b'O') => self.escape = Escape::Bracket(0),
            (Escape::Started, _) => self.escape = Escape::None,
            (Escape::Bracket(parameter), digit @ b'0'..=b'9') => {
                self.escape = Escape::Bracket(parameter.wrapping_mul(10).wrapping_add(digit - b'0'));
            }
            (Escape::Bracket(_), b';') => self.escape = Escape::Bracket(0),
            (Escape::Bracket(parameter), key) => {
                self.escape = Escape::None;
                self.special(key, parameter, out)?;
            }
            (Escape::None, b'\n') if after_cr => {}
            (Escape::None, b'\r' | b'\n') => {
                self.after_cr = byte == b'\r';
                out.write_str("\r\n")?;
                self.finish();
                return Ok(Some(Input::Line));
            }
            (Escape::None, 0x03) => {
                out.write_str("^C\r\n")?;
                self.line.clear();
                self.cursor = 0;
                self.browsing = self.history.len();
                return Ok(Some(Input::Interrupt));
            }
            (Escape::None, byte) => self.key(byte, out)?,
        }
        Ok(None)
    }

    /// Ends the line: remembers it and starts an empty one.
    fn finish(&mut self) {
        self.entered = core::mem::take(&mut self.line);
        self.cursor = 0;
        if !self.entered().trim().is_empty() && self.history.last() != Some(&self.entered) {
            if self.history.is_full() {
                self.history.pop_at(0);
            }
            // Only a history of no lines at all is still full.
            let _ = self.history.try_push(self.entered.clone());
        }
        self.browsing = self.history.len();
    }

    /// A control key or a character.
    fn key(&mut self, byte: u8, out: &mut dyn Write) -> fmt::Result {
        match byte {
            0x1b => self.escape = Escape::Started,
            0x01 => self.cursor = 0,
            0x05 => self.cursor = self.line.len(),
            0x02 => self.cursor = self.cursor.saturating_sub(1),
            0x06 => self.cursor = (self.cursor + 1).min(self.line.len()),
            0x08 | 0x7f => {
                if self.cursor == 0 {
                    return Ok(());
                }
                self.cursor -= 1;
                self.line.remove(self.cursor);
            }
            0x04 => self.delete(),
            0x0b => self.line.truncate(self.cursor),
            0x15 => {
                self.line.drain(..self.cursor);
                self.cursor = 0;
            }
            0x17 => self.delete_word(),
            0x10 => self.browse(false),
            0x0e => self.browse(true),
            0x0c => {}
            character @ b' '..=b'~' => {
                if self.line.try_insert(self.cursor, character).is_err() {
                    return out.write_char('\x07');
                }
                self.cursor += 1;
                if self.cursor == self.line.len() {
                    return out.write_char(char::from(character));
                }
            }
            // Other bytes (NUL, line noise, UTF-8) have no meaning here.
            _ => return Ok(()),
        }
        if byte == 0x1b { Ok(()) } else { self.redraw(out) }
    }

    /// A key that arrived as an escape sequence.
    fn special(&mut self, key: u8, parameter: u8, out: &mut dyn Write) -> fmt::Result {
        match (key, parameter) {
            (b'A', _) => self.browse(false),
            (b'B', _) => self.browse(true),
            (b'C', _) => self.cursor = (self.cursor + 1).min(self.line.len()),
            (b'D', _) => self.cursor = self.cursor.saturating_sub(1),
            (b'H', _) | (b'~', 1 | 7) => self.cursor = 0,
            (b'F', _) | (b'~', 4 | 8) => self.cursor = self.line.len(),
            (b'~', 3) => self.delete(),
            _ => return Ok(()),
        }
        self.redraw(out)
    }

    fn delete(&mut self) {
        if self.cursor < self.line.len() {
            self.line.remove(self.cursor);
        }
    }

    fn delete_word(&mut self) {
        let head = text(&self.line).get(..self.cursor).unwrap_or_default();
        let trimmed = head.trim_end();
        let start = trimmed.rfind(' ').map_or(0, |space| space + 1);
        self.line.drain(start..self.cursor);
        self.cursor = start;
    }

    fn browse(&mut self, newer: bool) {
        let target = if newer { (self.browsing + 1).min(self.history.len()) } else { self.browsing.saturating_sub(1) };
        if target == self.browsing {
            return;
        }
        self.browsing = target;
        self.line = self.history.get(target).cloned().unwrap_or_default();
        self.cursor = self.line.len();
    }
}

fn text(line: &Line) -> &str {
    core::str::from_utf8(line).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::{
        string::{String, ToString},
        vec::Vec,
    };

    type Editor = LineEditor<HISTORY_MAX>;

    /// Types `bytes`; returns the lines they ended (`None`: dropped by ^C) and the echo.
    fn type_all<const N: usize>(editor: &mut LineEditor<N>, bytes: &[u8]) -> (Vec<Option<String>>, String) {
        let (mut inputs, mut echo) = (Vec::new(), String::new());
        for byte in bytes {
            match editor.push(*byte, &mut echo).unwrap() {
                Some(Input::Line) => inputs.push(Some(editor.entered().to_string())),
                Some(Input::Interrupt) => inputs.push(None),
                None => {}
            }
        }
        (inputs, echo)
    }

    fn line_of(bytes: &[u8]) -> String {
        let (inputs, _) = type_all(&mut Editor::new("> "), bytes);
        match inputs.as_slice() {
            [Some(line)] => line.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn plain_typing_is_echoed_and_returned() {
        let (inputs, echo) = type_all(&mut Editor::new("> "), b"show arp\r");
        assert_eq!(inputs, [Some("show arp".into())]);
        assert_eq!(echo, "show arp\r\n");
    }

    #[test]
    fn cr_lf_ends_one_line_not_two() {
        let (inputs, _) = type_all(&mut Editor::new("> "), b"a\r\nb\nc\r\n");
        assert_eq!(inputs, [Some("a".into()), Some("b".into()), Some("c".into())]);
    }

    #[test]
    fn editing_keys_change_the_line() {
        assert_eq!(line_of(b"helo\x02l\r"), "hello");
        assert_eq!(line_of(b"hello\x7f\x7fp\r"), "help");
        assert_eq!(line_of(b"bcd\x01a\x05e\r"), "abcde");
        assert_eq!(line_of(b"abc\x1b[D\x1b[D\x1b[3~\r"), "ac");
        assert_eq!(line_of(b"show foo\x17arp\r"), "show arp");
        assert_eq!(line_of(b"xx\x15halt\r"), "halt");
        assert_eq!(line_of(b"haltxx\x02\x02\x0b\r"), "halt");
        assert_eq!(line_of(b"b\x1b[Ha\x1bOFc\r"), "abc");
    }

    #[test]
    fn history_brings_back_earlier_lines() {
        let mut editor = Editor::new("> ");
        type_all(&mut editor, b"one\rtwo\r");
        let (inputs, _) = type_all(&mut editor, b"\x1b[A\x1b[A\r");
        assert_eq!(inputs, [Some("one".into())]);
        let (inputs, _) = type_all(&mut editor, b"\x1b[A\x1b[B\r");
        assert_eq!(inputs, [Some("".into())]);
    }

    #[test]
    fn a_full_history_forgets_its_oldest_line_and_a_history_of_none_keeps_none() {
        let mut editor = LineEditor::<2>::new("> ");
        let (inputs, _) = type_all(&mut editor, b"one\rtwo\rthree\r\x10\x10\x10\r");
        assert_eq!(inputs.last(), Some(&Some("two".into())));
        let (inputs, _) = type_all(&mut LineEditor::<0>::new("> "), b"one\r\x10\r");
        assert_eq!(inputs, [Some("one".into()), Some("".into())]);
    }

    #[test]
    fn a_line_that_is_full_rings_the_bell() {
        let (_, echo) = type_all(&mut Editor::new("> "), &[b'a'; LINE_MAX + 1]);
        assert!(echo.ends_with('\x07') && echo.len() == LINE_MAX + 1, "{echo:?}");
    }

    #[test]
    fn control_c_drops_the_line() {
        let (inputs, _) = type_all(&mut Editor::new("> "), b"reboot\x03ok\r");
        assert_eq!(inputs, [None, Some("ok".into())]);
    }

    proptest! {
        #[test]
        fn any_bytes_leave_a_printable_bounded_line(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let mut editor = Editor::new("> ");
            let mut sink = String::new();
            for byte in bytes {
                if let Some(Input::Line) = editor.push(byte, &mut sink).unwrap() {
                    let line = editor.entered();
                    prop_assert!(line.len() <= LINE_MAX && line.bytes().all(|b| (b' '..=b'~').contains(&b)));
                }
                prop_assert!(editor.cursor <= editor.line.len() && editor.history.len() <= HISTORY_MAX);
            }
        }
    }
}
