//! Draining and closing: nothing is lost without a name, and no port is kept alive.

use std::sync::Arc;

use ifnet::DropReason;
use router::{Flushed, RouterError};

use wire::Ipv4Header;

use crate::support::{Bench, EM0, R0, echo, good, udp};

#[test]
fn what_is_held_is_dropped_with_its_cause_counted() {
    let mut bench = Bench::cold();
    let frames: Vec<_> = (0..3).map(|n| udp(&good(), n)).collect();
    bench.receive_all(EM0, &frames);
    bench.receive(EM0, &echo(&Ipv4Header { destination: R0, more_fragments: true, ..good() }, 0));
    bench.router.sysctl_set("net.isr.dispatch", "deferred").unwrap();
    let frames: Vec<_> = (0..100).map(|n| udp(&good(), n)).collect();
    bench.receive_all(EM0, &frames);
    let flushed = bench.worker.flush_held(bench.now);
    assert_eq!(flushed, Flushed { arp: 3, netisr: 100, reassembly: 1 });
    assert_eq!(bench.dropped(DropReason::ShuttingDown), 1);
    assert_eq!(bench.dropped(DropReason::ArpFlushed), 3);
    assert_eq!(bench.dropped(DropReason::NetisrFlushed), 100);
    let audit = bench.assert_conserved();
    assert_eq!((audit.held_arp, audit.held_netisr), (0, 0));
}

#[test]
fn after_closing_nothing_is_sent_and_everything_is_counted() {
    let mut bench = Bench::warm();
    bench.worker.flush_held(bench.now);
    bench.router.close(|| true).unwrap();
    for policy_is_direct in [true, false] {
        if !policy_is_direct {
            assert_eq!(bench.router.sysctl_set("net.isr.dispatch", "deferred"), Ok(()));
        }
        bench.receive(EM0, &udp(&good(), 0));
    }
    bench.tick_after(100);
    assert!(bench.ports.iter().all(|port| port.take().is_empty()));
    assert_eq!(bench.dropped(DropReason::ShuttingDown), 2);
    bench.assert_conserved();
}

#[test]
fn a_closed_router_lets_go_of_its_ports() {
    let bench = Bench::warm();
    assert!(bench.ports.iter().all(|port| Arc::strong_count(port) > 1));
    bench.router.close(|| true).unwrap();
    assert!(bench.ports.iter().all(|port| Arc::strong_count(port) == 1));
    let port = Arc::clone(&bench.ports[0]);
    assert_eq!(bench.router.attach(port), Err(RouterError::Closed));
}

#[test]
fn closing_gives_up_on_a_pass_that_does_not_end_and_succeeds_afterwards() {
    let mut bench = Bench::warm();
    let router = bench.router;
    bench.worker.pass(bench.now, |_| {
        assert_eq!(router.close(|| false), Err(RouterError::StuckWorker));
    });
    assert_eq!(router.close(|| false), Ok(()));
    assert!(bench.ports.iter().all(|port| Arc::strong_count(port) == 1));
}

#[test]
fn a_worker_that_goes_away_gives_its_buffers_back() {
    let bench = Bench::warm();
    let Bench { worker, pool, .. } = bench;
    drop(worker);
    assert_eq!(pool.census().free, pool.total());
}
