//! Flow control: what is offered, what is agreed, and that it keeps frames from being lost and the watchdog from barking.

use std::time::Duration;

use e1000::{
    FlowControl, Pause, Reg, Stat,
    regs::{Ctrl, Status},
};
use ifnet::TxOutcome;
use ksync::time::Instant;
use nic_model::{Bench, Machine, frame};

const PAUSE: u16 = 1 << 10;
const ASYMMETRIC: u16 = 1 << 11;
const BOTH: u16 = PAUSE | ASYMMETRIC;

/// A port that wants this, at a partner that offers that.
fn port(machine: &Machine, wanted: FlowControl, partner: u16) -> Bench {
    let nic = machine.nic(nic_model::mac(0));
    nic.set_partner(0x41e1 | partner);
    let config = e1000::Config { flow_control: wanted, ..crate::config(0) };
    let bench = machine.attach(&nic, config).expect("attached");
    bench.adapter.start().expect("started");
    bench
}

fn control(bench: &Bench) -> Ctrl {
    Ctrl::from_bits_retain(bench.nic.peek(Reg::Ctrl)).intersection(Ctrl::RFCE | Ctrl::TFCE)
}

fn pause(quanta: u16) -> Vec<u8> {
    let [high, low] = quanta.to_be_bytes();
    let mut frame = vec![1, 0x80, 0xc2, 0, 0, 1, 2, 0, 0, 0, 0, 9, 0x88, 8, 0, 1, high, low];
    frame.resize(60, 0);
    frame
}

#[test]
fn what_both_ends_agree_upon_is_put_into_force() {
    for (wanted, partner, offered, expected) in [
        (FlowControl::Both, BOTH, BOTH, Ctrl::RFCE | Ctrl::TFCE),
        (FlowControl::Both, ASYMMETRIC, BOTH, Ctrl::RFCE),
        (FlowControl::Both, 0, BOTH, Ctrl::empty()),
        (FlowControl::Receive, BOTH, BOTH, Ctrl::RFCE),
        (FlowControl::Send, BOTH, ASYMMETRIC, Ctrl::TFCE),
        (FlowControl::Off, BOTH, 0, Ctrl::empty()),
    ] {
        let machine = crate::machine(300);
        let bench = port(&machine, wanted, partner);
        let (offers, negotiations) = bench.nic.negotiated();
        assert_eq!((offers & BOTH, control(&bench)), (offered, expected), "{wanted:?} {partner:#x}");
        assert_eq!(negotiations, u32::from(offered != BOTH), "anew only if something else is to be offered");
        let agreed = Pause { receive: expected.contains(Ctrl::RFCE), send: expected.contains(Ctrl::TFCE) };
        assert_eq!(bench.adapter.flow_control(), Some(agreed));
    }
}

#[test]
fn with_half_duplex_without_carrier_and_with_a_dead_phy_there_is_none_and_it_comes_with_the_link() {
    let machine = crate::machine(300);
    let mut bench = port(&machine, FlowControl::Both, BOTH);
    for (status, expected) in [
        (Status::LU | Status::SPEED_100, Ctrl::empty()),
        (Status::LU | Status::FD | Status::SPEED_100, Ctrl::RFCE | Ctrl::TFCE),
        (Status::empty(), Ctrl::empty()),
        (Status::LU | Status::FD | Status::SPEED_1000, Ctrl::RFCE | Ctrl::TFCE),
    ] {
        bench.nic.set_link(status);
        bench.adapter.tick(Instant::from_secs(1));
        assert_eq!(control(&bench), expected, "{status:?}");
    }
    bench.nic.set_faults(|faults| faults.phy_dead = true);
    bench.nic.set_link(Status::empty());
    bench.adapter.tick(Instant::from_secs(2));
    bench.nic.set_link(Status::LU | Status::FD | Status::SPEED_1000);
    bench.adapter.tick(Instant::from_secs(3));
    assert_eq!(control(&bench), Ctrl::empty());
    // The port works all the same.
    bench.nic.inject(frame(0, 1, 100));
    bench.settle();
    assert_eq!(bench.received.len(), 1);
}

#[test]
fn when_the_ring_is_full_the_other_end_waits_and_no_frame_is_lost() {
    const FRAMES: u32 = 400;
    for (partner, missed) in [(BOTH, false), (0, true)] {
        let machine = crate::machine(600);
        let mut bench = port(&machine, FlowControl::Both, partner);
        (0..FRAMES).for_each(|n| bench.nic.inject(frame(0, n, 100)));
        // Nobody serves the ring.
        bench.nic.settle();
        assert_eq!(bench.nic.incoming() > 0, !missed);
        for _ in 0..FRAMES {
            bench.settle();
            bench.received.clear();
        }
        bench.adapter.tick(Instant::from_secs(1));
        let totals = bench.adapter.hardware_totals();
        let told = [Stat::Xofftxc, Stat::Xontxc].map(|stat| totals.get(stat));
        assert_eq!(totals.get(Stat::Mpc) > 0, missed);
        assert_eq!(totals.get(Stat::Tpr) == u64::from(FRAMES), !missed);
        assert!(if missed { told == [0, 0] } else { told[0] > 0 && told[0] == told[1] }, "{told:?}");
        let sent = bench.nic.all_sent();
        assert_eq!(sent.len() as u64, told[0] + told[1]);
        assert!(sent.first().is_none_or(|frame| frame.starts_with(&[1, 0x80, 0xc2, 0, 0, 1])
            && frame.get(12..18) == Some(&[0x88, 8, 0, 1, 6, 0x80])));
    }
}

#[test]
fn a_pause_frame_holds_the_transmitter_and_the_watchdog_and_is_not_handed_up() {
    let machine = crate::machine(300);
    let mut bench = port(&machine, FlowControl::Both, BOTH);
    bench.nic.inject(pause(u16::MAX));
    bench.nic.step();
    assert_eq!(bench.send(&frame(9, 0, 60)), TxOutcome::all(1));
    for second in 1..20 {
        (0..100).for_each(|_| {
            bench.nic.step();
        });
        let report = bench.adapter.tick(Instant::ZERO + Duration::from_secs(second));
        assert_eq!((report.hang, bench.nic.sent()), (None, None));
    }
    bench.nic.inject(pause(0));
    bench.settle();
    assert_eq!((bench.nic.all_sent(), bench.received.len()), (vec![frame(9, 0, 60)], 0));
    bench.adapter.tick(Instant::ZERO + Duration::from_secs(20));
    let totals = bench.adapter.hardware_totals();
    assert_eq!([Stat::Xoffrxc, Stat::Xonrxc].map(|stat| totals.get(stat)), [1, 1]);
}

#[test]
fn a_reset_by_the_watchdog_leaves_flow_control_in_force() {
    let machine = crate::machine(300);
    let mut bench = port(&machine, FlowControl::Both, BOTH);
    let before = [Reg::Fcal, Reg::Fct, Reg::Fcttv, Reg::Fcrtl, Reg::Fcrth].map(|reg| bench.nic.peek(reg));
    assert!(before.iter().all(|value| *value != 0));
    bench.nic.set_faults(|faults| faults.transmit_stuck = true);
    assert_eq!(bench.send(&frame(9, 0, 60)), TxOutcome::all(1));
    for second in 1..30 {
        bench.adapter.tick(Instant::ZERO + Duration::from_secs(second));
        bench.service(64);
    }
    assert_eq!(bench.nic.resets(), 2, "at attach and by the watchdog");
    assert_eq!(control(&bench), Ctrl::RFCE | Ctrl::TFCE);
    let after = [Reg::Fcal, Reg::Fct, Reg::Fcttv, Reg::Fcrtl, Reg::Fcrth].map(|reg| bench.nic.peek(reg));
    assert_eq!(before, after);
}
