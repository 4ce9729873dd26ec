//! What the plugin has counted up to a moment, or between two: [`Snapshot`].

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

/// The version of the plugin's text that is read here.
const FORMAT: &str = "1";

/// Some instructions that are executed one after the other, as TCG has translated them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Block {
    /// The virtual address of the first.
    pub start: u64,
    /// The lengths of all in octets.
    pub lengths: Vec<u8>,
}

/// A device register that was accessed in one way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Register {
    /// Who accessed it.
    pub vcpu: usize,
    /// Whether it was written.
    pub is_write: bool,
    /// Its physical address.
    pub address: u64,
    /// QEMU's name of the registers that it is one of, such as `e1000-mmio`.
    pub device: String,
}

/// Everything counted so far, or between two such moments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The number of vCPUs.
    pub vcpus: usize,
    /// How often each vCPU has executed a block.
    pub blocks: BTreeMap<Block, Vec<u64>>,
    /// How often registers were accessed.
    pub registers: BTreeMap<Register, u64>,
}

impl Snapshot {
    /// Reads the plugin's text, of which the last line (`end`) is left out.
    ///
    /// # Errors
    /// When it is not what this program's own plugin writes.
    pub fn parse<'a>(lines: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let mut lines = lines.into_iter();
        let head = lines.next().unwrap_or_default();
        let vcpus =
            head.trim_end().strip_prefix("meter ").and_then(|rest| rest.strip_prefix(FORMAT)?.strip_prefix(" vcpus "));
        let vcpus =
            vcpus.and_then(|number| number.parse().ok()).with_context(|| format!("the plugin says {head:?}"))?;
        let mut snapshot = Self { vcpus, ..Self::default() };
        for line in lines {
            snapshot.add(line.trim_end()).with_context(|| format!("the plugin says {line:?}"))?;
        }
        Ok(snapshot)
    }

    fn add(&mut self, line: &str) -> Result<()> {
        let mut words = line.split(' ');
        let mut next = || words.next().context("a word is missing");
        match next()? {
            "block" => {
                let start = u64::from_str_radix(next()?, 16)?;
                let lengths = next()?.split(',').map(str::parse).collect::<Result<Vec<u8>, _>>()?;
                let counts = words.map(str::parse).collect::<Result<Vec<u64>, _>>()?;
                ensure!(counts.len() == self.vcpus, "{} counts for {} vCPUs", counts.len(), self.vcpus);
                self.blocks.insert(Block { start, lengths }, counts);
            }
            "register" => {
                let vcpu = next()?.parse()?;
                let is_write = match next()? {
                    "w" => true,
                    "r" => false,
                    _ => anyhow::bail!("neither read nor written"),
                };
                let address = u64::from_str_radix(next()?, 16)?;
                let count = next()?.parse()?;
                let device = words.collect::<Vec<_>>().join(" ");
                self.registers.insert(Register { vcpu, is_write, address, device }, count);
            }
            _ => anyhow::bail!("neither a block nor a register"),
        }
        Ok(())
    }

    /// Returns what was counted between `earlier` and this one.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let blocks = self.blocks.iter().filter_map(|(block, counts)| {
            let mut counts = counts.clone();
            for (count, before) in counts.iter_mut().zip(earlier.blocks.get(block).into_iter().flatten()) {
                *count = count.saturating_sub(*before);
            }
            counts.iter().any(|count| *count > 0).then(|| (block.clone(), counts))
        });
        let registers = self.registers.iter().filter_map(|(register, count)| {
            let count = count.saturating_sub(earlier.registers.get(register).copied().unwrap_or(0));
            (count > 0).then(|| (register.clone(), count))
        });
        Self { vcpus: self.vcpus, blocks: blocks.collect(), registers: registers.collect() }
    }

    /// Returns how often each instruction was executed by each vCPU, by its virtual address.
    #[must_use]
    pub fn by_instruction(&self) -> BTreeMap<u64, Vec<u64>> {
        let mut all: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for (block, counts) in &self.blocks {
            let mut address = block.start;
            for length in &block.lengths {
                let sums = all.entry(address).or_insert_with(|| vec![0; self.vcpus]);
                sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
                address = address.wrapping_add(u64::from(*length));
            }
        }
        all
    }

    /// Returns the number of instructions that each vCPU has executed.
    #[must_use]
    pub fn instructions(&self) -> Vec<u64> {
        let mut sums = vec![0; self.vcpus];
        for (block, counts) in &self.blocks {
            sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count * block.lengths.len() as u64);
        }
        sums
    }

    /// Returns how many reads and how many writes of registers there were, of the devices that `wanted` accepts by name.
    #[must_use]
    pub fn accesses(&self, wanted: impl Fn(&str) -> bool) -> (u64, u64) {
        let of = |is_write: bool| {
            let all = self.registers.iter().filter(|(register, _)| register.is_write == is_write);
            all.filter(|(register, _)| wanted(&register.device)).map(|(_, count)| count).sum()
        };
        (of(false), of(true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: [&str; 4] = [
        "meter 1 vcpus 2\n",
        "block ffffffff80001000 4,1,3 7 0\n",
        "block 2000 2 1 1\n",
        "register 1 w febc0018 17 e1000-mmio\n",
    ];

    #[test]
    fn a_snapshot_is_read_as_the_plugin_writes_it() {
        let snapshot = Snapshot::parse(FIRST).unwrap();
        assert_eq!(snapshot.instructions(), [22, 1]);
        let addresses: Vec<u64> = snapshot.by_instruction().into_keys().collect();
        assert_eq!(addresses, [0x2000, 0xffff_ffff_8000_1000, 0xffff_ffff_8000_1004, 0xffff_ffff_8000_1005]);
        let accesses = |device| snapshot.accesses(|name| name == device);
        assert_eq!((accesses("e1000-mmio"), accesses("ioapic")), ((0, 17), (0, 0)));
    }

    #[test]
    fn what_the_plugin_does_not_write_is_an_error_that_quotes_it() {
        for (bad, quoted) in [
            ("meter 2 vcpus 1", "meter 2"),
            ("hello", "hello"),
            ("meter 1 vcpus 2\nblock 1 1 1", "block 1 1 1"),
            ("meter 1 vcpus 1\nblock x 1 1", "block x"),
            ("meter 1 vcpus 1\nblock 1 999 1", "999"),
            ("meter 1 vcpus 1\nregister 0 x 1 1 a", "register 0 x"),
            ("meter 1 vcpus 1\nregister 0", "register 0"),
            ("meter 1 vcpus 1\nmore", "more"),
        ] {
            let error = format!("{:#}", Snapshot::parse(bad.lines()).unwrap_err());
            assert!(error.contains(quoted), "{error}");
        }
    }

    #[test]
    fn the_difference_is_what_has_happened_in_between() {
        let first = Snapshot::parse(FIRST).unwrap();
        let later = [
            "meter 1 vcpus 2",
            "block ffffffff80001000 4,1,3 9 0",
            "block 2000 2 1 1",
            "block 3000 1 0 5",
            "register 1 w febc0018 20 e1000-mmio",
            "register 0 r febc00c0 1 e1000-mmio",
        ];
        let between = Snapshot::parse(later).unwrap().since(&first);
        assert_eq!(between.instructions(), [6, 5]);
        assert_eq!(between.blocks.len(), 2, "what was not executed is left out");
        assert_eq!(between.accesses(|_| true), (1, 3));
    }

    #[test]
    fn an_instruction_in_several_blocks_is_counted_in_each() {
        let lines = ["meter 1 vcpus 1", "block 1000 4,2 3", "block 1004 2,1 5"];
        let counts = Snapshot::parse(lines).unwrap().by_instruction();
        assert_eq!(counts, BTreeMap::from([(0x1000, vec![3]), (0x1004, vec![8]), (0x1006, vec![5])]));
    }
}
