//! Reading lines out of memory that can only be copied piece by piece.

use core::fmt;

/// Longest line that is read; the encoder's are shorter.
const LONGEST: usize = 256;

/// Calls `write` with lines `first` to `last` (from 0) of the text that `copy` copies from a position on, until it fails; returns
/// how many it took. A line that is too long or no text is passed over.
pub(super) fn lines(
    copy: impl Fn(usize, &mut [u8]) -> usize,
    first: u32,
    last: u32,
    write: &mut dyn FnMut(&str) -> fmt::Result,
) -> u32 {
    let (mut at, mut number, mut taken) = (0, 0_u32, 0);
    let mut octets = [0; LONGEST];
    loop {
        let count = copy(at, &mut octets);
        let piece = octets.get(..count).unwrap_or_default();
        let Some(end) = piece.iter().position(|octet| *octet == b'\n') else {
            // The end, or a piece of a line that no encoder writes.
            if count < LONGEST {
                return taken;
            }
            at += count;
            continue;
        };
        at += end + 1;
        let line = piece.get(..end).and_then(|line| core::str::from_utf8(line).ok());
        if let Some(line) = line.filter(|_| (first..=last).contains(&number)) {
            if write(line).is_err() {
                return taken;
            }
            taken += 1;
        }
        number = number.saturating_add(1);
        if number > last {
            return taken;
        }
    }
}
