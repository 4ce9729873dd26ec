//! VLANs (IEEE 802.1Q): tags taken off, tags inserted, the filter, and all of it again after a reset.

use e1000::{Config, ReceiveFilter, Reg, desc::RxErrors, regs::Ctrl};
use ifnet::{Interface, TxOutcome, TxRefusal};
use ksync::time::Instant;
use nic_model::{Bench, Machine, Wired, frame, mac};
use pktbuf::{LinkCast, PacketBatch};
use wire::{MacAddr, VlanId};

fn vlan(number: u16) -> VlanId {
    VlanId::new(number).expect("a VLAN")
}

fn filter(numbers: &[u16]) -> ReceiveFilter {
    ReceiveFilter { vlans: numbers.iter().copied().map(vlan).collect(), ..ReceiveFilter::default() }
}

fn port(machine: &Machine, numbers: &[u16]) -> Bench {
    let config = Config { filter: filter(numbers), ..crate::config(0) };
    let bench = machine.attach(&machine.nic(mac(0)), config).expect("a perfect device attaches");
    bench.adapter.start().expect("a fresh port starts");
    bench
}

/// The frame with a tag in it.
fn tagged(control: u16, mut frame: Vec<u8>) -> Vec<u8> {
    let [high, low] = control.to_be_bytes();
    frame.splice(12..12, [0x81, 0, high, low]);
    frame
}

/// Serial number and VLAN of what was handed up; checks that every octet is that of the frame without a tag.
fn taken(bench: &mut Bench) -> Vec<(u32, u16)> {
    let take = |packet: pktbuf::PacketBuf| {
        let serial = packet.bytes()[14..18].try_into().map(u32::from_be_bytes).unwrap();
        assert_eq!(packet.bytes(), frame(0, serial, packet.len()));
        assert_eq!(packet.rx_if(), Some(0));
        (serial, packet.vlan())
    };
    bench.received.drain(..).map(take).collect()
}

fn send_tagged(bench: &mut Bench, number: u16, frames: &[Vec<u8>]) -> TxOutcome {
    let mut batch = PacketBatch::new();
    for octets in frames {
        let packet = bench.packet(octets);
        batch.push(packet).expect("a batch has room");
    }
    let outcome = bench.adapter.transmit_tagged(vlan(number), &mut batch, false, &mut bench.cache);
    batch.drain().for_each(|packet| bench.cache.recycle(packet));
    outcome
}

#[test]
fn tags_come_off_and_are_told_and_frames_without_one_stay_in_their_order() {
    let machine = crate::machine(300);
    let mut bench = port(&machine, &[1, 10, 4094]);
    let mut seen = Vec::new();
    for serial in 0..300_u32 {
        let octets = frame(0, serial, 60 + serial as usize * 4);
        // Drop eligibility and priority are no part of the number.
        let control = [None, Some(10), Some(0xf00a), Some(1), Some(4094), Some(0x6000)][serial as usize % 6];
        bench.nic.inject(control.map_or(octets.clone(), |control| tagged(control, octets)));
        if serial % 20 == 19 {
            bench.settle();
            seen.extend(taken(&mut bench));
        }
    }
    let numbers = [0, 10, 10, 1, 4094, 0];
    let expected: Vec<_> = (0..300).map(|serial| (serial, numbers[serial as usize % 6])).collect();
    assert_eq!(seen, expected);
    assert_eq!(bench.adapter.statistics().rx_packets, 300);
    bench.detach().unwrap();
    machine.assert_empty();
}

#[test]
fn the_longest_frame_and_groups_come_with_a_tag_as_well() {
    let machine = crate::machine(300);
    let mut bench = port(&machine, &[10]);
    let mut to_all = frame(0, 7, 60);
    to_all[..6].copy_from_slice(&MacAddr::BROADCAST.octets());
    bench.nic.inject(tagged(10, to_all));
    bench.nic.inject(tagged(10, frame(0, 1, 1514)));
    bench.settle();
    let seen: Vec<_> = bench.received.iter().map(|packet| (packet.vlan(), packet.link_cast(), packet.len())).collect();
    assert_eq!(seen, [(10, LinkCast::Broadcast, 60), (10, LinkCast::Unicast, 1514)]);
    assert_eq!(bench.adapter.statistics().rx_broadcast, 1);
    bench.detach().unwrap();
}

#[test]
fn a_tag_does_not_excuse_a_bad_frame() {
    let machine = crate::machine(300);
    let mut bench = port(&machine, &[10]);
    let bad = |serial| Wired::good(tagged(10, frame(0, serial, 200)));
    bench.nic.inject_wired(Wired { errors: RxErrors::CE, ..bad(1) });
    bench.nic.inject_wired(Wired { pieces: 3, ..bad(2) });
    bench.nic.inject_wired(Wired { claimed_length: Some(5), ..bad(3) });
    bench.nic.inject_wired(Wired { claimed_length: Some(3000), ..bad(4) });
    bench.nic.inject_wired(bad(5));
    bench.settle();
    assert_eq!(taken(&mut bench), [(5, 10)]);
    let statistics = bench.adapter.statistics();
    assert_eq!((statistics.rx_crc_errors, statistics.rx_length_errors), (1, 3));
    bench.detach().unwrap();
    machine.assert_empty();
}

#[test]
fn frames_of_other_vlans_do_not_get_past_the_device() {
    let machine = crate::machine(300);
    let mut bench = port(&machine, &[10]);
    let promiscuous = ReceiveFilter { promiscuous: true, ..filter(&[10]) };
    for serial in [0, 100] {
        for number in [11, 9, 42, 1034, 4095] {
            bench.nic.inject(tagged(number, frame(0, 1, 60)));
        }
        bench.nic.inject(tagged(10, frame(0, serial, 60)));
        bench.settle();
        assert_eq!(taken(&mut bench), [(serial, 10)]);
        bench.adapter.set_filter(promiscuous.clone());
    }
    assert_eq!(bench.nic.ignored(), 10);
    bench.detach().unwrap();
}

#[test]
fn a_port_without_vlans_leaves_tags_alone_and_sends_none() {
    let machine = crate::machine(300);
    let mut bench = port(&machine, &[]);
    let octets = tagged(10, frame(0, 1, 60));
    bench.nic.inject(octets.clone());
    bench.settle();
    let packet = bench.received.pop().expect("it comes as it is");
    assert_eq!((packet.bytes(), packet.vlan()), (octets.as_slice(), 0));
    drop(packet);
    assert!(!bench.adapter.handles_tags());
    // Without its tag it would go into another network.
    assert_eq!(send_tagged(&mut bench, 10, &[frame(9, 1, 60)]), TxOutcome::refused(0, TxRefusal::NotRunning));
    bench.nic.settle();
    assert_eq!(bench.nic.sent(), None);
    bench.detach().unwrap();
    machine.assert_empty();
}

#[test]
fn tags_are_inserted_in_the_frames_that_are_to_have_one_and_in_no_other() {
    let machine = crate::machine(400);
    let mut bench = port(&machine, &[10, 20]);
    let mut serial = 0;
    let mut expected = Vec::new();
    for round in 0..60_u32 {
        let number = [10, 0, 20][round as usize % 3];
        let frames: Vec<_> = (0..=round % 30).map(|n| frame(9, serial + n, 60 + (n as usize * 53) % 1455)).collect();
        serial += round % 30 + 1;
        expected.extend(frames.iter().map(|octets| match number {
            0 => octets.clone(),
            number => tagged(number, octets.clone()),
        }));
        for octets in frames.iter().filter(|_| number == 0) {
            assert_eq!(bench.send(octets), TxOutcome::all(1));
        }
        if number > 0 {
            let all = u32::try_from(frames.len()).unwrap();
            assert_eq!(send_tagged(&mut bench, number, &frames), TxOutcome::all(all));
        }
        bench.nic.settle();
    }
    assert!(bench.nic.all_sent() == expected);
    assert_eq!(bench.adapter.statistics().tx_packets, u64::from(serial));
    bench.detach().unwrap();
    machine.assert_empty();
}

#[test]
fn a_short_frame_is_padded_beneath_its_tag_and_the_longest_may_have_one() {
    let machine = crate::machine(200);
    let mut bench = port(&machine, &[10]);
    assert_eq!(send_tagged(&mut bench, 10, &[frame(9, 1, 42), frame(9, 2, 1514)]), TxOutcome::all(2));
    assert_eq!(send_tagged(&mut bench, 10, &[frame(9, 1, 1515)]), TxOutcome::refused(0, TxRefusal::TooLong));
    bench.nic.settle();
    let mut padded = frame(9, 1, 42);
    padded.resize(60, 0);
    assert!(bench.nic.all_sent() == [tagged(10, padded), tagged(10, frame(9, 2, 1514))]);
    bench.detach().unwrap();
}

#[test]
fn vlans_may_come_later_and_go() {
    let machine = crate::machine(300);
    let mut bench = port(&machine, &[]);
    bench.adapter.set_filter(filter(&[10]));
    bench.nic.inject(tagged(10, frame(0, 1, 60)));
    bench.nic.inject(tagged(11, frame(0, 2, 60)));
    bench.settle();
    assert_eq!(taken(&mut bench), [(1, 10)]);
    assert_eq!(send_tagged(&mut bench, 10, &[frame(9, 1, 60)]), TxOutcome::all(1));
    // What is in the ring still gets its tag.
    bench.adapter.set_filter(filter(&[]));
    bench.nic.settle();
    assert_eq!(bench.nic.all_sent(), [tagged(10, frame(9, 1, 60))]);
    bench.nic.inject(tagged(11, frame(0, 3, 60)));
    bench.settle();
    assert_eq!(taken(&mut bench), [(3, 11)], "told with its tag, for whoever knows that VLAN");
    bench.detach().unwrap();
    machine.assert_empty();
}

/// Both directions, and the filter.
fn assert_works(bench: &mut Bench) {
    bench.nic.inject(tagged(10, frame(0, 1, 60)));
    bench.nic.inject(tagged(11, frame(0, 2, 60)));
    bench.nic.inject(frame(0, 3, 60));
    bench.settle();
    assert_eq!(taken(bench), [(1, 10), (3, 0)]);
    assert_eq!(send_tagged(bench, 10, &[frame(9, 1, 60)]), TxOutcome::all(1));
    bench.nic.settle();
    assert_eq!(bench.nic.all_sent(), [tagged(10, frame(9, 1, 60))]);
}

#[test]
fn a_reset_by_the_watchdog_forgets_no_vlan() {
    let machine = crate::machine(300);
    let mut bench = port(&machine, &[10]);
    assert_works(&mut bench);
    bench.nic.set_faults(|faults| faults.transmit_stuck = true);
    assert_eq!(send_tagged(&mut bench, 10, &[frame(9, 5, 60)]), TxOutcome::all(1));
    let recovering = (1..60).any(|second| bench.adapter.tick(Instant::from_secs(second)).recovering);
    assert!(recovering);
    assert_eq!(bench.service(64), 0);
    assert_eq!((bench.nic.resets(), bench.adapter.statistics().watchdog_resets), (2, 1));
    bench.adapter.unmask();
    assert_works(&mut bench);
    bench.detach().unwrap();
    machine.assert_empty();
}

#[test]
fn vlans_that_come_while_the_device_is_to_be_reset_are_there_afterwards() {
    let machine = crate::machine(300);
    let mut bench = port(&machine, &[]);
    bench.nic.set_faults(|faults| faults.transmit_stuck = true);
    assert_eq!(bench.send(&frame(9, 5, 60)), TxOutcome::all(1));
    assert!((1..60).any(|second| bench.adapter.tick(Instant::from_secs(second)).recovering));
    bench.adapter.set_filter(filter(&[10]));
    assert_eq!(bench.service(64), 0);
    assert_eq!(bench.nic.resets(), 2);
    bench.adapter.unmask();
    assert_works(&mut bench);
    bench.detach().unwrap();
    machine.assert_empty();
}

#[test]
fn what_was_attached_with_vlans_can_be_attached_again_with_and_without() {
    let machine = crate::machine(300);
    let nic = machine.nic(mac(0));
    for numbers in [&[10_u16][..], &[], &[10]] {
        let config = Config { filter: filter(numbers), ..crate::config(0) };
        let mut bench = machine.attach(&nic, config).unwrap();
        bench.adapter.start().unwrap();
        let tags = nic.peek(Reg::Ctrl) & Ctrl::VME.bits() != 0;
        assert_eq!((tags, bench.adapter.handles_tags()), (!numbers.is_empty(), !numbers.is_empty()));
        if tags {
            assert_works(&mut bench);
        }
        bench.detach().unwrap();
        machine.assert_empty();
    }
}
