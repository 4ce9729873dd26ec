//! Memory that survives a warm reset, over four runs of one machine: write, read, damage, refuse.

use core::fmt::Write;

use machine::{
    boot::BootRecord,
    console, paging, platform, pstore,
    pstore::{Kind, Record},
    reset,
};

use crate::harness::{self, Outcome};

/// Lines of the second run's dump: as much as a crash writes.
const LINES: usize = 1500;

/// What a run is, told by what the one before left.
pub(crate) fn run(record: &'static BootRecord) -> ! {
    if let Err(error) = platform::bring_up(record) {
        panic!("the platform could not be brought up: {error:?}");
    }
    match pstore::previous().transcript.map(|transcript| transcript.text) {
        None => first(),
        Some("run 1\nended\n") => second(),
        Some("run 2\n") => third(),
        Some("run 3\n") => harness::run(&[tests![a_damaged_record_is_refused_and_the_other_is_not]]),
        Some(other) => panic!("nobody wrote {other:?}"),
    }
}

fn transcript(text: &str) {
    let mut out = pstore::writer(Kind::Transcript);
    assert_eq!(out.write_str(text), Ok(()), "a short text fits");
    out.finish();
}

fn restart() -> ! {
    log::info!("restarting");
    console::flush();
    reset::restart()
}

/// A cold start: nothing is there. Leaves a record in two pieces by two writers, and one that is cut in the middle of a line.
fn first() -> ! {
    assert_eq!(*pstore::previous(), pstore::Previous::default(), "something survived a cold start");
    let mut old = pstore::writer(Kind::Transcript);
    assert_eq!(old.write_str("run 1\n"), Ok(()));
    let mut new = pstore::writer(Kind::Transcript);
    assert_eq!(old.write_str("the older writer is silent\n"), Ok(()));
    assert_eq!(new.write_str("ended\n"), Ok(()));
    new.finish();
    assert_eq!(pstore::writer(Kind::Dump).write_str("whole line\nhalf a li"), Ok(()));
    restart()
}

/// Finds both records; leaves a long dump.
fn second() -> ! {
    let run = pstore::run().unwrap_or_default() - 1;
    let transcript_before = Record { text: "run 1\nended\n", cut: false, run };
    assert_eq!(pstore::previous().transcript, Some(transcript_before));
    assert_eq!(pstore::previous().dump, Some(Record { text: "whole line\n", cut: true, run }));
    transcript("run 2\n");
    let mut out = pstore::writer(Kind::Dump);
    for number in 0..LINES {
        assert_eq!(writeln!(out, "{}", Line(number)), Ok(()), "line {number} does not fit");
    }
    out.finish();
    restart()
}

/// A line of about the length that a dump's lines have.
struct Line(usize);

impl core::fmt::Display for Line {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "line {:04} {:016x} and some more text, as dumps have", self.0, self.0 * 0x9E37_79B9)
    }
}

/// Finds the long dump, whole; leaves a dump with one bit flipped.
fn third() -> ! {
    let Some(dump) = pstore::previous().dump else { panic!("the dump is gone") };
    assert!(!dump.cut && dump.text.lines().count() == LINES, "{} lines of the dump", dump.text.lines().count());
    for (number, line) in dump.text.lines().enumerate() {
        assert_eq!(line, alloc::format!("{}", Line(number)));
    }
    transcript("run 3\n");
    let mut out = pstore::writer(Kind::Dump);
    assert_eq!(out.write_str("the octet to be damaged is here: @\n"), Ok(()));
    out.finish();
    damage(b"here: @");
    restart()
}

/// Flips a bit of the octet at the end of `text`, where it stands in the kept memory.
fn damage(text: &[u8]) {
    let Some(range) = pstore::range() else { panic!("nothing is kept") };
    let start = core::ptr::with_exposed_provenance_mut((paging::PHYSICAL_BASE + range.start) as usize);
    let len = (range.end - range.start) as usize;
    // SAFETY: memory inside the physical mapping; its owner writes it only when this processor asks it to.
    let octets: &mut [u8] = unsafe { core::slice::from_raw_parts_mut(start, len) };
    let Some(at) = octets.windows(text.len()).position(|window| window == text) else {
        panic!("the text is not there")
    };
    octets[at + text.len() - 1] ^= 1;
}

fn a_damaged_record_is_refused_and_the_other_is_not() -> Outcome {
    let previous = pstore::previous();
    ensure!(previous.dump.is_none(), "{:?}", previous.dump);
    ensure!(previous.transcript.is_some_and(|transcript| !transcript.cut), "{:?}", previous.transcript);
    Ok(())
}
