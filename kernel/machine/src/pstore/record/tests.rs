//! What a record promises, whenever the machine is reset.

use std::{vec, vec::Vec};

use super::{AtomicU64, Damaged, FINISHED, Kind, Ordering, Record, Slot, read};

fn memory(words: usize) -> Vec<AtomicU64> {
    (0..words).map(|index| AtomicU64::new(0xDEAD_0000 + index as u64)).collect()
}

fn octets(words: &[AtomicU64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes()).collect()
}

fn keep(_: &[AtomicU64]) {}

fn written(texts: &[&str], finished: bool) -> Vec<u8> {
    let words = memory(64);
    let slot = Slot::new(Kind::Dump, &words);
    slot.begin(7, &keep);
    texts.iter().for_each(|text| slot.append(text, &keep).unwrap());
    if finished {
        slot.finish(&keep);
    }
    octets(&words)
}

#[test]
fn a_finished_record_is_read_as_it_was_written() {
    let octets = written(&["one ", "line\ntwo", " lines, é\nno end"], true);
    let text = "one line\ntwo lines, é\nno end";
    assert_eq!(read(&octets, Kind::Dump, 7), Ok(Some(Record { text, cut: false, run: 7 })));
}

#[test]
fn what_was_written_can_be_read_again_at_once() {
    let words = memory(64);
    let slot = Slot::new(Kind::Dump, &words);
    slot.begin(7, &keep);
    slot.append("0123456789 and more", &keep).unwrap();
    let mut out = [b'-'; 8];
    assert_eq!((slot.copy(3, &mut out), &out), (8, b"3456789 "));
    assert_eq!((slot.copy(15, &mut out), &out[..4]), (4, &b"more"[..]));
    assert_eq!((slot.copy(19, &mut out), slot.copy(99, &mut out)), (0, 0));
    assert_eq!(slot.room(), 56 * 8 - 19);
}

#[test]
fn an_unfinished_record_yields_its_whole_lines_and_is_marked_as_cut() {
    let octets = written(&["one\ntwo\nthr"], false);
    assert_eq!(read(&octets, Kind::Dump, 7), Ok(Some(Record { text: "one\ntwo\n", cut: true, run: 7 })));
    let octets = written(&["thr"], false);
    assert_eq!(read(&octets, Kind::Dump, 7), Ok(Some(Record { text: "", cut: true, run: 7 })));
}

#[test]
fn nothing_written_is_no_record() {
    assert_eq!(read(&written(&[], false), Kind::Dump, 7), Ok(None));
}

/// The reset comes between any two moments at which words reach the memory.
#[test]
fn a_reset_at_any_instant_leaves_what_was_committed() {
    let texts = ["first\n", "second line, which takes more than one word\n", "third\n"];
    let words = memory(64);
    let slot = Slot::new(Kind::Transcript, &words);
    let seen = std::cell::RefCell::new(vec![]);
    let snapshot = |_: &[AtomicU64]| seen.borrow_mut().push(octets(&words));
    slot.begin(1, &snapshot);
    seen.borrow_mut().clear();
    for text in texts {
        slot.append(text, &snapshot).unwrap();
    }
    slot.finish(&snapshot);
    let whole = texts.concat();
    let mut longest = 0;
    for octets in seen.into_inner() {
        let found = read(&octets, Kind::Transcript, 1).expect("no instant damages the record").map_or("", |r| r.text);
        assert!(whole.starts_with(found) && found.len() >= longest, "{found:?}");
        longest = found.len();
    }
    assert_eq!(longest, whole.len());
}

#[test]
fn any_flipped_bit_of_header_or_text_is_noticed() {
    for finished in [false, true] {
        let good = written(&["some text\nand more of it\n"], finished);
        let used = (0..24).chain(64..64 + 25);
        for (at, bit) in used.flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            assert_eq!(read(&bad, Kind::Dump, 7), Err(Damaged), "octet {at}, bit {bit}");
        }
    }
}

#[test]
fn another_kind_and_another_run_are_not_taken_for_this_one() {
    let octets = written(&["text\n"], true);
    assert_eq!(read(&octets, Kind::Transcript, 7), Err(Damaged));
    assert_eq!(read(&octets, Kind::Dump, 8), Err(Damaged));
}

#[test]
fn what_does_not_fit_is_an_error_and_the_rest_is_kept() {
    let words = memory(8 + 2);
    let slot = Slot::new(Kind::Dump, &words);
    slot.begin(7, &keep);
    assert!(slot.append("0123456789\n", &keep).is_ok());
    assert!(slot.append("abc\u{e9}\u{e9}", &keep).is_err());
    slot.finish(&keep);
    assert_eq!(read(&octets(&words), Kind::Dump, 7).unwrap().unwrap().text, "0123456789\nabc\u{e9}");
    assert!(slot.append("more", &keep).is_err());
}

#[test]
fn a_finished_record_can_be_continued_and_begun_anew() {
    let words = memory(32);
    let slot = Slot::new(Kind::Dump, &words);
    slot.begin(7, &keep);
    slot.append("a\n", &keep).unwrap();
    slot.finish(&keep);
    slot.append("b\n", &keep).unwrap();
    slot.finish(&keep);
    assert_eq!(read(&octets(&words), Kind::Dump, 7).unwrap().unwrap().text, "a\nb\n");
    slot.begin(8, &keep);
    assert_eq!((read(&octets(&words), Kind::Dump, 8), slot.len()), (Ok(None), 0));
}

#[test]
fn rubbish_of_any_length_is_damage_and_no_panic() {
    for len in 0..200 {
        assert_eq!(read(&vec![0xFF; len], Kind::Dump, 7), Err(Damaged));
        assert_eq!(read(&vec![0; len], Kind::Dump, 7), Err(Damaged));
    }
    let mut long = written(&["text\n"], true);
    long[16..24].copy_from_slice(&(u64::from(FINISHED - 1) << 32).to_le_bytes());
    assert_eq!(read(&long, Kind::Dump, 7), Err(Damaged));
}
