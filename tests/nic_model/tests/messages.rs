//! What the 82574L adds: a message for each queue and direction, two queues, and a recovery that takes all their threads.

use e1000::{Config, Delivery, Error, FilterCause, Reg, Variant, Vector, regs::Cause};
use ifnet::{Interface, TxOutcome, TxRefusal};
use ksync::time::Instant;
use nic_model::{Bench, Machine, frame, mac};

const PART: u16 = 0x10d3;

fn config(machine: &Machine, queues: u8) -> Config {
    Config { delivery: Delivery::PerQueue, queues, ..machine.config(0) }
}

fn port(machine: &Machine) -> Bench {
    let bench = machine.attach(&machine.nic(mac(0)), config(machine, 2)).expect("a perfect device attaches");
    bench.adapter.start().expect("a fresh port starts");
    bench
}

/// An IPv4 frame of flow `flow`, as far as the hash looks.
fn of_flow(flow: u8, serial: u32) -> Vec<u8> {
    let mut frame = frame(0, serial, 80);
    frame[26..34].copy_from_slice(&[10, 0, 1, flow, 10, 0, 2, 7 + flow / 3]);
    frame
}

fn flow_of(packet: &[u8]) -> (u8, u32) {
    (packet[29], u32::from_be_bytes([packet[14], packet[15], packet[16], packet[17]]))
}

#[test]
fn flows_are_spread_over_both_queues_and_each_keeps_its_queue_and_order() {
    let machine = Machine::of(PART, 600);
    let mut bench = port(&machine);
    let mut queue_of_flow = [None; 40];
    let mut last = [0; 40];
    for serial in 1..=1000_u32 {
        let flow = (serial.wrapping_mul(2_654_435_761) >> 16) % 40;
        bench.nic.inject(of_flow(u8::try_from(flow).unwrap(), serial));
        bench.nic.settle();
        while let Some(vector) = bench.nic.message() {
            bench.vector(vector);
            let Vector::Rx(queue) = vector else { panic!("a message of {vector}") };
            for packet in bench.received.drain(..) {
                let (flow, serial) = flow_of(packet.bytes());
                assert_eq!(*queue_of_flow[usize::from(flow)].get_or_insert(queue), queue, "flow {flow}");
                assert!(last[usize::from(flow)] < serial, "flow {flow} is out of order");
                last[usize::from(flow)] = serial;
            }
        }
    }
    let used = |queue| queue_of_flow.iter().filter(|of| **of == Some(queue)).count();
    assert!(used(0) >= 10 && used(1) >= 10, "{queue_of_flow:?}");
    assert_eq!(bench.adapter.statistics().rx_packets, 1000);
    let torn_down = bench.detach().unwrap();
    assert_eq!((torn_down.memories, torn_down.rx_buffers, torn_down.tags), (4, 160, 5));
    machine.assert_empty();
}

#[test]
fn a_message_masks_its_own_cause_only_and_icr_is_never_read() {
    let machine = Machine::of(PART, 400);
    let mut bench = port(&machine);
    let unmasked = Cause::RXQ0 | Cause::RXQ1 | Cause::OTHER | Cause::LSC;
    assert_eq!(bench.nic.peek(Reg::Ims), unmasked.bits());
    bench.nic.raise(Cause::RXQ0 | Cause::RXQ1);
    assert_eq!(bench.nic.message(), Some(Vector::Rx(0)));
    assert_eq!(bench.adapter.filter_vector(Vector::Rx(0)), FilterCause::Schedule);
    assert_eq!(bench.nic.peek(Reg::Ims), unmasked.difference(Cause::RXQ0).bits());
    assert_eq!(bench.nic.peek(Reg::Icr) & Cause::RXQ1.bits(), Cause::RXQ1.bits(), "queue 1 still has something to say");
    // A frame that comes while the vector is masked is told of when it is unmasked.
    bench.nic.raise(Cause::RXQ0);
    assert_eq!(bench.nic.message(), Some(Vector::Rx(1)));
    bench.vector(Vector::Rx(1));
    assert_eq!(bench.nic.message(), None);
    bench.adapter.unmask_vector(Vector::Rx(0));
    assert_eq!(bench.nic.message(), Some(Vector::Rx(0)));
    bench.vector(Vector::Rx(0));
    // The link's cause is cleared by hand, and no other with it.
    bench.nic.set_link(e1000::regs::Status::empty());
    bench.nic.raise(Cause::TXQ1);
    assert_eq!(bench.nic.message(), Some(Vector::Other));
    bench.vector(Vector::Other);
    assert!(!bench.adapter.link_up());
    assert_eq!(bench.nic.peek(Reg::Icr), Cause::TXQ1.bits());
    bench.detach().unwrap();
    machine.assert_empty();
}

#[test]
fn a_queue_whose_thread_goes_to_sleep_forgets_its_own_frames_only() {
    let machine = Machine::of(PART, 400);
    let mut bench = port(&machine);
    let vector = loop {
        bench.nic.inject(of_flow(1, 1));
        bench.nic.settle();
        if let Some(vector) = bench.nic.message() {
            break vector;
        }
    };
    let Vector::Rx(queue) = vector else { panic!("a message of {vector}") };
    let serve = |bench: &mut Bench| if queue == 0 { bench.service(64) } else { bench.service_second(64) };
    assert_eq!(bench.adapter.filter_vector(vector), FilterCause::Schedule);
    bench.nic.inject(of_flow(1, 2));
    bench.nic.settle();
    assert_eq!(serve(&mut bench), 2);
    bench.nic.raise(Cause::RXQ0 | Cause::RXQ1 | Cause::LSC);
    let ring = if queue == 0 { &mut bench.rx } else { bench.second.as_mut().expect("there are two") };
    assert!(ring.may_rest(&bench.adapter));
    let other = if queue == 0 { Cause::RXQ1 } else { Cause::RXQ0 };
    let of_vectors = Cause::RXQ0 | Cause::RXQ1 | Cause::LSC;
    assert_eq!(bench.nic.peek(Reg::Icr) & of_vectors.bits(), (other | Cause::LSC).bits());
    bench.interrupts();
    bench.adapter.unmask_vector(vector);
    assert_eq!(bench.nic.message(), None);
    bench.nic.inject(of_flow(1, 3));
    bench.nic.settle();
    assert_eq!(bench.nic.message(), Some(vector));
    bench.vector(vector);
    bench.received.clear();
    bench.detach().unwrap();
    machine.assert_empty();
}

#[test]
fn each_lane_sends_through_its_own_queue() {
    let machine = Machine::of(PART, 600);
    let mut bench = port(&machine);
    for (lane, doorbells) in [(0, (1, 0)), (1, (1, 1)), (2, (2, 1)), (3, (2, 2))] {
        bench.cache.set_lane(lane);
        assert_eq!(bench.send(&frame(9, 1, 60)), TxOutcome::all(1));
        // One write of each was the attach's.
        let written = |queue| bench.nic.writes(Reg::Tdt(queue)) - 1;
        assert_eq!((written(0), written(1)), doorbells, "lane {lane}");
    }
    bench.nic.settle();
    assert_eq!(bench.nic.all_sent().len(), 4);
    assert!(bench.adapter.tx_idle());
    bench.detach().unwrap();
    machine.assert_empty();
}

#[test]
fn a_full_ring_asks_for_a_message_when_there_is_room_again() {
    let machine = Machine::of(PART, 600);
    let mut bench = port(&machine);
    bench.cache.set_lane(1);
    bench.nic.set_faults(|faults| faults.transmit_stalled = true);
    let mut outcome = TxOutcome::all(1);
    while outcome == TxOutcome::all(1) {
        assert_eq!(bench.nic.peek(Reg::Ims) & Cause::TXQ1.bits(), 0);
        outcome = bench.send(&frame(9, 1, 60));
    }
    assert_eq!(outcome, TxOutcome::refused(0, TxRefusal::RingFull));
    bench.nic.set_faults(|faults| faults.transmit_stalled = false);
    bench.nic.settle();
    assert_eq!(bench.nic.message(), Some(Vector::Tx(1)));
    bench.vector(Vector::Tx(1));
    assert_eq!((bench.adapter.statistics().tx_done, bench.nic.message()), (79, None));
    bench.detach().unwrap();
    machine.assert_empty();
}

#[test]
fn a_reset_waits_until_the_threads_of_both_queues_stand_still_and_loses_no_frame() {
    let machine = Machine::of(PART, 800);
    let mut bench = port(&machine);
    bench.nic.set_faults(|faults| faults.transmit_stuck = true);
    assert_eq!(bench.send(&frame(9, 1, 60)), TxOutcome::all(1));
    assert!((0..20).any(|second| bench.adapter.tick(Instant::from_secs(second)).recovering));
    // What comes while the one thread stands still and the other does not know yet.
    (0..40).for_each(|serial| bench.nic.inject(of_flow(u8::try_from(serial).unwrap(), serial)));
    bench.nic.settle();
    assert_eq!((bench.service(64), bench.nic.resets()), (0, 1), "queue 1 does not stand still");
    assert_eq!(bench.service_second(64), 0);
    assert_eq!(bench.nic.message(), Some(Vector::Rx(0)), "and wakes who has waited for it");
    let first = bench.service(64);
    assert_eq!(bench.nic.resets(), 2);
    assert_eq!(bench.nic.peek(Reg::Rdt(1)), 0, "the device cannot use the ring of queue 1");
    let second = bench.service_second(64);
    assert_eq!((first + second, bench.received.len()), (40, 40));
    assert!(first > 5 && second > 5);
    bench.received.clear();
    // Both queues and both directions work again.
    (0..200).for_each(|serial| {
        bench.nic.inject(of_flow(u8::try_from(serial % 40).unwrap(), serial));
        bench.settle();
        assert_eq!(bench.received.drain(..).count(), 1);
    });
    for lane in 0..2 {
        bench.cache.set_lane(lane);
        assert_eq!(bench.send(&frame(9, 1, 60)), TxOutcome::all(1));
    }
    bench.nic.settle();
    assert_eq!(bench.nic.all_sent().len(), 2);
    assert!(!bench.adapter.tick(Instant::from_secs(30)).recovering);
    bench.detach().unwrap();
    machine.assert_empty();
}

#[test]
fn who_stood_still_for_one_reset_does_not_stand_still_for_the_next() {
    let machine = Machine::of(PART, 800);
    let mut bench = port(&machine);
    for round in 0..3_u64 {
        bench.nic.set_faults(|faults| faults.transmit_stuck = true);
        assert_eq!(bench.send(&frame(9, 1, 60)), TxOutcome::all(1));
        let wanted = |second| bench.adapter.tick(Instant::from_secs(round * 100 + second)).recovering;
        assert!((0..20).any(wanted), "round {round}");
        // Twice, the second time after all has been said.
        let resets = bench.nic.resets();
        assert_eq!((bench.service(64), bench.nic.resets()), (0, resets), "round {round}");
        assert_eq!((bench.service_second(64), bench.service_second(64)), (0, 0));
        bench.service(64);
        assert_eq!(bench.nic.resets(), resets + 1, "round {round}");
        bench.service_second(64);
    }
    bench.detach().unwrap();
    machine.assert_empty();
}

#[test]
fn rings_are_taken_down_together_or_not_at_all() {
    let machine = Machine::of(PART, 400);
    let Bench { adapter, rx, second, cache, .. } = port(&machine);
    let proof = adapter.stop_dma().unwrap();
    let Err(e1000::TeardownError::Mismatch(given)) = adapter.teardown(proof, vec![rx]) else {
        panic!("one is missing")
    };
    let (proof, mut rings) = *given;
    rings.extend(second);
    adapter.teardown(proof, rings).unwrap();
    drop(cache);
    machine.assert_empty();
}

#[test]
fn queues_want_a_part_that_has_them_and_a_message_each() {
    let machine = Machine::of(PART, 400);
    let attach = |config| machine.attach(&machine.nic(mac(0)), config).map(drop).unwrap_err();
    assert_eq!(attach(Config { queues: 2, ..machine.config(0) }), Error::Queues);
    assert_eq!(attach(config(&machine, 0)), Error::Queues);
    assert_eq!(attach(config(&machine, 3)), Error::Queues);
    let variant = Variant::find(e1000::VENDOR_INTEL, 0x100e).unwrap();
    assert_eq!(attach(Config { variant, ..config(&machine, 1) }), Error::Queues);
    machine.assert_empty();
}

#[test]
fn one_queue_with_messages_is_a_port_like_any_other() {
    let machine = Machine::of(PART, 400);
    let mut bench = machine.attach(&machine.nic(mac(0)), config(&machine, 1)).unwrap();
    bench.adapter.start().unwrap();
    (0..60).for_each(|serial| bench.nic.inject(of_flow(u8::try_from(serial % 40).unwrap(), serial)));
    bench.settle();
    assert_eq!((bench.received.len(), bench.nic.peek(Reg::Mrqc)), (60, 0));
    bench.received.clear();
    bench.detach().unwrap();
    machine.assert_empty();
}
