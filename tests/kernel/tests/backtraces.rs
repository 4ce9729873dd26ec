//! Reports name functions, files and lines, if the image carries symbols that can be trusted, and come about in any case.

use kernel_tests::{Report, Verdict, machine, run, run_attached};
use sluice::machine::{Board, Firmware, Machine};
use symbols::attached;

fn one_processor() -> Machine {
    machine(Board::Q35, Firmware::Bios, 1)
}

/// Returns the numbered lines of the first backtrace and the lines about traps between them.
fn backtrace(report: &Report) -> Vec<&str> {
    let is_step = |line: &&str| line.starts_with('#') || line.starts_with("--- ");
    let lines = report.transcript.lines().map(str::trim_end).skip_while(|line| !line.starts_with("#0 "));
    lines.take_while(is_step).collect()
}

/// Returns where in the backtrace the function is, with its place in `file`.
fn position(report: &Report, function: &str, file: &str) -> usize {
    let steps = backtrace(report);
    let (at, place) = (format!(" at {function}+0x"), format!(" ({file}:"));
    let found = steps.iter().position(|step| step.contains(&at) && step.contains(&place));
    found.unwrap_or_else(|| panic!("{function} in {file} is not in {steps:#?} of {report}"))
}

const GUEST: &str = "tests/kernel/guest/src";

#[test]
fn a_fault_names_its_function_file_line_and_callers() {
    let report = run("write-null", &one_processor());
    assert_eq!(report.verdict, Verdict::Faulted(None), "{report}");
    report.shows(&[
        "instruction pointer     = 0x8:0xffff",
        "KDB: stack backtrace:",
        " (ktest_kernel::fatal::write_null+0x",
    ]);
    assert_eq!(position(&report, "ktest_kernel::fatal::write_null", &format!("{GUEST}/fatal.rs")), 0);
    assert!(position(&report, "ktest_kernel::scenario::run", &format!("{GUEST}/scenario.rs")) > 0);
}

#[test]
fn a_panic_in_an_interrupt_shows_what_was_interrupted() {
    let report = run("panic-in-interrupt", &one_processor());
    assert_eq!(report.verdict, Verdict::Panicked(None), "{report}");
    let file = format!("{GUEST}/fatal.rs");
    let handler = position(&report, "ktest_kernel::fatal::panic_in_interrupt::handler", &file);
    let interrupted = position(&report, "ktest_kernel::fatal::panic_in_interrupt", &file);
    let steps = backtrace(&report);
    let crossing = steps.iter().position(|step| step.starts_with("--- interrupt, vector 64, rip = 0xffff"));
    assert!(crossing.is_some_and(|crossing| handler < crossing && crossing + 1 == interrupted), "{steps:#?}");
    assert!(steps.iter().any(|step| step.contains(" at ktest_kernel::start+0x")), "{steps:#?}");
}

#[test]
fn an_image_without_symbols_has_reports_with_bare_addresses() {
    let report = run_attached("write-null", &one_processor(), |_| Vec::new()).unwrap();
    assert_eq!(report.verdict, Verdict::Faulted(None), "{report}");
    report.shows(&["symbols: none in the image", "Fatal trap 12: page fault"]);
    let steps = backtrace(&report);
    assert!(steps.len() > 1 && steps.iter().all(|step| step.contains(" (image 0x")), "{steps:#?}");
}

#[test]
fn a_damaged_symbol_table_is_a_warning() {
    let damage = |table: Vec<u8>| {
        let middle = table.len() / 2;
        let mut file = attached::join(b"", &table);
        file[middle] ^= 0x40;
        file
    };
    let report = run_attached("write-null", &one_processor(), damage).unwrap();
    assert_eq!(report.verdict, Verdict::Faulted(None), "{report}");
    report.shows(&["symbols: not used, the table in the image is damaged", "Fatal trap 12: page fault"]);
    assert!(backtrace(&report).iter().all(|step| step.contains(" (image 0x")), "{report}");
}

#[test]
fn the_symbols_of_another_build_are_not_believed() {
    let foreign = |mut table: Vec<u8>| {
        // The build id follows the magic and its length.
        table[12] ^= 1;
        attached::join(b"", &table)
    };
    let report = run_attached("write-null", &one_processor(), foreign).unwrap();
    assert_eq!(report.verdict, Verdict::Faulted(None), "{report}");
    report.shows(&["symbols: not used, the table in the image is of another build"]);
    assert!(backtrace(&report).iter().all(|step| step.contains(" (image 0x")), "{report}");
}
