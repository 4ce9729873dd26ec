//! The callers of a place, by saved frame pointers, with guarded reads.

use core::fmt::Write;

use crate::{
    boot,
    trap::{TrapFrame, probe},
};

/// Longest backtrace.
const MAX_FRAMES: usize = 32;

/// Prints the instruction of `frame` and its callers, as they run and as they are in the kernel file. Any context.
pub(super) fn print(out: &mut dyn Write, frame: &TrapFrame) {
    let offset = boot::record().map_or(0, |record| record.image_offset);
    let _ = writeln!(out, "KDB: stack backtrace:");
    let mut line = |number: usize, at: u64| {
        let _ = writeln!(out, "#{number} {at:#x} (image {:#x})", at.wrapping_sub(offset));
    };
    line(0, frame.rip);
    let mut frame_pointer = frame.rbp;
    for number in 1..MAX_FRAMES {
        let (Ok(next), Ok(back)) = (probe::read(frame_pointer), probe::read(frame_pointer.wrapping_add(8))) else {
            return;
        };
        if back == 0 {
            return;
        }
        line(number, back);
        // Stacks grow down, so each caller's frame lies higher; anything else is a torn chain.
        if next <= frame_pointer {
            return;
        }
        frame_pointer = next;
    }
}
