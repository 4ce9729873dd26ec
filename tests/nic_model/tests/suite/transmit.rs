//! Transmitting: order, wrap-around, padding, back-pressure, reclaim, watchdog.

use core::time::Duration;

use e1000::{Phase, ReceiveFilter, Reg, regs::Status};
use ifnet::{Interface, TxOutcome, TxRefusal};
use ksync::time::Instant;
use nic_model::{Bench, frame};
use pktbuf::PacketBatch;
use wire::MacAddr;

fn batch(bench: &mut Bench, serials: impl Iterator<Item = u32>) -> PacketBatch {
    let mut batch = PacketBatch::new();
    for serial in serials {
        let packet = bench.packet(&frame(9, serial, 60 + serial as usize % 1400));
        batch.push(packet).unwrap();
    }
    batch
}

#[test]
fn thousands_of_frames_wrap_around_in_order_with_one_doorbell_per_batch() {
    let machine = crate::machine(400);
    let mut bench = machine.port(0);
    let mut serial = 0;
    for round in 0..400_u32 {
        let size = round % 64 + 1;
        let mut batch = batch(&mut bench, serial..serial + size);
        let doorbells = bench.nic.writes(Reg::Tdt(0));
        assert_eq!(bench.transmit(&mut batch), TxOutcome::all(size));
        assert_eq!(bench.nic.writes(Reg::Tdt(0)), doorbells + 1);
        bench.nic.settle();
        for sent in bench.nic.all_sent() {
            assert_eq!(sent, frame(9, serial, sent.len()));
            serial += 1;
        }
    }
    assert_eq!(bench.adapter.statistics().tx_packets, u64::from(serial));
    assert!(bench.adapter.tx_idle());
    assert_eq!(bench.adapter.statistics().tx_done, u64::from(serial));
    bench.detach().unwrap();
    machine.assert_empty();
}

#[test]
fn short_frames_are_padded_with_zeros_to_sixty_octets() {
    let machine = crate::machine(200);
    let mut bench = machine.port(0);
    for len in [14, 18, 42, 59, 60, 61] {
        let octets = &frame(9, 0xffff_ffff, 80)[..len];
        assert_eq!(bench.send(octets), TxOutcome::all(1));
        bench.nic.settle();
        let sent = bench.nic.sent().unwrap();
        assert_eq!(sent.len(), len.max(60));
        assert_eq!(&sent[..len], octets);
        assert!(sent[len..].iter().all(|&octet| octet == 0));
    }
    assert_eq!(bench.nic.runts(), 0);
    bench.detach().unwrap();
}

#[test]
fn what_is_no_frame_or_too_long_never_reaches_the_wire() {
    let machine = crate::machine(200);
    let mut bench = machine.port(0);
    assert_eq!(bench.send(&[0; 13]), TxOutcome::all(1));
    assert_eq!(bench.send(&[]), TxOutcome::all(1));
    assert_eq!(bench.adapter.statistics().tx_discarded, 2);
    assert_eq!(bench.send(&frame(9, 1, 1519)), TxOutcome::refused(0, TxRefusal::TooLong));
    // MTU, Ethernet header and one VLAN tag.
    assert_eq!(bench.send(&frame(9, 1, 1518)), TxOutcome::all(1));
    bench.nic.settle();
    assert_eq!(bench.nic.all_sent().len(), 1);
    bench.detach().unwrap();
    machine.assert_empty();
}

#[test]
fn a_frame_too_long_in_the_middle_stops_the_batch_at_itself() {
    let machine = crate::machine(200);
    let mut bench = machine.port(0);
    let mut batch = PacketBatch::new();
    for len in [100, 1600, 200] {
        let packet = bench.packet(&frame(9, 1, len));
        batch.push(packet).unwrap();
    }
    assert_eq!(bench.transmit(&mut batch), TxOutcome::refused(1, TxRefusal::TooLong));
    assert_eq!(batch.iter().map(|packet| packet.len()).collect::<Vec<_>>(), [1600, 200]);
    drop(batch.pop());
    assert_eq!(bench.transmit(&mut batch), TxOutcome::all(1));
    bench.nic.settle();
    assert_eq!(bench.nic.all_sent().len(), 2);
    bench.detach().unwrap();
}

#[test]
fn a_full_ring_refuses_the_rest_in_order_and_takes_it_when_there_is_room() {
    let machine = crate::machine(400);
    let mut bench = machine.port(0);
    let mut first = batch(&mut bench, 0..64);
    let mut second = batch(&mut bench, 64..128);
    assert_eq!(bench.transmit(&mut first), TxOutcome::all(64));
    // 79 of 80 descriptors can be used.
    assert_eq!(bench.transmit(&mut second), TxOutcome::refused(15, TxRefusal::RingFull));
    assert_eq!(second.len(), 49);
    assert_eq!(bench.adapter.statistics().tx_ring_full, 49);
    assert_eq!(bench.transmit(&mut second), TxOutcome::refused(0, TxRefusal::RingFull));
    bench.nic.settle();
    assert_eq!(bench.transmit(&mut second), TxOutcome::all(49));
    bench.nic.settle();
    let sent = bench.nic.all_sent();
    assert_eq!(sent.len(), 128);
    for (serial, sent) in (0..).zip(sent) {
        assert_eq!(sent, frame(9, serial, sent.len()));
    }
    bench.detach().unwrap();
    machine.assert_empty();
}

#[test]
fn finished_buffers_come_home_without_any_interrupt_or_further_traffic() {
    let machine = crate::machine(300);
    let mut bench = machine.port(0);
    let mut batch = batch(&mut bench, 0..50);
    assert_eq!(bench.transmit(&mut batch), TxOutcome::all(50));
    bench.nic.settle();
    assert!(!bench.nic.interrupting());
    assert_eq!(bench.adapter.statistics().tx_done, 0);
    bench.adapter.tick(Instant::ZERO);
    assert_eq!(bench.adapter.statistics().tx_done, 50);
    bench.detach().unwrap();
}

#[test]
fn late_write_backs_keep_buffers_until_the_device_says_done() {
    let machine = crate::machine(300);
    let mut bench = machine.port(0);
    bench.nic.set_faults(|faults| faults.late_write_back = 20);
    for serial in 0..500 {
        // Buffers that were taken back too early would be poisoned or unmapped under the device's hands.
        let _ = bench.send(&frame(9, serial, 300));
        bench.nic.step();
    }
    bench.nic.settle();
    let sent = bench.nic.all_sent();
    assert_eq!(sent.len() as u64, bench.adapter.statistics().tx_packets);
    assert!(sent.iter().all(|sent| sent[18..] == frame(9, u32::from_be_bytes([sent[14], sent[15], sent[16], sent[17]]), 300)[18..]));
    bench.detach().unwrap();
    machine.assert_empty();
}

#[test]
fn without_carrier_frames_are_refused_as_link_down() {
    let machine = crate::machine(200);
    let mut bench = machine.port(0);
    bench.nic.set_link(Status::empty());
    bench.interrupts();
    assert_eq!(bench.send(&frame(9, 1, 60)), TxOutcome::refused(0, TxRefusal::LinkDown));
    bench.nic.set_link(Status::LU | Status::SPEED_1000);
    bench.interrupts();
    assert_eq!(bench.send(&frame(9, 1, 60)), TxOutcome::all(1));
    bench.detach().unwrap();
    machine.assert_empty();
}

#[test]
fn a_port_that_is_not_started_does_not_send() {
    let machine = crate::machine(200);
    let mut bench = machine.attach(&machine.nic(nic_model::mac(0)), crate::config(0)).unwrap();
    assert_eq!(bench.send(&frame(9, 1, 60)), TxOutcome::refused(0, TxRefusal::NotRunning));
    bench.detach().unwrap();
    machine.assert_empty();
}

/// Ticks once a second from `from` to `to` (seconds) and returns the messages.
fn ticks(bench: &Bench, from: u64, to: u64) -> Vec<String> {
    let hang = |second| bench.adapter.tick(Instant::from_secs(second)).hang.map(|hang| hang.to_string());
    (from..=to).filter_map(hang).collect()
}

#[test]
fn the_watchdog_resets_a_stuck_transmitter_and_traffic_goes_on() {
    let machine = crate::machine(400);
    let mut bench = machine.port(0);
    let group = MacAddr([1, 0, 0x5e, 0, 0, 5]);
    bench.adapter.set_filter(ReceiveFilter { groups: vec![group], ..ReceiveFilter::default() });
    (0..10).for_each(|serial| bench.nic.inject(frame(0, serial, 100)));
    bench.nic.settle();
    bench.nic.set_faults(|faults| faults.transmit_stuck = true);
    let mut stuck = batch(&mut bench, 0..20);
    assert_eq!(bench.transmit(&mut stuck), TxOutcome::all(20));
    let messages = ticks(&bench, 10, 30);
    let hang = "Watchdog timeout (TX: 0 desc avail: 59 pidx: 20) --";
    assert_eq!(messages, [format!("{hang} restarting the ring"), format!("{hang} resetting")]);
    // The ithread resets; what had been received before is not lost.
    assert_eq!(bench.service(64), 10);
    assert_eq!(bench.received.len(), 10);
    assert_eq!(bench.nic.resets(), 2);
    let statistics = bench.adapter.statistics();
    assert_eq!((statistics.watchdog_resets, statistics.tx_discarded), (1, 20));
    bench.received.clear();
    // Both directions work again, filters included.
    assert_eq!((bench.adapter.ring_restarts(), bench.adapter.tick(Instant::from_secs(30)).recovering), (1, false));
    bench.adapter.unmask();
    let mut after = batch(&mut bench, 100..164);
    assert_eq!(bench.transmit(&mut after), TxOutcome::all(64));
    (0..70).for_each(|serial| bench.nic.inject(frame(0, serial, 100)));
    bench.nic.inject([group.octets().as_slice(), &[2; 60]].concat());
    bench.settle();
    assert_eq!((bench.nic.all_sent().len(), bench.received.len()), (64, 71));
    assert_eq!(ticks(&bench, 31, 60), [""; 0]);
    bench.received.clear();
    bench.detach().unwrap();
    machine.assert_empty();
}

#[test]
fn a_transmitter_that_only_stalled_goes_on_with_its_ring_and_reception_notices_nothing() {
    let machine = crate::machine(400);
    let mut bench = machine.port(0);
    // Somewhere in the ring, with some frames reported and some not.
    for round in 0..3 {
        let mut some = batch(&mut bench, 0..30 + round);
        let _ = bench.transmit(&mut some);
        bench.nic.settle();
    }
    let _ = bench.nic.all_sent();
    bench.nic.set_faults(|faults| faults.transmit_stalled = true);
    let mut stalled = batch(&mut bench, 100..120);
    assert_eq!(bench.transmit(&mut stalled), TxOutcome::all(20));
    let receptions = bench.nic.writes(Reg::Rctl);
    assert!(ticks(&bench, 10, 16).concat().ends_with("-- restarting the ring"));
    (0..10).for_each(|serial| bench.nic.inject(frame(0, serial, 100)));
    bench.settle();
    let sent = bench.nic.all_sent();
    assert_eq!(sent, (100..120).map(|serial| frame(9, serial, 60 + serial as usize % 1400)).collect::<Vec<_>>());
    assert_eq!((bench.received.len(), bench.nic.resets(), bench.nic.writes(Reg::Rctl)), (10, 1, receptions));
    assert!(bench.adapter.tx_idle(), "all are reported");
    let statistics = bench.adapter.statistics();
    assert_eq!((statistics.watchdog_resets, statistics.tx_discarded), (0, 0));
    // Having made progress, it is given a second chance again.
    bench.nic.set_faults(|faults| faults.transmit_stalled = true);
    let _ = bench.send(&frame(9, 1, 60));
    assert!(ticks(&bench, 20, 26).concat().ends_with("-- restarting the ring"));
    bench.received.clear();
    bench.nic.settle();
    bench.detach().unwrap();
    machine.assert_empty();
}

#[test]
fn slow_progress_pause_frames_and_a_dead_link_are_no_hang() {
    let machine = crate::machine(300);
    let mut bench = machine.port(0);
    let mut frames = batch(&mut bench, 0..8);
    assert_eq!(bench.transmit(&mut frames), TxOutcome::all(8));
    bench.nic.set_faults(|faults| faults.transmit_stuck = true);
    bench.nic.set_link(Status::LU | Status::SPEED_1000 | Status::TXOFF);
    assert_eq!(ticks(&bench, 0, 20), [""; 0], "paused by the other end");
    bench.nic.set_link(Status::empty());
    assert_eq!(ticks(&bench, 21, 40), [""; 0], "no carrier");
    bench.nic.set_link(Status::LU | Status::SPEED_1000);
    assert_eq!(ticks(&bench, 41, 45), [""; 0], "the clock starts again with the link");
    bench.nic.set_faults(|faults| faults.transmit_stuck = false);
    bench.nic.settle();
    assert_eq!(ticks(&bench, 46, 60), [""; 0]);
    bench.detach().unwrap();
}

#[test]
fn a_reset_that_fails_in_recovery_frees_nothing_and_stops_the_port() {
    let machine = crate::machine(300);
    let mut bench = machine.port(0);
    bench.nic.set_faults(|faults| faults.transmit_stuck = true);
    let mut frames = batch(&mut bench, 0..8);
    assert_eq!(bench.transmit(&mut frames), TxOutcome::all(8));
    assert_eq!(ticks(&bench, 0, 20).len(), 2);
    bench.nic.set_faults(|faults| faults.never_resets = true);
    assert_eq!(bench.service(64), 0);
    assert_eq!(bench.adapter.phase(), Phase::Failed);
    assert_eq!(bench.send(&frame(9, 1, 60)), TxOutcome::refused(0, TxRefusal::NotRunning));
    // The device comes to its senses when it is stopped: then everything comes home.
    bench.nic.set_faults(|faults| faults.never_resets = false);
    assert_eq!(bench.detach().unwrap().tx_buffers, 8);
    machine.assert_empty();
}

#[test]
fn the_watchdog_waits_as_long_as_configured() {
    let machine = crate::machine(300);
    let mut config = crate::config(0);
    config.watchdog = Duration::from_secs(2);
    let mut bench = machine.attach(&machine.nic(nic_model::mac(0)), config).unwrap();
    bench.adapter.start().unwrap();
    bench.nic.set_faults(|faults| faults.transmit_stuck = true);
    let _ = bench.send(&frame(9, 1, 60));
    assert_eq!(ticks(&bench, 100, 101), [""; 0]);
    assert_eq!(ticks(&bench, 102, 102).len(), 1);
    bench.detach().unwrap();
}

#[test]
fn a_view_of_the_ring_shows_where_driver_and_device_stand() {
    let machine = crate::machine(300);
    let mut bench = machine.port(0);
    let mut batch = batch(&mut bench, 0..30);
    assert_eq!(bench.transmit(&mut batch), TxOutcome::all(30));
    let look = bench.adapter.look_at_tx(0).unwrap().expect("the ring is there");
    assert_eq!((look.clean, look.used, look.next, look.unflushed, look.paused), (0, 30, 30, 0, false));
    assert_eq!((look.device.tail, look.device.owned()), (Some(30), look.device.head.map(|head| 30 - head)));
    bench.nic.settle();
    assert!(bench.adapter.tx_idle());
    let look = bench.adapter.look_at_tx(0).unwrap().expect("the ring is there");
    assert_eq!((look.clean, look.used, look.device.owned()), (30, 0, Some(0)));
    bench.detach().unwrap();
}

#[test]
fn a_device_that_more_is_promised_to_is_told_when_it_is_many_or_the_doorbell_is_rung() {
    let machine = crate::machine(400);
    let mut bench = machine.port(0);
    let doorbells = |bench: &Bench| bench.nic.writes(Reg::Tdt(0));
    let send = |bench: &mut Bench, serials: core::ops::Range<u32>| {
        let mut batch = batch(bench, serials);
        let outcome = bench.adapter.transmit_more(&mut batch, &mut bench.cache);
        bench.nic.settle();
        outcome
    };
    let before = doorbells(&bench);
    assert_eq!(send(&mut bench, 0..10), TxOutcome::all(10));
    assert_eq!((doorbells(&bench) - before, bench.nic.all_sent().len()), (0, 0), "untold");
    bench.adapter.ring_doorbell(bench.cache.lane());
    bench.adapter.ring_doorbell(bench.cache.lane());
    bench.nic.settle();
    assert_eq!((doorbells(&bench) - before, bench.nic.all_sent().len()), (1, 10), "told, once");
    // Half the ring of 80 is many.
    assert_eq!(send(&mut bench, 10..40), TxOutcome::all(30));
    assert_eq!((doorbells(&bench) - before, bench.nic.all_sent().len()), (1, 0));
    assert_eq!(send(&mut bench, 40..60), TxOutcome::all(20));
    assert_eq!((doorbells(&bench) - before, bench.nic.all_sent().len()), (2, 50));
    // An ordinary batch tells of those before it.
    assert_eq!(send(&mut bench, 60..61), TxOutcome::all(1));
    assert_eq!(bench.send(&frame(9, 61, 100)), TxOutcome::all(1));
    bench.settle();
    let sent = bench.nic.all_sent();
    assert_eq!((doorbells(&bench) - before, sent.len()), (3, 2));
    assert!(sent[1] == frame(9, 61, 100), "in order");
    bench.detach().unwrap();
    machine.assert_empty();
}

#[test]
fn no_doorbell_is_rung_after_the_egress_was_closed_and_what_was_untold_is_counted_as_unsent() {
    let machine = crate::machine(400);
    let mut bench = machine.port(0);
    let mut untold = batch(&mut bench, 0..10);
    assert_eq!(bench.adapter.transmit_more(&mut untold, &mut bench.cache), TxOutcome::all(10));
    bench.adapter.close_egress();
    bench.adapter.ring_doorbell(bench.cache.lane());
    bench.nic.settle();
    assert_eq!(bench.nic.all_sent().len(), 0);
    let adapter = bench.adapter.clone();
    bench.detach().unwrap();
    let ledger = adapter.ledger();
    assert_eq!((ledger.accepted, ledger.unsent, ledger.sent_difference()), (10, 10, 0));
    machine.assert_empty();
}
