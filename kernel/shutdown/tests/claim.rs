//! The claim in every interleaving (loom), or many times on real threads: one walks, nobody's request is lost.

use ksync::{
    atomic::{AtomicBool, Ordering},
    model::{self, check},
};
use shutdown::{Claim, Claimed, Exit};
use std::sync::Arc;

/// Two CPUs ask at once (R11): one becomes the owner, one ladder is walked, the stronger request is carried out.
#[test]
fn of_two_callers_one_owns_and_the_stronger_request_wins() {
    check(|| {
        let claim = Arc::new(Claim::new());
        let other = Arc::clone(&claim);
        let caller = model::spawn(move || (other.request(Exit::PowerOff), other.begin().is_some()));
        let (mine, i_walk) = (claim.request(Exit::Reboot), claim.begin().is_some());
        let (theirs, they_walk) = caller.join().unwrap();
        let owners = [mine, theirs].into_iter().filter(|claimed| *claimed == Claimed::Owner).count();
        assert_eq!(owners, 1);
        assert!(i_walk ^ they_walk, "exactly one ladder");
        assert_eq!(claim.strongest(), Some(Exit::PowerOff));
    });
}

/// A panic during a shutdown, or a shutdown during a panic (R10): either the ladder never begins, or it finds out.
#[test]
fn a_request_is_not_lost_however_it_meets_the_sequencer_that_lies_down_to_wait() {
    check(|| {
        let claim = Arc::new(Claim::new());
        // Where the kernel notes the thread. Relaxed: it is the claim that has to order it.
        let noted = Arc::new(AtomicBool::new(false));
        let sequencer = {
            let (claim, noted) = (claim.clone(), noted.clone());
            model::spawn(move || {
                noted.store(true, Ordering::Relaxed);
                claim.attend();
                while claim.begin().is_none() {
                    model::park();
                }
            })
        };
        claim.request(Exit::Reboot);
        if noted.load(Ordering::Relaxed) {
            sequencer.thread().unpark();
        }
        sequencer.join().expect("the sequencer wakes up");
    });
}

#[test]
fn a_panic_and_a_shutdown_at_once_never_leave_a_ladder_that_does_not_know() {
    check(|| {
        let claim = Arc::new(Claim::new());
        let other = Arc::clone(&claim);
        let panic = model::spawn(move || other.request(Exit::Panic));
        claim.request(Exit::Reboot);
        let owner = claim.begin();
        panic.join().unwrap();
        assert!(owner.is_none_or(|owner| owner.is_preempted()));
        assert!(claim.begin().is_none(), "nobody walks under a panic, nor twice");
    });
}

/// Four ways out at once, on real threads only: loom would take hours over it.
#[cfg(not(loom))]
#[test]
fn of_many_callers_exactly_one_is_the_owner() {
    check(|| {
        let claim = Arc::new(Claim::new());
        let exits = [Exit::Halt, Exit::Reboot, Exit::PowerOff, Exit::Panic];
        let callers = exits.map(|exit| {
            let claim = Arc::clone(&claim);
            model::spawn(move || claim.request(exit))
        });
        let owners = callers.into_iter().map(|caller| caller.join().unwrap());
        assert_eq!(owners.filter(|claimed| *claimed == Claimed::Owner).count(), 1);
        assert_eq!(claim.strongest(), Some(Exit::Panic));
    });
}
