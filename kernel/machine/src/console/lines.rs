//! Assembling formatted text into whole lines before it is sent. Pure, host-tested.
//!
//! Formatting calls the writer piece by piece; only newlines, the end of the text, and lines beyond [`LINE_SIZE`] reach the sink.
//! A line feed becomes carriage return and line feed, as serial terminals want it, at the device, not here.

use core::fmt;

/// The longest line that is sent in one piece, newline included; longer ones continue in a second piece.
pub(super) const LINE_SIZE: usize = 512;

/// Collects text and hands whole lines to a sink.
pub(super) struct LineWriter<'a> {
    line: [u8; LINE_SIZE],
    len: usize,
    sink: &'a mut dyn FnMut(&[u8]),
}

impl<'a> LineWriter<'a> {
    pub(super) fn new(sink: &'a mut dyn FnMut(&[u8])) -> Self {
        Self { line: [0; LINE_SIZE], len: 0, sink }
    }

    /// Sends what is left: a line without an end.
    pub(super) fn finish(mut self) {
        self.send();
    }

    fn send(&mut self) {
        if let Some(text) = self.line.get(..self.len).filter(|text| !text.is_empty()) {
            (self.sink)(text);
        }
        self.len = 0;
    }
}

impl fmt::Write for LineWriter<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for octet in text.bytes() {
            if let Some(slot) = self.line.get_mut(self.len) {
                *slot = octet;
                self.len += 1;
            }
            if octet == b'\n' || self.len == LINE_SIZE {
                self.send();
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use core::fmt::Write;
    use std::{string::String, vec::Vec};

    use super::{LINE_SIZE, LineWriter};

    fn pieces(write: impl FnOnce(&mut LineWriter<'_>)) -> Vec<String> {
        let mut pieces = Vec::new();
        let mut sink = |piece: &[u8]| pieces.push(String::from_utf8_lossy(piece).into_owned());
        let mut writer = LineWriter::new(&mut sink);
        write(&mut writer);
        writer.finish();
        pieces
    }

    #[test]
    fn a_formatted_line_reaches_the_sink_in_one_piece() {
        let sent = pieces(|writer| write!(writer, "em{}: {} packets\nem1: up\n> ", 0, 17).expect("it accepts all"));
        assert_eq!(sent, ["em0: 17 packets\n", "em1: up\n", "> "]);
    }

    #[test]
    fn an_overlong_line_continues_and_loses_nothing() {
        let long = "x".repeat(LINE_SIZE + 10);
        let sent = pieces(|writer| writer.write_str(&long).expect("it accepts all"));
        assert_eq!(sent.iter().map(String::len).collect::<Vec<_>>(), [LINE_SIZE, 10]);
    }
}
