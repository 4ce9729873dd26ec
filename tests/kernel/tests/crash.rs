//! A crash that can be read: reports of CPUs that trap or panic at once, and the stopped world a debugger gets.
//!
//! The console's text between two `#round` lines is taken apart octet by octet: a line that is no line of a report, one that is
//! missing or out of order, fails.

use std::{iter::Peekable, str::Lines, time::Duration};

use kernel_tests::{LIMIT, Report, Verdict, boot, finish, machine, passes, run};
use sluice::machine::{Board, Firmware, Machine};

fn small(smp: u32) -> Machine {
    machine(Board::Q35, Firmware::Bios, smp)
}

/// Reads a round line by line.
struct Reader<'a> {
    lines: Peekable<Lines<'a>>,
    whole: &'a str,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Self {
        Self { lines: text.lines().peekable(), whole: text }
    }

    fn skip_empty(&mut self) {
        while self.lines.next_if(|line| line.is_empty()).is_some() {}
    }

    /// The rest of the next line, which begins with `start`.
    fn rest(&mut self, start: &str) -> &'a str {
        let line = self.lines.next().unwrap_or("(the end)");
        line.strip_prefix(start).unwrap_or_else(|| panic!("{line:?} instead of {start:?} in:\n{}", self.whole))
    }

    fn hexadecimal(&mut self, start: &str) -> u64 {
        let rest = self.rest(start);
        let digits = rest.strip_prefix("0x").unwrap_or_else(|| panic!("{start:?} goes on with {rest:?}"));
        u64::from_str_radix(digits, 16).unwrap_or_else(|_| panic!("{start:?} goes on with {rest:?}"))
    }

    fn exactly(&mut self, line: &str) {
        let rest = self.rest(line);
        assert!(rest.is_empty(), "{line:?} goes on with {rest:?} in:\n{}", self.whole);
    }

    /// A backtrace: frames numbered from 0, at least two.
    fn backtrace(&mut self) {
        self.exactly("KDB: stack backtrace:");
        let mut count = 0;
        let is_step = |line: &&str| (line.starts_with('#') && !line.starts_with("#round")) || line.starts_with("--- ");
        while let Some(line) = self.lines.next_if(is_step) {
            // The crossing of a trap has no number.
            if line.starts_with("--- ") {
                continue;
            }
            assert!(line.starts_with(&format!("#{count} ")), "frame {count} is {line:?} in:\n{}", self.whole);
            assert!(line.contains("0x"), "frame {count} is {line:?}");
            count += 1;
        }
        assert!(count >= 2, "a backtrace of {count} frames in:\n{}", self.whole);
    }

    /// One incident with every line of it; returns its CPU.
    fn incident(&mut self, round: u32) -> u32 {
        self.skip_empty();
        let is_trap = self.lines.peek().is_some_and(|line| line.starts_with("Fatal"));
        if is_trap { self.trap(round) } else { self.panic(round) }
    }

    fn trap(&mut self, round: u32) -> u32 {
        self.exactly("Fatal trap 12: page fault while in kernel mode");
        let cpu = self.cpu_line();
        let address = self.hexadecimal("fault virtual address   = ");
        assert_eq!(address, u64::from(round) << 8 | u64::from(cpu) << 4 | 0xC, "cpu {cpu} in round {round}");
        self.exactly("fault code              = supervisor read data, page not present");
        assert!(self.rest("instruction pointer     = 0x8:0x").len() > 8);
        assert!(self.rest("stack pointer           = 0x10:0x").len() > 8);
        assert!(self.rest("frame pointer           = 0x10:0x").len() > 8);
        self.exactly("code segment            = base 0x0, limit 0xfffff, type 0x1b");
        self.exactly("                        = DPL 0, pres 1, long 1, def32 0, gran 1");
        self.rest("processor eflags        = ");
        self.exactly(&format!("current process         = {cpu} (irq16: em{cpu})"));
        for registers in [["rax", "rbx", "rcx", "rdx"], ["rsi", "rdi", "r8:", "r9:"], ["r10", "r11", "r12", "r13"]] {
            let rest = self.rest(registers[0]);
            assert_eq!(rest.len(), "rax: 0123456789abcdef ".len() * 4 - 4, "{rest:?}");
            assert!(registers.iter().skip(1).all(|name| rest.contains(name)), "{rest:?}");
        }
        self.rest("r14: ");
        self.exactly("trap number             = 12");
        self.exactly("panic: page fault");
        self.exactly(&format!("cpuid = {cpu}"));
        self.rest("time = ");
        self.backtrace();
        cpu
    }

    fn panic(&mut self, round: u32) -> u32 {
        let rest = self.rest(&format!("panic: round {round} on cpu "));
        let cpu = rest.parse().unwrap_or_else(|_| panic!("panic on cpu {rest:?}"));
        assert!(self.rest("at ").contains("crash.rs:"));
        assert_eq!(self.cpu_line(), cpu);
        self.exactly(&format!("current process         = {cpu} (irq16: em{cpu})"));
        self.rest("time = ");
        self.backtrace();
        cpu
    }

    fn cpu_line(&mut self) -> u32 {
        let rest = self.rest("cpuid = ");
        let (cpu, apic) = rest.split_once("; apic id = ").unwrap_or_else(|| panic!("cpuid = {rest:?}"));
        assert_eq!(cpu.parse::<u32>().ok(), u32::from_str_radix(apic, 16).ok(), "QEMU numbers both alike");
        cpu.parse().expect("compared above")
    }

    /// A report with everything that was appended; returns the CPUs in order.
    fn report(&mut self, round: u32) -> Vec<u32> {
        let mut seen = vec![self.incident(round)];
        self.rest("heap: ");
        self.rest("memory: ");
        for ordinal in ["second", "third", "fourth"] {
            self.skip_empty();
            if self.lines.peek().is_none_or(|line| !line.starts_with(ordinal)) {
                break;
            }
            let label = self.rest(&format!("{ordinal} report, cpu "));
            let cpu = self.incident(round);
            assert_eq!(label, format!("{cpu}:"));
            seen.push(cpu);
        }
        self.skip_empty();
        seen
    }

    /// Reports until the round ends.
    fn reports(&mut self, round: u32) -> Vec<Vec<u32>> {
        let mut reports = Vec::new();
        while self.lines.peek().is_some() {
            reports.push(self.report(round));
        }
        reports
    }
}

/// The text of each round, with its number and what it was about.
fn rounds(report: &Report) -> Vec<(u32, &str, &str)> {
    let mut rounds = Vec::new();
    for part in report.transcript.split("#round ").skip(1) {
        let (head, text) = part.split_once('\n').unwrap_or((part, ""));
        if let Some((number, what)) = head.split_once(' ') {
            assert!(number != "failed:", "{head}: {report}");
            rounds.push((number.parse().expect("a number"), what, text));
        }
    }
    assert!(report.transcript.contains("#round over"), "{report}");
    rounds
}

/// Expects that every CPU is reported in every round, so many rounds of each kind; and all in one report, but for the kind where
/// the host may let them crash one after the other.
fn reports_at_once_are_whole(cpus: u32, expected: [(&str, u32); 4]) {
    let report = run("crash-at-once", &small(cpus));
    assert_eq!(report.verdict, Verdict::Unexplained(Some(33)), "the test exit without a plan: {report}");
    let rounds = rounds(&report);
    for (kind, times) in expected {
        let (mut at_once, mut all, mut firsts) = (0, 0, vec![0; cpus as usize]);
        for (number, _, text) in rounds.iter().filter(|(_, what, _)| *what == kind) {
            let reports = Reader::new(text).reports(*number);
            let mut seen = reports.concat();
            firsts[seen[0] as usize] += 1;
            seen.sort_unstable();
            assert_eq!(seen, (0..cpus).collect::<Vec<_>>(), "round {number}");
            at_once += u32::from(reports.len() == 1);
            all += 1;
        }
        eprintln!("{kind}: {at_once} of {all} rounds in one report, first by processor {firsts:?}");
        assert_eq!(all, times, "{kind}");
        assert!(at_once == all || kind == "loose", "{kind}: {at_once} of {all}");
    }
}

/// Fifty double traps, twenty of a trap and a panic, ten double panics, and more at moments of the host's choice: every octet of both
/// reports.
#[test]
fn two_cpus_that_crash_in_the_same_microsecond_are_both_reported_whole() {
    reports_at_once_are_whole(2, [("traps", 50), ("mixed", 20), ("panics", 10), ("loose", 20)]);
}

#[test]
fn four_cpus_that_crash_in_the_same_microsecond_are_all_reported_whole() {
    reports_at_once_are_whole(4, [("traps", 3), ("mixed", 2), ("panics", 2), ("loose", 2)]);
}

/// A CPU that was writing lines when it was stopped has torn none, and goes on where it was; one that held the heap's lock is no
/// hindrance.
#[test]
fn a_crash_amid_console_output_and_heap_operations_garbles_nothing() {
    let report = run("crash-amid", &small(2));
    assert_eq!(report.verdict, Verdict::Unexplained(Some(33)), "{report}");
    let rounds = rounds(&report);
    assert_eq!(rounds.len(), 20);
    let mut amid_output = 0;
    for (number, what, text) in rounds {
        let mut expected = 0;
        let mut others = String::new();
        for line in text.lines() {
            match line.strip_prefix("#noise 1 ") {
                Some(rest) => {
                    let whole = format!("{expected} the quick brown fox jumps over the lazy dog.");
                    assert_eq!(rest, whole, "round {number}:\n{text}");
                    expected += 1;
                }
                None => others.extend([line, "\n"]),
            }
        }
        amid_output += u32::from(expected > 0);
        assert!(expected == 0 || what == "noise", "round {number}");
        let mut reader = Reader::new(&others);
        reader.skip_empty();
        let first = if number % 2 == 0 { "Fatal trap 12: page fault while in kernel mode" } else { "panic: amid" };
        reader.exactly(first);
        for start in ["cpuid = 0", "current process         = 0 (irq16: em0)", "time = ", "KDB: stack backtrace:"] {
            let found = reader.lines.any(|line| line.starts_with(start));
            assert!(found, "{start:?} is missing in round {number}:\n{text}");
        }
        let rest: Vec<_> = reader.lines.skip_while(|line| line.starts_with('#')).collect();
        let is_known = |line: &&str| line.is_empty() || line.starts_with("heap: ") || line.starts_with("memory: ");
        assert!(rest.iter().all(is_known), "{rest:?} in round {number}:\n{text}");
    }
    assert_eq!(amid_output, 12, "rounds with output in them");
}

#[test]
fn a_trap_after_the_cpus_were_parked_for_a_shutdown_is_reported() {
    let report = run("crash-after-parking", &small(3));
    assert_eq!(report.verdict, Verdict::Faulted(None), "{report}");
    report.shows(&["2 parked, 0 missing", "Fatal trap 12", "fault virtual address   = 0x10", "KDB: stack backtrace:"]);
    assert!(!report.transcript.contains("does not answer"), "{report}");
}

#[test]
fn a_trap_while_another_cpu_parks_the_rest_is_reported() {
    let report = run("crash-during-parking", &small(2));
    assert_eq!(report.verdict, Verdict::Faulted(None), "{report}");
    report.shows(&["cpuid = 1; apic id = 01", "fault virtual address   = 0x10", "KDB: stack backtrace:"]);
}

#[test]
fn hooks_that_want_a_held_lock_or_fault_cost_a_line_and_not_the_report() {
    let report = run("crash-hook-locks", &small(2));
    assert_eq!(report.verdict, Verdict::Panicked(None), "{report}");
    report.shows(&[
        "panic: with a lock held",
        "KDB: stack backtrace:",
        "stopping DMA: a stopped CPU or thread holds the lock",
        "#inner guard: Err(Fault { vector: 14, address: 8,",
        "crash dump: page fault at 0x8",
    ]);
}

/// The way a router ends that nobody watches: it says so, waits, and comes back.
#[test]
fn a_machine_that_crashed_restarts_by_itself() {
    let mut guest = boot("crash-restart", &small(2)).unwrap();
    for _ in 0..2 {
        let wait = "Automatic reboot in 1 seconds - press a key on the console to abort";
        guest.wait_for("panic: page fault", LIMIT).unwrap();
        guest.wait_for(wait, LIMIT).unwrap();
        guest.wait_for("Rebooting...", LIMIT).unwrap();
    }
    // The third boot: a key keeps the machine.
    guest.wait_for("press a key on the console to abort", LIMIT).unwrap();
    guest.console().send(b"x").unwrap();
    guest.wait_for("--> Press a key on the console to reboot,", LIMIT).unwrap();
    guest.console().send(b"x").unwrap();
    guest.wait_for("panic: page fault", LIMIT).unwrap();
    drop(finish(guest, Duration::from_millis(100)));
}

#[test]
fn the_debuggers_world_stands_still_and_goes_on() {
    drop(passes("debugger", &small(2)));
}

#[test]
fn the_debuggers_world_stands_still_on_four_cpus() {
    drop(passes("debugger", &small(4)));
}

/// Every way in, with the other CPU wedged, deaf to interrupts.
#[test]
fn the_debugger_is_entered_by_nmi_by_keys_and_by_break() {
    let mut guest = boot("debugger-entries", &small(2)).unwrap();
    guest.wait_for("waiting for the debugger", LIMIT).unwrap();
    for _ in 0..5 {
        guest.monitor().inject_nmi().unwrap();
        guest.wait_for("#debugger entered: non-maskable interrupt, 0 missing", LIMIT).unwrap();
        // Longer than leftovers of a stop are expected.
        std::thread::sleep(Duration::from_millis(400));
    }
    guest.console().send(b"show\r~~\x02\r~\x02").unwrap();
    guest.wait_for("#debugger entered: break sequence on the console, 0 missing", LIMIT).unwrap();
    guest.monitor().human("chardev-send-break console").unwrap();
    guest.wait_for("#debugger entered: break sequence on the console, 0 missing", LIMIT).unwrap();
    guest.console().send(b"q").unwrap();
    let report = finish(guest, LIMIT);
    assert_eq!(report.verdict, Verdict::Unexplained(Some(33)), "{report}");
    let entries = report.transcript.matches("#debugger entered").count();
    assert_eq!(entries, 7, "{report}");
}
