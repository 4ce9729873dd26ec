//! What the driver needs of the machine: [`Host`], and bounded waiting on it.

use crate::Error;

/// Between two looks of a wait in its first millisecond, and after that; in microseconds.
const SOON: u32 = 20;
const LATER: u32 = 1000;
/// How often it looks in the first millisecond.
const SOON_TIMES: u32 = 50;

/// The registers of one controller, and time.
///
/// # Context
/// Thread.
pub trait Host {
    /// Octets of the register window.
    fn window(&self) -> usize;

    /// Reads the register at an offset, a multiple of 4 inside the [`window`](Self::window).
    fn read32(&self, offset: usize) -> u32;

    /// Writes the register at an offset, a multiple of 4 inside the [`window`](Self::window).
    fn write32(&self, offset: usize, value: u32);

    /// Lets at least so many microseconds pass.
    fn pause(&self, micros: u32);

    /// Says whether to give up: every wait but those of the way out then ends with [`Error::Cancelled`].
    fn is_cancelled(&self) -> bool;
}

/// Looks every now and then until `look` has found something, for about `millis` milliseconds; `Ok(None)` when that time is over.
///
/// # Errors
/// The first error of `look`.
pub(crate) fn wait<T>(
    host: &impl Host,
    millis: u32,
    mut look: impl FnMut() -> Result<Option<T>, Error>,
) -> Result<Option<T>, Error> {
    for turn in 0..SOON_TIMES + millis {
        if let Some(found) = look()? {
            return Ok(Some(found));
        }
        host.pause(if turn < SOON_TIMES { SOON } else { LATER });
    }
    look()
}
