//! What a crash dump wants of the console in a stopped world: the newest messages, and the serial line without the screen.
//!
//! Context: the owner of the stopped world; around locks whose holders are stopped.

use core::fmt::{self, Write};

use super::{HISTORY, SERIAL, STALL_TRIES, emergency::with};

/// Writes to the serial line alone: a screen would lose the report above a thousand lines, and take longer than the line does.
#[derive(Debug)]
pub(crate) struct SerialOnly;

impl Write for SerialOnly {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        with(&SERIAL, |serial| serial.send_all(text.as_bytes(), STALL_TRIES));
        Ok(())
    }
}

/// Calls `reader` with the newest messages, whole lines of at most `limit` octets together, oldest first, in pieces.
pub(crate) fn last_messages(limit: usize, reader: &mut dyn FnMut(&[u8])) {
    let mut position = with(&HISTORY, |history| history.last(limit));
    let mut piece = [0; 256];
    loop {
        let (next, count) = with(&HISTORY, |history| history.copy_from(position, &mut piece));
        if count == 0 {
            return;
        }
        position = next;
        reader(piece.get(..count).unwrap_or_default());
    }
}
