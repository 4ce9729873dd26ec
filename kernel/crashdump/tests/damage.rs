//! Properties of the format: what goes in comes out, and no damage passes for content.

use std::fmt::Write;

use crashdump::{Dump, Encoder, Reader};
use proptest::prelude::*;

fn encode(reason: &str, sections: &[(String, String)]) -> String {
    let mut out = String::new();
    let mut encoder = Encoder::new(&mut out, 0x7f3a);
    encoder.begin(&[1, 2, 3], 0xFFFF_8000_0000_0000, 12, format_args!("{reason}"));
    for (name, text) in sections {
        encoder.section(name);
        let _ = encoder.write_str(text);
    }
    let lines = encoder.end().expect("a string takes everything");
    assert_eq!(lines as usize, out.lines().count());
    out
}

fn read(log: &str) -> Option<Dump> {
    let mut reader = Reader::new();
    reader.read("log", log);
    reader.dumps().into_iter().find(|dump| dump.id == 0x7f3a)
}

fn sections() -> impl Strategy<Value = Vec<(String, String)>> {
    prop::collection::vec(("[a-z]{1,12}", "(\\PC|[\n\t %=\\\\]){0,400}"), 0..5)
}

proptest! {
    #[test]
    fn what_was_written_is_read(reason in "\\PC{0,300}", sections in sections()) {
        let dump = read(&encode(&reason, &sections)).expect("there is a dump");
        prop_assert!(dump.is_complete());
        prop_assert_eq!(&dump.begin.as_ref().expect("it has a beginning").reason, &reason);
        let found: Vec<(String, String)> = dump.sections.iter().map(|section| {
            let text = section.content.iter().map(|content| match content {
                crashdump::Content::Text(line) => format!("{line}\n"),
                crashdump::Content::Missing(_) => unreachable!("it is complete"),
            });
            (section.name.clone(), text.collect())
        }).collect();
        let written: Vec<(String, String)> = sections.iter().map(|(name, text)| {
            let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
            (name.clone(), format!("{text}{end}"))
        }).collect();
        prop_assert_eq!(found, written);
    }

    /// Either the damage shows, or it hit nothing that matters (a line break, say).
    #[test]
    fn a_corrupted_octet_never_passes_for_content(sections in sections(), at: prop::sample::Index, new: u8) {
        let good = encode("why", &sections);
        let whole = read(&good).expect("there is a dump");
        let mut octets = good.clone().into_bytes();
        let at = at.index(octets.len());
        octets[at] = new;
        match read(&String::from_utf8_lossy(&octets)) {
            Some(dump) if dump.is_complete() => prop_assert_eq!(dump.sections, whole.sections),
            Some(dump) => prop_assert!(!dump.commands().is_empty()),
            None => prop_assert!(good.lines().count() <= 2),
        }
    }

    /// What the reader says is missing is what makes the dump whole.
    #[test]
    fn the_commands_it_names_repair_any_loss(sections in sections(), lost: Vec<bool>) {
        let good = encode("why", &sections);
        let lines: Vec<&str> = good.lines().collect();
        let kept: String = lines.iter().enumerate()
            .filter(|(index, _)| !lost.get(*index).copied().unwrap_or(false))
            .map(|(_, line)| format!("{line}\n")).collect();
        let Some(dump) = read(&kept) else { return Ok(()) };
        let mut log = kept.clone();
        for command in dump.commands() {
            let mut words = command.split(' ').skip(1).map(|word| word.parse::<usize>().expect("a number"));
            let first = words.next().expect("it says from where");
            let last = words.next().unwrap_or(lines.len() - 1);
            prop_assert!(first <= last && last < lines.len(), "{}", command);
            lines[first..=last].iter().for_each(|line| log.push_str(&format!("{line}\n")));
        }
        let repaired = read(&log).expect("there is a dump");
        prop_assert!(repaired.is_complete());
        prop_assert_eq!(repaired.repeated, 0, "nothing is sent twice");
    }

    #[test]
    fn any_input_is_read_without_a_panic(text in "(\\PC|\n|%D|%D7f3a |[0-9a-f]{1,8}| =|[ESB.+]){0,300}") {
        let mut reader = Reader::new();
        reader.read("log", &text);
        let _ = reader.dumps();
    }

    /// Lines with a right checksum and any content: a hostile log.
    #[test]
    fn any_checked_lines_are_read_without_a_panic(lines in prop::collection::vec(("0001|ffff", any::<u32>(), "\\PC{0,40}"), 0..20)) {
        let mut log = String::new();
        for (dump, number, text) in lines {
            let body = format!("{dump} {number} {text}");
            let _ = writeln!(log, "%D{body} ={:08x}", crc32fast::hash(body.as_bytes()));
        }
        let mut reader = Reader::new();
        reader.read("log", &log);
        reader.dumps().iter().for_each(|dump| drop(dump.commands()));
    }
}
