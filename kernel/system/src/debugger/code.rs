//! Places in the code by name: the machine's symbol table as the debugger asks it.
//!
//! Context: any; the table is constant, and reading it takes no lock and allocates nothing.

use core::fmt::{self, Write};

use ddb::{Found, Location, Symbol};
use machine::{
    backtrace::{self, Place},
    boot,
};

/// Returns the symbol an address lies in.
pub(super) fn symbol(address: u64) -> Option<Symbol> {
    Place::at(address).symbol().map(|symbol| Symbol::new(symbol.name, symbol.offset))
}

/// Returns the address of a symbol, by its whole name or by an end of its path that no other has.
pub(super) fn find(name: &str) -> Found {
    let Some(table) = boot::symbols() else { return Found::Nothing };
    match table.find(name) {
        Some(address) => Found::One(address.wrapping_add(boot::image_offset())),
        None => match table.symbols().filter(|entry| entry.name.ends_with_path(name)).count() {
            0 => Found::Nothing,
            count => Found::Many(count),
        },
    }
}

/// Returns the source line an address comes from.
pub(super) fn location(address: u64) -> Option<Location<'static>> {
    Place::at(address).line().map(|line| Location { file: line.file, line: line.line })
}

/// Where a backtrace begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    pub(super) instruction: u64,
    pub(super) frame_pointer: u64,
    /// The stack pointer, of code that was stopped anywhere; `None` for a thread that was switched away from.
    pub(super) stack_pointer: Option<u64>,
}

/// Writes a backtrace.
pub(super) fn backtrace(out: &mut dyn Write, start: Start) -> fmt::Result {
    let Start { instruction, frame_pointer, stack_pointer } = start;
    match stack_pointer {
        Some(stack_pointer) => backtrace::write_stopped(out, instruction, stack_pointer, frame_pointer),
        None => backtrace::write(out, instruction, frame_pointer),
    }
}
