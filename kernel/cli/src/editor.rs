//! A line editor for a serial line: emacs keys, arrows, history; asks nothing of the terminal.
//!
//! It never queries the terminal (no cursor reports), so that a dumb terminal, a log file or a test script on the other
//! end sees just the prompt and the echo. Redraws use `CR`, `ESC [ K` and plain text only.

use alloc::{collections::VecDeque, string::String};
use core::fmt::{self, Write};

/// The longest line, in characters; what is typed past it rings the bell.
const LINE_MAX: usize = 256;
/// How many lines the history keeps.
const HISTORY_MAX: usize = 32;

/// What a byte completed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A whole line, without its end.
    Line(String),
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

/// The line being typed, its cursor, and the lines before it.
#[derive(Debug)]
pub struct LineEditor {
    prompt: &'static str,
    /// Printable ASCII only, so byte and character positions agree.
    line: String,
    /// Always `<= line.len()`.
    cursor: usize,
    history: VecDeque<String>,
    /// Position in the history while it is browsed; `history.len()` is the line being typed.
    browsing: usize,
    escape: Escape,
    /// The last byte was `CR`: a following `LF` belongs to it.
    after_cr: bool,
}

impl LineEditor {
    /// Makes an editor that shows `prompt`.
    #[must_use]
    pub const fn new(prompt: &'static str) -> Self {
        Self {
            prompt,
            line: String::new(),
            cursor: 0,
            history: VecDeque::new(),
            browsing: 0,
            escape: Escape::None,
            after_cr: false,
        }
    }

    /// Writes the prompt and what is typed so far (for a fresh line, or after other output went over it).
    ///
    /// # Errors
    /// Passes on the error of `out`.
    pub fn redraw(&self, out: &mut dyn Write) -> fmt::Result {
        write!(out, "\r{}{}\x1b[K", self.prompt, self.line)?;
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
                return Ok(Some(Input::Line(self.finish())));
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
    fn finish(&mut self) -> String {
        let line = core::mem::take(&mut self.line);
        self.cursor = 0;
        if !line.trim().is_empty() && self.history.back() != Some(&line) {
            if self.history.len() == HISTORY_MAX {
                self.history.pop_front();
            }
            self.history.push_back(line.clone());
        }
        self.browsing = self.history.len();
        line
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
            b' '..=b'~' if self.line.len() >= LINE_MAX => return out.write_char('\x07'),
            character @ b' '..=b'~' => {
                self.line.insert(self.cursor, char::from(character));
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
        let head = self.line.get(..self.cursor).unwrap_or_default();
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

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn type_all(editor: &mut LineEditor, bytes: &[u8]) -> (Vec<Input>, String) {
        let mut echo = String::new();
        let inputs = bytes.iter().filter_map(|byte| editor.push(*byte, &mut echo).unwrap()).collect();
        (inputs, echo)
    }

    fn line_of(bytes: &[u8]) -> String {
        let (inputs, _) = type_all(&mut LineEditor::new("> "), bytes);
        match inputs.as_slice() {
            [Input::Line(line)] => line.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn plain_typing_is_echoed_and_returned() {
        let (inputs, echo) = type_all(&mut LineEditor::new("> "), b"show arp\r");
        assert_eq!(inputs, [Input::Line("show arp".into())]);
        assert_eq!(echo, "show arp\r\n");
    }

    #[test]
    fn cr_lf_ends_one_line_not_two() {
        let (inputs, _) = type_all(&mut LineEditor::new("> "), b"a\r\nb\nc\r\n");
        assert_eq!(inputs, [Input::Line("a".into()), Input::Line("b".into()), Input::Line("c".into())]);
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
        let mut editor = LineEditor::new("> ");
        type_all(&mut editor, b"one\rtwo\r");
        let (inputs, _) = type_all(&mut editor, b"\x1b[A\x1b[A\r");
        assert_eq!(inputs, [Input::Line("one".into())]);
        let (inputs, _) = type_all(&mut editor, b"\x1b[A\x1b[B\r");
        assert_eq!(inputs, [Input::Line("".into())]);
    }

    #[test]
    fn control_c_drops_the_line() {
        let (inputs, _) = type_all(&mut LineEditor::new("> "), b"reboot\x03ok\r");
        assert_eq!(inputs, [Input::Interrupt, Input::Line("ok".into())]);
    }

    proptest! {
        #[test]
        fn any_bytes_leave_a_printable_bounded_line(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let mut editor = LineEditor::new("> ");
            let mut sink = String::new();
            for byte in bytes {
                if let Some(Input::Line(line)) = editor.push(byte, &mut sink).unwrap() {
                    prop_assert!(line.len() <= LINE_MAX && line.bytes().all(|b| (b' '..=b'~').contains(&b)));
                }
                prop_assert!(editor.cursor <= editor.line.len() && editor.history.len() <= HISTORY_MAX);
            }
        }
    }
}
