//! The prompt: what is said on entry, and lines typed key by key.

use ddb::{Outcome, Reason};

use crate::fake::Rig;

#[test]
fn entering_says_why_who_and_where() {
    let (shown, outcome, _) = Rig::default().run("c\r");
    let expected = "KDB: enter: manual escape to debugger\n[ cpu 1 thread 7 (irq11: em0) ]\n\
                    Stopped at router::forward::input+0x4: net/router/src/forward.rs:11\n\rdb> \x1b[K";
    assert!(shown.starts_with(expected), "{shown:?}");
    assert_eq!(outcome, Outcome::Continue);
}

#[test]
fn a_breakpoint_is_announced_as_one() {
    let mut rig = Rig::default();
    rig.machine.reason = Reason::Breakpoint;
    let (shown, _, _) = rig.run("c\r");
    assert!(shown.starts_with("[ cpu 1 thread 7 (irq11: em0) ]\nBreakpoint at router::forward::input+0x4"), "{shown}");
}

#[test]
fn keys_edit_the_line_and_history_comes_back() {
    let mut rig = Rig::default();
    let (shown, outcome, _) = rig.run("show arq\x08p\rxx\x03\x1b[A\rreset\r");
    assert_eq!(shown.matches("the view Arp\n").count(), 2, "{shown}");
    assert_eq!(outcome, Outcome::Reset);
    // The history outlives the stop.
    let (shown, _, _) = rig.run("\x10\x10\rc\r");
    assert!(shown.contains("the view Arp\n"), "{shown}");
}
