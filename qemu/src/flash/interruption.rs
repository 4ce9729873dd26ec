//! What a signal finds and leaves behind: [`Interruption`].

use std::{
    process,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use anyhow::{Context, Result};
use nix::sys::{
    signal::{SigSet, Signal},
    signalfd::SignalFd,
};

/// The exit status of a program that SIGINT has ended, as shells tell it.
const INTERRUPTED: i32 = 130;

/// How far the writing has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing was written.
    Untouched,
    /// Something was written, and not all of it is known to be right.
    Writing,
    /// All was written and read back.
    Complete,
}

/// Watches for signals that would end this program, and ends it with the truth about the stick.
#[derive(Debug)]
pub struct Interruption {
    phase: Arc<Mutex<Phase>>,
}

impl Interruption {
    /// Begins to watch, for the stick at `device`.
    ///
    /// # Errors
    /// When signals cannot be watched.
    ///
    /// # Context
    /// Before this program has other threads: these would take the signals.
    pub fn watch(device: &str) -> Result<Self> {
        let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
        signals.thread_block().context("cannot hold signals back")?;
        let arrivals = SignalFd::new(&signals).context("cannot watch for signals")?;
        let phase = Arc::new(Mutex::new(Phase::Untouched));
        let (watched, device) = (Arc::clone(&phase), device.to_owned());
        thread::spawn(move || {
            while let Ok(arrival) = arrivals.read_signal() {
                // Held until the program has ended, so that it cannot be complete the moment after it was said not to be.
                let phase = watched.lock().unwrap_or_else(PoisonError::into_inner);
                if let (Some(_), Some(last_words)) = (arrival, last_words(*phase, &device)) {
                    eprintln!("\n{last_words}");
                    process::exit(INTERRUPTED);
                }
            }
        });
        Ok(Self { phase })
    }

    /// Notes how far the writing has come.
    pub fn enter(&self, phase: Phase) {
        *self.lock() = phase;
    }

    fn lock(&self) -> MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns what is to be said to somebody who interrupts; nothing once there is nothing left to interrupt.
fn last_words(phase: Phase, device: &str) -> Option<String> {
    match phase {
        Phase::Untouched => Some(format!("Interrupted: nothing was written to {device}.")),
        Phase::Writing => Some(format!(
            "Interrupted: {device} is NOT usable. What was on it is gone, and what it has now is not known to be whole. Write it again."
        )),
        Phase::Complete => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interruption_tells_what_is_left() {
        assert!(last_words(Phase::Untouched, "/dev/sdb").unwrap().contains("nothing was written to /dev/sdb"));
        assert!(last_words(Phase::Writing, "/dev/sdb").unwrap().contains("/dev/sdb is NOT usable"));
        assert_eq!(last_words(Phase::Complete, "/dev/sdb"), None);
    }
}
