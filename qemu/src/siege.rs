//! Shutdowns at random instants under fire, many times: [`Siege`].
//!
//! One run: the router boots, the hosts send as fast as packets get through (or whatever else the [`Variant`] says), and at
//! a random instant somebody types `reboot`, `poweroff` or `halt`. Then everything is looked at: the transcript of the
//! ladder ([`Shutdown`](crate::shutdown::Shutdown)), what left the cards and when ([`watch`]), what arrived at the hosts,
//! and that the machine really ended as it should. Runs that end in `reboot` go on in the same QEMU, as the next boot is
//! part of the promise.
//!
//! Everything random comes from the run's seed; with the same seed a run makes the same traffic and waits as long, which
//! brings it close to the same instant, though emulation is never the same twice.

mod crowd;
mod dice;
mod session;
mod tally;
mod variant;
mod watch;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};

pub use dice::any_seed;
pub use tally::Tally;
pub use variant::{VARIANTS, Variant};

use crate::{shutdown::Ending, testbed::Plan, workspace::Workspace};
use session::Session;

/// What one run came to, if everything was as it should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figures {
    /// How the machine ended.
    pub ending: Ending,
    /// The time the ladder took by the guest's clock.
    pub guest: Duration,
    /// The time from the command to the last line, by the host's.
    pub host: Duration,
    /// Packets a second that got through before.
    pub rate: f64,
    /// Packets that were held for address resolution.
    pub held: u64,
}

/// A run that is over.
#[derive(Debug)]
pub struct Outcome {
    /// The variant.
    pub variant: &'static Variant,
    /// The seed that repeats the run.
    pub seed: u64,
    /// What it came to; an error says what was wrong and where the console's log is.
    pub result: Result<Figures>,
}

/// Runs of one disk image.
#[derive(Clone, Debug)]
pub struct Siege {
    workspace: Workspace,
    image: PathBuf,
}

impl Siege {
    /// Returns the configuration that the image has to carry.
    #[must_use]
    pub fn config() -> String {
        Plan::star(2).config
    }

    /// Makes runs of `image`, whose configuration is [`config`](Self::config).
    #[must_use]
    pub fn new(workspace: &Workspace, image: &Path) -> Self {
        Self { workspace: workspace.clone(), image: image.to_path_buf() }
    }

    /// Makes one run for each seed, and hands each outcome to `take` as soon as it is there.
    pub fn run(&self, variant: &'static Variant, seeds: impl IntoIterator<Item = u64>, mut take: impl FnMut(Outcome)) {
        let mut session = None;
        for seed in seeds {
            let result = self.run_one(variant, seed, &mut session);
            take(Outcome { variant, seed, result });
        }
    }

    /// Makes one run in the session there is or in a new one, which is left behind if it can be used again.
    fn run_one(&self, variant: &'static Variant, seed: u64, left: &mut Option<Session>) -> Result<Figures> {
        let mut session = match left.take() {
            Some(session) => session,
            None => Session::boot(variant, &self.workspace, &self.image).context("no run was possible")?,
        };
        match session.run(seed) {
            Ok(figures) => {
                self.keep_log(&format!("{}.log", variant.name), session.shown())?;
                *left = Some(session).filter(|_| figures.ending == Ending::Reboot);
                Ok(figures)
            }
            Err(error) => {
                let log = self.keep_log(&format!("{}-{seed}.log", variant.name), &session.transcript())?;
                Err(error.context(format!("variant {}, seed {seed}, console in {}", variant.name, log.display())))
            }
        }
    }

    /// Keeps what the console has shown: of each run that failed, and of the last of each variant that did not.
    fn keep_log(&self, name: &str, text: &str) -> Result<PathBuf> {
        let log = self.workspace.folder("siege")?.join(name);
        fs::write(&log, text).with_context(|| format!("cannot write {}", log.display()))?;
        Ok(log)
    }
}
