//! How many of the guest's instructions, and how many accesses to device registers, a forwarded packet costs: [`Metered`] subjects
//! and the [`Cost`] of a load.

use std::fmt::Write as _;

use anyhow::{Context, Result, ensure};
use indicatif::ProgressBar;

use super::{
    Record, Setup, Subject,
    generator::{Load, Moment, Outcome},
    meter::{By, Code, IDLE, Meter, Profile, Row, Snapshot},
    session::Session,
};
use crate::{progress::Progress, workspace::Workspace};

/// Accesses a packet below which a register is not shown.
const RARE: f64 = 0.0005;

/// The figure of all instructions of a packet.
pub const INSTRUCTIONS: &str = "instructions_per_packet";

/// What the figures of stages begin with; the stage's name follows.
pub const STAGE: &str = "stage_instructions_per_packet: ";

/// What the names of an e1000's registers begin with in QEMU.
const NIC: &str = "e1000";

/// A subject that runs and is counted.
#[derive(Debug)]
pub struct Metered {
    session: Session,
    meter: Meter,
}

impl Metered {
    /// Boots `subject` with the plugin, and waits until it forwards. `adapt` may change the setup.
    ///
    /// # Errors
    /// When the plugin does not build, or the subject does not boot or forward.
    pub fn boot(
        subject: &dyn Subject,
        workspace: &Workspace,
        counts_registers: bool,
        progress: Progress,
        adapt: impl FnOnce(&mut Setup),
    ) -> Result<Self> {
        let meter = Meter::new(workspace, counts_registers, progress)?;
        let load = meter.load();
        let session = Session::boot(subject, workspace, 1, |setup| {
            setup.plugin = Some(load);
            adapt(setup);
        })?;
        Ok(Self { session, meter })
    }

    /// Sends a load and counts what it costs; `bar` shows the rate meanwhile.
    ///
    /// # Errors
    /// When a frame is not as it must be, the subject is gone, or nothing was counted.
    pub fn cost(&mut self, load: &Load, bar: &ProgressBar) -> Result<(Cost, Outcome)> {
        let Self { session, meter } = self;
        let mut marked = Ok(());
        let name = session.name().to_owned();
        let outcome = session.generator().run(load, &mut |moment| match moment {
            Moment::Begin | Moment::End => {
                if marked.is_ok() {
                    marked = meter.mark();
                }
            }
            Moment::Tick { received, elapsed } => {
                let rate = received as f64 / elapsed.as_secs_f64();
                bar.set_message(format!("{name}: {:.1} kpps", rate / 1000.0));
            }
        });
        let outcome = outcome.with_context(|| format!("{} fails", session.name()))?;
        marked?;
        Ok((Cost::new(outcome.forwarded(), meter.between()?)?, outcome))
    }

    /// Returns the session.
    pub fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// Ends the subject.
    ///
    /// # Errors
    /// When it does not end as it should.
    pub fn stop(self) -> Result<()> {
        self.session.stop()
    }
}

/// What some time has cost in which packets were forwarded.
#[derive(Clone, Debug, Default)]
pub struct Cost {
    /// How many packets were forwarded.
    pub packets: u64,
    /// What was executed meanwhile.
    pub counted: Snapshot,
}

impl Cost {
    /// Makes the cost of `packets`.
    ///
    /// # Errors
    /// When there were none, or nothing was counted.
    pub fn new(packets: u64, counted: Snapshot) -> Result<Self> {
        ensure!(packets > 0, "no packet was forwarded while instructions were counted");
        ensure!(counted.instructions().iter().any(|count| *count > 0), "no instruction was counted");
        Ok(Self { packets, counted })
    }

    /// Returns the instructions for each packet, all included.
    #[must_use]
    pub fn instructions_per_packet(&self) -> f64 {
        self.per_packet(self.counted.instructions().iter().sum())
    }

    /// Returns the reads and the writes of the network cards' registers for each packet.
    #[must_use]
    pub fn accesses_per_packet(&self) -> (f64, f64) {
        let (reads, writes) = self.counted.accesses(|device| device.starts_with(NIC));
        (self.per_packet(reads), self.per_packet(writes))
    }

    /// Adds the instructions of a packet to a record, and those of each stage if there is `code` to tell them by.
    ///
    /// # Errors
    /// When the kernel's debug information is damaged.
    pub fn add_to(&self, record: &mut Record, code: Option<&Code<'_>>) -> Result<()> {
        record.add(INSTRUCTIONS, self.instructions_per_packet());
        if code.is_some() {
            let rows = Profile::of(&self.counted, code, By::Stage)?.rows;
            let idle = rows.iter().find(|row| row.name == IDLE).map_or(0, Row::sum);
            record.add("idle_instructions_per_packet", self.per_packet(idle));
            for row in rows {
                record.add(&format!("{STAGE}{}", row.name), self.per_packet(row.sum()));
            }
        }
        Ok(())
    }

    fn per_packet(&self, count: u64) -> f64 {
        count as f64 / self.packets as f64
    }

    /// Describes it as a table of the groups that `by` makes, those below `least` instructions a packet in one line.
    ///
    /// # Errors
    /// When the kernel's debug information is damaged.
    pub fn table(&self, code: Option<&Code<'_>>, by: By, least: f64) -> Result<String> {
        let profile = Profile::of(&self.counted, code, by)?;
        let vcpus = self.counted.vcpus;
        let mut text = format!("{:>9} {:>6}", "a packet", "share");
        for vcpu in 0..vcpus {
            let _ = write!(text, " {:>8}", format!("vCPU {vcpu}"));
        }
        text.push('\n');
        let all: Vec<u64> = self.counted.instructions();
        let mut rest = vec![0; vcpus];
        for row in &profile.rows {
            if self.per_packet(row.sum()) >= least {
                self.add_row(&mut text, &row.executed, &all, &row.name);
            } else {
                rest.iter_mut().zip(&row.executed).for_each(|(rest, count)| *rest += count);
            }
        }
        if rest.iter().any(|count| *count > 0) {
            self.add_row(&mut text, &rest, &all, &format!("(all below {least})"));
        }
        self.add_row(&mut text, &all, &all, "all");
        Ok(text)
    }

    fn add_row(&self, text: &mut String, counts: &[u64], all: &[u64], name: &str) {
        let (sum, all): (u64, u64) = (counts.iter().sum(), all.iter().sum());
        let share = 100.0 * sum as f64 / all.max(1) as f64;
        let _ = write!(text, "{:>9.2} {share:>5.1}%", self.per_packet(sum));
        for count in counts {
            let _ = write!(text, " {:>8.2}", self.per_packet(*count));
        }
        let _ = writeln!(text, "  {name}");
    }

    /// Describes the accesses to device registers, each register in a line. What is rarer than in one of 2,000 packets is left out.
    #[must_use]
    pub fn register_table(&self) -> String {
        let mut text = String::new();
        for (register, count) in &self.counted.registers {
            let kind = if register.is_write { "write" } else { "read" };
            let each = self.per_packet(*count);
            if each < RARE {
                continue;
            }
            let _ = writeln!(
                text,
                "{each:>9.4} {kind:5} {:#x} {} vCPU {}",
                register.address, register.device, register.vcpu
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_divided_by_the_packets() {
        let lines = [
            "meter 1 vcpus 1",
            "block 1000 4,2 100",
            "register 0 r febc00c0 5 e1000-mmio",
            "register 0 w febc3818 10 e1000-mmio",
            "register 0 w fee000b0 50 apic-msi",
        ];
        let cost = Cost::new(100, Snapshot::parse(lines).unwrap()).unwrap();
        assert!((cost.instructions_per_packet() - 2.0).abs() < 1e-9);
        assert_eq!(cost.accesses_per_packet(), (0.05, 0.1));
        let table = cost.table(None, By::Symbol, 0.1).unwrap();
        assert!(table.lines().last().unwrap().starts_with("     2.00 100.0%     2.00  all"), "{table}");
        assert!(cost.register_table().contains("   0.1000 write 0xfebc3818 e1000-mmio vCPU 0"));
    }

    #[test]
    fn a_cost_of_nothing_is_an_error() {
        assert!(Cost::new(0, Snapshot::parse(["meter 1 vcpus 1", "block 1 1 1"]).unwrap()).is_err());
        assert!(Cost::new(1, Snapshot::parse(["meter 1 vcpus 1"]).unwrap()).is_err());
    }
}
