//! Output that ends, in lines that end, and any line at all.

use proptest::prelude::*;

use crate::fake::{Rig, Terminal};

fn show_log(keys: &str) -> (String, Terminal) {
    let (mut rig, mut terminal) = (Rig::default(), Terminal::typing(keys));
    assert_eq!(rig.session.execute("show msgbuf", &mut rig.machine, &mut terminal), None);
    (std::mem::take(&mut terminal.shown), terminal)
}

#[test]
fn q_stops_a_long_listing_and_leaves_what_follows_for_the_prompt() {
    let (shown, terminal) = show_log("qc\r");
    assert_eq!(shown, "message 0\n(stopped)\n");
    assert_eq!(terminal.keys, b"c\r");
}

#[test]
fn control_c_stops_a_listing_even_after_other_keys() {
    assert_eq!(show_log("ab\x03").0, "message 0\n(stopped)\n");
}

#[test]
fn a_listing_without_end_is_ended() {
    let (shown, _) = show_log("");
    assert!(shown.ends_with("message 4095\n(stopped: too long)\n"));
    assert_eq!(shown.lines().count(), 4097);
}

#[test]
fn what_is_typed_ahead_of_a_listing_is_not_lost() {
    let mut rig = Rig::default();
    let (shown, outcome, _) = rig.run("ps\rshow registers\rc\r");
    assert_eq!(outcome, ddb::Outcome::Continue);
    assert!(shown.contains("thread2") && shown.contains("rip"), "{shown}");
}

#[test]
fn a_line_that_is_too_long_is_cut_and_marked() {
    let mut rig = Rig::default();
    let long = "y".repeat(350);
    let shown = rig.line(&long);
    assert_eq!(shown, format!("{} ...\n", &long[..300]));
}

#[test]
fn a_symbol_too_long_to_show_is_cut() {
    let symbol = ddb::Symbol::new("ä".repeat(100), 1);
    assert_eq!(symbol.to_string(), format!("{}+0x1", "ä".repeat(80)));
}

proptest! {
    #[test]
    fn no_line_panics_and_every_answer_is_made_of_bounded_lines(
        line in "\\PC{0,80}",
        word in prop::sample::select(vec!["x", "x/", "b", "d", "list", "show", "show symbol", "trace", "show reg", ""]),
    ) {
        let mut rig = Rig::default();
        let (shown, _) = rig.ends(&format!("{word} {line}"));
        prop_assert!(shown.lines().all(|line| line.chars().count() <= 304), "{shown}");
        prop_assert!(shown.lines().count() <= 4100);
    }

    #[test]
    fn expressions_of_the_right_letters_do_not_panic(text in "[-+*()$.<>:,0-9a-fx {}#_input]{0,60}") {
        Rig::default().ends(&format!("x {text}"));
        Rig::default().ends(&format!("list {text}"));
    }
}
