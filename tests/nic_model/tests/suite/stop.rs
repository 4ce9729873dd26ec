//! Stopping: the ladder's verbs one by one, and at any instant. Names R1 to R20 are the shutdown-race classes.

use e1000::{DmaStop, Error, Phase, Reg, TeardownError, TornDown, regs::Rctl};
use ifnet::{Interface, TxOutcome, TxRefusal};
use nic_model::{Bench, Wired, frame};
use pktbuf::PacketBatch;

fn fill(bench: &mut Bench, count: u32) {
    let mut batch = PacketBatch::new();
    for serial in 0..count {
        let packet = bench.packet(&frame(9, serial, 100));
        batch.push(packet).unwrap();
    }
    assert_eq!(bench.transmit(&mut batch), TxOutcome::all(count));
}

#[test]
fn closing_the_ingress_stops_frames_at_the_wire_and_keeps_what_was_received() {
    let machine = crate::machine(300);
    let mut bench = machine.port(0);
    (0..30).for_each(|n| bench.nic.inject(frame(0, n, 100)));
    bench.nic.settle();
    bench.adapter.close_ingress().unwrap();
    assert_eq!(bench.nic.peek(Reg::Rctl) & Rctl::EN.bits(), 0);
    (30..40).for_each(|n| bench.nic.inject(frame(0, n, 100)));
    bench.nic.settle();
    assert_eq!(bench.adapter.rx_backlog(), Ok(30));
    bench.interrupts();
    assert_eq!((bench.received.len(), bench.adapter.rx_backlog()), (30, Ok(0)));
    // Sending goes on: that is what the received frames are for.
    assert_eq!(bench.send(&frame(9, 1, 60)), TxOutcome::all(1));
    assert!(!bench.adapter.tx_idle());
    bench.nic.settle();
    assert!(bench.adapter.tx_idle());
    bench.received.clear();
    bench.detach().unwrap();
    machine.assert_empty();
}

#[test]
fn the_receive_backlog_is_right_all_around_the_ring() {
    let machine = crate::machine(300);
    let mut bench = machine.port(0);
    for round in 0..200 {
        let size = round % 48 + 1;
        (0..size).for_each(|n| bench.nic.inject(frame(0, n, 60)));
        bench.nic.settle();
        assert_eq!(bench.adapter.rx_backlog(), Ok(size as usize));
        assert!(bench.rx.has_work());
        while bench.service(64) > 0 {}
        assert_eq!(bench.adapter.rx_backlog(), Ok(0));
        assert!(!bench.rx.has_work());
        bench.received.clear();
    }
    bench.detach().unwrap();
}

#[test]
fn teardown_names_what_it_gave_back() {
    let machine = crate::machine(300);
    let mut bench = machine.port(0);
    fill(&mut bench, 12);
    let torn_down = bench.detach().unwrap();
    assert_eq!(torn_down, TornDown { rx_buffers: 80, unserved: 0, tx_buffers: 12, maps: 160, memories: 2, tags: 5 });
    machine.assert_empty();
}

#[test]
fn r1_a_stopped_port_refuses_frames_from_another_ports_thread() {
    let machine = crate::machine(400);
    let (a, mut b) = (machine.port(0), machine.port(1));
    let proof = a.adapter.stop_dma().unwrap();
    b.nic.inject(frame(1, 5, 100));
    b.settle();
    // The other port's thread has a frame for us: it keeps it, and can count it.
    let mut batch = PacketBatch::new();
    batch.push(b.received.pop().unwrap()).unwrap();
    assert_eq!(a.adapter.transmit(&mut batch, &mut b.cache), TxOutcome::refused(0, TxRefusal::NotRunning));
    a.adapter.teardown(proof, vec![a.rx]).unwrap();
    assert_eq!(a.adapter.transmit(&mut batch, &mut b.cache), TxOutcome::refused(0, TxRefusal::NotRunning));
    assert_eq!(batch.len(), 1);
    drop((batch, a.cache));
    b.detach().unwrap();
    machine.assert_empty();
}

#[test]
fn r3_dropping_a_port_without_stopping_it_leaks_its_memory_instead_of_freeing_it() {
    let machine = crate::machine(300);
    let mut bench = machine.port(0);
    fill(&mut bench, 5);
    let nic = bench.nic.clone();
    drop(bench);
    // The device was never told. It goes on receiving and sending, into memory that is still its own.
    (0..200).for_each(|n| nic.inject(frame(0, n, 100)));
    nic.settle();
    assert_eq!(machine.pool.total() - machine.pool.free(), 85);
    // And it can be seen: 80 receive buffers, 5 being sent, 2 rings.
    let mut quarantined = 0;
    machine.root.walk(&mut |_, _, live| quarantined += live.quarantined);
    assert_eq!(quarantined, 87);
    machine.iommu.assert_clean();
}

#[test]
fn r6_a_tick_after_the_stop_does_nothing() {
    let machine = crate::machine(300);
    let bench = machine.port(0);
    let adapter = bench.adapter.clone();
    let nic = bench.nic.clone();
    bench.detach().unwrap();
    let writes = nic.writes(Reg::Tdt(0));
    assert_eq!(adapter.tick(ksync::time::Instant::from_secs(100)), e1000::TickReport::default());
    assert_eq!(nic.writes(Reg::Tdt(0)), writes);
    machine.assert_empty();
}

#[test]
fn r16_a_device_that_does_not_acknowledge_keeps_its_memory() {
    let machine = crate::machine(300);
    let mut bench = machine.port(0);
    fill(&mut bench, 5);
    bench.nic.set_faults(|faults| faults.never_resets = true);
    assert_eq!(bench.adapter.stop_dma().unwrap_err(), Error::ResetTimeout);
    // It may be tried again, and with the same answer nothing is ever freed.
    let nic = bench.nic.clone();
    assert_eq!(bench.detach().unwrap_err(), Error::ResetTimeout);
    (0..200).for_each(|n| nic.inject(frame(0, n, 100)));
    nic.settle();
    machine.iommu.assert_clean();
    assert_ne!(machine.iommu.open_windows(), 0);
}

#[test]
fn r16_a_device_stopped_by_force_under_a_sender_keeps_its_memory_and_sends_no_more() {
    let machine = crate::machine(300);
    let mut bench = machine.port(0);
    fill(&mut bench, 5);
    bench.adapter.force_stop().unwrap();
    assert_eq!((bench.adapter.phase(), bench.nic.resets()), (Phase::Stopped, 2));
    assert_eq!(bench.send(&frame(9, 9, 60)), TxOutcome::refused(0, TxRefusal::NotRunning));
    bench.nic.set_faults(|faults| faults.never_resets = true);
    assert_eq!(bench.adapter.force_stop(), Err(Error::ResetTimeout));
    drop(bench);
    assert_eq!(machine.pool.total() - machine.pool.free(), 85);
}

#[test]
fn r16_a_device_that_comes_to_its_senses_is_torn_down_at_the_second_try() {
    let machine = crate::machine(300);
    let bench = machine.port(0);
    bench.nic.set_faults(|faults| faults.never_resets = true);
    assert_eq!(bench.adapter.stop_dma().unwrap_err(), Error::ResetTimeout);
    bench.nic.set_faults(|faults| faults.never_resets = false);
    bench.detach().unwrap();
    machine.assert_empty();
}

#[test]
fn a_device_that_runs_on_after_its_reset_is_found_out() {
    let machine = crate::machine(300);
    let bench = machine.port(0);
    bench.nic.set_faults(|faults| faults.runs_after_reset = true);
    let nic = bench.nic.clone();
    assert_eq!(bench.detach().unwrap_err(), Error::ResetTimeout);
    (0..5).for_each(|n| nic.inject_wired(Wired::good([[0xff; 6].as_slice(), &frame(0, n, 60)].concat())));
    nic.settle();
    // It got no proof out of the driver, so whatever it does, it does to memory that nobody else uses.
    machine.iommu.assert_clean();
}

#[test]
fn a_reset_that_resets_nothing_still_ends_in_silence() {
    // QEMU up to 7.2. The boot loader's receiver is on, with a ring in memory that is not ours to give.
    let machine = crate::machine(300);
    let nic = machine.nic(nic_model::mac(0));
    nic.set_faults(|faults| faults.reset_is_hollow = true);
    let mut bench = machine.attach(&nic, crate::config(0)).unwrap();
    assert_eq!((nic.peek(Reg::Rctl) & Rctl::EN.bits(), nic.peek(Reg::Ims)), (0, 0));
    bench.adapter.start().unwrap();
    (0..70).for_each(|n| nic.inject(frame(0, n, 100)));
    bench.settle();
    assert_eq!(bench.received.len(), 70);
    // Through the watchdog's reset,
    nic.set_faults(|faults| faults.transmit_stuck = true);
    fill(&mut bench, 8);
    (0..20).for_each(|second| _ = bench.adapter.tick(ksync::time::Instant::from_secs(second)));
    (70..75).for_each(|n| nic.inject(frame(0, n, 100)));
    nic.settle();
    assert_eq!(bench.service(64), 5);
    nic.set_faults(|faults| faults.transmit_stuck = false);
    bench.adapter.unmask();
    fill(&mut bench, 9);
    (75..95).for_each(|n| nic.inject(frame(0, n, 100)));
    bench.settle();
    assert_eq!((bench.received.len(), nic.all_sent().len()), (95, 9));
    bench.received.clear();
    // and to the end.
    bench.detach().unwrap();
    (0..10).for_each(|n| nic.inject(frame(0, n, 100)));
    nic.settle();
    machine.assert_empty();
}

#[test]
fn r17_a_device_that_left_the_bus_is_gone_everywhere_and_nothing_is_freed() {
    let machine = crate::machine(300);
    let mut bench = machine.port(0);
    fill(&mut bench, 5);
    bench.nic.set_faults(|faults| faults.gone = true);
    assert_eq!(bench.adapter.filter(), e1000::FilterCause::Stray);
    assert_eq!(bench.adapter.phase(), Phase::Gone);
    assert!(!bench.adapter.running());
    assert_eq!(bench.send(&frame(9, 1, 60)), TxOutcome::refused(0, TxRefusal::NotRunning));
    assert_eq!(bench.service(64), 0);
    assert_eq!(bench.adapter.close_ingress(), Err(Error::Gone));
    assert_eq!(bench.adapter.rx_backlog(), Err(Error::Gone));
    assert_eq!(bench.adapter.mask_interrupts(), Err(Error::Gone));
    assert_eq!(bench.detach().unwrap_err(), Error::Gone);
    machine.iommu.assert_clean();
}

#[test]
fn r17_the_tick_says_once_that_the_device_is_gone() {
    let machine = crate::machine(300);
    let bench = machine.port(0);
    bench.nic.set_faults(|faults| faults.gone = true);
    let gone = |second| bench.adapter.tick(ksync::time::Instant::from_secs(second)).gone;
    assert_eq!([gone(1), gone(2), gone(3)], [true, false, false]);
    // All ones is no count.
    assert_eq!(bench.adapter.statistics().rx_missed, 0);
}

#[test]
fn r20_a_thread_that_unmasks_after_the_mask_changes_nothing() {
    let machine = crate::machine(300);
    let bench = machine.port(0);
    bench.adapter.mask_interrupts().unwrap();
    bench.adapter.unmask();
    assert_eq!(bench.nic.peek(Reg::Ims), 0);
    bench.nic.raise(e1000::regs::Cause::RXT0);
    assert_eq!(bench.adapter.filter(), e1000::FilterCause::Handled, "ours, but nobody is to be woken");
    bench.detach().unwrap();
    machine.assert_empty();
}

#[test]
fn a_mask_that_does_not_take_is_reported() {
    let machine = crate::machine(300);
    let bench = machine.port(0);
    bench.nic.set_faults(|faults| faults.mask_stuck = true);
    assert_eq!(bench.adapter.mask_interrupts(), Err(Error::StillUnmasked));
    bench.nic.set_faults(|faults| faults.mask_stuck = false);
    assert_eq!(bench.adapter.mask_interrupts(), Ok(()));
    bench.detach().unwrap();
}

#[test]
fn a_proof_or_ring_of_another_port_takes_nothing_down() {
    let machine = crate::machine(400);
    let (a, b) = (machine.port(0), machine.port(1));
    let proof = a.adapter.stop_dma().unwrap();
    let Err(TeardownError::Mismatch(given)) = b.adapter.teardown(proof, vec![b.rx]) else {
        panic!("b was not stopped")
    };
    let (proof, b_rx) = *given;
    assert_eq!(b.adapter.phase(), Phase::Running);
    let Err(TeardownError::Mismatch(given)) = a.adapter.teardown(proof, b_rx) else { panic!("that is b's ring") };
    let (proof, b_rx) = *given;
    a.adapter.teardown(proof, vec![a.rx]).unwrap();
    let proof = b.adapter.stop_dma().unwrap();
    b.adapter.teardown(proof, b_rx).unwrap();
    drop((a.cache, b.cache));
    machine.assert_empty();
}

#[test]
fn the_ring_of_one_port_is_not_served_with_another() {
    let machine = crate::machine(400);
    let (mut a, b) = (machine.port(0), machine.port(1));
    a.nic.inject(frame(0, 1, 60));
    a.nic.settle();
    assert_eq!(a.rx.service(&b.adapter, 64, &mut a.cache, drop), 0);
    assert_eq!(a.rx.service(&a.adapter, 64, &mut a.cache, drop), 1);
    a.detach().unwrap();
    b.detach().unwrap();
    machine.assert_empty();
}

#[test]
fn detach_at_any_instant_leaves_nothing_behind() {
    // One instant more each time: frames on the wire, in the ring, handed up; frames queued, half sent, sent.
    for instant in 0..120 {
        let machine = crate::machine(400);
        let mut bench = machine.port(0);
        bench.nic.set_faults(|faults| faults.late_write_back = instant % 7);
        let mut left = instant;
        'traffic: for round in 0.. {
            (0..3).for_each(|n| bench.nic.inject(frame(0, round * 3 + n, 100)));
            for _ in 0..2 {
                let _ = bench.send(&frame(9, round, 100));
                for _ in 0..3 {
                    if left == 0 {
                        break 'traffic;
                    }
                    left -= 1;
                    bench.nic.step();
                }
                bench.interrupts();
            }
        }
        bench.received.clear();
        bench.detach().unwrap();
        machine.assert_empty();
    }
}

#[test]
fn detach_during_recovery_leaves_nothing_behind() {
    let machine = crate::machine(400);
    let mut bench = machine.port(0);
    bench.nic.set_faults(|faults| faults.transmit_stuck = true);
    fill(&mut bench, 30);
    for second in 0..10 {
        bench.adapter.tick(ksync::time::Instant::from_secs(second));
    }
    // The ladder comes between the watchdog's wish and the thread: the thread, joined, never serves again.
    bench.adapter.close_ingress().unwrap();
    let served = bench.service(64);
    assert_eq!(served, 0);
    assert_eq!(bench.nic.peek(Reg::Rctl) & Rctl::EN.bits(), 0, "a recovery does not open a closed ingress");
    bench.detach().unwrap();
    machine.assert_empty();
}

#[test]
fn a_second_port_on_the_same_device_can_attach_after_the_first_is_gone() {
    let machine = crate::machine(300);
    let nic = machine.nic(nic_model::mac(0));
    for _ in 0..3 {
        let mut bench = machine.attach(&nic, crate::config(0)).unwrap();
        bench.adapter.start().unwrap();
        (0..20).for_each(|n| nic.inject(frame(0, n, 100)));
        bench.settle();
        assert_eq!(bench.received.len(), 20);
        bench.received.clear();
        bench.detach().unwrap();
        machine.assert_empty();
    }
}

#[test]
fn the_panic_stop_silences_the_device_without_touching_memory() {
    let machine = crate::machine(300);
    let mut bench = machine.port(0);
    fill(&mut bench, 5);
    bench.adapter.stop_blindly();
    (0..5).for_each(|n| bench.nic.inject(frame(0, n, 100)));
    bench.nic.settle();
    assert_eq!((bench.nic.delivered(), bench.nic.all_sent().len()), (0, 0));
    assert!(!bench.nic.interrupting());
    machine.iommu.assert_clean();
}

#[test]
fn the_model_catches_a_device_that_writes_after_it_was_stopped() {
    // The other half of every test above: were memory freed too early, it would show.
    let machine = crate::machine(300);
    let bench = machine.port(0);
    let nic = bench.nic.clone();
    nic.set_faults(|faults| (faults.late_write_back, faults.write_back_after_reset) = (10_000, true));
    nic.inject(frame(0, 1, 100));
    nic.step();
    let detached = bench.detach();
    if machine.variant.dma_stop == DmaStop::MasterDisable {
        // This part says that it is not done, and is believed.
        assert_eq!(detached.unwrap_err(), Error::MasterPending);
        return machine.iommu.assert_clean();
    }
    detached.unwrap();
    for _ in 0..20_000 {
        nic.step();
    }
    let violations = machine.iommu.violations();
    assert_eq!(violations.len(), 1);
    assert!(violations.iter().all(|violation| violation.write && violation.len == 8));
}
