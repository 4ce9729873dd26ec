//! Runs in one QEMU, one boot after the other: [`Session`].

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use ktest::console::{DMA_STOPPED, JOINED, RUNNING, SHUTDOWN};

use super::{
    Figures,
    crowd::{Crowd, PATIENCE},
    dice::Dice,
    variant::{Traffic, Variant},
    watch::{Sighting, Watch},
};
use crate::{
    host::HostId,
    shutdown::{Ending, Shutdown},
    testbed::Testbed,
    workspace::Workspace,
};

/// How long a boot may take on a busy host, and how long a shutdown, whatever fails in it.
const BOOT_LIMIT: Duration = Duration::from_secs(120);
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(120);

/// The span in which the random instant lies; packets wait for ARP for five seconds.
const SPAN: Duration = Duration::from_millis(500);

/// For how long a halted machine is watched.
const HALTED_FOR: Duration = Duration::from_millis(300);

/// How often each ending is chosen.
const ENDINGS: [Ending; 7] = [
    Ending::Reboot,
    Ending::Reboot,
    Ending::Reboot,
    Ending::PowerOff,
    Ending::PowerOff,
    Ending::PowerOff,
    Ending::Halt,
];

/// A router in QEMU that can be restarted.
#[derive(Debug)]
pub(super) struct Session {
    variant: &'static Variant,
    bed: Testbed,
    hosts: [HostId; 2],
    watch: Watch,
    /// Frames that had left the cards before this boot.
    base: Vec<u64>,
    /// What the console has shown of the last shutdown.
    shown: String,
}

impl Session {
    /// Boots.
    pub(super) fn boot(variant: &'static Variant, workspace: &Workspace, image: &Path) -> Result<Self> {
        let plan = variant.plan();
        let mut bed = Testbed::start(&plan, workspace, image)?;
        let watch = Watch::new(&mut bed.guest, plan.hosts.len());
        let (Some(left), Some(right)) = (bed.hosts.first(), bed.hosts.get(1)) else { bail!("two hosts are needed") };
        let hosts = [*left, *right];
        bed.guest.wait_for(RUNNING, BOOT_LIMIT).context("the router does not come up")?;
        Ok(Self { variant, bed, hosts, watch, base: vec![0; plan.hosts.len()], shown: String::new() })
    }

    /// Returns everything the console has shown.
    pub(super) fn transcript(&mut self) -> String {
        self.bed.guest.console().transcript()
    }

    /// Returns what the console has shown of the last shutdown.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    /// Makes one run in a router that has come up.
    pub(super) fn run(&mut self, seed: u64) -> Result<Figures> {
        let mut dice = Dice::new(seed);
        let ending = dice.one_of(&ENDINGS).unwrap_or(Ending::Reboot);
        self.prepare()?;
        let crowd = Crowd::gather(&self.bed.lab, self.hosts, self.variant.traffic, &mut dice)?;
        thread::sleep(dice.time(SPAN));
        let rate = crowd.rate(&self.bed.lab);
        if let Some(fault) = &self.variant.fault {
            self.set(fault.setting, fault.value)?;
            thread::sleep(dice.time(SPAN));
        }
        drop(self.watch.take());
        let asked = Instant::now();
        self.bed.guest.console().send_line(ending.command())?;
        self.bed.guest.wait_for(ending.last_line(), SHUTDOWN_LIMIT).context("the shutdown does not end")?;
        self.see_end(ending)?;
        crowd.disperse(&self.bed.lab)?;
        let seen = self.watch.take();
        let shutdown = self.judge(ending, &seen)?;
        let last = seen.iter().find(|line| line.text.contains(ending.last_line()));
        let host = last.map_or(Duration::ZERO, |line| line.at.saturating_duration_since(asked));
        Ok(Figures { ending, guest: shutdown.took, host, rate, held: shutdown.held })
    }

    /// Makes the settings, and lets the hosts find each other if they may.
    fn prepare(&mut self) -> Result<()> {
        // The console is a thread of its own; an answer is never early.
        self.bed.guest.console().send_line("show version")?;
        self.bed.guest.wait_for(" CPUs, clock ", PATIENCE).context("the console does not answer")?;
        self.bed.guest.console().wait_prompt(PATIENCE)?;
        for (name, value) in self.variant.settings {
            self.set(name, value)?;
        }
        for host in self.hosts {
            self.bed.lab.wait_connected(host, PATIENCE)?;
        }
        match self.variant.traffic {
            Traffic::Cold => Ok(()),
            Traffic::Idle | Traffic::Saturated => Crowd::acquaint(&self.bed.lab, self.hosts),
        }
    }

    /// Changes a setting and makes sure that it took.
    fn set(&mut self, name: &str, value: &str) -> Result<()> {
        self.bed.guest.command(&format!("sysctl {name}={value}"), PATIENCE)?;
        let shown = self.bed.guest.command(&format!("sysctl {name}"), PATIENCE)?;
        ensure!(shown.trim().ends_with(&format!("{name}={value}")), "{name} was to be {value}; it says {shown:?}");
        Ok(())
    }

    /// Sees the machine end as it should: gone, up again, or still there.
    fn see_end(&mut self, ending: Ending) -> Result<()> {
        match ending {
            Ending::PowerOff => {
                let status = self.bed.guest.wait_exit(PATIENCE).context("the power stays on")?;
                ensure!(status.success(), "QEMU ended with {status}");
            }
            Ending::Reboot => {
                self.bed.guest.wait_for(RUNNING, BOOT_LIMIT).context("the router does not come up again")?;
            }
            Ending::Halt => {
                thread::sleep(HALTED_FOR);
                ensure!(self.bed.guest.is_running(), "a halt switched the machine off");
            }
        }
        Ok(())
    }

    /// Looks at what was shown and what left the cards meanwhile.
    fn judge(&mut self, ending: Ending, seen: &[Sighting]) -> Result<Shutdown> {
        let last = seen.iter().position(|line| line.text.contains(ending.last_line()));
        let (shown, rest) = seen.split_at(last.map_or(seen.len(), |index| index + 1));
        self.shown = shown.iter().map(|line| format!("{}\n", line.text)).collect();
        let shutdown = Shutdown::parse(&self.shown)?;
        ensure!(shutdown.ending == Some(ending), "the end was {:?}, not {ending:?}", shutdown.ending);
        match &self.variant.fault {
            None => shutdown.check_clean()?,
            Some(fault) => {
                shutdown.check_forced(fault.culprit)?;
                ensure!(shutdown.took <= fault.within, "it took {:?} of {:?}", shutdown.took, fault.within);
            }
        }
        if self.variant.traffic == Traffic::Cold {
            ensure!(shutdown.held > 0, "no packet was held for address resolution");
        }
        // After a restart the first line of the next boot, before which no card can be started, is the end of this one.
        let end = match (ending, rest.first()) {
            (Ending::Reboot, Some(next)) => next.left.clone(),
            _ => self.watch.left(),
        };
        // Where all threads have joined, the last frames have left by then; else when DMA is stopped.
        let silent = format!("{SHUTDOWN}{}...", if self.variant.fails() { DMA_STOPPED } else { JOINED });
        let silent = shown.iter().find(|line| line.text.contains(&silent)).context("the cards never fell silent")?;
        ensure!(end == silent.left, "frames left the cards after {:?}: {:?}, then {end:?}", silent.text, silent.left);
        if self.variant.fault.is_none_or(|fault| fault.counts) {
            check_counts(&shutdown, &self.base, &end)?;
        }
        self.base = end;
        Ok(shutdown)
    }
}

/// Makes sure that what left each card by QEMU's record is what the card counted, and all of it what the router accounts for.
fn check_counts(shutdown: &Shutdown, before: &[u64], after: &[u64]) -> Result<()> {
    let left: Vec<u64> = after.iter().zip(before).map(|(after, before)| after.saturating_sub(*before)).collect();
    let counted: Vec<u64> = shutdown.ledgers.iter().map(|ledger| ledger.sent).collect();
    ensure!(left == counted, "{left:?} frames left the cards, which counted {counted:?}");
    for ledger in &shutdown.ledgers {
        ensure!(ledger.differences == [0, 0], "card and driver do not agree: {ledger:?}");
    }
    let equation = shutdown.equation.context("there is no equation")?;
    let said = equation.forwarded + equation.sent;
    ensure!(left.iter().sum::<u64>() == said, "{left:?} frames left the cards, accounted for: {equation:?}");
    Ok(())
}
