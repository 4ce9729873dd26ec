//! The dump that the run before this one left: announced at boot, shown and sent on the console.
//!
//! Context: thread.

use alloc::string::{String, ToString};
use core::fmt::{self, Write};

use crashdump::{
    Piece,
    trace::{self, Step},
};
use machine::{
    backtrace::Place,
    boot,
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

/// Writes it for people: without numbers and checksums, and with names in backtraces if this kernel is the one that crashed.
///
/// # Errors
/// Those of `out`.
pub(crate) fn show_previous(out: &mut dyn Write) -> fmt::Result {
    let Some(dump) = pstore::previous().dump else { return writeln!(out, "{NOTHING}") };
    let mut is_ours = false;
    let mut line = String::new();
    for found in crashdump::lines(dump.text).filter_map(Result::ok) {
        let piece = found.piece();
        if !matches!(piece, Piece::More(_)) {
            write_line(&line, is_ours, out)?;
            line.clear();
        }
        match piece {
            Piece::Begin(begin) => {
                is_ours = boot::build_id().is_some_and(|id| id.to_string() == begin.build);
                write!(line, "crash dump {:04x}: {}", found.dump, begin.reason)?;
            }
            Piece::Section(name) => write!(line, "\n{name}:")?,
            Piece::Text(text) | Piece::More(text) | Piece::Unknown(text) => line += &text,
            Piece::End(lines) => write!(line, "\nend, {lines} lines")?,
        }
    }
    write_line(&line, is_ours, out)
}

/// Writes a line, or the frames it stands for.
fn write_line(line: &str, is_ours: bool, out: &mut dyn Write) -> fmt::Result {
    let steps = if is_ours { trace::parse(line) } else { None };
    let Some(steps) = steps else { return writeln!(out, "{line}") };
    let mut number = 0;
    for (step, is_call) in steps {
        match step {
            Step::Trap(vector) => {
                writeln!(out, "    --- trap, vector {vector} ---")?;
                continue;
            }
            Step::Elsewhere(_) => writeln!(out, "    #{number} {step}")?,
            Step::Kernel(address) => {
                // The image may lie elsewhere now; the symbols are asked for where it is.
                let now = address.wrapping_add(boot::image_offset());
                let place = if is_call { Place::calling(now) } else { Place::at(now) };
                writeln!(out, "    #{number} {place}")?;
            }
        }
        number += 1;
    }
    Ok(())
}

/// Sends lines of it as they are, for `cargo run -- dump`.
pub(crate) fn send_previous(first: u32, last: u32) {
    let Some(dump) = pstore::previous().dump else { return print(format_args!("{NOTHING}\n")) };
    let wanted = (last - first).saturating_add(1) as usize;
    for line in dump.text.lines().skip(first as usize).take(wanted) {
        let _ = writeln!(Printer, "{line}");
    }
}
