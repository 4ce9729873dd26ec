//! What each command does, and what it says when it cannot.

use cli::View;
use ddb::{MAX_BREAKS, Outcome, Reason};

use crate::fake::{INPUT, Rig};

#[test]
fn backtraces_of_here_a_cpu_and_a_thread() {
    let mut rig = Rig::default();
    for (line, answer) in [
        ("trace", "#0 here\n"),
        ("bt", "#0 here\n"),
        ("trace thread 2", "#0 in thread 2\n"),
        ("t 2", "#0 in thread 2\n"),
        ("trace cpu 1", "#0 on cpu 1\n"),
        ("trace cpu 9", "no such thread or CPU\n"),
        ("trace thread 99", "no such thread or CPU\n"),
    ] {
        assert_eq!(rig.line(line), answer, "{line}");
    }
    for wrong in ["trace x", "trace cpu x", "trace cpu 99999", "trace house 3"] {
        assert!(rig.line(wrong).starts_with("usage: trace [thread ID"), "{wrong}");
    }
}

#[test]
fn alltrace_goes_on_past_a_thread_that_cannot_be_traced() {
    let shown = Rig::default().line("alltrace");
    assert!(shown.contains("Tracing thread 0\n#0 in thread 0\n"), "{shown}");
    assert!(shown.contains("Tracing thread 1\nthe answer ended in a fault"), "{shown}");
    assert!(shown.ends_with("Tracing thread 2\n#0 in thread 2\n"), "{shown}");
}

#[test]
fn ps_shows_every_thread_and_marks_the_current_one() {
    let shown = Rig::default().line("ps");
    let lines: Vec<_> = shown.lines().collect();
    assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>(), ["id", "cpu", "pri", "state", "wait", "name"]);
    assert_eq!(lines[1].split_whitespace().collect::<Vec<_>>(), ["*", "0", "1", "intr", "running", "thread0"]);
    assert_eq!(lines[3].split_whitespace().collect::<Vec<_>>(), ["2", "1", "intr", "sleeping", "token", "thread2"]);
}

#[test]
fn show_finds_every_view_of_the_running_console() {
    let mut rig = Rig::default();
    for (name, view) in cli::VIEWS.iter().filter(|(_, view)| *view != View::Log) {
        assert_eq!(rig.line(&format!("show {name}")), format!("the view {view:?}\n"));
    }
    assert_eq!(rig.line("show nonsense"), "show nonsense: no such view; `help` lists them\n");
    assert!(rig.line("show").starts_with("usage: show"));
    assert!(rig.line("show arp em0").starts_with("usage: show"));
}

#[test]
fn a_view_behind_a_lock_that_a_stopped_cpu_holds_says_so() {
    let mut rig = Rig::default();
    rig.machine.locked = Some(View::Arp);
    assert_eq!(rig.line("show arp"), "locked by a CPU that was stopped in the middle of a change\n");
}

#[test]
fn registers_are_shown_with_the_symbols_they_point_to() {
    let mut rig = Rig::default();
    let shown = rig.line("show registers");
    let rip = shown.lines().find(|line| line.starts_with("rip")).unwrap();
    assert_eq!(rip.split_whitespace().collect::<Vec<_>>(), ["rip", "0xffffffff80000104", "router::forward::input+0x4"]);
    assert!(shown.ends_with("at net/router/src/forward.rs:11\n"));
    assert!(rig.line("show reg cpu 0").contains("0xffffffff80000100  router::forward::input\n"));
    assert_eq!(rig.line("show reg 7"), "the registers of this CPU are not known\n");
    assert_eq!(rig.line("show reg em0"), "usage: show registers [cpu N]\n");
}

#[test]
fn symbols_and_source_lines() {
    let mut rig = Rig::default();
    assert_eq!(rig.line("list input+8"), "router::forward::input+0x8: net/router/src/forward.rs:12\n");
    assert_eq!(rig.line("l"), "router::forward::input+0x4: net/router/src/forward.rs:11\n");
    assert_eq!(rig.line("list 10"), "0x10: no line is known\n");
    assert_eq!(
        rig.line("show symbol $rip"),
        format!(
            "{:#x} is router::forward::input+0x4; it starts at {INPUT:#x}\nnet/router/src/forward.rs:11\n",
            INPUT + 4
        )
    );
}

#[test]
fn breakpoints_are_set_listed_and_removed() {
    let mut rig = Rig::default();
    assert_eq!(rig.line("show breaks"), "no breakpoints\n");
    assert_eq!(rig.line("break input+4"), "breakpoint at router::forward::input+0x4\n");
    assert_eq!(rig.line("b transmit"), "breakpoint at <e1000::Adapter<R> as ifnet::Interface>::transmit\n");
    assert_eq!(rig.line("b input+4"), "there is one already\n");
    assert_eq!(rig.line("b 0"), "not code\n");
    let shown = rig.line("show b");
    assert!(shown.contains("     0 0xffffffff80000104  router::forward::input+0x4\n"), "{shown}");
    assert_eq!(rig.line("delete 0"), "removed: router::forward::input+0x4\n");
    assert_eq!(rig.line("d transmit"), "removed: <e1000::Adapter<R> as ifnet::Interface>::transmit\n");
    assert_eq!(rig.line("d transmit"), "no breakpoint there\n");
    for number in 0..MAX_BREAKS {
        rig.line(&format!("b input+{number:x}"));
    }
    assert_eq!(rig.line("b input+80"), "all breakpoints are in use\n");
    assert_eq!(rig.line("delete all"), format!("{MAX_BREAKS} removed\n"));
    assert_eq!(rig.line("show breaks"), "no breakpoints\n");
    assert!(rig.line("break").starts_with("usage: break"));
    assert!(rig.line("delete").starts_with("usage: delete"));
}

#[test]
fn commands_that_let_the_machine_go() {
    for (line, outcome) in [
        ("continue", Outcome::Continue),
        ("c", Outcome::Continue),
        ("cont", Outcome::Continue),
        ("step", Outcome::Step),
        ("s", Outcome::Step),
        ("reset", Outcome::Reset),
        ("reboot", Outcome::Reboot),
        ("halt", Outcome::Halt),
        ("panic", Outcome::Panic),
    ] {
        assert_eq!(Rig::default().ends(line), (String::new(), Some(outcome)), "{line}");
        assert_eq!(Rig::default().ends(&format!("{line} now")).1, None, "{line} takes nothing");
    }
}

#[test]
fn an_empty_line_steps_again_only_while_stepping() {
    let mut rig = Rig::default();
    assert_eq!(rig.ends("s").1, Some(Outcome::Step));
    rig.machine.reason = Reason::Step;
    assert_eq!(rig.run("\r").1, Outcome::Step);
    rig.machine.reason = Reason::Breakpoint;
    assert_eq!(rig.run("\rc\r").1, Outcome::Continue);
}

#[test]
fn a_machine_that_cannot_go_on_does_not_step() {
    let mut rig = Rig::default();
    rig.machine.reason = Reason::Fatal("page fault");
    assert_eq!(rig.line("step"), "the machine cannot go on from here; reset restarts it\n");
    assert_eq!(rig.ends("continue").1, Some(Outcome::Continue), "to what follows a trap");
}

#[test]
fn dump_and_gdb_reach_the_machine() {
    let mut rig = Rig::default();
    assert_eq!(rig.line("dump"), "dump: None\n");
    assert_eq!(rig.line("dump 3 5"), "dump: Some((3, 5))\n");
    assert_eq!(rig.line("dump 7"), "dump: Some((7, 4294967295))\n");
    assert!(rig.line("dump 5 3").contains("dump [FIRST [LAST]]"));
    assert_eq!(rig.machine.dumped, 3);
    assert_eq!(rig.line("gdb"), "gdb has the machine\n");
    rig.machine.gdb = Some(Outcome::Continue);
    assert_eq!(rig.ends("gdb").1, Some(Outcome::Continue));
}

#[test]
fn names_may_be_shortened_as_long_as_they_mean_one_thing() {
    let mut rig = Rig::default();
    assert_eq!(rig.line("re"), "re: could be reset reboot\n");
    assert_eq!(rig.ends("reb").1, Some(Outcome::Reboot));
    assert_eq!(rig.line("show rou"), "the view Route\n");
    assert_eq!(rig.line("sh interf"), "the view Interfaces\n");
    assert_eq!(rig.line("show int"), "int: could be interfaces interface intr\n");
    assert_eq!(rig.line("xyzzy"), "xyzzy: no such command; `help` lists them\n");
    assert_eq!(rig.line("/x"), ": no such command; `help` lists them\n");
}

#[test]
fn help_names_every_command_and_view() {
    let shown = Rig::default().line("help");
    assert_eq!(Rig::default().line("?"), shown);
    let commands = [
        "trace", "alltrace", "ps", "show", "list", "x", "break", "delete", "step", "continue", "reset", "reboot",
        "halt", "dump", "gdb", "panic", "help",
    ];
    for name in commands {
        assert!(shown.lines().any(|line| line.split_whitespace().next() == Some(name)), "{name}");
    }
    let views = shown.lines().find(|line| line.starts_with("show:")).unwrap();
    for name in cli::VIEWS.iter().map(|(name, _)| *name).chain(["breaks", "registers", "symbol"]) {
        assert!(views.split_whitespace().any(|word| word == name), "{name}");
    }
}
