//! The promises of `ksync::rcu`, under loom (`--cfg loom`) and on real threads.

use std::{boxed::Box, sync::Arc};

use ksync::{
    model::{self, RaceCell},
    rcu::{Domain, Rcu},
};

fn domain() -> &'static Domain {
    Box::leak(Box::new(Domain::new()))
}

#[test]
fn a_value_is_not_reclaimed_while_a_reader_looks_at_it() {
    model::check(|| {
        let domain = domain();
        let cell = Arc::new(Rcu::new(domain, RaceCell::new()));
        let reader = domain.register().expect("there is a free slot");
        let shared = cell.clone();
        let pass = model::spawn(move || {
            let guard = reader.pin();
            shared.read(&guard).read();
        });
        let old = cell.publish(RaceCell::new()).wait(model::yield_now);
        // The reclaimer may do anything with the old value: this write conflicts with a reader that is still inside.
        old.write();
        drop(old);
        pass.join().expect("the reader saw no race");
    });
}

#[test]
fn a_reader_that_pins_twice_is_waited_for_each_time() {
    model::check(|| {
        let domain = domain();
        let cell = Arc::new(Rcu::new(domain, RaceCell::new()));
        let reader = domain.register().expect("there is a free slot");
        let shared = cell.clone();
        let passes = model::spawn(move || {
            for _ in 0..2 {
                let guard = reader.pin();
                shared.read(&guard).read();
            }
        });
        cell.publish(RaceCell::new()).wait(model::yield_now).write();
        passes.join().expect("the reader saw no race");
    });
}

#[test]
fn a_leaving_reader_hands_its_slot_on_in_order() {
    model::check(|| {
        let domain = domain();
        let cell = Arc::new(Rcu::new(domain, RaceCell::new()));
        let shared = cell.clone();
        let first = domain.register().expect("there is a free slot");
        let visit = model::spawn(move || {
            shared.read(&first.pin()).read();
            drop(first);
            let second = domain.register().expect("a slot was freed");
            shared.read(&second.pin()).read();
        });
        cell.publish(RaceCell::new()).wait(model::yield_now).write();
        visit.join().expect("the reader saw no race");
    });
}

#[test]
fn an_older_grace_period_does_not_open_a_retired_value() {
    model::check(|| {
        let domain = domain();
        let cell = Rcu::new(domain, 1);
        let early = domain.synchronize(model::yield_now);
        let retired = cell.publish(2);
        let retired = retired.reclaim(&early).expect_err("the period began too early");
        let late = domain.synchronize(model::yield_now);
        assert_eq!(*retired.reclaim(&late).expect("the period began after"), 1);
    });
}

#[test]
fn a_stuck_reader_is_named_instead_of_waited_for() {
    model::check(|| {
        let domain = domain();
        let reader = domain.register().expect("there is a free slot");
        let guard = reader.pin();
        let stuck = domain.try_synchronize(|| false).expect_err("a reader is pinned");
        assert_eq!(stuck.slot, reader.slot());
        drop(guard);
        domain.try_synchronize(|| false).expect("nobody is pinned");
    });
}

#[test]
fn nested_pins_hold_until_the_outermost_is_dropped() {
    model::check(|| {
        let domain = domain();
        let reader = domain.register().expect("there is a free slot");
        let outer = reader.pin();
        let inner = reader.pin();
        drop(inner);
        assert!(domain.try_synchronize(|| false).is_err());
        drop(outer);
        assert!(domain.try_synchronize(|| false).is_ok());
    });
}

#[cfg(not(any(loom, shuttle)))]
#[test]
fn registration_is_refused_when_every_slot_is_taken() {
    let domain = domain();
    let readers: Vec<_> = std::iter::from_fn(|| domain.register()).collect();
    assert_eq!(readers.len(), ksync::rcu::MAX_READERS);
    drop(readers);
    assert!(domain.register().is_some());
}

#[cfg(not(any(loom, shuttle)))]
#[test]
#[should_panic(expected = "another RCU domain")]
fn a_guard_of_another_domain_cannot_read() {
    let cell = Rcu::new(domain(), 1);
    let stranger = domain().register().expect("there is a free slot");
    let guard = stranger.pin();
    cell.read(&guard);
}
