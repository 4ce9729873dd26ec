//! Order in all policies and across switches: scenarios for loom (and threads), a long run on threads, and the small promises.

use std::{
    sync::{Arc, Mutex},
    vec::Vec,
};

use ksync::model::{check, park, spawn};

use super::*;

/// The thread of a workstream: takes, "sends" to the log, completes; ends at the item `last`.
fn serve(netisr: &Netisr<u32>, log: &Mutex<Vec<u32>>, last: u32) {
    loop {
        let mut batch = Vec::new();
        match netisr.take(0, |item| batch.push(item)) {
            None => park(),
            Some(taken) => {
                let ends = batch.contains(&last);
                log.lock().expect("no panic").extend(batch);
                netisr.complete(0, taken);
                if ends {
                    return;
                }
            }
        }
    }
}

/// What a receiving thread does with the packets of one pass.
struct Receiver<'a> {
    netisr: &'a Netisr<u32>,
    source: Source,
    here: usize,
    batch: Vec<u32>,
    log: &'a Mutex<Vec<u32>>,
    server: &'a ksync::model::Thread,
    refused: usize,
}

impl Receiver<'_> {
    fn flush(&mut self) {
        self.log.lock().expect("no panic").append(&mut self.batch);
        self.netisr.end_pass(&mut self.source, self.here);
    }

    fn receive(&mut self, item: u32) {
        match self.netisr.dispatch(&mut self.source, self.here, item) {
            Dispatch::Direct(item) => self.batch.push(item),
            Dispatch::FlushFirst(item) => {
                self.flush();
                self.receive(item);
            }
            Dispatch::Queued { wake, .. } => {
                if wake {
                    self.server.unpark();
                }
            }
            Dispatch::Full(_) | Dispatch::Closed(_) => self.refused += 1,
        }
    }
}

/// Sends items 1..=n through `policies[i]` each, ends with 0 deferred, and returns the order in which they were sent on.
fn order_of(policies: &[Policy]) -> Vec<u32> {
    let netisr = Arc::new(Netisr::new(1, 8));
    let log = Arc::new(Mutex::new(Vec::new()));
    let source = netisr.register_source().expect("the first source");
    let server = {
        let (netisr, log) = (Arc::clone(&netisr), Arc::clone(&log));
        spawn(move || serve(&netisr, &log, 0))
    };
    let mut receiver = Receiver {
        netisr: &netisr,
        source,
        here: 0,
        batch: Vec::new(),
        log: &log,
        server: server.thread(),
        refused: 0,
    };
    for (item, policy) in (1..).zip(policies) {
        netisr.set_policy(*policy);
        receiver.receive(item);
    }
    netisr.set_policy(Policy::Deferred);
    receiver.receive(0);
    receiver.flush();
    assert_eq!(receiver.refused, 0);
    server.join().expect("the server ends");
    Arc::into_inner(log).expect("the server is gone").into_inner().expect("no panic")
}

#[test]
fn order_is_kept_when_switching_from_deferred_to_direct() {
    check(|| assert_eq!(order_of(&[Policy::Deferred, Policy::Direct]), [1, 2, 0]));
}

#[test]
fn order_is_kept_when_switching_from_direct_to_deferred() {
    check(|| assert_eq!(order_of(&[Policy::Direct, Policy::Deferred]), [1, 2, 0]));
}

#[test]
fn order_is_kept_through_hybrid() {
    check(|| assert_eq!(order_of(&[Policy::Deferred, Policy::Hybrid]), [1, 2, 0]));
}

#[cfg(not(any(loom, shuttle)))]
mod on_threads {
    use std::{
        sync::atomic::{AtomicBool, Ordering},
        thread,
        time::Duration,
    };

    use super::*;

    /// A deterministic shuffle of policies while 60,000 packets of two sources pass one workstream.
    #[test]
    fn order_within_each_source_is_kept_while_policies_change_under_load() {
        const PACKETS: u32 = 30_000;
        let netisr: Netisr<u32> = Netisr::new(1, 64);
        let logs = [Mutex::new(Vec::new()), Mutex::new(Vec::new())];
        let finished = AtomicBool::new(false);
        let refused: usize = thread::scope(|scope| {
            let server = scope.spawn(|| {
                while !finished.load(Ordering::Acquire) || netisr.queued() > 0 {
                    let mut batch = Vec::new();
                    match netisr.take(0, |item| batch.push(item)) {
                        None => thread::park_timeout(Duration::from_millis(1)),
                        Some(taken) => {
                            for item in batch {
                                logs[usize::from(item >= PACKETS)].lock().expect("no panic").push(item);
                            }
                            thread::yield_now();
                            netisr.complete(0, taken);
                        }
                    }
                }
            });
            let receivers: Vec<_> = logs
                .iter()
                .enumerate()
                .map(|(i, log)| {
                    let first = if i == 0 { 0 } else { PACKETS };
                    let (netisr, server) = (&netisr, server.thread().clone());
                    scope.spawn(move || receive_all(netisr, log, &server, first..first + PACKETS))
                })
                .collect();
            let refused = receivers.into_iter().map(|r| r.join().expect("no panic")).sum();
            finished.store(true, Ordering::Release);
            refused
        });
        let sent: Vec<Vec<u32>> = logs.into_iter().map(|log| log.into_inner().expect("no panic")).collect();
        for log in &sent {
            assert!(log.is_sorted_by(|a, b| a < b), "a packet overtook another");
        }
        assert_eq!(sent.iter().map(Vec::len).sum::<usize>() + refused, 2 * PACKETS as usize);
        let statistics = netisr.statistics(0).expect("workstream 0");
        assert_eq!(statistics.queued, statistics.handled);
        assert_eq!(statistics.queue_drops, refused as u64);
        assert_eq!(statistics.dispatched + statistics.handled + statistics.queue_drops, u64::from(2 * PACKETS));
        assert!(statistics.dispatched > 0 && statistics.handled > 0, "{statistics:?}");
    }

    fn receive_all(
        netisr: &Netisr<u32>,
        log: &Mutex<Vec<u32>>,
        server: &thread::Thread,
        items: core::ops::Range<u32>,
    ) -> usize {
        let source = netisr.register_source().expect("a source");
        let mut receiver = Receiver { netisr, source, here: 0, batch: Vec::new(), log, server, refused: 0 };
        for item in items {
            if item % 97 == 0 {
                netisr.set_policy(Policy::ALL[(item / 97 % 3) as usize]);
            }
            receiver.receive(item);
            if item % 32 == 0 {
                receiver.flush();
            }
        }
        receiver.flush();
        receiver.refused
    }

    fn direct<T>(dispatch: Dispatch<T>) -> bool {
        matches!(dispatch, Dispatch::Direct(_))
    }

    #[test]
    fn direct_runs_in_the_caller_on_every_cpu() {
        let netisr = Netisr::new(4, 8);
        let mut source = netisr.register_source().expect("a source");
        for here in 0..4 {
            assert!(direct(netisr.dispatch(&mut source, here, ())));
        }
        netisr.end_pass(&mut source, 2);
        assert_eq!(netisr.statistics(2).map(|s| (s.dispatched, s.hybrid_dispatched)), Some((4, 0)));
    }

    #[test]
    fn hybrid_runs_in_the_caller_only_on_the_home_cpu_and_while_its_queue_is_idle() {
        let netisr = Netisr::new(2, 8);
        netisr.set_policy(Policy::Hybrid);
        let mut first = netisr.register_source().expect("a source");
        let mut second = netisr.register_source().expect("a source");
        let mut third = netisr.register_source().expect("a source");
        assert_eq!((first.home(), second.home(), third.home()), (0, 1, 0));
        assert!(direct(netisr.dispatch(&mut first, 0, ())));
        assert!(matches!(netisr.dispatch(&mut second, 0, ()), Dispatch::Queued { workstream: 1, wake: true }));
        // The third source shares the first one's home; while its packet waits there, the first one queues behind it.
        assert!(matches!(netisr.dispatch(&mut third, 1, ()), Dispatch::Queued { workstream: 0, .. }));
        netisr.end_pass(&mut first, 0);
        assert!(matches!(netisr.dispatch(&mut first, 0, ()), Dispatch::Queued { workstream: 0, wake: false }));
    }

    #[test]
    fn a_source_is_blocked_from_direct_until_its_packets_are_completed_not_only_taken() {
        let netisr = Netisr::new(1, 8);
        netisr.set_policy(Policy::Deferred);
        let mut source = netisr.register_source().expect("a source");
        assert!(matches!(netisr.dispatch(&mut source, 0, 1), Dispatch::Queued { .. }));
        netisr.set_policy(Policy::Direct);
        let taken = netisr.take(0, |_| ()).expect("one packet");
        assert!(matches!(netisr.dispatch(&mut source, 0, 2), Dispatch::Queued { .. }));
        netisr.complete(0, taken);
        assert!(matches!(netisr.dispatch(&mut source, 0, 3), Dispatch::Queued { .. }));
        let taken = netisr.take(0, |_| ()).expect("two packets");
        assert_eq!(taken.count(), 2);
        netisr.complete(0, taken);
        assert!(direct(netisr.dispatch(&mut source, 0, 4)));
    }

    #[test]
    fn another_sources_queue_does_not_keep_a_source_from_running_directly() {
        let netisr = Netisr::new(1, 8);
        let mut queued = netisr.register_source().expect("a source");
        let mut other = netisr.register_source().expect("a source");
        netisr.set_policy(Policy::Deferred);
        assert!(matches!(netisr.dispatch(&mut queued, 0, ()), Dispatch::Queued { .. }));
        netisr.set_policy(Policy::Direct);
        assert!(direct(netisr.dispatch(&mut other, 0, ())));
    }

    #[test]
    fn a_full_queue_gives_the_packet_back_and_counts_it() {
        let netisr = Netisr::new(1, 2);
        netisr.set_policy(Policy::Deferred);
        let mut source = netisr.register_source().expect("a source");
        for item in 0..2 {
            assert!(matches!(netisr.dispatch(&mut source, 0, item), Dispatch::Queued { .. }));
        }
        assert!(matches!(netisr.dispatch(&mut source, 0, 2), Dispatch::Full(2)));
        let statistics = netisr.statistics(0).expect("workstream 0");
        assert_eq!((statistics.len, statistics.watermark, statistics.queue_drops), (2, 2, 1));
        // A refused packet does not count as pending.
        let taken = netisr.take(0, |_| ()).expect("two packets");
        netisr.complete(0, taken);
        netisr.set_policy(Policy::Direct);
        assert!(direct(netisr.dispatch(&mut source, 0, 3)));
    }

    #[test]
    fn a_closed_queue_gives_new_packets_back_and_old_ones_out() {
        let netisr = Netisr::new(1, 2);
        netisr.set_policy(Policy::Deferred);
        let mut source = netisr.register_source().expect("a source");
        assert!(matches!(netisr.dispatch(&mut source, 0, 7), Dispatch::Queued { .. }));
        netisr.close();
        assert!(matches!(netisr.dispatch(&mut source, 0, 8), Dispatch::Closed(8)));
        assert_eq!(netisr.queued(), 1);
        let mut seen = Vec::new();
        let taken = netisr.take(0, |item| seen.push(item)).expect("one packet");
        netisr.complete(0, taken);
        assert_eq!((seen, netisr.queued()), (std::vec![7], 0));
    }

    #[test]
    fn sources_beyond_the_limit_are_an_error() {
        let netisr: Netisr<()> = Netisr::new(1, 2);
        for _ in 0..MAX_SOURCES {
            netisr.register_source().expect("below the limit");
        }
        assert_eq!(netisr.register_source().err(), Some(NetisrError::TooManySources));
    }
}

#[cfg(not(any(loom, shuttle)))]
#[test]
fn what_a_thread_has_taken_is_unfinished_until_it_says_so() {
    let netisr = Netisr::new(1, 8);
    netisr.set_policy(Policy::Deferred);
    let mut source = netisr.register_source().expect("the first source");
    for item in 0..3 {
        assert!(matches!(netisr.dispatch(&mut source, 0, item), Dispatch::Queued { .. }));
    }
    let taken = netisr.take(0, |_| ()).expect("three wait");
    assert_eq!((netisr.queued(), netisr.unfinished()), (0, 3), "in hand, and in no queue");
    netisr.complete(0, taken);
    assert_eq!(netisr.unfinished(), 0);
}
