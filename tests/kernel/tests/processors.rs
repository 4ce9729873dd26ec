//! Several processors on every board and after either firmware: 1, 2, 4, 8 and 16 of them.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
};

use kernel_tests::{Report, machine, passes};
use sluice::machine::{Board, Firmware};

/// Lines that each processor of the guest writes.
const LINES: u32 = 200;

/// From this number on a boot has the host for itself, so that it does not starve the others of this program.
const MANY: u32 = 8;
static HOST: RwLock<()> = RwLock::new(());

/// Boots so many processors, lets the guest test them, and checks what it cannot see itself: that the number is right, the
/// boot stages are complete, and every line they wrote is there and whole.
fn boot_processors(board: Board, firmware: Firmware, processors: u32) {
    let alone = (processors >= MANY).then(|| HOST.write().unwrap_or_else(PoisonError::into_inner));
    let shared = (processors < MANY).then(|| HOST.read().unwrap_or_else(PoisonError::into_inner));
    let report = passes("processors", &machine(board, firmware, processors));
    drop((alone, shared));
    report.shows(&[&format!("smp: {processors} processors, 0 left out")]);
    check_stages(&report);
    check_lines(&report, processors);
}

/// Every stage `[ n/ m]` is announced, in order, up to the last.
fn check_stages(report: &Report) {
    let stages: Vec<(u32, u32)> = report.lines_after("[").filter_map(stage).collect();
    let total = stages.first().map_or(0, |(_, total)| *total);
    let expected: Vec<(u32, u32)> = (1..=total).map(|number| (number, total)).collect();
    assert!(total >= 5 && stages == expected, "stages {stages:?} in {report}");
}

/// Reads "n/m" in front of a closing bracket.
fn stage(rest: &str) -> Option<(u32, u32)> {
    let (number, total) = rest.split_once(']')?.0.split_once('/')?;
    Some((number.trim().parse().ok()?, total.trim().parse().ok()?))
}

fn check_lines(report: &Report, processors: u32) {
    let mut next: HashMap<u32, u32> = HashMap::new();
    for line in report.transcript.lines().filter(|line| line.contains("#line")) {
        let whole = line.strip_prefix("#line ").and_then(|rest| {
            let (cpu, rest) = rest.split_once(' ')?;
            let (number, tail) = rest.split_once(' ')?;
            let (cpu, number) = (cpu.parse::<u32>().ok()?, number.parse::<u32>().ok()?);
            (tail == self::tail(cpu, number)).then_some((cpu, number))
        });
        let (cpu, number) = whole.unwrap_or_else(|| panic!("a torn line: {line:?}"));
        let expected = next.entry(cpu).or_default();
        assert_eq!(number, *expected, "processor {cpu} lost lines or their order");
        *expected += 1;
    }
    let complete = (0..processors).all(|cpu| next.get(&cpu) == Some(&LINES));
    assert!(complete && next.len() == processors as usize, "lines of each processor: {next:?}");
}

/// What the guest writes behind the number of a line.
fn tail(cpu: u32, number: u32) -> String {
    let letter = |index| char::from_u32(u32::from(b'a') + (cpu + number + index) % 26).unwrap_or('?');
    (0..(number * 7 + cpu) % 60).map(letter).chain(['.']).collect()
}

#[test]
fn one_processor_on_q35_after_bios() {
    boot_processors(Board::Q35, Firmware::Bios, 1);
}

#[test]
fn two_processors_on_pc_after_bios() {
    boot_processors(Board::Pc, Firmware::Bios, 2);
}

#[test]
fn two_processors_on_q35_after_uefi() {
    boot_processors(Board::Q35, Firmware::Uefi, 2);
}

#[test]
fn four_processors_on_pc_after_uefi() {
    boot_processors(Board::Pc, Firmware::Uefi, 4);
}

#[test]
fn four_processors_on_q35_after_bios() {
    boot_processors(Board::Q35, Firmware::Bios, 4);
}

#[test]
fn eight_processors_on_pc_after_bios() {
    boot_processors(Board::Pc, Firmware::Bios, 8);
}

#[test]
fn sixteen_processors_on_q35_after_bios() {
    boot_processors(Board::Q35, Firmware::Bios, 16);
}

#[test]
fn twenty_four_processors_on_q35_after_bios() {
    boot_processors(Board::Q35, Firmware::Bios, 24);
}

#[test]
fn a_processor_that_does_not_answer_is_named_and_left_out() {
    let report = passes("absent-processor", &machine(Board::Q35, Firmware::Bios, 3));
    report.shows(&["processor with APIC id 200 left out"]);
}
