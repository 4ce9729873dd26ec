//! What the router needs besides time under load: memory, disk, and time to boot.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use super::Bench;
use crate::bench::{Behaviour, Record, Setup, generator::Sockets, peer::Sluice, session::Session};

/// How long a boot may take, and how long anything else.
const BOOT_LIMIT: Duration = Duration::from_secs(120);
const LIMIT: Duration = Duration::from_secs(30);

/// How often a frame is sent to a router that boots. It waits at the card until that receives.
const EVERY: Duration = Duration::from_millis(1);

/// What every stage of the boot is announced with, and what is said of their times once there is a clock.
const STAGE: &str = "[ 1/";
const MARKS: &str = "us since the hand-over: ";

/// The least memory that a router is to do with, in MiB.
const LITTLE: u32 = 64;

const MIB: f64 = 1_048_576.0;

impl Bench {
    /// Measures the boot, the memory and the size of the router with as many processors as are given first.
    ///
    /// # Errors
    /// When it does not boot, or its console says something else than expected.
    pub fn footprint(&mut self, sluice: &Sluice) -> Result<()> {
        let cpus = self.options.cpus.first().copied().unwrap_or(1);
        let mut record = Record::new("footprint", "sluice").with("cpus", cpus);
        record.add("image_mib", sluice.stripped_size()? as f64 / MIB);
        let bar = self.progress.line("Booting");
        for _ in 0..self.options.rounds {
            self.boot(sluice, cpus, &mut record)?;
        }
        bar.finish_and_clear();
        let mut session = self.session(sluice, cpus, |_| ())?;
        let shown = session.running().command("show memory", LIMIT)?;
        record.add("memory_mib", memory_in_use(&shown)?);
        session.stop()?;
        match Session::boot(sluice, &self.workspace, cpus, |setup| setup.memory = Some(LITTLE)) {
            Ok(session) => {
                session.stop()?;
                record.add("boots_with_64_mib", 1.0);
            }
            Err(error) => {
                record.add("boots_with_64_mib", 0.0);
                record.note(&format!("with {LITTLE} MiB: {error:#}"));
            }
        }
        self.tell(std::slice::from_ref(&record));
        self.folder.put(record)
    }

    /// Boots once, with frames waiting at its card from the beginning.
    fn boot(&self, sluice: &Sluice, cpus: u32, record: &mut Record) -> Result<()> {
        let sockets = Sockets::listen(&self.workspace)?;
        let setup = Setup::new(cpus, sockets.paths());
        let mut guest = sluice.start(&setup)?;
        let first_line = Arc::new(Mutex::new(None));
        let (seen, mut text) = (Arc::clone(&first_line), Vec::new());
        guest.console().set_mirror(Some(Box::new(move |bytes| {
            let mut first = seen.lock().unwrap_or_else(PoisonError::into_inner);
            if first.is_none() {
                text.extend_from_slice(bytes);
                if text.windows(STAGE.len()).any(|window| window == STAGE.as_bytes()) {
                    *first = Some(Instant::now());
                }
            }
        })));
        let mut generator = sockets.connect(LIMIT, Behaviour::ROUTER)?;
        let forwarded = generator.first_forwarded(EVERY, BOOT_LIMIT)?;
        guest.wait_for(MARKS, BOOT_LIMIT).context("the router does not say how long its boot took")?;
        let marks = guest.wait_for("\n", LIMIT)?;
        let first = first_line.lock().unwrap_or_else(PoisonError::into_inner).context("no stage was announced")?;
        // The first line is written some time after the hand-over, by the guest's clock.
        let before = mark(&marks, "serial console").context("the marks lack the first stage")?;
        let running = mark(&marks, "running").context("the marks lack the last stage")?;
        record.add("boot_ms", forwarded.saturating_duration_since(first).as_secs_f64() * 1e3 + before / 1e3);
        record.add("boot_running_guest_ms", running / 1e3);
        drop(guest);
        Ok(())
    }
}

/// Returns the microseconds of a step in the list of marks.
fn mark(marks: &str, step: &str) -> Option<f64> {
    let mut each = marks.trim().split(", ").filter_map(|mark| mark.rsplit_once(' '));
    each.find(|(name, _)| *name == step).and_then(|(_, micros)| micros.parse().ok())
}

/// Reads how much memory is in use, in MiB, from what `show memory` says of page frames.
fn memory_in_use(shown: &str) -> Result<f64> {
    let line = shown.lines().find_map(|line| line.trim().strip_prefix("frames: ")).context("no line about frames")?;
    let mut words = line.split_whitespace();
    let (free, total) = (words.next().and_then(|word| word.parse::<u64>().ok()), words.nth(1));
    let total = total.and_then(|word| word.parse::<u64>().ok());
    let (Some(free), Some(total)) = (free, total) else { anyhow::bail!("these are no frames: {line:?}") };
    ensure!(free <= total, "more frames are free than there are: {line:?}");
    Ok((total - free) as f64 * 4096.0 / MIB)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_console_says_is_read() {
        let used = memory_in_use("frames: 57344 of 65536 free (229376 KiB)\nheap: 1 used\n").unwrap();
        assert!((used - 32.0).abs() < 1e-9);
        assert!(memory_in_use("frames: 9 of 8 free").is_err() && memory_in_use("frames: locked").is_err());
        let marks = "serial console 120, exceptions 900, start cards 100000, running 120000\n";
        assert_eq!((mark(marks, "serial console"), mark(marks, "running")), (Some(120.0), Some(120_000.0)));
        assert_eq!((mark(marks, "start"), mark("no counter", "running")), (None, None));
    }
}
