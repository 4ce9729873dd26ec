//! How many of the guest's instructions, and how many accesses to device registers, a forwarded packet costs: [`Cost`].

use std::fmt::Write as _;

use anyhow::{Result, ensure};

use super::meter::{By, Code, Profile, Snapshot};

/// What the names of an e1000's registers begin with in QEMU.
const NIC: &str = "e1000";

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

    #[expect(clippy::cast_precision_loss, reason = "counts of a few minutes are far below 2^52")]
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

    #[expect(clippy::cast_precision_loss, reason = "counts of a few minutes are far below 2^52")]
    fn add_row(&self, text: &mut String, counts: &[u64], all: &[u64], name: &str) {
        let (sum, all): (u64, u64) = (counts.iter().sum(), all.iter().sum());
        let share = 100.0 * sum as f64 / all.max(1) as f64;
        let _ = write!(text, "{:>9.2} {share:>5.1}%", self.per_packet(sum));
        for count in counts {
            let _ = write!(text, " {:>8.2}", self.per_packet(*count));
        }
        let _ = writeln!(text, "  {name}");
    }

    /// Describes the accesses to device registers, each register in a line.
    #[must_use]
    pub fn register_table(&self) -> String {
        let mut text = String::new();
        for (register, count) in &self.counted.registers {
            let kind = if register.is_write { "write" } else { "read" };
            let each = self.per_packet(*count);
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
