//! Addresses as they are typed, and memory as it is shown.

use crate::fake::{INPUT, PAGE, PAGE_SIZE, Rig};

/// What `show symbol` computes of a text, or the error.
fn value(text: &str) -> Result<u64, String> {
    let answer = Rig::default().line(&format!("show symbol {text}"));
    let number = answer.split_once(' ').map_or("", |(number, _)| number).strip_prefix("0x");
    number.and_then(|digits| u64::from_str_radix(digits, 16).ok()).ok_or(answer)
}

#[test]
fn numbers_are_hexadecimal_unless_they_say_decimal() {
    assert_eq!(value("10"), Ok(0x10));
    assert_eq!(value("0x10"), Ok(0x10));
    assert_eq!(value("0t10"), Ok(10));
    assert_eq!(value("ffffffff80000100"), Ok(INPUT));
    assert_eq!(value("face"), Ok(0xface));
    assert_eq!(value("12zz").unwrap_err(), "12zz: not a number (hexadecimal, or 0t and decimal)\n");
    assert!(value("0t1f").unwrap_err().starts_with("0t1f: not a number"));
    assert!(value("12345678123456781").unwrap_err().contains("not a number"));
}

#[test]
fn names_are_those_of_rust() {
    assert_eq!(value("router::forward::input+0x1c"), Ok(INPUT + 0x1c));
    assert_eq!(value("input + 1c"), Ok(INPUT + 0x1c));
    assert_eq!(value("<e1000::Adapter<R> as ifnet::Interface>::transmit+4"), Ok(INPUT + 0x104));
    assert_eq!(value("nowhere").unwrap_err(), "nowhere: no such symbol, and not hexadecimal\n");
    assert_eq!(value("resolve").unwrap_err(), "resolve: 2 symbols end in that; give more of the name\n");
    assert_eq!(value("router::arp::resolve"), Ok(INPUT + 0x200));
}

#[test]
fn registers_memory_and_operators_compute() {
    assert_eq!(value("$rip"), Ok(INPUT + 4));
    assert_eq!(value("$rsp+8-(2-1)"), Ok(PAGE + 0x207));
    assert_eq!(value("*$rsp"), Ok(INPUT + 0x1c));
    assert_eq!(value("-1"), Ok(u64::MAX));
    assert_eq!(value("$xyz").unwrap_err(), "$xyz: no such register\n");
    assert_eq!(value("*8").unwrap_err(), "*0x8: not mapped\n");
}

#[test]
fn what_is_no_expression_is_shown_from_where_it_goes_wrong() {
    assert_eq!(value("1 2").unwrap_err(), "not understood from here on: 2\n");
    assert_eq!(value("(1").unwrap_err(), "the expression ends too early\n");
    assert_eq!(value("1+").unwrap_err(), "the expression ends too early\n");
    assert_eq!(value("1)").unwrap_err(), "not understood from here on: )\n");
    assert_eq!(value("").unwrap_err(), "an address is missing\n");
    assert_eq!(value(&"(".repeat(200)).unwrap_err(), "too many parentheses and operators\n");
    assert_eq!(value("1,2").unwrap_err(), "not understood from here on: ,2\n");
}

#[test]
fn memory_is_shown_in_every_format_and_size() {
    let mut rig = Rig::default();
    let x = |rig: &mut Rig, rest: &str| rig.line(&format!("x{rest}")).replace(&format!("{PAGE:#x}"), "PAGE");
    assert_eq!(x(&mut rig, &format!("/4xb {PAGE:x}")), "PAGE: 00 01 02 03\n");
    assert_eq!(x(&mut rig, &format!("/xh {PAGE:x},3")), "PAGE: 0100 0302 0504\n");
    assert_eq!(x(&mut rig, &format!(" /2xl {PAGE:x}")), "PAGE: 03020100 07060504\n");
    assert_eq!(x(&mut rig, &format!("/xw {PAGE:x}")), "PAGE: 03020100\n");
    assert_eq!(x(&mut rig, &format!("/xg {PAGE:x}")), "PAGE: 0706050403020100\n");
    assert!(x(&mut rig, &format!("/2db {PAGE:x}+fe")).ends_with("10fe: -2 -1\n"));
    assert!(x(&mut rig, &format!("/ub {PAGE:x}+ff")).ends_with(": 255\n"));
    assert!(x(&mut rig, &format!("/dg {PAGE:x}+8")).ends_with(": 1084818905618843912\n"));
    assert!(x(&mut rig, &format!("/3c {PAGE:x}+100")).ends_with(": d b \\x01\n"));
    assert!(x(&mut rig, &format!("/s {PAGE:x}+100")).ends_with(": \"db\\x01>\"\n"));
    assert!(x(&mut rig, "/a $rsp").ends_with(": 0xffffffff8000011c router::forward::input+0x1c\n"));
}

#[test]
fn a_long_look_is_broken_into_lines_and_goes_on_where_it_ended() {
    let mut rig = Rig::default();
    let shown = rig.line(&format!("x/9xl {PAGE:x}"));
    assert_eq!(shown.lines().count(), 3);
    assert!(shown.lines().nth(1).is_some_and(|line| line.starts_with(&format!("{:#x}: 13121110", PAGE + 16))));
    // An empty line looks on, with format and count; x alone too, with one element.
    assert!(rig.line("").starts_with(&format!("{:#x}: 27262524", PAGE + 36)));
    assert_eq!(rig.line("x"), format!("{:#x}: 4b4a4948\n", PAGE + 72));
    assert_eq!(rig.line("show symbol ."), format!("{:#x} lies in no symbol\n", PAGE + 72));
    assert_eq!(rig.line(""), "", "only x and step repeat");
}

#[test]
fn memory_that_is_not_mapped_is_said_to_be() {
    let mut rig = Rig::default();
    assert_eq!(rig.line("x dead0000"), "0xdead0000:\n*** error reading from address 0xdead0000: not mapped ***\n");
    let end = PAGE + PAGE_SIZE as u64;
    let shown = rig.line(&format!("x/4xg {:x}", end - 8));
    assert!(shown.contains(" fffefdfcfbfaf9f8\n*** error reading from address"), "{shown}");
    assert!(rig.line(&format!("x/s {:x}", end - 2)).ends_with("\"\\xfe\\xff\" (then not mapped)\n"));
    assert!(rig.line("x/s 0").contains("error reading from address 0x0"));
    assert!(rig.line("x/xg ffffffffffffffff").contains("error reading"));
}

#[test]
fn what_x_does_not_know_is_said() {
    let mut rig = Rig::default();
    assert!(rig.line("x/i $rip").starts_with("/i: not understood"));
    assert!(rig.line("x/5000x 0").starts_with("usage: x[/COUNT"));
    assert!(rig.line("x/0x 0").starts_with("usage: x[/COUNT"));
    assert!(rig.line("x $rip,zz").starts_with("usage: x[/COUNT"));
    assert_eq!(rig.line("ps/x"), "/x: not understood; only x takes a count, a format and a size\n");
}
