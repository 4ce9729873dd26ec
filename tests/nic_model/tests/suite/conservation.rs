//! Conservation: whatever happens in whatever order, every packet is in exactly one place and every frame in exactly one
//! counter. Random single-threaded histories, and real threads.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ifnet::Interface;
use ksync::time::Instant;
use nic_model::{Bench, Machine, Wired, frame};
use pktbuf::{PacketBatch, PoolCache};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Action {
    Inject(u8),
    InjectBad,
    InjectSplit,
    Step(u8),
    Interrupts,
    Service(u8),
    LetGo,
    Send(u8),
    Tick,
    Late(u8),
    Stuck(bool),
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        4 => (1..40_u8).prop_map(Action::Inject),
        1 => Just(Action::InjectBad),
        1 => Just(Action::InjectSplit),
        6 => (1..60_u8).prop_map(Action::Step),
        4 => Just(Action::Interrupts),
        2 => (1..100_u8).prop_map(Action::Service),
        2 => Just(Action::LetGo),
        4 => (1..64_u8).prop_map(Action::Send),
        2 => Just(Action::Tick),
        1 => (0..20_u8).prop_map(Action::Late),
        1 => any::<bool>().prop_map(Action::Stuck),
    ]
}

struct History {
    machine: Machine,
    bench: Bench,
    clock: u64,
    /// Frames put on the wire.
    injected: u64,
}

impl History {
    fn act(&mut self, action: &Action) {
        let Self { bench, clock, injected, .. } = self;
        match *action {
            Action::Inject(count) => {
                *injected += u64::from(count);
                (0..count).for_each(|n| bench.nic.inject(frame(0, u32::from(n), 60 + usize::from(n))));
            }
            Action::InjectBad => {
                *injected += 1;
                let errors = e1000::desc::RxErrors::CE;
                bench.nic.inject_wired(Wired { errors, ..Wired::good(frame(0, 0, 90)) });
            }
            Action::InjectSplit => {
                *injected += 1;
                bench.nic.inject_wired(Wired { pieces: 2, ..Wired::good(frame(0, 0, 900)) });
            }
            Action::Step(count) => (0..count).for_each(|_| _ = bench.nic.step()),
            Action::Interrupts => bench.interrupts(),
            Action::Service(budget) => _ = bench.service(usize::from(budget)),
            Action::LetGo => bench.received.drain(..).for_each(|packet| bench.cache.recycle(packet)),
            Action::Send(count) => send(bench, count),
            Action::Tick => {
                *clock += 3;
                bench.adapter.tick(Instant::from_secs(*clock));
            }
            Action::Late(steps) => bench.nic.set_faults(|faults| faults.late_write_back = u32::from(steps)),
            Action::Stuck(stuck) => bench.nic.set_faults(|faults| faults.transmit_stuck = stuck),
        }
    }

    /// Packets: free + cached + in the rings + handed up = all.
    fn check_packets(&self) {
        // First: it takes finished buffers back.
        let in_flight = self.bench.adapter.tx_backlog();
        let census = self.machine.pool.census();
        assert_eq!(
            census.free + census.cached + self.bench.rx.buffers() + in_flight + self.bench.received.len(),
            census.total
        );
        let statistics = self.bench.adapter.statistics();
        assert_eq!(statistics.tx_packets, statistics.tx_done + statistics.tx_discarded + in_flight as u64);
    }
}

fn send(bench: &mut Bench, count: u8) {
    let mut batch = PacketBatch::new();
    for serial in 0..count {
        let Some(mut packet) = bench.cache.alloc() else { break };
        packet.append(&frame(9, u32::from(serial), 40 + usize::from(serial))).unwrap();
        batch.push(packet).unwrap();
    }
    let offered = batch.len();
    let outcome = bench.transmit(&mut batch);
    assert_eq!(outcome.accepted as usize + batch.len(), offered);
    assert_eq!(outcome.refused.is_none(), batch.is_empty());
    batch.drain().for_each(|packet| bench.cache.recycle(packet));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_packet_is_in_one_place_and_every_frame_in_one_counter(
        frames in 100..500_usize,
        actions in prop::collection::vec(action(), 1..60),
    ) {
        let machine = crate::machine(frames);
        let bench = machine.port(0);
        let mut history = History { machine, bench, clock: 0, injected: 0 };
        for action in &actions {
            history.act(action);
            history.check_packets();
        }
        // Let everything come to rest: then the frames add up as well.
        history.bench.nic.set_faults(|faults| faults.late_write_back = 0);
        history.bench.settle();
        while history.bench.service(64) > 0 {}
        history.bench.adapter.tick(Instant::from_secs(history.clock + 1));
        let statistics = history.bench.adapter.statistics();
        let counted = statistics.rx_packets + statistics.rx_no_buffer + statistics.rx_crc_errors
            + statistics.rx_length_errors + statistics.rx_missed + history.bench.nic.ignored();
        let lost_in_reset = history.injected - counted;
        // A reset may catch frames written to memory whose write-back was late: the device forgot them, nobody else.
        prop_assert!(statistics.watchdog_resets > 0 || lost_in_reset == 0, "{lost_in_reset} frames are unaccounted for");
        let History { machine, mut bench, .. } = history;
        bench.received.clear();
        bench.detach().unwrap();
        machine.assert_empty();
    }
}

#[test]
fn device_ithread_senders_and_timer_in_parallel_lose_nothing_at_shutdown() {
    let machine = crate::machine(1000);
    let (a, b) = (machine.port(0), machine.port(1));
    let adapters = [Arc::clone(&a.adapter), Arc::clone(&b.adapter)];
    let nics = [a.nic.clone(), b.nic.clone()];
    let (stop_devices, stop_threads) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let devices = nics.each_ref().map(|nic| nic.spawn(Arc::clone(&stop_devices)));

    // Each ithread forwards what its port receives to the other port: the shape of the router, and of the seed's bug.
    let ithreads = [(a, 1), (b, 0)].map(|(mut bench, other)| {
        let (out, stop) = (Arc::clone(&adapters[other]), Arc::clone(&stop_threads));
        std::thread::spawn(move || {
            let mut refused = 0;
            let mut batch = PacketBatch::new();
            while !stop.load(Ordering::Acquire) {
                bench.adapter.filter();
                let push = |packet| batch.push(packet).expect("the budget is below the batch");
                bench.rx.service(&bench.adapter, 64, &mut bench.cache, push);
                let _ = out.transmit(&mut batch, &mut bench.cache);
                refused += batch.len();
                batch.drain().for_each(|packet| bench.cache.recycle(packet));
                bench.adapter.unmask();
                std::thread::yield_now();
            }
            (bench, refused)
        })
    });
    let timer = {
        let (adapters, stop) = (adapters.clone(), Arc::clone(&stop_threads));
        std::thread::spawn(move || {
            for second in 0.. {
                if stop.load(Ordering::Acquire) {
                    return;
                }
                adapters.iter().for_each(|adapter| _ = adapter.tick(Instant::from_millis(second)));
                std::thread::sleep(Duration::from_millis(1));
            }
        })
    };
    for serial in 0..4000 {
        for (number, nic) in (0..).zip(&nics) {
            nic.inject(frame(number, serial, 200));
        }
        if serial % 64 == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    // On a busy machine the threads come to it later than the frames.
    let received = || adapters.iter().map(|adapter| adapter.statistics().rx_packets).sum::<u64>();
    for serial in 4000..9000 {
        if received() > 1000 {
            break;
        }
        for (number, nic) in (0..).zip(&nics) {
            nic.inject(frame(number, serial, 200));
        }
        std::thread::sleep(Duration::from_millis(1));
    }

    // The ladder: close both, drain both, mask both, join, mask again, stop both, tear both down.
    adapters.iter().for_each(|adapter| adapter.close_ingress().unwrap());
    let idle = |adapter: &Arc<e1000::Adapter<_>>| adapter.rx_backlog() == Ok(0) && adapter.tx_idle();
    // Several looks in a row: between them a thread may have frames in hand, out of one ring and not yet in the other.
    let mut quiet = 0;
    for _ in 0..5000 {
        quiet = if adapters.iter().all(idle) { quiet + 1 } else { 0 };
        if quiet == 20 {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(quiet, 20, "the drain does not end");
    adapters.iter().for_each(|adapter| adapter.mask_interrupts().unwrap());
    stop_threads.store(true, Ordering::Release);
    timer.join().unwrap();
    let joined = ithreads.map(|thread| thread.join().unwrap());
    adapters.iter().for_each(|adapter| adapter.mask_interrupts().unwrap());

    for statistics in adapters.each_ref().map(|adapter| adapter.statistics()) {
        // Every frame was good, also those that the device finished between two looks at their descriptor.
        assert_eq!((statistics.rx_length_errors, statistics.rx_errors, statistics.rx_crc_errors), (0, 0, 0));
    }
    let received = received();
    let sent: u64 = adapters.iter().map(|adapter| adapter.statistics().tx_done).sum();
    let refused: usize = joined.iter().map(|(_, refused)| refused).sum();
    assert!(received > 1000, "traffic did flow: {received}");
    assert_eq!(received, sent + refused as u64);
    for (bench, _) in joined {
        bench.detach().unwrap();
    }
    stop_devices.store(true, Ordering::Release);
    devices.into_iter().for_each(|device| device.join().unwrap());
    machine.assert_empty();
}

#[test]
fn stopping_in_the_middle_of_a_flood_never_lets_the_device_into_freed_memory() {
    for _ in 0..20 {
        let machine = crate::machine(400);
        let mut bench = machine.port(0);
        let stop = Arc::new(AtomicBool::new(false));
        let device = bench.nic.spawn(Arc::clone(&stop));
        let flood = {
            let (nic, stop) = (bench.nic.clone(), Arc::clone(&stop));
            std::thread::spawn(move || {
                while !stop.load(Ordering::Acquire) {
                    if nic.incoming() < 100 {
                        (0..32).for_each(|n| nic.inject(frame(0, n, 300)));
                    }
                    std::thread::yield_now();
                }
            })
        };
        let sender = {
            let (adapter, stop, pool) = (Arc::clone(&bench.adapter), Arc::clone(&stop), machine.pool);
            std::thread::spawn(move || {
                let mut cache = PoolCache::new(pool, 32);
                let mut batch = PacketBatch::new();
                while !stop.load(Ordering::Acquire) {
                    let Some(mut packet) = cache.alloc() else { continue };
                    packet.append(&frame(9, 1, 100)).unwrap();
                    let _ = batch.push(packet);
                    let _ = adapter.transmit(&mut batch, &mut cache);
                    batch.drain().for_each(|packet| cache.recycle(packet));
                }
            })
        };
        for _ in 0..50 {
            bench.service(64);
            bench.received.clear();
        }
        // No drain, no join of the sender: the worst that can still be asked for.
        bench.detach().unwrap();
        stop.store(true, Ordering::Release);
        [device, flood, sender].into_iter().for_each(|thread| thread.join().unwrap());
        machine.assert_empty();
    }
}
