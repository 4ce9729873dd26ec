//! What goes out: lines of bounded length, and a listing that `q` stops.
//!
//! There is no pager: a log or a test script on the other end would have to answer it. Instead the keyboard is looked at after each
//! line; what is typed meanwhile and does not stop the listing is kept for the next prompt.

use core::fmt::{self, Write};

use arrayvec::ArrayVec;

use crate::Console;

/// Characters of a line; what is longer is cut and marked.
const MAX_COLUMNS: usize = 300;
/// Lines of one command's answer: more than all messages, fewer than a listing that runs in circles.
const MAX_LINES: usize = 4096;
/// What marks a line that was cut.
const CUT: &str = " ...";
/// Control-C.
const INTERRUPT: u8 = 0x03;

/// Keys typed ahead.
#[derive(Debug)]
pub(crate) struct Typed(ArrayVec<u8, 256>);

impl Typed {
    pub(crate) const fn new() -> Self {
        Self(ArrayVec::new_const())
    }

    /// Returns the oldest key.
    pub(crate) fn pop(&mut self) -> Option<u8> {
        self.0.pop_at(0)
    }

    /// Whether the next key would be the first of a line.
    fn at_start_of_line(&self) -> bool {
        matches!(self.0.last(), None | Some(b'\r' | b'\n'))
    }

    fn push(&mut self, key: u8) {
        // More than anybody types while a listing runs; the rest is lost, as on any serial line.
        let _ = self.0.try_push(key);
    }
}

/// The console as one command's answer sees it.
pub(crate) struct Output<'a> {
    console: &'a mut dyn Console,
    typed: &'a mut Typed,
    column: usize,
    lines: usize,
    stopped: bool,
}

impl<'a> Output<'a> {
    pub(crate) fn new(console: &'a mut dyn Console, typed: &'a mut Typed) -> Self {
        Self { console, typed, column: 0, lines: 0, stopped: false }
    }

    /// Ends a line that is not ended, so that the prompt stands at the left.
    pub(crate) fn finish(&mut self) {
        if self.column > 0 {
            // A console that does not write any more has nobody to tell.
            let _ = self.console.write_str("\n");
        }
    }

    fn text(&mut self, text: &str) -> fmt::Result {
        let room = MAX_COLUMNS.saturating_sub(self.column);
        let count = text.chars().count();
        let was_cut = self.column > MAX_COLUMNS;
        self.column += count;
        if count <= room {
            return self.console.write_str(text);
        }
        let end = text.char_indices().nth(room).map_or(text.len(), |(end, _)| end);
        self.console.write_str(text.get(..end).unwrap_or_default())?;
        if was_cut { Ok(()) } else { self.console.write_str(CUT) }
    }

    fn end_line(&mut self) -> fmt::Result {
        self.console.write_str("\n")?;
        self.column = 0;
        self.lines += 1;
        while let Some(key) = self.console.try_read_key() {
            if key == INTERRUPT || (key == b'q' && self.typed.at_start_of_line()) {
                return self.stop("(stopped)\n");
            }
            self.typed.push(key);
        }
        if self.lines >= MAX_LINES { self.stop("(stopped: too long)\n") } else { Ok(()) }
    }

    fn stop(&mut self, why: &str) -> fmt::Result {
        self.stopped = true;
        self.console.write_str(why)?;
        Err(fmt::Error)
    }
}

impl Write for Output<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for piece in text.split_inclusive('\n') {
            if self.stopped {
                return Err(fmt::Error);
            }
            match piece.strip_suffix('\n') {
                Some(line) => {
                    self.text(line)?;
                    self.end_line()?;
                }
                None => self.text(piece)?,
            }
        }
        Ok(())
    }
}
