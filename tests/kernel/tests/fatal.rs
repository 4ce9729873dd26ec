//! What must not go unnoticed: each fault and panic ends in a report that names it, and the harness tells them apart.

use std::time::Duration;

use kernel_tests::{LIMIT, Report, Verdict, boot, finish, machine, run};
use sluice::machine::{Board, Firmware};

fn boot_one(scenario: &str) -> Report {
    run(scenario, &machine(Board::Q35, Firmware::Bios, 1))
}

/// Expects a fault whose report shows each of `texts`, and a backtrace.
fn faults(scenario: &str, texts: &[&str]) {
    let report = boot_one(scenario);
    assert_eq!(report.verdict, Verdict::Faulted(None), "{report}");
    report.shows(texts);
    report.shows(&["stack backtrace:", "heap: ", "memory: ", "instruction pointer     = 0x8:"]);
    assert!(!report.transcript.contains("survived"), "{report}");
}

/// Expects a panic whose report shows each of `texts`.
fn panics(scenario: &str, texts: &[&str]) {
    let report = boot_one(scenario);
    assert_eq!(report.verdict, Verdict::Panicked(None), "{report}");
    report.shows(texts);
}

#[test]
fn writing_code_is_a_protection_violation() {
    let code = "fault code              = supervisor write data, protection violation";
    faults("write-code", &["Fatal trap 12: page fault while in kernel mode", code]);
}

#[test]
fn executing_data_is_a_protection_violation() {
    let code = "fault code              = supervisor read instruction, protection violation";
    faults("execute-data", &["Fatal trap 12: page fault", code]);
}

#[test]
fn a_null_pointer_faults_at_its_offset() {
    let code = "fault code              = supervisor write data, page not present";
    faults("write-null", &["fault virtual address   = 0x18", code]);
}

#[test]
fn a_general_protection_fault_is_named() {
    faults("general-protection", &["Fatal trap 9: general protection fault"]);
}

#[test]
fn a_division_by_zero_is_named() {
    faults("divide", &["Fatal trap 18: integer divide fault"]);
}

/// Without any stack left, only the interrupt stack table can deliver this.
#[test]
fn a_double_fault_arrives_on_a_stack_of_its_own() {
    let report = boot_one("double-fault");
    assert_eq!(report.verdict, Verdict::Faulted(None), "{report}");
    report.shows(&["Fatal trap 23: double fault", "stack pointer           = 0x10:0x2000"]);
    assert!(!report.transcript.contains("stack overflow"), "{report}");
}

#[test]
fn an_overflow_of_the_boot_stack_is_called_that() {
    faults("overflow-boot-stack", &["stack overflow in thread boot", "panic: stack overflow"]);
}

#[test]
fn an_overflow_of_a_threads_stack_names_the_thread() {
    faults("overflow-thread-stack", &["stack overflow in thread deep thinker", "panic: stack overflow"]);
}

#[test]
fn an_overflow_on_another_processor_names_the_processor() {
    let report = run("overflow-on-another-processor", &machine(Board::Q35, Firmware::Bios, 2));
    assert_eq!(report.verdict, Verdict::Faulted(None), "{report}");
    report.shows(&["cpuid = 1; apic id = 01", "panic: stack overflow"]);
}

#[test]
fn an_unexpected_nmi_is_named() {
    let mut guest = boot("endless", &machine(Board::Q35, Firmware::Bios, 1)).unwrap();
    guest.wait_for("waiting for ever", LIMIT).unwrap();
    guest.monitor().inject_nmi().unwrap();
    let report = finish(guest, LIMIT);
    assert_eq!(report.verdict, Verdict::Faulted(None), "{report}");
    report.shows(&["Fatal trap 19: non-maskable interrupt trap"]);
}

#[test]
fn an_allocation_that_cannot_fail_ends_in_a_clear_panic() {
    panics(
        "out-of-memory",
        &["panic: memory allocation of 8589934592 bytes failed", "1 failed (the last of 8589934592"],
    );
}

#[test]
fn a_panic_shows_its_message_and_place() {
    panics("panic", &["panic: the answer is 42", "fatal.rs:", "current process         = boot", "stack backtrace:"]);
}

#[test]
fn a_panic_in_a_panic_report_ends_the_machine_all_the_same() {
    panics("panic-twice", &["panic: the first of two", "panic while reporting a panic: the thread has no name"]);
}

#[test]
fn a_thread_switch_with_interrupts_on_is_refused() {
    panics("switch-with-interrupts-on", &["thread switch with interrupts on"]);
}

#[test]
fn an_unknown_scenario_is_a_panic_and_no_success() {
    panics("no such thing", &["there is no scenario \"no such thing\""]);
}

#[test]
fn a_failing_test_is_told_by_name_and_reason() {
    let report = boot_one("failing-test");
    assert_eq!(report.verdict, Verdict::Failed(vec![("fails".into(), "two and two is 4".into())]), "{report}");
    assert_eq!(report.passed, ["passes"]);
}

#[test]
fn a_machine_that_does_not_end_is_a_timeout() {
    let mut guest = boot("endless", &machine(Board::Q35, Firmware::Bios, 1)).unwrap();
    guest.wait_for("waiting for ever", LIMIT).unwrap();
    let report = finish(guest, Duration::from_millis(300));
    assert_eq!(report.verdict, Verdict::TimedOut(None), "{report}");
}
