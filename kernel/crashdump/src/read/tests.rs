//! What the reader promises of logs as they really are.

use core::fmt::Write;
use std::{format, string::String, vec, vec::Vec};

use super::{Content, Dump, Reader};
use crate::Encoder;

const LONG: usize = 400;

/// A dump of ten lines: 0 begin, 1 section, 2 to 4 text (the last goes on in 5 and 6), 7 section, 8 text, 9 end.
fn dump(id: u16) -> String {
    let mut out = String::new();
    let mut encoder = Encoder::new(&mut out, id);
    encoder.begin(&[0xAA], 0x1000, 7, format_args!("panic: why"));
    encoder.section("registers");
    write!(encoder, "rip 1\nrip 2\n{}\n", "x".repeat(LONG)).unwrap();
    encoder.section("threads");
    writeln!(encoder, "idle").unwrap();
    assert_eq!(encoder.end(), Ok(10));
    out
}

fn read(logs: &[&str]) -> Dump {
    let mut reader = Reader::new();
    logs.iter().for_each(|log| reader.read("log", log));
    reader.dumps().pop().expect("there is a dump")
}

fn without(text: &str, lines: &[usize]) -> String {
    let kept = text.lines().enumerate().filter(|(index, _)| !lines.contains(index));
    kept.map(|(_, line)| format!("{line}\r\n")).collect()
}

#[test]
fn a_whole_dump_is_put_together() {
    let dump = read(&[&dump(0x7f3a)]);
    assert!(dump.is_complete(), "{dump:?}");
    assert_eq!((dump.id, dump.total, dump.found, dump.repeated), (0x7f3a, Some(10), 10, 0));
    assert_eq!(dump.commands(), Vec::<String>::new());
    assert_eq!(dump.begin.as_ref().map(|begin| begin.reason.as_str()), Some("panic: why"));
    let names: Vec<_> = dump.sections.iter().map(|section| section.name.as_str()).collect();
    assert_eq!(names, ["registers", "threads"]);
    let long = Content::Text("x".repeat(LONG));
    assert_eq!(dump.section("registers").unwrap().content[2], long);
}

#[test]
fn other_output_before_between_and_behind_does_no_harm() {
    let noisy: String = dump(1).lines().map(|line| format!("r1> {line} and more\r\nem0: link up, 100 %\r\n")).collect();
    let dump = read(&[&noisy]);
    assert!(dump.is_complete() && dump.damaged.is_empty(), "{dump:?}");
}

#[test]
fn missing_lines_are_named_with_the_command_that_sends_them_again() {
    let dump = read(&[&without(&dump(1), &[0, 3, 4, 9])]);
    assert!(!dump.is_complete());
    assert_eq!(dump.missing, [0..=0, 3..=4]);
    assert_eq!(dump.commands(), ["dump 0 0", "dump 3 4", "dump 9"]);
    // The rest of the long line is not glued to what stands before the gap.
    let text = |text: &str| Content::Text(text.into());
    let content = &dump.section("registers").unwrap().content;
    assert_eq!(content[..2], [text("rip 1"), Content::Missing(3..=4)]);
    assert_eq!(content.len(), 3);
}

#[test]
fn a_damaged_line_is_named_by_place_and_number() {
    let dump = read(&[&dump(1).replace("rip 2", "rip 3")]);
    assert_eq!(dump.missing, [3..=3]);
    let [damage] = &dump.damaged[..] else { panic!("{dump:?}") };
    assert_eq!((damage.place.as_str(), damage.number), ("log:4", Some(3)));
    assert!(damage.text.contains("rip 3"), "{damage:?}");
}

#[test]
fn a_second_log_repairs_the_first() {
    let (whole, other) = (dump(1), dump(2));
    let damaged = whole.replace("rip 2", "r#p 2");
    let again: String = whole.lines().skip(2).take(3).map(|line| format!("{line}\n")).collect();
    let mut reader = Reader::new();
    reader.read("first", &format!("{other}{damaged}"));
    reader.read("second", &again);
    let dumps = reader.dumps();
    let complete: Vec<_> = dumps.iter().map(Dump::is_complete).collect();
    assert_eq!(complete, [true, true]);
    assert_eq!((dumps[1].repeated, dumps[1].damaged.len(), dumps[0].damaged.len()), (2, 1, 0));
}

#[test]
fn two_texts_of_one_number_are_a_contradiction_and_no_dump() {
    let mut other = String::new();
    let mut encoder = Encoder::new(&mut other, 1);
    encoder.begin(&[], 0, 8, format_args!("another run"));
    let dump = read(&[&dump(1), &other]);
    assert_eq!(dump.contradictions, [0]);
    assert!(!dump.is_complete());
    assert_eq!(dump.begin.map(|begin| begin.uptime), Some(7), "the first is taken");
}

#[test]
fn lines_behind_the_last_line_are_no_complete_dump() {
    let mut longer = String::new();
    let mut encoder = Encoder::with_range(&mut longer, 1, 12, 12);
    (0..20).for_each(|_| writeln!(encoder, "more").unwrap());
    let dump = read(&[&dump(1), &longer]);
    assert!(!dump.is_complete());
    assert_eq!((dump.missing, dump.total), (vec![10..=11], None));
}

#[test]
fn a_log_without_a_dump_has_none() {
    let mut reader = Reader::new();
    reader.read("log", "nothing here\n100 %Done\n");
    assert!(reader.dumps().is_empty());
    assert_eq!(reader.damaged().len(), 1);
}
