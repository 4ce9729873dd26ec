//! A shutdown as the console shows it: [`Shutdown`]. The one place on the host that reads these lines.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use ktest::console::{HALTED, PANIC, POWERING_OFF, REBOOTING, SHUTDOWN, SHUTDOWN_STAGES};

/// Stands in the first line alone, before the time that everything has to be over in.
const REQUESTED: &str = " devices, ends within ";

/// How the machine ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It stays on, stopped.
    Halt,
    /// It starts again.
    Reboot,
    /// The power goes.
    PowerOff,
}

impl Ending {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Halt, Self::Reboot, Self::PowerOff];

    /// Returns the command that asks for it.
    #[must_use]
    pub const fn command(self) -> &'static str {
        match self {
            Self::Halt => "halt",
            Self::Reboot => "reboot",
            Self::PowerOff => "poweroff",
        }
    }

    /// Returns the last line that the console shows.
    #[must_use]
    pub const fn last_line(self) -> &'static str {
        match self {
            Self::Halt => HALTED,
            Self::Reboot => REBOOTING,
            Self::PowerOff => POWERING_OFF,
        }
    }
}

/// How a stage of the ladder went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Its name, such as `drain`.
    pub name: String,
    /// The word it ended with: `done`, or what else.
    pub word: String,
}

/// The audit's line: where every frame went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Equation {
    /// Frames received.
    pub received: u64,
    /// Of these, the ones sent on.
    pub forwarded: u64,
    /// Of the router's own packets, the ones sent.
    pub sent: u64,
    /// What came or was made, minus what ended.
    pub unexplained: i64,
}

/// What a card itself counted, beside what its driver did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Frames the card put on the wire.
    pub sent: u64,
    /// Frames received, and frames sent, that card and driver do not agree about.
    pub differences: [i64; 2],
}

/// What the console has shown of one shutdown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shutdown {
    /// The stages, in their order.
    pub stages: Vec<Stage>,
    /// All other lines of the sequencer, without their beginning.
    pub remarks: Vec<String>,
    /// Tags, maps and memories that were left when everything was torn down; nothing when it was not.
    pub residue: Option<[u64; 3]>,
    /// Packets that were held for address resolution and flushed.
    pub held: u64,
    /// Where every frame went.
    pub equation: Option<Equation>,
    /// What the cards themselves counted, in their order.
    pub ledgers: Vec<Ledger>,
    /// Interrupts that nobody claimed.
    pub strays: Option<u64>,
    /// Whether every stage was passed by every device, if the sequencer got as far as to say so.
    pub is_clean: Option<bool>,
    /// The time in which it was to end, whatever happens.
    pub bound: Duration,
    /// How long it took by the guest's own clock.
    pub took: Duration,
    /// How the machine ended.
    pub ending: Option<Ending>,
    /// Whether the kernel panicked.
    pub panicked: bool,
}

impl Shutdown {
    /// Reads the last shutdown that a transcript shows.
    ///
    /// # Errors
    /// When it shows none, or a number is not where it should be.
    pub fn parse(transcript: &str) -> Result<Self> {
        let start = transcript.rfind(REQUESTED).and_then(|at| transcript.get(..at)?.rfind(SHUTDOWN));
        let start = start.and_then(|start| transcript.get(start..));
        let Some(text) = start else { bail!("no shutdown was announced:\n{transcript}") };
        let mut shutdown = Self { panicked: transcript.contains(PANIC), ..Self::default() };
        for line in text.lines() {
            shutdown.read(line).with_context(|| format!("in the line {line:?}"))?;
        }
        Ok(shutdown)
    }

    fn read(&mut self, line: &str) -> Result<()> {
        let is_last = |ending: &&Ending| line.contains(ending.last_line());
        self.ending = Ending::ALL.iter().find(is_last).copied().or(self.ending);
        let Some((_, said)) = line.split_once(SHUTDOWN) else { return Ok(()) };
        let stage = said.split_once("...").filter(|(name, _)| SHUTDOWN_STAGES.contains(name));
        if let Some((name, rest)) = stage {
            let word = rest.split_once(" (").map_or(rest, |(word, _)| word);
            self.stages.push(Stage { name: name.to_owned(), word: word.to_owned() });
        } else if let Some(equation) = said.strip_prefix("audit: total: ") {
            self.equation = Some(Equation::parse(equation)?);
        } else if let Some((_, ledger)) = said.strip_prefix("ledger: ").and_then(|ledger| ledger.split_once(": ")) {
            self.ledgers.push(Ledger::parse(ledger)?);
        } else if let Some(count) = said.strip_prefix("stray interrupts ") {
            self.strays = Some(count.trim().parse()?);
        } else if let Some((verdict @ ("clean" | "forced"), rest)) = said.split_once(", ") {
            self.is_clean = Some(verdict == "clean");
            self.took = Duration::from_micros(rest.trim().trim_end_matches(" us").parse()?);
        } else {
            self.read_remark(said)?;
        }
        Ok(())
    }

    fn read_remark(&mut self, said: &str) -> Result<()> {
        if said.contains(REQUESTED) {
            self.bound = Duration::from_secs(number_after(said, REQUESTED)?);
        }
        if said.contains(" memories") && self.residue.is_none() {
            let count = |what| number_before(said, what);
            self.residue = Some([count(" tags")?, count(" maps")?, count(" memories")?]);
        }
        if said.contains(" held for ARP") {
            self.held += number_before(said, " held for ARP")?;
        }
        self.remarks.push(said.trim().to_owned());
        Ok(())
    }

    /// Makes sure that the ladder was walked as it should be: every stage in order and passed by every device, nothing left,
    /// nothing unexplained, no interrupt that nobody claimed, no panic.
    ///
    /// # Errors
    /// With what was not so.
    pub fn check_clean(&self) -> Result<()> {
        ensure!(!self.panicked, "the kernel panicked");
        let names: Vec<&str> = self.stages.iter().map(|stage| stage.name.as_str()).collect();
        ensure!(names == SHUTDOWN_STAGES, "the stages were {names:?}");
        for stage in &self.stages {
            ensure!(stage.word == "done", "{} ended with {:?}: {:?}", stage.name, stage.word, self.remarks);
        }
        ensure!(self.residue == Some([0; 3]), "tags, maps and memories left: {:?}", self.residue);
        ensure!(self.is_clean == Some(true), "it was not clean: {:?}", self.remarks);
        ensure!(self.strays == Some(0), "stray interrupts: {:?}", self.strays);
        let is_out = |remark: &&String| remark.starts_with("packet pool") && !remark.ends_with(" + 0 out");
        ensure!(!self.remarks.iter().any(|remark| is_out(&remark)), "packet buffers are not home: {:?}", self.remarks);
        self.check_end()
    }

    /// Makes sure that the ladder was walked to its end by force, that somebody said why of `culprit`, and that every frame
    /// has its place even so.
    ///
    /// # Errors
    /// With what was not so.
    pub fn check_forced(&self, culprit: &str) -> Result<()> {
        ensure!(!self.panicked, "the kernel panicked");
        ensure!(self.is_clean == Some(false), "it was clean, though {culprit} was to fail");
        // Such a remark begins with the stage that the culprit failed.
        let names = |remark: &String| {
            let failed = remark.split_once(": ").filter(|(stage, _)| SHUTDOWN_STAGES.contains(stage));
            failed.is_some_and(|(_, said)| said.contains(culprit))
        };
        ensure!(self.remarks.iter().any(names), "nobody names {culprit}: {:?}", self.remarks);
        self.check_end()
    }

    /// What holds for every shutdown: nothing unexplained, and over in time.
    fn check_end(&self) -> Result<()> {
        ensure!(self.took <= self.bound, "it was to end within {:?} and took {:?}", self.bound, self.took);
        let equation = self.equation.context("there is no equation")?;
        ensure!(equation.unexplained == 0, "frames are unexplained: {equation:?}");
        Ok(())
    }
}

impl Equation {
    fn parse(text: &str) -> Result<Self> {
        let [received, forwarded, sent] = ["received ", "forwarded ", "sent "].map(|what| number_after(text, what));
        Ok(Self {
            received: received?,
            forwarded: forwarded?,
            sent: sent?,
            unexplained: number_after(text, "unexplained ")?,
        })
    }
}

impl Ledger {
    fn parse(text: &str) -> Result<Self> {
        let differences = [number_after(text, "difference ")?, number_after(text, " and ")?];
        Ok(Self { sent: number_after(text, "device sent ")?, differences })
    }
}

/// Returns the number after the first `what`.
fn number_after<N: std::str::FromStr<Err = std::num::ParseIntError>>(text: &str, what: &str) -> Result<N> {
    let (_, rest) = text.split_once(what).with_context(|| format!("no {what:?}"))?;
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '-').unwrap_or(rest.len());
    rest.get(..end).unwrap_or_default().parse().with_context(|| format!("no number after {what:?}"))
}

/// Returns the number before the first `what`.
fn number_before(text: &str, what: &str) -> Result<u64> {
    let (before, _) = text.split_once(what).with_context(|| format!("no {what:?}"))?;
    let start = before.rfind(|c: char| !c.is_ascii_digit()).map_or(0, |index| index + 1);
    before.get(start..).unwrap_or_default().parse().with_context(|| format!("no number before {what:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLEAN: &str = "\
shutdown: poweroff requested by a command, 2 devices, ends within 51 seconds
shutdown: claim...done (1 us)
shutdown: announce...done (1 us)
shutdown: close ingress...done (2 us)
shutdown: drain: dropped 3 held for ARP, 1 in netisr queues
shutdown: drain...done (2 us)
shutdown: mask interrupts...done (2 us)
Waiting (max 10 seconds) for system thread `irq11: em0' to stop... done
shutdown: join threads...done (2 us)
shutdown: stop DMA...done (2 us)
shutdown: tear down DMA: 0 tags, 0 maps, 0 memories
shutdown: tear down DMA...done (2 us)
shutdown: bus mastering off...done (2 us)
shutdown: 1 other CPUs parked
shutdown: park CPUs...done (2 us)
shutdown: stray interrupts 0
shutdown: audit: em0: received 8 = forwarded 4 + delivered 1 + no-route 3; unexplained 0
shutdown: ledger: em0: device received 8 = handed up 8 + refused 0 + left in ring 0, missed 0; device sent 9 = accepted 9 \
- unsent 0; difference 0 and 0
shutdown: audit: total: received 8 = forwarded 4 + delivered 1 + no-route 3; own 7 = sent 6 + delivered 1; unexplained 0
shutdown: exit...done (2 us)
shutdown: clean, 20 us
Uptime: 1s
Powering off...
";

    #[test]
    fn a_clean_shutdown_is_read_and_taken_for_one() {
        let shutdown = Shutdown::parse(CLEAN).unwrap();
        shutdown.check_clean().unwrap();
        assert_eq!(shutdown.ending, Some(Ending::PowerOff));
        assert_eq!((shutdown.held, shutdown.took), (3, Duration::from_micros(20)));
        assert_eq!(shutdown.equation, Some(Equation { received: 8, forwarded: 4, sent: 6, unexplained: 0 }));
        assert_eq!(shutdown.ledgers, [Ledger { sent: 9, differences: [0, 0] }]);
    }

    #[test]
    fn each_stage_and_each_promise_counts() {
        let optional = ["held for", "Waiting", "other CPUs", ": em0: ", "Uptime", "Powering"];
        for line in CLEAN.lines().filter(|line| !optional.iter().any(|part| line.contains(part))) {
            let without = CLEAN.replace(&format!("{line}\n"), "");
            assert!(Shutdown::parse(&without).and_then(|shutdown| shutdown.check_clean()).is_err(), "{line}");
        }
        let changes = [
            ("drain...done", "drain...forced"),
            (" 0 maps", " 3 maps"),
            ("unexplained 0", "unexplained -1"),
            ("clean", "forced"),
            ("clean, ", "clean, 99999999"),
            ("interrupts 0", "interrupts 1"),
            ("Uptime: ", PANIC),
        ];
        for (from, to) in changes {
            let shutdown = Shutdown::parse(&CLEAN.replace(from, to)).unwrap();
            assert!(shutdown.check_clean().is_err(), "{to}");
        }
    }

    #[test]
    fn stages_out_of_order_are_no_clean_shutdown() {
        let mut lines: Vec<&str> = CLEAN.lines().collect();
        lines.swap(2, 3);
        assert!(Shutdown::parse(&lines.join("\n")).unwrap().check_clean().is_err());
    }

    #[test]
    fn the_last_of_several_shutdowns_counts_and_what_stands_before_a_line_does_not() {
        let earlier = CLEAN.replace("unexplained 0", "unexplained 5").replace("Powering off", "Rebooting");
        let text = format!("{earlier}booting\nr1> {CLEAN}");
        Shutdown::parse(&text).unwrap().check_clean().unwrap();
        assert!(Shutdown::parse("r1> reboot\n").is_err());
    }

    #[test]
    fn a_forced_shutdown_names_its_culprit_and_still_explains_every_frame() {
        let text = CLEAN
            .replace(
                "join threads...done",
                "join threads: em1 does not acknowledge its end\nshutdown: join threads...forced",
            )
            .replace("shutdown: tear down DMA: 0 tags, 0 maps, 0 memories\n", "")
            .replace("tear down DMA...done", "tear down DMA...quarantined: nothing freed")
            .replace("clean", "forced");
        let shutdown = Shutdown::parse(&text).unwrap();
        shutdown.check_forced("em1").unwrap();
        assert!(shutdown.check_forced("em0").is_err() && shutdown.check_clean().is_err());
        assert!(Shutdown::parse(CLEAN).unwrap().check_forced("em1").is_err());
        let unexplained = text.replace("unexplained 0", "unexplained 2");
        assert!(Shutdown::parse(&unexplained).unwrap().check_forced("em1").is_err());
    }
}
