//! The transmit gate: who sends meets who stops, in every interleaving (`--cfg loom`), in many schedules (`--cfg shuttle`), and on
//! real threads. The real driver on a modelled device.

use std::sync::Arc;

use e1000::Reg;
use ifnet::{Interface, TxRefusal};
use ksync::model;
use nic_model::{Bench, Machine, frame};
use pktbuf::{PacketBatch, PoolCache};

/// Buffers of the machine: two rings and two caches.
const BUFFERS: usize = if cfg!(any(loom, shuttle)) { 40 } else { 300 };

/// Hands one frame to the port from another thread; returns whether it was taken.
fn sender(bench: &mut Bench) -> model::JoinHandle<Result<(), TxRefusal>> {
    let packet = bench.packet(&frame(9, 1, 60));
    let (adapter, pool) = (Arc::clone(&bench.adapter), packet.pool().unwrap());
    model::spawn(move || {
        let mut cache = PoolCache::new(pool, 2);
        let mut batch = PacketBatch::new();
        batch.push(packet).expect("an empty batch has room");
        let outcome = adapter.transmit(&mut batch, &mut cache);
        batch.drain().for_each(|packet| cache.recycle(packet));
        outcome.refused.map_or(Ok(()), Err)
    })
}

#[test]
fn a_frame_meets_the_stop_and_is_in_the_ring_or_refused() {
    model::check_times(50, || {
        let machine = Machine::new(BUFFERS);
        let mut bench = machine.port(0);
        let other = sender(&mut bench);
        let proof = bench.adapter.stop_dma().expect("a good device stops");
        // The proof says that nobody is in the ring any more, nor ever will be: it may be taken apart at once.
        let Bench { adapter, rx, cache, .. } = bench;
        let torn_down = adapter.teardown(proof, vec![rx]).expect("nothing is busy");
        match other.join().expect("the sender ends well") {
            Ok(()) => assert!(torn_down.tx_buffers <= 1, "sent, or given back by the teardown"),
            Err(why) => assert_eq!((why, torn_down.tx_buffers), (TxRefusal::NotRunning, 0)),
        }
        drop(cache);
        machine.assert_empty();
    });
}

#[test]
fn after_the_proof_nobody_rings_the_doorbell() {
    model::check_times(50, || {
        let machine = Machine::new(BUFFERS);
        let mut bench = machine.port(0);
        let other = sender(&mut bench);
        let proof = bench.adapter.stop_dma().expect("a good device stops");
        let rung = bench.nic.writes(Reg::Tdt(0));
        let taken = other.join().expect("the sender ends well").is_ok();
        assert_eq!(bench.nic.writes(Reg::Tdt(0)), rung, "a sender was still in the ring");
        assert_eq!(bench.adapter.statistics().tx_packets, u64::from(taken));
        let Bench { adapter, rx, cache, .. } = bench;
        adapter.teardown(proof, vec![rx]).expect("nothing is busy");
        drop(cache);
        machine.assert_empty();
    });
}

#[test]
fn a_frame_meets_the_seal_and_is_counted_before_it_or_refused() {
    model::check_times(50, || {
        let machine = Machine::new(BUFFERS);
        let mut bench = machine.port(0);
        let other = sender(&mut bench);
        bench.adapter.close_egress();
        // After the seal what the ring holds is all it will ever hold.
        let held = bench.adapter.tx_backlog();
        let taken = other.join().expect("the sender ends well").is_ok();
        let later = bench.adapter.tx_backlog();
        assert!(later <= held, "a frame came in behind the seal");
        assert_eq!(usize::from(taken), later, "nothing has moved the device");
        bench.detach().expect("a good device stops");
        machine.assert_empty();
    });
}
