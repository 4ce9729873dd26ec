//! Where packets are processed: direct, hybrid, deferred, and switching between them while traffic flows.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use ifnet::DropReason;
use ksync::time::Instant;

use crate::support::{Bench, EM0, good, number, udp};

#[test]
fn deferred_frames_wait_for_the_netisr_thread_which_is_woken_once() {
    let mut bench = Bench::warm();
    let woken = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&woken);
    bench.router.set_waker(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
    });
    bench.router.sysctl_set("net.isr.dispatch", "deferred").unwrap();
    let frames: Vec<_> = (0..10).map(|n| udp(&good(), n)).collect();
    bench.receive_all(EM0, &frames);
    assert!(bench.ports[1].take().is_empty());
    assert_eq!(bench.assert_conserved().held_netisr, 10);
    assert_eq!(woken.load(Ordering::Relaxed), 1);

    let mut netisr = bench.other_worker("netisr0");
    assert_eq!(netisr.run_netisr(bench.now, 0, 64), 10);
    let numbers: Vec<_> = bench.ports[1].take_ip().iter().map(|p| number(p)).collect();
    assert_eq!(numbers, (0..10).collect::<Vec<_>>());
    assert_eq!(bench.assert_conserved().fates.forwarded, 10);
}

#[test]
fn a_full_queue_drops_and_counts() {
    let mut bench = Bench::warm();
    bench.router.sysctl_set("net.isr.dispatch", "deferred").unwrap();
    bench.router.sysctl_set("net.isr.qlimit", "16").unwrap();
    let frames: Vec<_> = (0..20).map(|n| udp(&good(), n)).collect();
    bench.receive_all(EM0, &frames);
    assert_eq!(bench.dropped(DropReason::NetisrFull), 4);
    assert_eq!(bench.assert_conserved().held_netisr, 16);
}

#[test]
fn what_was_decided_before_a_change_of_policy_is_sent_before_what_comes_after() {
    let mut bench = Bench::warm();
    let mut netisr = bench.other_worker("netisr0");
    let (router, now) = (bench.router, bench.now);
    bench.worker.pass(now, |pass| {
        for (n, policy) in [(0, "direct"), (1, "deferred")] {
            router.sysctl_set("net.isr.dispatch", policy).unwrap();
            let mut packet = pass.cache().alloc().unwrap();
            packet.append(&udp(&good(), n)).unwrap();
            packet.set_rx_if(EM0.0);
            pass.receive(packet);
        }
        // The other CPU is faster than the rest of this pass.
        assert_eq!(netisr.run_netisr(now, 0, 64), 1);
    });
    let numbers: Vec<_> = bench.ports[1].take_ip().iter().map(|p| number(p)).collect();
    assert_eq!(numbers, [0, 1]);
}

#[test]
fn order_is_kept_while_the_policy_changes_under_traffic() {
    const FRAMES: u32 = 4000;
    let mut bench = Bench::warm();
    bench.router.sysctl_set("net.isr.qlimit", "10240").unwrap();
    let router = bench.router;
    let mut netisr = bench.other_worker("netisr0");
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let server = thread::spawn(move || {
        let mut handled = 0;
        while !stopped.load(Ordering::Acquire) {
            handled += netisr.run_netisr(Instant::from_secs(1), 0, 64);
            thread::yield_now();
        }
        while netisr.run_netisr(Instant::from_secs(1), 0, 64) > 0 {}
        handled
    });
    let mut next = 0;
    for policy in ["direct", "deferred", "hybrid"].into_iter().cycle().take(60) {
        router.sysctl_set("net.isr.dispatch", policy).unwrap();
        for burst in [1, 17, 30] {
            let frames: Vec<_> = (next..next + burst).map(|n| udp(&good(), n)).collect();
            next += burst;
            while bench.pool.free() < 128 {
                thread::yield_now();
            }
            bench.receive_all(EM0, &frames);
        }
    }
    assert!(next <= FRAMES);
    while router.netisr().queued() > 0 {
        thread::yield_now();
    }
    stop.store(true, Ordering::Release);
    let handled = server.join().unwrap();
    assert!(handled > 0, "some frames went through the queue");
    let numbers: Vec<_> = bench.ports[1].take_ip().iter().map(|p| number(p)).collect();
    assert_eq!(numbers, (0..next).collect::<Vec<_>>());
    bench.assert_conserved();
}
