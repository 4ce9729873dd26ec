//! How quick to start and how small the router is, as its console tells it: [`BootTimes`], [`MemoryUse`].

use anyhow::{Context, Result, ensure};

/// What the kernel's lines about its boot say before the number of microseconds.
const BEFORE_ENTRY: &str = "boot: firmware and boot loader took ";
const READY: &str = "boot: ready to forward after ";
/// What the line about the first packet says before the number.
pub const FIRST_PACKET: &str = "boot: first packet forwarded after ";

/// The steps of a boot in microseconds of the guest's clock, which begins when the boot loader hands over to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootTimes {
    /// From the machine's creation to the hand-over: firmware and boot loader.
    pub before: Option<u64>,
    /// From the hand-over until everything is there that forwarding needs, and every receiver is on.
    pub ready: u64,
    /// From the hand-over until the first packet had left; `None` while there was none.
    pub first_packet: Option<u64>,
}

impl BootTimes {
    /// Reads what a console has shown since the machine started; `None` before the router forwards.
    #[must_use]
    pub fn read(transcript: &str) -> Option<Self> {
        let after = |words: &str| {
            let (_, rest) = transcript.split_once(words)?;
            rest.split_whitespace().next()?.parse().ok()
        };
        Some(Self { before: after(BEFORE_ENTRY), ready: after(READY)?, first_packet: after(FIRST_PACKET) })
    }
}

/// What `show memory` says of the machine's memory, in KiB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryUse {
    /// Who has how much, as shown; without the sums.
    pub rows: Vec<(String, u64)>,
    /// All that is not free.
    pub used: u64,
    /// What is free.
    pub free: u64,
    /// What the firmware called memory.
    pub given: u64,
}

impl MemoryUse {
    /// Reads the answer to `show memory`.
    ///
    /// # Errors
    /// When a sum is missing, or the rows do not add up.
    pub fn read(shown: &str) -> Result<Self> {
        let lines = shown.lines().filter_map(|line| line.trim_end().strip_suffix(" KiB"));
        let mut rows: Vec<(String, u64)> = lines
            .filter_map(|line| line.trim_end().rsplit_once(' '))
            .filter_map(|(what, number)| Some((what.trim().to_owned(), number.parse().ok()?)))
            .collect();
        let mut sum = |name: &str| {
            let place =
                rows.iter().position(|(what, _)| what == name).with_context(|| format!("no {name}: {shown}"))?;
            Ok::<u64, anyhow::Error>(rows.remove(place).1)
        };
        let (used, free, given) = (sum("used")?, sum("free")?, sum("memory")?);
        let total: u64 = rows.iter().map(|(_, kib)| kib).sum();
        ensure!(total == used && used + free == given, "the rows do not add up: {shown}");
        Ok(Self { rows, used, free, given })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_of_a_boot_are_read_from_the_console() {
        let mut shown = String::from("[14/14] running\n");
        assert_eq!(BootTimes::read(&shown), None);
        shown += "[    0.098553] boot: firmware and boot loader took 3578000 us before the kernel was entered\r\n";
        shown += "[    0.098622] boot: ready to forward after 98438 us\r\n";
        let ready = BootTimes { before: Some(3_578_000), ready: 98_438, first_packet: None };
        assert_eq!(BootTimes::read(&shown), Some(ready));
        shown += "[    1.2] boot: first packet forwarded after 1099001 us\r\n";
        assert_eq!(BootTimes::read(&shown), Some(BootTimes { first_packet: Some(1_099_001), ..ready }));
    }

    const SHOWN: &str = "kernel and tables    3000 KiB\nheap, reserved    1536 KiB\nused   4536 KiB\nfree  60000 KiB\n\
                         memory 64536 KiB\nheap: 7 used\n";

    #[test]
    fn a_table_of_memory_adds_up_or_is_an_error() {
        let read = MemoryUse::read(SHOWN).unwrap();
        assert_eq!((read.used, read.free, read.given), (4536, 60_000, 64_536));
        assert_eq!(read.rows, [("kernel and tables".to_owned(), 3000), ("heap, reserved".to_owned(), 1536)]);
        assert!(MemoryUse::read(&SHOWN.replace("3000", "3004")).is_err());
        assert!(MemoryUse::read(&SHOWN.replace("60000", "60004")).is_err());
        assert!(MemoryUse::read(&SHOWN.replace("memory", "total")).is_err());
    }
}
