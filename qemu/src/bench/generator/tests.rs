//! The generator against a thread that plays the router, right and wrong.

use std::time::Duration;

use super::{
    Load, Mode, Moment, Outcome, Stream,
    loopback::{Faults, Loopback, self_test},
};

const LIMIT: Duration = Duration::from_secs(60);

/// Runs a load against a router with faults.
fn run(faults: Faults, load: &Load) -> anyhow::Result<Outcome> {
    let (loopback, mut generator) = Loopback::start(faults)?;
    let outcome = generator.run(load, &mut |_| ())?;
    loopback.stop()?;
    Ok(outcome)
}

fn closed(window: u32) -> Load {
    Load::new(true, 64, Mode::Closed { window }, Duration::from_millis(200))
}

/// Checks that a run fails and says what it should.
fn fails(faults: Faults, says: &str) {
    let error = format!("{:#}", run(faults, &closed(32)).unwrap_err());
    assert!(error.contains(says), "{error}");
}

#[test]
fn what_is_forwarded_right_is_counted_both_ways() {
    let (loopback, mut generator) = Loopback::start(Faults::default()).unwrap();
    generator.meet(LIMIT).unwrap();
    for size in [64, 512, 1518] {
        let mut moments = Vec::new();
        let load = Load { streams: vec![Stream::new(0, size), Stream::new(1, size)], ..closed(64) };
        let outcome = generator.run(&load, &mut |moment| moments.push(moment)).unwrap();
        assert!(outcome.streams.iter().all(|stream| stream.forwarded > 0 && stream.sent > 0), "{outcome:?}");
        assert_eq!((outcome.lost(), outcome.reordered(), outcome.stalls), (0, 0, 0));
        assert_eq!((moments.first(), moments.last()), (Some(&Moment::Begin), Some(&Moment::End)));
        assert!(outcome.effort.cpu > 0.0 && outcome.fairness() > 0.0);
    }
    loopback.stop().unwrap();
}

#[test]
fn every_time_is_taken_when_one_frame_is_under_way() {
    let load = Load::new(false, 64, Mode::Closed { window: 1 }, Duration::from_millis(200)).timed();
    let outcome = run(Faults::default(), &load).unwrap();
    // The last one may have been under way when counting ended.
    assert!(outcome.times.len().abs_diff(outcome.forwarded()) <= 1, "{outcome:?}");
    assert!(outcome.percentile_us(50.0) > 0.0 && outcome.percentile_us(50.0) <= outcome.percentile_us(99.0));
}

#[test]
fn a_constant_rate_is_offered_and_no_more() {
    let load = Load::new(true, 64, Mode::Open { rate: 2000.0 }, Duration::from_millis(500));
    let outcome = run(Faults::default(), &load).unwrap();
    // Two streams for half a second; a busy host may make it less.
    assert!((1..=2004).contains(&outcome.streams.iter().map(|stream| stream.offered).sum::<u64>()), "{outcome:?}");
    assert_eq!(outcome.lost(), 0);
}

#[test]
fn frames_whose_times_nobody_takes_are_sent_many_at_once() {
    let load = Load::new(false, 64, Mode::Open { rate: 100_000.0 }, Duration::from_millis(300));
    let outcome = run(Faults::default(), &load).unwrap();
    // 64 each time; a busy host may make it more.
    let writes = outcome.effort.writes_per_frame;
    assert!(writes > 0.0 && writes <= 1.0 / 48.0, "{outcome:?}");
}

#[test]
fn a_socket_without_room_is_left_alone_for_a_while() {
    let (loopback, mut generator) = Loopback::start(Faults { deaf: true, ..Faults::default() }).unwrap();
    let load = Load::new(false, 64, Mode::Open { rate: 5e6 }, Duration::from_millis(500));
    let outcome = generator.run(&load, &mut |_| ()).unwrap();
    loopback.stop().unwrap();
    // The sockets are full before anything is counted. Each rest is followed by one try at each port at most, and rests only become
    // longer on a busy host.
    let reads = generator.ports.iter().map(|port| port.reads).sum::<u64>();
    assert!((1..=2 * 800_000 / 250 + 200).contains(&reads), "{reads}");
    assert!(outcome.lost() > 0 && outcome.forwarded() == 0, "{outcome:?}");
}

#[test]
fn losses_are_counted_and_the_run_goes_on() {
    let outcome = run(Faults { lose: 10, ..Faults::default() }, &closed(32)).unwrap();
    let sent: u64 = outcome.streams.iter().map(|stream| stream.sent).sum();
    assert!(sent > 1000 && outcome.lost().abs_diff(sent / 10) <= 1, "{outcome:?}");
    assert_eq!(outcome.reordered(), 0);
}

#[test]
fn a_router_that_loses_all_stalls_the_run_and_does_not_stop_it() {
    let outcome = run(Faults { lose: 1, ..Faults::default() }, &closed(32)).unwrap();
    assert!(outcome.stalls > 0 && outcome.forwarded() == 0 && outcome.lost() > 0, "{outcome:?}");
}

#[test]
fn frames_that_overtake_are_counted() {
    let outcome = run(Faults { swap: true, ..Faults::default() }, &closed(32)).unwrap();
    assert!(outcome.reordered() > 0 && outcome.lost() == 0, "{outcome:?}");
}

#[test]
fn a_frame_that_comes_twice_fails_the_run() {
    fails(Faults { repeat: 50, ..Faults::default() }, "twice");
}

#[test]
fn a_wrong_octet_fails_the_run_wherever_it_is() {
    for at in [0, 11, 13, 22, 24, 33, 41, 43, 49, 53, 59] {
        let says = if at == 43 { "octet" } else { &format!("octet {at} ") };
        fails(Faults { damage: Some(at), ..Faults::default() }, says);
    }
}

#[test]
fn the_time_of_address_resolution_under_load_is_taken() {
    let load = Load { asks_every: Some(Duration::from_millis(10)), ..closed(32) };
    let outcome = run(Faults::default(), &load).unwrap();
    assert!(outcome.asked.requests > 0 && !outcome.asked.answers.is_empty(), "{:?}", outcome.asked);
    assert_eq!(outcome.lost(), 0);
}

#[test]
fn a_subject_that_goes_is_an_error() {
    let (loopback, mut generator) = Loopback::start(Faults::default()).unwrap();
    loopback.stop().unwrap();
    assert!(generator.run(&closed(8), &mut |_| ()).is_err());
}

#[test]
fn the_generator_tells_its_own_rate() {
    let (rate, effort) = self_test(64, 128, Duration::from_millis(200)).unwrap();
    assert!(rate > 0.0 && effort.cpu > 0.0, "{rate} {effort:?}");
}

#[test]
fn tagged_frames_are_counted_and_those_of_another_vlan_are_an_error() {
    let outcome = |told: [u16; 2]| {
        let (loopback, mut generator) = Loopback::start_tagged(Faults::default(), Some([10, 20])).unwrap();
        generator.tag(told);
        let outcome = generator.run(&closed(32), &mut |_| ());
        loopback.stop().unwrap();
        outcome
    };
    let good = outcome([10, 20]).unwrap();
    assert!(good.streams.iter().all(|stream| stream.forwarded > 0) && good.lost() == 0, "{good:?}");
    let wrong = format!("{:#}", outcome([10, 21]).unwrap_err());
    assert!(wrong.contains("octet 12 of a frame at port"), "{wrong}");
}
