//! Frames as they arrive at a host, for tests that want to look themselves: [`Capture`].

use std::{
    fmt,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    time::{Duration, Instant},
};

/// How many frames wait for their reader at most; more are left out and counted by nobody.
const ROOM: usize = 1 << 16;

/// Decides whether a frame is kept.
pub(super) type Filter = Box<dyn Fn(&[u8]) -> bool + Send>;

/// A received frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// When it arrived.
    pub at: Instant,
    /// Its octets from the Ethernet header on, without check sequence.
    pub octets: Vec<u8>,
}

/// The frames that arrive at a host from now on, as far as a filter lets them through.
#[derive(Debug)]
pub struct Capture {
    frames: Receiver<Frame>,
}

impl Capture {
    /// Waits for the next frame, at most for `limit`.
    #[must_use]
    pub fn next(&self, limit: Duration) -> Option<Frame> {
        self.frames.recv_timeout(limit).ok()
    }

    /// Returns the frames that are there.
    #[must_use]
    pub fn drain(&self) -> Vec<Frame> {
        self.frames.try_iter().collect()
    }
}

/// The end of a capture that the host holds.
pub(super) struct Tap {
    filter: Filter,
    frames: SyncSender<Frame>,
}

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tap").finish_non_exhaustive()
    }
}

impl Tap {
    pub(super) fn new(filter: Filter) -> (Self, Capture) {
        let (sender, frames) = sync_channel(ROOM);
        (Self { filter, frames: sender }, Capture { frames })
    }

    /// Takes a copy of a frame that the filter lets through; returns whether somebody still wants frames.
    pub(super) fn take(&self, frame: &[u8], at: Instant) -> bool {
        if !(self.filter)(frame) {
            return true;
        }
        match self.frames.try_send(Frame { at, octets: frame.to_vec() }) {
            Ok(()) | Err(std::sync::mpsc::TrySendError::Full(_)) => true,
            Err(std::sync::mpsc::TrySendError::Disconnected(_)) => false,
        }
    }
}
