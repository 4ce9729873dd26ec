//! What the router needs besides time under load: memory, disk, and time to boot.

use std::time::Duration;

use anyhow::{Context, Result};

use super::Bench;
use crate::{
    bench::{Behaviour, Record, Setup, generator::Sockets, peer::Sluice, session::Session},
    footprint::{BootTimes, FIRST_PACKET, MemoryUse},
};

/// How long a boot may take, and how long anything else.
const BOOT_LIMIT: Duration = Duration::from_secs(120);
const LIMIT: Duration = Duration::from_secs(30);

/// How often a frame is sent to a router that boots. It waits at the card until that receives.
const EVERY: Duration = Duration::from_millis(1);

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
        record.add("memory_mib", MemoryUse::read(&shown)?.used as f64 / 1024.0);
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
        let setup = Setup { cards: self.options.cards, ..Setup::new(cpus, sockets.paths()) };
        let mut guest = sluice.start(&setup)?;
        let mut generator = sockets.connect(LIMIT, Behaviour::ROUTER)?;
        generator.first_forwarded(EVERY, BOOT_LIMIT)?;
        // Said by the router soon after, of a time that it has noted: the console is not what is measured.
        guest.wait_for(FIRST_PACKET, BOOT_LIMIT).context("the router does not say when it forwarded first")?;
        guest.wait_for("\n", LIMIT)?;
        let shown = guest.console().transcript();
        let times = BootTimes::read(&shown).context("the router does not say how long its boot took")?;
        let first = times.first_packet.context("the router does not say when it forwarded first")?;
        record.add("boot_ms", first as f64 / 1e3);
        record.add("boot_ready_guest_ms", times.ready as f64 / 1e3);
        if let Some(before) = times.before {
            record.add("boot_before_entry_ms", before as f64 / 1e3);
        }
        drop(guest);
        Ok(())
    }
}
