//! The ladder over a modelled plant that behaves: order, drains, words, and what is kept.

mod plant;

use plant::{House, Ills, walk, walk_to};
use shutdown::{Exit, Flushed, Stage};

#[test]
fn every_device_passes_a_stage_before_any_device_enters_the_next() {
    let house = House::new();
    let finished = walk(&house, vec![house.card("em0", Ills::default()), house.card("em1", Ills::default())]);
    let expected = [
        "announce",
        "close em0",
        "close em1",
        "pending em0",
        "pending em1",
        "flush",
        "mask em0",
        "mask em1",
        "ask em0",
        "ask em1",
        "join em0",
        "join em1",
        "mask em0",
        "mask em1",
        "callouts",
        "seal em0",
        "seal em1",
        "pending em0",
        "pending em1",
        "stop em0",
        "stop em1",
        "teardown em0",
        "teardown em1",
        "watch",
        "bme em0",
        "bme em1",
        "tripwire",
        "park",
        "account",
    ];
    assert_eq!(*house.log.borrow(), expected);
    assert!(finished.transcript.is_clean());
    let stages: Vec<Stage> = finished.transcript.records().iter().map(|record| record.stage).collect();
    assert_eq!(stages, Stage::ALL);
}

#[test]
fn the_transcript_speaks_as_the_field_does() {
    let house = House::new();
    house.clock.set(66_752_000_000_000);
    let _ = walk_to(Exit::Reboot, &house, vec![house.card("em0", Ills::default())]);
    for line in [
        "shutdown: reboot requested by a test, 1 devices, ends within 1 seconds",
        "shutdown: announce...done (0 us)",
        "Waiting (max 0 seconds) for system thread `irq11: em0' to stop... done",
        "shutdown: tear down DMA: 0 tags, 0 maps, 0 memories",
        "shutdown: 1 other CPUs parked",
        "shutdown: audit: unexplained 0",
        "shutdown: exit...done (0 us)",
        "shutdown: clean, 0 us",
        "Uptime: 18h32m32s",
    ] {
        assert!(house.said(line), "{line:?} in {:#?}", house.lines());
    }
}

#[test]
fn what_is_kept_is_one_line_of_summary_and_everything_that_was_said() {
    let house = House::new();
    let _ = walk_to(Exit::Reboot, &house, vec![house.card("em0", Ills::default())]);
    assert_eq!(house.past(), format!("reboot, clean, 0 ms\n{}", house.console.borrow()));
}

#[test]
fn the_latest_request_before_the_end_decides_if_it_is_the_strongest() {
    for (later, carried_out) in [(Exit::PowerOff, Exit::PowerOff), (Exit::Halt, Exit::Reboot)] {
        let house = House { at_the_last_moment: Some(later), ..House::new() };
        assert_eq!(walk_to(Exit::Reboot, &house, vec![]).exit, carried_out);
        assert!(house.past().starts_with(carried_out.as_str()));
    }
}

#[test]
fn a_short_drain_is_waited_for() {
    let house = House::new();
    house.queued.set(2);
    let ills = Ills { received: 3, unsent: 5, ..Ills::default() };
    assert!(walk(&house, vec![house.card("em0", ills)]).transcript.is_clean());
    assert_eq!(house.clock.get(), 5_000_000);
}

#[test]
fn what_the_flush_sends_is_waited_for_and_what_it_drops_is_counted_by_cause() {
    let held = Flushed { arp: 3, netisr: 1, fragments: 0 };
    let house = House { held, ..House::new() };
    assert!(walk(&house, vec![house.card("em0", Ills::default())]).transcript.is_clean());
    assert!(house.said("shutdown: drain: dropped 3 held for ARP, 1 in netisr queues"));
    let log = house.log.borrow();
    let at = log.iter().position(|entry| entry == "flush").unwrap();
    assert_eq!(log[at + 1], "pending em0");
}

#[test]
fn frames_sent_by_a_threads_last_pass_leave_before_dma_stops_and_nothing_joins_them() {
    let house = House::new();
    let late = Ills { unsent_after_join: 2, ..Ills::default() };
    assert!(walk(&house, vec![house.card("em0", late)]).transcript.is_clean());
    let log = house.log.borrow();
    let at = |what: &str| log.iter().position(|entry| entry == what).unwrap();
    let between: Vec<&String> = log[at("join em0")..at("stop em0")].iter().collect();
    assert_eq!(between, ["join em0", "mask em0", "callouts", "seal em0", "pending em0", "pending em0", "pending em0"]);
}

#[test]
fn the_watchdog_learns_the_stated_bound_at_the_claim() {
    let house = House::new();
    let _ = walk(&house, vec![house.card("em0", Ills::default())]);
    assert_eq!(u128::from(house.must_end_by.get()), plant::BUDGETS.bound(1).as_nanos());
}
