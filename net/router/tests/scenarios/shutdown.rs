//! Draining and closing: nothing is lost without a name, and no port is kept alive.

use std::sync::{Arc, atomic::Ordering};

use ifnet::{DropReason, Interface};
use router::{Flushed, RouterError};

use wire::Ipv4Header;

use crate::support::{Bench, EM0, EM1, R0, echo, good, udp};

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
fn each_interface_has_an_equation_of_its_own_and_it_adds_up() {
    let mut bench = Bench::warm();
    let before = [EM0, EM1].map(|index| bench.router.audit_interface(index).received);
    let frames: Vec<_> = (0..5).map(|n| udp(&good(), n)).collect();
    bench.receive_all(EM0, &frames);
    bench.receive(EM1, &[0; 9]);
    bench.receive(EM1, &echo(&Ipv4Header { destination: R0, ..good() }, 1));
    let [em0, em1] = [EM0, EM1].map(|index| bench.router.audit_interface(index));
    assert_eq!((em0.received - before[0], em1.received - before[1]), (5, 2));
    assert_eq!((em0.fates.forwarded, em1.fates.dropped(DropReason::EthTooShort)), (5, 1));
    assert_eq!((em0.unexplained(), em1.unexplained()), (0, 0));
    let line = em1.to_string();
    assert!(line.contains(" + eth-too-short 1") && line.ends_with("; unexplained 0"), "{line}");
    let total = bench.assert_conserved().equation().to_string();
    assert!(total.starts_with(&format!("received {} = forwarded 5", em0.received + em1.received)), "{total}");
}

#[test]
fn frames_of_two_interfaces_in_one_refused_batch_are_told_apart() {
    let mut bench = Bench::warm();
    // Both interfaces' frames go out through the same port, in one pass, and the port takes only the first four of six.
    bench.ports[1].room.store(4, Ordering::Relaxed);
    let on_em0 = udp(&good(), 0);
    let mut on_em1 = on_em0.clone();
    on_em1[..6].copy_from_slice(&bench.ports[1].mac().0);
    bench.worker.pass(bench.now, |pass| {
        for on in [EM0, EM0, EM1, EM0, EM1, EM0] {
            let mut packet = pass.cache().alloc().unwrap();
            packet.append(if on == EM0 { &on_em0 } else { &on_em1 }).unwrap();
            packet.set_rx_if(on.0);
            pass.receive(packet);
        }
    });
    let [em0, em1] = [EM0, EM1].map(|index| bench.router.audit_interface(index));
    assert_eq!((em0.fates.forwarded, em0.fates.dropped(DropReason::TxRingFull)), (3, 1));
    assert_eq!((em1.fates.forwarded, em1.fates.dropped(DropReason::TxRingFull)), (1, 1));
    bench.assert_conserved();
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
