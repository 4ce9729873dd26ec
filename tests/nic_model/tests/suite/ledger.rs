//! The device's own count against the driver's, and the transmit ring's last frames: what a lossless shutdown rests on.

use e1000::{Ledger, Reg, Stat, desc::RxErrors};
use ifnet::{Interface, TxOutcome, TxRefusal};
use nic_model::{Wired, frame};
use pktbuf::PacketBatch;

#[test]
fn device_and_driver_agree_to_the_frame_on_what_was_received_refused_and_sent() {
    let machine = crate::machine(300);
    let mut bench = machine.port(0);
    (0..30).for_each(|n| bench.nic.inject(frame(0, n, 100)));
    bench.nic.inject_wired(Wired { errors: RxErrors::CE, ..Wired::good(frame(0, 30, 100)) });
    bench.nic.inject_wired(Wired { pieces: 3, ..Wired::good(frame(0, 31, 300)) });
    bench.settle();
    (0..7).for_each(|n| assert_eq!(bench.send(&frame(9, n, 60)), TxOutcome::all(1)));
    bench.settle();
    // A tick in the middle collects, and reading clears: the sums must not mind.
    bench.adapter.tick(ksync::time::Instant::from_secs(1));
    (0..5).for_each(|n| bench.nic.inject(frame(0, n, 100)));
    bench.settle();
    let adapter = bench.adapter.clone();
    bench.received.clear();
    bench.detach().unwrap();
    let ledger = adapter.ledger();
    let expected = Ledger {
        device_received: 37,
        handed_up: 35,
        refused: 2,
        unserved: 0,
        missed: 0,
        device_sent: 7,
        accepted: 7,
        unsent: 0,
    };
    assert_eq!((ledger, ledger.received_difference(), ledger.sent_difference()), (expected, 0, 0));
}

#[test]
fn frames_nobody_fetched_before_the_teardown_are_counted_as_left_in_the_ring() {
    let machine = crate::machine(300);
    let mut bench = machine.port(0);
    (0..10).for_each(|n| bench.nic.inject(frame(0, n, 100)));
    bench.nic.settle();
    bench.service(4);
    let adapter = bench.adapter.clone();
    bench.received.clear();
    let torn_down = bench.detach().unwrap();
    assert_eq!((torn_down.unserved, adapter.ledger().unserved, adapter.ledger().received_difference()), (6, 6, 0));
    machine.assert_empty();
}

/// All descriptors but one are the device's when 32 have gone back; that one still shows the frame that was served last.
#[test]
fn what_a_full_ring_still_shows_of_the_last_frame_served_is_not_counted_again() {
    let machine = crate::machine(300);
    let mut bench = machine.port(0);
    (0..32).for_each(|n| bench.nic.inject(frame(0, n, 100)));
    bench.settle();
    (0..79).for_each(|n| bench.nic.inject(frame(0, n, 100)));
    bench.nic.settle();
    let adapter = bench.adapter.clone();
    bench.received.clear();
    assert_eq!(bench.detach().unwrap().unserved, 79);
    assert_eq!((adapter.ledger().handed_up, adapter.ledger().received_difference()), (32, 0));
    machine.assert_empty();
}

#[test]
fn frames_in_a_ring_that_stays_in_quarantine_are_counted_as_left_in_it() {
    let machine = crate::machine(300);
    for never_resets in [false, true] {
        let mut bench = machine.port(u8::from(never_resets));
        (0..10).for_each(|n| bench.nic.inject(frame(u8::from(never_resets), n, 100)));
        bench.nic.settle();
        bench.service(4);
        // Stopped by force at once, or after it did not stop of itself; asked again, nothing is counted twice.
        bench.nic.set_faults(|faults| faults.never_resets = never_resets);
        let stopped = never_resets.then(|| bench.adapter.stop_dma().is_ok());
        assert_eq!(stopped, never_resets.then_some(false));
        assert_eq!(
            (bench.adapter.force_stop().is_ok(), bench.adapter.force_stop().is_ok()),
            (!never_resets, !never_resets)
        );
        let ledger = bench.adapter.ledger();
        assert_eq!((ledger.device_received, ledger.unserved, ledger.received_difference()), (10, 6, 0));
    }
}

#[test]
fn frames_without_a_descriptor_are_missed_and_not_unexplained() {
    let machine = crate::machine(300);
    let mut bench = machine.port(0);
    (0..100).for_each(|n| bench.nic.inject(frame(0, n, 100)));
    bench.nic.settle();
    bench.interrupts();
    let adapter = bench.adapter.clone();
    bench.received.clear();
    bench.detach().unwrap();
    let ledger = adapter.ledger();
    assert_eq!((ledger.device_received, ledger.missed, ledger.received_difference()), (79, 21, 0));
}

#[test]
fn a_closed_egress_refuses_what_is_new_and_lets_out_what_it_holds() {
    let machine = crate::machine(300);
    let mut bench = machine.port(0);
    assert_eq!(bench.send(&frame(9, 1, 60)), TxOutcome::all(1));
    bench.adapter.close_egress();
    let mut batch = PacketBatch::new();
    batch.push(bench.packet(&frame(9, 2, 60))).unwrap();
    assert_eq!(bench.adapter.transmit(&mut batch, &mut bench.cache), TxOutcome::refused(0, TxRefusal::NotRunning));
    assert_eq!(bench.adapter.tx_backlog(), 1);
    bench.nic.settle();
    assert_eq!((bench.adapter.tx_backlog(), bench.nic.all_sent().len()), (0, 1));
    let at_drain = bench.adapter.frames_on_wire();
    drop(batch);
    let adapter = bench.adapter.clone();
    bench.detach().unwrap();
    assert_eq!((at_drain, adapter.ledger().device_sent), (Some(1), 1), "nothing left after the drain");
}

#[test]
fn frames_inside_the_device_are_still_waited_for() {
    let machine = crate::machine(300);
    let bench = machine.port(0);
    bench.nic.poke(Reg::Rdfpc, 2);
    bench.nic.poke(Reg::Tdfpc, 3);
    assert_eq!((bench.adapter.rx_backlog(), bench.adapter.tx_backlog()), (Ok(2), 3));
    bench.nic.set_faults(|faults| faults.gone = true);
    assert_eq!(bench.adapter.tx_backlog(), 0, "a device that is gone sends nothing");
}

#[test]
fn every_statistics_register_is_collected_over_several_ticks_and_octets_past_32_bits() {
    let machine = crate::machine(300);
    let mut bench = machine.port(0);
    // What the device has counted before, as if 4 GiB were nearly full.
    bench.nic.poke(Reg::Stat(Stat::Gorc), u32::MAX - 63);
    bench.nic.poke(Reg::Stat(Stat::Xoffrxc), 3);
    let mut group = frame(0, 0, 200);
    group[..6].copy_from_slice(&[0xff; 6]);
    bench.nic.inject(group);
    (1..4).for_each(|n| bench.nic.inject(frame(0, n, 60)));
    bench.settle();
    bench.adapter.tick(ksync::time::Instant::from_secs(1));
    bench.nic.inject(frame(0, 4, 1514));
    assert_eq!(bench.send(&frame(9, 0, 1000)), TxOutcome::all(1));
    bench.settle();
    bench.adapter.tick(ksync::time::Instant::from_secs(2));
    let totals = bench.adapter.hardware_totals();
    let counted: Vec<_> = totals.iter().filter(|(_, count)| *count > 0).collect();
    let received = 3 * 64 + 204 + 1518;
    let expected = [
        (Stat::Xoffrxc, 3),
        (Stat::Prc64, 3),
        (Stat::Prc255, 1),
        (Stat::Prc1522, 1),
        (Stat::Gprc, 5),
        (Stat::Bprc, 1),
        (Stat::Gptc, 1),
        (Stat::Gorc, u64::from(u32::MAX) - 63 + received),
        (Stat::Gotc, 1004),
        (Stat::Tor, received),
        (Stat::Tot, 1004),
        (Stat::Tpr, 5),
        (Stat::Tpt, 1),
        (Stat::Ptc1023, 1),
    ];
    assert_eq!(counted, expected);
    assert!(expected.iter().all(|(stat, count)| totals.get(*stat) == *count));
}
