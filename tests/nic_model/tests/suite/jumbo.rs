//! Long frames: buffers that hold them whole, what is longer still, both FIFOs, and that nothing changes where the MTU is as usual.

use e1000::{
    Error, Reg, Stat,
    regs::{PBA_RX, Rctl},
};
use ifnet::{Interface, TxOutcome, TxRefusal};
use ksync::time::Instant;
use nic_model::{Bench, Machine, frame, mac};
use pktbuf::BufferSize;
use proptest::{collection::vec, prelude::*};

use crate::PART;

/// A started port with this MTU, on a machine with buffers of this size.
fn port(mtu: u16, size: BufferSize) -> (Machine, Bench) {
    let machine = Machine::sized(PART, 300, size);
    let config = e1000::Config { mtu, ..crate::config(0) };
    let bench = machine.attach(&machine.nic(mac(0)), config).unwrap();
    bench.adapter.start().unwrap();
    (machine, bench)
}

/// Serial numbers and lengths of what was handed up; checks every octet and lets the packets go.
fn handed_up(bench: &mut Bench) -> Vec<(u32, usize)> {
    let take = |packet: pktbuf::PacketBuf| {
        let serial = packet.bytes()[14..18].try_into().map(u32::from_be_bytes).unwrap();
        assert_eq!(packet.bytes(), frame(0, serial, packet.len()));
        (serial, packet.len())
    };
    bench.received.drain(..).map(take).collect()
}

#[test]
fn frames_up_to_the_mtu_come_whole_and_longer_ones_are_counted_and_harm_nobody() {
    let (machine, mut bench) = port(9000, BufferSize::K16);
    // Header and packet, and a VLAN tag; then longer than the MTU allows, longer than a buffer, and longer than the part lets in.
    let lengths = [60, 1518, 9014, 9018, 9019, 16_380, 16_381, 40_000, 9018];
    (1..).zip(lengths).for_each(|(serial, len)| bench.nic.inject(frame(0, serial, len)));
    bench.settle();
    assert_eq!(handed_up(&mut bench), [(1, 60), (2, 1518), (3, 9014), (4, 9018), (9, 9018)]);
    bench.adapter.tick(Instant::ZERO);
    let oversize = bench.adapter.hardware_totals().iter().find(|(stat, _)| *stat == Stat::Roc).map(|(_, count)| count);
    // Two of four the device has counted itself.
    assert_eq!((bench.adapter.statistics().rx_length_errors, oversize), (4, Some(2)));
    bench.detach().unwrap();
    machine.assert_empty();
}

#[test]
fn a_frame_longer_than_its_buffer_goes_over_several_and_is_refused_once() {
    for (mtu, size) in [(1501, BufferSize::K2), (4000, BufferSize::K4), (8000, BufferSize::K8)] {
        let (machine, mut bench) = port(mtu, size);
        let longest = usize::from(mtu) + 18;
        let lengths = [longest, size.octets() + 1, 3 * size.octets().min(5000), longest, 16_380, longest];
        (1..).zip(lengths).for_each(|(serial, len)| bench.nic.inject(frame(0, serial, len)));
        bench.settle();
        assert_eq!(handed_up(&mut bench), [(1, longest), (4, longest), (6, longest)], "{mtu}");
        assert_eq!(bench.adapter.statistics().rx_length_errors, 3, "{mtu}");
        bench.detach().unwrap();
        machine.assert_empty();
    }
}

#[test]
fn with_the_usual_mtu_nothing_long_is_let_in_however_large_the_buffers() {
    for size in BufferSize::ALL {
        let (machine, mut bench) = port(1500, size);
        assert_eq!(bench.nic.peek(Reg::Rctl) & (Rctl::LPE | Rctl::BSEX).bits(), 0);
        (1..).zip([1518, 1519, 9018, 1518]).for_each(|(serial, len)| bench.nic.inject(frame(0, serial, len)));
        bench.settle();
        assert_eq!(handed_up(&mut bench), [(1, 1518), (4, 1518)]);
        assert_eq!(bench.send(&frame(9, 1, 1519)), TxOutcome::refused(0, TxRefusal::TooLong));
        assert_eq!(bench.nic.writes(Reg::Pba), 0);
        bench.detach().unwrap();
        machine.assert_empty();
    }
}

#[test]
fn long_frames_are_sent_whole_in_one_descriptor_each() {
    let most = Machine::sized(PART, 1, BufferSize::K16).variant.max_mtu();
    for mtu in [1501, 9000, most] {
        let (machine, mut bench) = port(mtu, BufferSize::K16);
        let longest = usize::from(mtu) + 18;
        assert_eq!(bench.send(&frame(9, 1, longest + 1)), TxOutcome::refused(0, TxRefusal::TooLong));
        for serial in 0..200 {
            let octets = frame(9, serial, longest - serial as usize % 7);
            assert_eq!(bench.send(&octets), TxOutcome::all(1));
            bench.nic.settle();
            assert_eq!(bench.nic.sent(), Some(octets), "mtu {mtu}");
        }
        bench.detach().unwrap();
        machine.assert_empty();
    }
}

#[test]
fn the_fifos_have_room_for_the_longest_frames_in_both_directions_from_the_start() {
    let (machine, mut bench) = port(Machine::sized(PART, 1, BufferSize::K16).variant.max_mtu(), BufferSize::K16);
    let longest = usize::from(bench.adapter.mtu()) + 18;
    let receive = bench.nic.peek(Reg::Pba) & PBA_RX;
    assert!(receive as usize * 1024 > longest, "{receive} KiB");
    // The shares count from a reset on: there was one more after they were written, and no more than one.
    assert_eq!((bench.nic.writes(Reg::Pba) + 1, bench.nic.resets()), (bench.nic.resets().into(), bench.nic.resets()));
    bench.nic.inject(frame(0, 1, longest));
    bench.settle();
    assert_eq!(handed_up(&mut bench), [(1, longest)]);
    bench.detach().unwrap();
    machine.assert_empty();
}

#[test]
fn long_frames_go_on_after_the_watchdog_has_reset_the_device_and_after_a_change_of_filter() {
    let (machine, mut bench) = port(9000, BufferSize::K16);
    bench.nic.set_faults(|faults| faults.transmit_stuck = true);
    assert_eq!(bench.send(&frame(9, 1, 9018)), TxOutcome::all(1));
    for second in 0..40 {
        bench.adapter.tick(Instant::from_secs(second));
        while bench.service(32) > 0 {}
    }
    assert_eq!(bench.adapter.statistics().watchdog_resets, 1);
    bench.adapter.unmask();
    bench.nic.inject(frame(0, 1, 9018));
    bench.settle();
    bench.adapter.set_filter(e1000::ReceiveFilter { promiscuous: true, ..e1000::ReceiveFilter::default() });
    bench.nic.inject(frame(0, 2, 9018));
    bench.settle();
    assert_eq!(handed_up(&mut bench), [(1, 9018), (2, 9018)]);
    assert_eq!(bench.send(&frame(9, 3, 9018)), TxOutcome::all(1));
    bench.nic.settle();
    assert_eq!(bench.nic.all_sent().last(), Some(&frame(9, 3, 9018)));
    bench.detach().unwrap();
    machine.assert_empty();
}

#[test]
fn an_mtu_that_the_pools_buffers_cannot_take_is_refused_before_the_device_is_touched() {
    for (mtu, size) in [(2027, BufferSize::K2), (4075, BufferSize::K4), (9000, BufferSize::K8)] {
        let machine = Machine::sized(PART, 200, size);
        let nic = machine.nic(mac(0));
        let config = e1000::Config { mtu, ..crate::config(0) };
        assert_eq!(machine.attach(&nic, config).unwrap_err(), Error::SmallBuffers);
        assert_eq!(nic.resets(), 0);
        machine.assert_empty();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// The software IOMMU is the judge of what the device writes where.
    #[test]
    fn whatever_comes_is_handed_up_whole_or_counted(
        mtu in prop_oneof![68_u16..=9212, Just(1500), Just(1501), Just(9000)],
        lengths in vec(prop_oneof![60_usize..1600, 60_usize..20_000, Just(1518), Just(9018), Just(16_384)], 1..120),
    ) {
        let (machine, mut bench) = port(mtu, BufferSize::K16);
        // What a port with a small MTU receives is not shorter for it.
        let longest = usize::from(mtu).max(1500) + 18;
        let mut expected = Vec::new();
        for (serial, &len) in (1..).zip(&lengths) {
            bench.nic.inject(frame(0, serial, len));
            if len <= longest {
                expected.push((serial, len));
            }
            bench.settle();
        }
        prop_assert_eq!(handed_up(&mut bench), expected);
        bench.detach().unwrap();
        machine.assert_empty();
    }
}
