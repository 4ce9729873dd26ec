//! Races between those who ask for the end: R10, R11, R12, R18.

use std::sync::Arc;

use ksync::model;
use shutdown::{Claimed, Exit, Finished};

use crate::{Rig, Setup};

/// How often the transcript may still be kept after a panic has asked: by one stage that had just looked, when it begins, when it
/// ends and, if it is the last, with the verdict.
const MAY_STILL: u64 = 3;

/// R10: a panic comes while the ladder is walked. The ladder gives way at the next stage, and the devices are silent.
pub fn r10_panic_during_a_shutdown() {
    let rig = Arc::new(Rig::new(Setup::default().impatient()));
    rig.send(2);
    let panicking = {
        let rig = Arc::clone(&rig);
        model::spawn(move || {
            rig.wait(u32::try_from(model::choose(12)).unwrap_or(0));
            rig.panic();
        })
    };
    let finished = rig.try_shut_down(Exit::Reboot);
    panicking.join().expect("the panic's CPU ends well");
    assert!(rig.stages_after_panic() <= MAY_STILL, "the ladder went on: {} times", rig.stages_after_panic());
    if let Some(finished) = &finished {
        assert_eq!(finished.exit, rig.claim.strongest().map_or(Exit::Reboot, |exit| exit.min(finished.exit)));
    }
    let rig = Arc::into_inner(rig).expect("nobody else has the machine");
    rig.end_without().assert_safe();
}

/// R10: once a panic has asked, nobody begins a shutdown.
pub fn r10_shutdown_during_a_panic() {
    let rig = Rig::new(Setup::default());
    rig.send(2);
    rig.panic();
    assert_eq!(rig.claim.request(Exit::Reboot), Claimed::Merged(Exit::Panic));
    assert!(rig.claim.begin().is_none(), "a shutdown began in the middle of a panic");
    rig.end_without().assert_safe();
}

/// R11: two CPUs ask at once, for different ends. One walks, both learn what is carried out, and the stronger wins unless it
/// was told that it came too late.
pub fn r11_two_cpus_ask_at_once() {
    let rig = Arc::new(Rig::new(Setup::default()));
    rig.send(2);
    let other = {
        let rig = Arc::clone(&rig);
        model::spawn(move || ask(&rig, Exit::PowerOff))
    };
    let mine = ask(&rig, Exit::Halt);
    let theirs = other.join().expect("the other CPU ends well");
    let owners = [&mine, &theirs].iter().filter(|(answer, _)| *answer == Claimed::Owner).count();
    assert_eq!(owners, 1, "{mine:?} {theirs:?}");
    let (one, none) = if mine.1.is_some() { (mine.1, theirs.1) } else { (theirs.1, mine.1) };
    assert!(none.is_none(), "two ladders were walked");
    let finished = one.expect("somebody walked");
    let expected = if matches!(theirs.0, Claimed::TooLate(_)) { Exit::Halt } else { Exit::PowerOff };
    assert_eq!(finished.exit, expected, "the stronger request was lost: {:?} {:?}", mine.0, theirs.0);
    let rig = Arc::into_inner(rig).expect("nobody else has the machine");
    rig.end(&finished).assert_orderly();
}

/// Asks, and walks if nobody else does.
fn ask(rig: &Rig, exit: Exit) -> (Claimed, Option<Finished>) {
    let answer = rig.claim.request(exit);
    (answer, rig.try_walk())
}

/// R12: two CPUs trap at once during a shutdown. One of them has the word, no ladder goes on, and the devices are silent. (That
/// their reports do not mix is the machine's own test, where the reports are.)
pub fn r12_two_cpus_trap_at_once() {
    let rig = Arc::new(Rig::new(Setup::default().impatient()));
    rig.send(2);
    let trap = |rig: &Arc<Rig>| {
        let rig = Arc::clone(rig);
        model::spawn(move || rig.panic())
    };
    let traps = [trap(&rig), trap(&rig)];
    let finished = rig.try_shut_down(Exit::Reboot);
    traps.into_iter().for_each(|trap| trap.join().expect("the trapping CPU ends well"));
    assert!(rig.stages_after_panic() <= MAY_STILL, "the ladder went on: {} times", rig.stages_after_panic());
    assert!(finished.is_some() || rig.claim.strongest() == Some(Exit::Panic));
    let rig = Arc::into_inner(rig).expect("nobody else has the machine");
    rig.end_without().assert_safe();
}

/// R18: everything is on, and who waits for whom is written down. Whoever the sequencer waits for waits for nobody while it is at
/// work; a cycle would also be a deadlock, which shuttle reports.
pub fn r18_nobody_who_is_waited_for_waits_for_the_sequencer() {
    let rig = Rig::new(Setup { deferred: true, shared_line: true, console: true, ..Setup::default() });
    rig.trickle(3);
    let finished = rig.shut_down(Exit::Reboot);
    let waits = rig.host.waits();
    if let Some(cycle) = waits.cycle() {
        panic!("a wait for oneself: {cycle:?}");
    }
    assert!(waits.has("sequencer", "interrupt thread") && waits.has("sequencer", "timers"), "{waits:?}");
    rig.end(&finished).assert_orderly();
}
