//! The ladder of failure over a modelled plant: the culprit is named, what is safe is forced, the rest is kept, and it ends.

mod plant;

use plant::{BUDGETS, House, Ills, Yielded, walk};
use shutdown::{Exit, Fault, Finished, Outcome, Pending, Residue, Stage};
use std::time::Duration;

fn outcome(finished: &Finished, stage: Stage) -> &Outcome {
    &finished.transcript.records().iter().find(|record| record.stage == stage).expect("every stage is recorded").outcome
}

fn faulted(name: &str, fault: Fault) -> Outcome {
    Outcome::Faulted(vec![(name.into(), fault)])
}

fn did(house: &House, what: &str) -> bool {
    house.log.borrow().iter().any(|entry| entry == what)
}

#[test]
fn one_wedged_thread_keeps_every_device_from_being_freed_and_is_named_with_its_backtrace() {
    let house = House::new();
    let wedged = Ills { wedged: true, ..Ills::default() };
    let finished = walk(&house, vec![house.card("em0", Ills::default()), house.card("em1", wedged)]);
    assert!(!house.log.borrow().iter().any(|entry| entry.starts_with("teardown") || entry.starts_with("stop")));
    for forced in ["force em0", "force em1", "bme em0", "bme em1", "park"] {
        assert!(did(&house, forced), "{forced}");
    }
    assert_eq!(*outcome(&finished, Stage::Join), faulted("em1", Fault::Wedged));
    assert_eq!(*outcome(&finished, Stage::TearDown), Outcome::Quarantined);
    assert!(house.said("Waiting (max 0 seconds) for system thread `irq11: em1' to stop... timed out"));
    assert!(house.said("#0 backtrace of em1"));
    assert!(house.past().starts_with("poweroff, forced, "));
    assert!(house.past().contains("join threads: em1 does not acknowledge its end"));
    assert!(house.past().contains("#0 backtrace of em1"));
}

#[test]
fn a_wedged_thread_costs_its_neighbours_neither_their_time_nor_their_name() {
    let house = House::new();
    let wedged = Ills { wedged: true, ..Ills::default() };
    let finished = walk(&house, vec![house.card("em0", wedged), house.card("em1", Ills::default())]);
    assert_eq!(*outcome(&finished, Stage::Join), faulted("em0", Fault::Wedged));
    let log = house.log.borrow();
    let at = |what: &str| log.iter().position(|entry| entry == what).unwrap();
    assert!(at("ask em1") < at("join em0"), "all are asked before the first is waited for");
}

#[test]
fn a_device_whose_dma_does_not_stop_is_forced_and_keeps_its_memory_and_its_neighbour_is_freed() {
    let house = House { residue: Residue { tags: 3, maps: 514, memories: 2 }, ..House::new() };
    let stuck = Ills { dma_stuck: true, ..Ills::default() };
    let finished = walk(&house, vec![house.card("em0", stuck), house.card("em1", Ills::default())]);
    assert!(did(&house, "force em0") && !did(&house, "teardown em0"));
    assert!(!did(&house, "force em1") && did(&house, "teardown em1"));
    assert!(house.said("shutdown: stop DMA: em0 by force: bus mastering off; its memory stays"));
    assert_eq!(*outcome(&finished, Stage::StopDma), faulted("em0", Fault::DmaRunning));
    assert_eq!(*outcome(&finished, Stage::TearDown), faulted("bus_dma", Fault::Busy(house.residue)));
    assert_eq!(house.log.borrow().last().unwrap(), "account");
}

#[test]
fn a_device_that_left_the_bus_is_said_to_be_gone_and_its_memory_stays() {
    let house = House::new();
    let gone = Ills { gone: true, ..Ills::default() };
    let finished = walk(&house, vec![house.card("em0", gone)]);
    assert_eq!(*outcome(&finished, Stage::CloseIngress), faulted("em0", Fault::Gone));
    assert!(house.said("shutdown: stop DMA: em0 by force: device is not there; its memory stays"));
    assert_eq!(*outcome(&finished, Stage::TearDown), Outcome::Quarantined);
}

#[test]
fn a_drain_that_never_ends_is_cut_off_at_its_budget_and_named_with_what_is_left() {
    let house = House::new();
    let busy = Ills { received: usize::MAX, ..Ills::default() };
    let finished = walk(&house, vec![house.card("em0", busy)]);
    let left = Pending { received: usize::MAX, ..Pending::default() };
    assert_eq!(*outcome(&finished, Stage::Drain), faulted("em0", Fault::Undrained(left)));
    let drain = finished.transcript.records().iter().find(|record| record.stage == Stage::Drain).unwrap();
    assert!(drain.took >= BUDGETS.drain && drain.took < BUDGETS.drain * 2, "{:?}", drain.took);
    assert!(did(&house, "teardown em0"), "frames that nobody fetched are no reason to keep memory");
}

#[test]
fn frames_in_hand_are_waited_for_though_no_ring_holds_them() {
    let house = House::new();
    let handing_on = Ills { passes: 3, ..Ills::default() };
    let finished = walk(&house, vec![house.card("em0", handing_on)]);
    assert_eq!(*outcome(&finished, Stage::Drain), Outcome::Done);
    let did = house.log.borrow();
    let before = did.iter().take_while(|act| *act != "flush");
    assert_eq!(
        before.filter(|act| *act == "pending em0").count(),
        4,
        "three looks in vain, and one that is not: {did:?}"
    );
}

#[test]
fn a_frame_sent_after_the_last_drain_is_a_fault_but_no_reason_to_keep_memory() {
    let house = House::new();
    let late = Ills { sent_late: 1, ..Ills::default() };
    let finished = walk(&house, vec![house.card("em0", late)]);
    assert_eq!(*outcome(&finished, Stage::StopDma), faulted("em0", Fault::SentLate(1)));
    assert!(did(&house, "teardown em0") && !did(&house, "force em0"));
}

#[test]
fn a_device_that_uses_up_a_stage_is_named_and_those_behind_it_are_not() {
    let house = House::new();
    let slow = Ills { late: BUDGETS.command + Duration::from_millis(1), ..Ills::default() };
    let finished = walk(&house, vec![house.card("em0", slow), house.card("em1", Ills::default())]);
    assert_eq!(*outcome(&finished, Stage::Mask), faulted("em0", Fault::OverBudget));
}

#[test]
fn dma_resources_left_in_the_machine_are_a_fault_that_counts_them() {
    let house = House { residue: Residue { tags: 1, maps: 2, memories: 0 }, ..House::new() };
    let finished = walk(&house, vec![house.card("em0", Ills::default())]);
    assert_eq!(*outcome(&finished, Stage::TearDown), faulted("bus_dma", Fault::Busy(house.residue)));
    assert!(house.said("shutdown: tear down DMA: bus_dma still live: 1 tags, 2 maps, 0 memories"));
}

#[test]
fn freed_memory_that_changed_and_frames_that_vanished_are_faults_with_a_number() {
    let house = House { damaged: true, unexplained: -2, ..House::new() };
    let finished = walk(&house, vec![house.card("em0", Ills::default())]);
    let damaged = Fault::Damaged { address: 0x1000, octets: 3 };
    assert_eq!(*outcome(&finished, Stage::BusMasterOff), faulted("em0-rx", damaged));
    assert_eq!(*outcome(&finished, Stage::Exit), faulted("audit", Fault::Unexplained(-2)));
    assert!(house.said("shutdown: exit: audit -2 frames unexplained"));
}

#[test]
fn a_shutdown_in_which_everything_goes_wrong_ends_within_the_stated_bound() {
    let house = House {
        lost_callouts: true,
        cpus_running: 3,
        damaged: true,
        unexplained: 7,
        late: BUDGETS.call,
        residue: Residue { tags: 4, maps: 1028, memories: 4 },
        held: shutdown::Flushed { arp: 1, netisr: 1, fragments: 1 },
        ..House::new()
    };
    house.queued.set(usize::MAX);
    let all = Ills {
        received: usize::MAX,
        unsent: usize::MAX,
        passes: usize::MAX,
        unsent_after_join: 0,
        wedged: true,
        dma_stuck: true,
        sent_late: 1,
        gone: false,
        unmaskable: true,
        busy: true,
        master_stuck: true,
        late: BUDGETS.call,
    };
    let names = ["em0", "em1", "em2", "em3"];
    let finished = walk(&house, names.map(|name| house.card(name, all)).into());
    let bound = BUDGETS.bound(names.len());
    assert!(finished.took <= bound, "{:?} <= {bound:?}", finished.took);
    assert!(finished.took * 4 > bound, "the bound says something: {:?} of {bound:?}", finished.took);
    assert_eq!(finished.transcript.records().len(), Stage::ALL.len());
    // And with proof of the join, so that stopping in vain takes its time too.
    let house = House { cpus_running: 3, late: BUDGETS.call, ..House::new() };
    let stuck = Ills { wedged: false, gone: false, ..all };
    let finished = walk(&house, names.map(|name| house.card(name, stuck)).into());
    assert!(finished.took <= bound, "{:?} <= {bound:?}", finished.took);
}

#[test]
fn a_walk_that_dies_half_way_has_left_its_record() {
    // Whatever ends it (here a panic between two stages), the next boot finds how far it got.
    let house = House { panics_at: Some("callouts"), ..House::new() };
    let cards = vec![house.card("em0", Ills::default())];
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| walk(&house, cards)));
    assert!(ended.err().is_some_and(|payload| payload.is::<Yielded>()), "the ladder gives way to the panic");
    let kept = house.past();
    assert!(kept.starts_with("poweroff, clean, did not get beyond `join threads'\n"), "{kept}");
    assert!(kept.contains("shutdown: mask interrupts...done"));
    let waited = "did not get beyond `join threads', waiting for `irq11: em0'";
    assert!(house.kept.borrow().contains(waited), "had it died in the wait, this would be the last word");
    assert!(!did(&house, "stop em0"), "no stage begins under a panic");
    assert_eq!(house.claim.strongest(), Some(Exit::Panic));
}
