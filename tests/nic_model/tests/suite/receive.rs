//! Receiving: order, wrap-around, bad frames, no buffers, filters, interrupts.

use e1000::{FilterCause, ReceiveFilter, Reg, desc::RxErrors, regs::Cause};
use ifnet::Interface;
use ksync::time::Instant;
use nic_model::{Bench, Wired, frame, mac};
use pktbuf::LinkCast;
use wire::MacAddr;

/// Serial numbers of what was handed up; checks every octet and lets the packets go.
fn serials(bench: &mut Bench) -> Vec<u32> {
    let take = |packet: pktbuf::PacketBuf| {
        let serial = packet.bytes()[14..18].try_into().map(u32::from_be_bytes).unwrap();
        assert_eq!(packet.bytes(), frame(0, serial, packet.len()));
        serial
    };
    bench.received.drain(..).map(take).collect()
}

#[test]
fn thousands_of_frames_wrap_around_in_order_and_unharmed() {
    let machine = crate::machine(400);
    let mut bench = machine.port(0);
    let mut seen = Vec::new();
    for burst in 0..300_u32 {
        // Bursts of every size up to the descriptors that are free at any time (80, less one, less 31 that are to be given back
        // later), so that the ring's end falls everywhere.
        let size = burst % 48 + 1;
        for n in 0..size {
            bench.nic.inject(frame(0, burst * 100 + n, 60 + (n as usize * 37) % 1455));
        }
        bench.settle();
        seen.extend(serials(&mut bench));
    }
    let expected: Vec<u32> = (0..300).flat_map(|burst| (0..burst % 48 + 1).map(move |n| burst * 100 + n)).collect();
    assert_eq!(seen, expected);
    let statistics = bench.adapter.statistics();
    assert_eq!(statistics.rx_packets, expected.len() as u64);
    assert_eq!((statistics.rx_missed, statistics.rx_no_buffer), (0, 0));
    bench.detach().unwrap();
    machine.assert_empty();
}

#[test]
fn packets_carry_interface_and_cast() {
    let machine = crate::machine(300);
    let mut config = crate::config(7);
    config.filter.promiscuous = true;
    let mut bench = machine.attach(&machine.nic(mac(7)), config).unwrap();
    bench.adapter.start().unwrap();
    for destination in [mac(7), MacAddr::BROADCAST, MacAddr([1, 0, 0x5e, 0, 0, 9]), mac(8)] {
        let mut octets = frame(7, 0, 60);
        octets[..6].copy_from_slice(&destination.octets());
        bench.nic.inject(octets);
    }
    bench.settle();
    let casts: Vec<_> = bench.received.iter().map(|packet| (packet.rx_if(), packet.link_cast())).collect();
    let expected = [LinkCast::Unicast, LinkCast::Broadcast, LinkCast::Multicast, LinkCast::Unicast];
    assert_eq!(casts, expected.map(|cast| (Some(7), cast)));
    let statistics = bench.adapter.statistics();
    assert_eq!((statistics.rx_broadcast, statistics.rx_multicast), (1, 1));
    bench.received.clear();
    bench.detach().unwrap();
    machine.assert_empty();
}

#[test]
fn rdt_is_written_once_for_many_frames_and_a_pass_honours_its_budget() {
    let machine = crate::machine(300);
    let mut bench = machine.port(0);
    (0..70).for_each(|n| bench.nic.inject(frame(0, n, 100)));
    bench.nic.settle();
    let before = bench.nic.writes(Reg::Rdt(0));
    assert_eq!(bench.service(60), 60);
    assert_eq!(bench.service(60), 10);
    assert_eq!(bench.service(60), 0);
    assert_eq!(bench.nic.writes(Reg::Rdt(0)), before + 1, "ten more are not worth the doorbell");
    assert_eq!(bench.adapter.rx_backlog(), Ok(0), "and yet nothing waits");
    (70..92).for_each(|n| bench.nic.inject(frame(0, n, 100)));
    bench.nic.settle();
    assert_eq!((bench.service(60), bench.nic.writes(Reg::Rdt(0))), (22, before + 2));
    assert_eq!(serials(&mut bench), (0..92).collect::<Vec<_>>());
    bench.detach().unwrap();
}

#[test]
fn frames_that_were_polled_do_not_interrupt_and_the_next_does_at_once() {
    let machine = crate::machine(300);
    let mut bench = machine.port(0);
    let comes = |bench: &Bench, serial| {
        bench.nic.inject(frame(0, serial, 100));
        bench.nic.settle();
    };
    comes(&bench, 1);
    assert_eq!(bench.adapter.filter(), FilterCause::Schedule);
    assert_eq!(bench.service(60), 1);
    // Two more while the thread polls. The link's cause is not the ring's to forget.
    (2..4).for_each(|serial| comes(&bench, serial));
    bench.nic.raise(Cause::LSC);
    assert_eq!(bench.service(60), 2);
    assert!(bench.rx.may_rest(&bench.adapter));
    assert_eq!(bench.nic.peek(Reg::Icr), Cause::LSC.bits());
    bench.adapter.unmask();
    assert_eq!(bench.adapter.filter(), FilterCause::Schedule);
    bench.adapter.service_link();
    bench.adapter.unmask();
    assert!(!bench.nic.interrupting(), "nothing has come");
    comes(&bench, 4);
    assert!(bench.nic.interrupting());
    // One that comes just before its cause is forgotten is seen.
    assert_eq!((bench.adapter.filter(), bench.service(60)), (FilterCause::Schedule, 1));
    bench.nic.set_faults(|faults| faults.moves_before_icr = true);
    bench.nic.inject(frame(0, 5, 100));
    assert!(!bench.rx.may_rest(&bench.adapter));
    assert_eq!(bench.nic.peek(Reg::Icr), 0);
    assert_eq!(bench.service(60), 1);
    // Nothing to forget: no register is touched, and what comes keeps its cause.
    assert!(bench.rx.may_rest(&bench.adapter));
    let writes = bench.nic.writes(Reg::Icr);
    comes(&bench, 6);
    assert!(bench.rx.may_rest(&bench.adapter), "its interrupt comes");
    assert_eq!(bench.nic.writes(Reg::Icr), writes);
    bench.adapter.unmask();
    bench.interrupts();
    assert_eq!(serials(&mut bench), (1..=6).collect::<Vec<_>>());
    bench.detach().unwrap();
    machine.assert_empty();
}

#[test]
fn a_full_ring_loses_frames_at_the_wire_and_recovers() {
    let machine = crate::machine(300);
    let mut bench = machine.port(0);
    (0..100).for_each(|n| bench.nic.inject(frame(0, n, 100)));
    bench.nic.settle();
    bench.interrupts();
    bench.adapter.tick(Instant::ZERO);
    // One descriptor of 80 stays unused: head == tail means empty.
    assert_eq!(serials(&mut bench), (0..79).collect::<Vec<_>>());
    assert_eq!(bench.adapter.statistics().rx_missed, 21);
    bench.nic.inject(frame(0, 500, 100));
    bench.settle();
    assert_eq!(serials(&mut bench), [500]);
    bench.detach().unwrap();
    machine.assert_empty();
}

#[test]
fn without_fresh_buffers_frames_are_dropped_counted_and_the_ring_lives_on() {
    let machine = crate::machine(90);
    let mut bench = machine.port(0);
    let hoard: Vec<_> = std::iter::from_fn(|| bench.cache.alloc()).collect();
    assert_eq!(hoard.len(), 10);
    for round in 0..10 {
        (0..50).for_each(|n| bench.nic.inject(frame(0, round * 100 + n, 200)));
        bench.settle();
    }
    assert!(bench.received.is_empty());
    assert_eq!(bench.adapter.statistics().rx_no_buffer, 500);
    drop(hoard);
    bench.nic.inject(frame(0, 7, 200));
    bench.settle();
    assert_eq!(serials(&mut bench), [7]);
    bench.detach().unwrap();
    machine.assert_empty();
}

#[test]
fn bad_frames_are_counted_by_kind_and_never_handed_up() {
    let machine = crate::machine(300);
    let mut bench = machine.port(0);
    let good = |serial| Wired::good(frame(0, serial, 300));
    let bad = |errors| Wired { errors, ..good(99) };
    bench.nic.inject_wired(good(1));
    bench.nic.inject_wired(bad(RxErrors::CE));
    bench.nic.inject_wired(bad(RxErrors::SE));
    bench.nic.inject_wired(bad(RxErrors::RXE));
    // A length the buffer cannot hold, and one that is no Ethernet header: a broken device.
    bench.nic.inject_wired(Wired { claimed_length: Some(2049), ..good(99) });
    bench.nic.inject_wired(Wired { claimed_length: Some(u16::MAX), ..good(99) });
    bench.nic.inject_wired(Wired { claimed_length: Some(13), ..good(99) });
    bench.nic.inject_wired(Wired { claimed_length: Some(0), ..good(99) });
    // Checksum verdicts are not the driver's business.
    bench.nic.inject_wired(Wired { errors: RxErrors::IPE | RxErrors::TCPE, ..good(2) });
    bench.settle();
    assert_eq!(serials(&mut bench), [1, 2]);
    let statistics = bench.adapter.statistics();
    assert_eq!((statistics.rx_crc_errors, statistics.rx_errors, statistics.rx_length_errors), (1, 2, 4));
    assert_eq!(statistics.rx_packets, 2);
    bench.detach().unwrap();
    machine.assert_empty();
}

#[test]
fn a_frame_over_several_descriptors_is_dropped_whole_and_counted_once() {
    let machine = crate::machine(300);
    let mut bench = machine.port(0);
    bench.nic.inject(frame(0, 1, 100));
    bench.nic.inject_wired(Wired { pieces: 3, ..Wired::good(frame(0, 99, 1500)) });
    bench.nic.inject(frame(0, 2, 100));
    bench.nic.settle();
    // Also when a pass ends in the middle of it.
    while bench.service(2) > 0 {}
    assert_eq!(serials(&mut bench), [1, 2]);
    assert_eq!(bench.adapter.statistics().rx_length_errors, 1);
    bench.detach().unwrap();
    machine.assert_empty();
}

#[test]
fn late_write_backs_delay_frames_but_lose_and_reorder_none() {
    let machine = crate::machine(300);
    let mut bench = machine.port(0);
    bench.nic.set_faults(|faults| faults.late_write_back = 5);
    let mut seen = Vec::new();
    for serial in 0..400 {
        bench.nic.inject(frame(0, serial, 80));
        bench.nic.step();
        // The interrupt comes before DD does; the thread finds nothing and unmasks.
        bench.interrupts();
        seen.extend(serials(&mut bench));
    }
    bench.settle();
    // What was written back after the last interrupt is found by the next pass.
    while bench.service(64) > 0 {}
    seen.extend(serials(&mut bench));
    assert_eq!(seen, (0..400).collect::<Vec<_>>());
    bench.detach().unwrap();
    machine.assert_empty();
}

#[test]
fn the_filter_says_stray_to_an_interrupt_that_is_not_ours() {
    let machine = crate::machine(300);
    let bench = machine.port(0);
    assert_eq!(bench.adapter.filter(), FilterCause::Stray);
    // Transmit causes are not unmasked, so they interrupt nobody.
    bench.nic.raise(Cause::TXDW | Cause::TXQE);
    assert_eq!(bench.adapter.filter(), FilterCause::Stray);
    assert_ne!(bench.nic.peek(Reg::Ims), 0, "a stray interrupt masks nothing");
    assert_eq!((bench.adapter.stray_interrupts(), bench.adapter.statistics().interrupts), (2, 0));
    bench.nic.raise(Cause::RXT0);
    assert_eq!(bench.adapter.filter(), FilterCause::Schedule);
    assert_eq!(bench.nic.peek(Reg::Ims), 0, "our own masks the device");
    assert_eq!(bench.nic.peek(Reg::Icr), 0, "and is acknowledged");
    bench.detach().unwrap();
}

#[test]
fn a_frame_between_the_last_look_and_the_unmasking_interrupts_at_once() {
    let machine = crate::machine(300);
    let mut bench = machine.port(0);
    bench.nic.inject(frame(0, 1, 100));
    bench.nic.settle();
    assert_eq!(bench.adapter.filter(), FilterCause::Schedule);
    assert_eq!(bench.service(64), 1);
    bench.nic.inject(frame(0, 2, 100));
    bench.nic.settle();
    assert!(!bench.nic.interrupting(), "masked");
    bench.adapter.unmask();
    assert!(bench.nic.interrupting());
    bench.interrupts();
    assert_eq!(serials(&mut bench), [1, 2]);
    bench.detach().unwrap();
}

#[test]
fn address_filters_let_through_what_was_asked_for() {
    let machine = crate::machine(300);
    let mut bench = machine.port(0);
    let group = |n| MacAddr([1, 0, 0x5e, 0, 0, n]);
    let heard = |bench: &mut Bench, destination: MacAddr| {
        let mut octets = frame(0, 1, 60);
        octets[..6].copy_from_slice(&destination.octets());
        bench.nic.inject(octets);
        bench.settle();
        bench.received.drain(..).count() == 1
    };
    assert!(heard(&mut bench, mac(0)) && heard(&mut bench, MacAddr::BROADCAST));
    assert!(!heard(&mut bench, mac(1)) && !heard(&mut bench, group(5)));
    bench.adapter.set_filter(ReceiveFilter { groups: vec![group(5)], ..ReceiveFilter::default() });
    assert!(heard(&mut bench, group(5)) && !heard(&mut bench, group(6)) && !heard(&mut bench, mac(1)));
    bench.adapter.set_filter(ReceiveFilter { all_multicast: true, ..ReceiveFilter::default() });
    assert!(heard(&mut bench, group(6)) && !heard(&mut bench, mac(1)));
    bench.adapter.set_filter(ReceiveFilter { promiscuous: true, ..ReceiveFilter::default() });
    assert!(heard(&mut bench, mac(1)) && heard(&mut bench, group(5)));
    bench.adapter.set_filter(ReceiveFilter::default());
    assert!(!heard(&mut bench, mac(1)) && !heard(&mut bench, group(5)) && heard(&mut bench, mac(0)));
    bench.detach().unwrap();
    machine.assert_empty();
}

#[test]
fn a_view_of_the_ring_shows_where_driver_and_device_stand_and_a_device_that_is_gone() {
    let machine = crate::machine(300);
    let mut bench = machine.port(0);
    (0..70).for_each(|n| bench.nic.inject(frame(0, n, 100)));
    bench.nic.settle();
    assert_eq!(bench.service(60), 60);
    let look = bench.adapter.look_at_rx(0);
    assert_eq!((look.next, look.device.len), (60, Some(80)));
    assert_eq!((look.device.head, look.device.tail, look.device.owned()), (Some(70), Some(59), Some(69)));
    bench.nic.set_faults(|faults| faults.gone = true);
    let gone = bench.adapter.look_at_rx(0).device;
    assert_eq!((gone.len, gone.head, gone.tail, gone.owned()), (None, None, None, None));
    bench.received.clear();
}

#[test]
fn under_a_backlog_descriptors_go_back_by_three_quarters_of_the_ring_and_afterwards_at_once() {
    let machine = crate::machine(1200);
    let config = e1000::Config { rx_descriptors: 512, ..crate::config(0) };
    let mut bench = machine.attach(&machine.nic(mac(0)), config).unwrap();
    bench.adapter.start().unwrap();
    (0..488).for_each(|n| bench.nic.inject(frame(0, n, 60)));
    bench.nic.settle();
    let doorbells = |bench: &Bench| bench.nic.writes(Reg::Rdt(0));
    let before = doorbells(&bench);
    let told: Vec<u64> = (0..7)
        .map(|_| {
            assert_eq!(bench.service(64), 64);
            doorbells(&bench) - before
        })
        .collect();
    assert_eq!(told, [0, 0, 0, 0, 0, 1, 1], "full batches: 384 at a time");
    assert_eq!((bench.service(64), doorbells(&bench) - before), (40, 2), "nothing waits any more");
}

/// Whoever polls is quick enough to serve a descriptor while the device is still at it: QEMU's 82574L copies it in two strokes.
#[test]
fn a_descriptor_that_is_written_back_twice_is_served_once() {
    let machine = crate::machine(300);
    let mut bench = machine.port(0);
    bench.nic.set_faults(|faults| faults.writes_back_twice = true);
    // Several times around, one by one and in pairs.
    let mut seen = Vec::new();
    for serial in 0..500 {
        bench.nic.inject(frame(0, serial, 60));
        bench.nic.step();
        if serial % 3 > 0 {
            bench.service(64);
            seen.extend(serials(&mut bench));
        }
    }
    bench.settle();
    seen.extend(serials(&mut bench));
    assert_eq!(seen, (0..500).collect::<Vec<_>>());
    let statistics = bench.adapter.statistics();
    assert_eq!((statistics.rx_packets, statistics.rx_length_errors, statistics.rx_missed), (500, 0, 0));
    bench.detach().unwrap();
    machine.assert_empty();
}

/// An interrupt that never arrives must cost a second or two, and not the port.
#[test]
fn frames_that_wait_from_one_tick_to_the_next_are_told() {
    let machine = crate::machine(300);
    let mut bench = machine.port(0);
    let mut seconds = 0;
    let mut tick = |bench: &Bench| {
        seconds += 1;
        bench.adapter.tick(Instant::from_secs(seconds)).overlooked
    };
    assert!(!tick(&bench) && !tick(&bench), "nothing waits");
    for serial in 0..3 {
        bench.nic.inject(frame(0, serial, 60));
        bench.nic.settle();
        assert!(!tick(&bench), "it may have come just now");
        bench.settle();
    }
    for serial in 3..6 {
        bench.settle();
        bench.nic.inject(frame(0, serial, 60));
        bench.nic.settle();
        assert!(!tick(&bench), "others were served meanwhile");
    }
    assert!(tick(&bench) && tick(&bench), "nobody serves it");
    bench.settle();
    assert!(!tick(&bench) && !tick(&bench));
    assert_eq!(serials(&mut bench), [0, 1, 2, 3, 4, 5]);
    bench.detach().unwrap();
    machine.assert_empty();
}
