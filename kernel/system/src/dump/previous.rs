//! The dump that the run before this one left: announced at boot, shown and sent on the console.
//!
//! Context: thread.

use core::fmt::{self, Write};

use crashdump::Piece;
use machine::{
    console::{Printer, print},
    pstore,
};

const NOTHING: &str = "the previous run left no crash dump";

/// Says at boot that there is one.
pub(crate) fn announce() {
    if let Some(dump) = pstore::previous().dump {
        let lines = dump.text.lines().count();
        let cut = if dump.cut { " (cut)" } else { "" };
        log::warn!("crash dump of the previous run: {lines} lines{cut}; 'show crash' prints it, 'dump' sends it");
    }
}

/// Writes it for people: without numbers and checksums.
///
/// # Errors
/// Those of `out`.
pub(crate) fn show_previous(out: &mut dyn Write) -> fmt::Result {
    let Some(dump) = pstore::previous().dump else { return writeln!(out, "{NOTHING}") };
    let mut open = false;
    for line in crashdump::lines(dump.text).filter_map(Result::ok) {
        let piece = line.piece();
        if open && !matches!(piece, Piece::More(_)) {
            writeln!(out)?;
        }
        open = true;
        match piece {
            Piece::Begin(begin) => write!(out, "crash dump {:04x}: {}", line.dump, begin.reason)?,
            Piece::Section(name) => write!(out, "\n{name}:")?,
            Piece::Text(text) | Piece::More(text) | Piece::Unknown(text) => out.write_str(&text)?,
            Piece::End(lines) => write!(out, "\nend, {lines} lines")?,
        }
    }
    if open { writeln!(out) } else { Ok(()) }
}

/// Sends lines of it as they are, for `cargo run -- dump`.
pub(crate) fn send_previous(first: u32, last: u32) {
    let Some(dump) = pstore::previous().dump else { return print(format_args!("{NOTHING}\n")) };
    let wanted = (last - first).saturating_add(1) as usize;
    for line in dump.text.lines().skip(first as usize).take(wanted) {
        let _ = writeln!(Printer, "{line}");
    }
}
