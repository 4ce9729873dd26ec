//! A crash dump made readable: [`report`] of what `crashdump` put together, with names for addresses.
//!
//! Backtraces become one line a frame, with names of functions and source lines. All else is shown as the kernel wrote it.

mod symbols;

use std::fmt::{self, Write as _};

use crashdump::{
    Begin, Content, Dump, Section,
    trace::{self, Step},
};

pub use symbols::Symbols;

/// Tells what the code at an address in the kernel file is, or the call that returns there: `function+0x10 (file:line)`.
pub type Names<'a> = &'a dyn Fn(u64, bool) -> Option<String>;

/// Returns the whole dump as people read it. `symbols` says where the names come from, or why there are none.
#[must_use]
pub fn report(dump: &Dump, names: Names<'_>, symbols: &str) -> String {
    let mut text = String::new();
    // A string takes everything.
    let _ = head(dump, symbols, &mut text);
    for section in &dump.sections {
        let _ = write!(text, "\n{}\n{}\n", section.name, "-".repeat(section.name.len()));
        text.push_str(&self::section(section, names));
    }
    text
}

/// Returns one section as people read it, without its title.
#[must_use]
pub fn section(section: &Section, names: Names<'_>) -> String {
    section.content.iter().map(|content| content_lines(content, names)).collect()
}

/// Returns what is wrong with a dump, one line each; nothing if it is complete and came through undamaged.
#[must_use]
pub fn complaints(dump: &Dump) -> Vec<String> {
    let damaged = dump.damaged.iter().map(|damage| {
        let number = damage.number.map_or("a line".to_owned(), |number| format!("line {number}"));
        let repaired = damage.number.is_some_and(|number| dump.has(number));
        let repaired = if repaired { " (repaired by another copy)" } else { "" };
        format!("{}: {number} is damaged{repaired}: {:?}", damage.place, shortened(&damage.text))
    });
    let contradictions =
        dump.contradictions.iter().map(|number| format!("line {number} comes with two different texts"));
    let gaps = dump.missing.iter().map(|gap| format!("{} missing", lines(*gap.start(), *gap.end())));
    let end = dump.total.is_none().then(|| "the end is missing".to_owned());
    let commands = dump.commands();
    let help = (!commands.is_empty())
        .then(|| format!("to have it sent again, on the router's console or in its debugger: {}", commands.join("; ")));
    damaged.chain(contradictions).chain(gaps).chain(end).chain(help).collect()
}

fn lines(first: u32, last: u32) -> String {
    if first == last { format!("line {first} is") } else { format!("lines {first} to {last} are") }
}

/// A damaged line may be anything and of any length.
fn shortened(text: &str) -> String {
    const LONGEST: usize = 60;
    let end = text.floor_char_boundary(LONGEST);
    if end < text.len() { format!("{}...", &text[..end]) } else { text.to_owned() }
}

fn head(dump: &Dump, symbols: &str, out: &mut String) -> fmt::Result {
    let unknown = Begin { reason: "(the first line is missing)".into(), ..Begin::default() };
    let begin = dump.begin.as_ref().unwrap_or(&unknown);
    writeln!(out, "Sluice crash dump {:04x}", dump.id)?;
    writeln!(out, "reason:  {}", begin.reason)?;
    let build = if begin.build.is_empty() { "unknown" } else { &begin.build };
    writeln!(out, "build:   {build}, image at {:#x}", begin.image_offset)?;
    let seconds = begin.uptime / 1_000_000;
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    writeln!(out, "uptime:  {hours}h{minutes}m{}.{:06}s", seconds % 60, begin.uptime % 1_000_000)?;
    let state = if dump.is_complete() { "complete" } else { "INCOMPLETE" };
    let again = if dump.repeated == 0 { String::new() } else { format!(", {} sent again", dump.repeated) };
    writeln!(out, "lines:   {}, {state}{again}", dump.found)?;
    writeln!(out, "symbols: {symbols}")
}

fn content_lines(content: &Content, names: Names<'_>) -> String {
    match content {
        Content::Missing(gap) => format!("[{} missing]\n", lines(*gap.start(), *gap.end())),
        Content::Text(line) => match trace::parse(line) {
            Some(steps) => frames(steps, names),
            None => format!("{line}\n"),
        },
    }
}

/// One line a frame, numbered from the innermost: the name of the code, or the address as it was written.
fn frames(steps: impl Iterator<Item = (Step, bool)>, names: Names<'_>) -> String {
    let (mut text, mut number) = (String::new(), 0);
    for (step, is_call) in steps {
        let _ = match step {
            Step::Trap(vector) => {
                let _ = writeln!(text, "    --- trap, vector {vector} ---");
                continue;
            }
            Step::Kernel(address) => match names(address, is_call) {
                Some(name) => writeln!(text, "    #{number} {step} at {name}"),
                None => writeln!(text, "    #{number} {step}"),
            },
            Step::Elsewhere(_) => writeln!(text, "    #{number} {step}"),
        };
        number += 1;
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use crashdump::{Encoder, Reader};

    use super::*;

    fn log() -> String {
        let mut out = String::new();
        let mut encoder = Encoder::new(&mut out, 0x7f3a);
        encoder.begin(&[0xAB, 0xCD], 0xFFFF_8000_0000_0000, 65_000_123, format_args!("panic: the answer is 42"));
        encoder.section("registers");
        write!(encoder, "cpu 0 in 12 (console)\nrip 0xffff800000001234\n@ 1234 2000 !e 2000 0x10\n").unwrap();
        encoder.section("messages");
        writeln!(encoder, "hello").unwrap();
        encoder.end().unwrap();
        out
    }

    fn dump(log: &str) -> Dump {
        let mut reader = Reader::new();
        reader.read("a.log", log);
        reader.dumps().remove(0)
    }

    fn names(address: u64, is_call: bool) -> Option<String> {
        let asked = address - u64::from(is_call);
        (0x1000..0x2000).contains(&asked).then(|| format!("f+{:#x} (a.rs:7)", address - 0x1000))
    }

    #[test]
    fn a_report_reads_as_people_expect() {
        let expected = "\
Sluice crash dump 7f3a
reason:  panic: the answer is 42
build:   abcd, image at 0xffff800000000000
uptime:  0h1m5.000123s
lines:   8, complete
symbols: of this very build

registers
---------
cpu 0 in 12 (console)
rip 0xffff800000001234
    #0 1234 at f+0x234 (a.rs:7)
    #1 2000 at f+0x1000 (a.rs:7)
    --- trap, vector 14 ---
    #2 2000
    #3 0x10

messages
--------
hello
";
        assert_eq!(report(&dump(&log()), &names, "of this very build"), expected);
        assert_eq!(complaints(&dump(&log())), Vec::<String>::new());
    }

    #[test]
    fn what_is_wrong_is_said_with_the_way_to_repair_it() {
        let log = log();
        let lines: Vec<&str> = log.lines().collect();
        let damaged = [lines[0], lines[1], &lines[2].replace("cpu", "c%u"), lines[5], lines[6]].join("\n");
        let dump = dump(&damaged);
        assert_eq!(
            complaints(&dump),
            [
                "a.log:3: line 2 is damaged: \"7f3a 2 .c%u 0 in 12 (console) =",
                "lines 2 to 4 are missing",
                "the end is missing",
                "to have it sent again, on the router's console or in its debugger: dump 2 4; dump 7",
            ]
            .map(|start| complaints(&dump).into_iter().find(|line| line.starts_with(start)).unwrap_or(start.into()))
        );
        let report = report(&dump, &names, "none");
        assert!(report.contains("lines:   4, INCOMPLETE"), "{report}");
        assert!(report.contains("[lines 2 to 4 are missing]"), "{report}");
    }

    #[test]
    fn damage_that_another_copy_repaired_is_said_but_costs_nothing() {
        let log = log();
        let both = format!("{}{log}", log.replace("hello", "hallo"));
        let dump = dump(&both);
        assert!(dump.is_complete());
        let said = complaints(&dump);
        assert!(said.len() == 1 && said[0].contains("line 6 is damaged (repaired by another copy)"), "{said:?}");
    }
}
