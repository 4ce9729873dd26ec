//! What the model does wrong on purpose, each seen to happen, and what the driver makes of it.

#![cfg(not(any(loom, shuttle)))]

use e1000::{Config, DmaStop, Error, FilterCause, Phase, Reg, RegisterIo, Variant, regs::Cause};
use ifnet::TxOutcome;
use nic_model::{Bench, Faults, Machine, config, frame};

fn port_with(machine: &Machine, change: impl FnOnce(&mut Faults)) -> Bench {
    let bench = machine.port(0);
    bench.nic.set_faults(change);
    bench
}

/// A part that acknowledges a master disable.
fn acknowledging(number: u8) -> Config {
    let mut config = config(number);
    config.variant = Box::leak(Box::new(Variant { dma_stop: DmaStop::MasterDisable, ..*config.variant }));
    config
}

#[test]
fn an_interrupt_on_its_way_arrives_though_it_was_masked_meanwhile_and_is_nobodys() {
    let machine = crate::machine(300);
    let bench = port_with(&machine, |faults| faults.late_interrupt = 3);
    bench.nic.raise(Cause::RXT0);
    assert!(!bench.nic.interrupting(), "it is on its way");
    bench.adapter.mask_interrupts().unwrap();
    (0..3).for_each(|_| _ = bench.nic.step());
    assert!(bench.nic.interrupting(), "it arrives");
    assert_eq!(bench.adapter.filter(), FilterCause::Handled, "ours, and no thread is woken");
    assert!(!bench.nic.interrupting(), "once");
}

#[test]
fn spurious_causes_wake_the_thread_for_nothing_and_end() {
    let machine = crate::machine(300);
    let mut bench = port_with(&machine, |faults| faults.spurious_causes = 2);
    assert_eq!(
        [(); 3].map(|()| bench.adapter.filter()),
        [FilterCause::Schedule, FilterCause::Schedule, FilterCause::Stray]
    );
    assert_eq!(bench.service(64), 0);
}

#[test]
fn a_receiver_that_ignores_its_stop_is_ended_by_the_reset() {
    let machine = crate::machine(300);
    let bench = port_with(&machine, |faults| faults.receives_after_stop = true);
    bench.adapter.close_ingress().unwrap();
    bench.nic.inject(frame(0, 1, 100));
    bench.nic.settle();
    assert_eq!(bench.nic.delivered(), 1, "it went on");
    let nic = bench.nic.clone();
    bench.detach().unwrap();
    nic.inject(frame(0, 2, 100));
    nic.settle();
    assert_eq!(nic.delivered(), 1);
    machine.assert_empty();
}

#[test]
fn a_transmitter_that_ignores_its_stop_completes_what_was_queued_and_is_ended_by_the_reset() {
    let machine = crate::machine(300);
    let mut bench = port_with(&machine, |faults| (faults.sends_after_stop, faults.late_completion) = (true, 5));
    assert_eq!(bench.send(&frame(9, 1, 100)), TxOutcome::all(1));
    bench.adapter.regs().write32(Reg::Tctl, 0);
    (0..3).for_each(|_| _ = bench.nic.step());
    assert_eq!(
        (bench.nic.all_sent().len(), bench.adapter.tx_backlog()),
        (1, 1),
        "sent after the stop, not yet completed"
    );
    bench.detach().unwrap();
    machine.assert_empty();
}

#[test]
fn a_master_disable_that_is_never_acknowledged_gives_no_proof_and_one_that_is_does() {
    let machine = crate::machine(600);
    for (stuck, expected) in [(true, Some(Error::MasterPending)), (false, None)] {
        let nic = machine.nic(nic_model::mac(0));
        let bench = machine.attach(&nic, acknowledging(0)).unwrap();
        bench.adapter.start().unwrap();
        nic.set_faults(|faults| faults.master_stuck = stuck);
        assert_eq!(bench.detach().err(), expected);
    }
    machine.iommu.assert_clean();
}

#[test]
fn a_device_that_leaves_the_bus_at_any_access_is_noticed_or_was_done_with() {
    for access in 1..40 {
        let machine = crate::machine(300);
        let mut bench = port_with(&machine, |faults| faults.gone_after = access);
        let _ = bench.send(&frame(9, 1, 100));
        let (adapter, nic) = (bench.adapter.clone(), bench.nic.clone());
        let ended = bench.detach();
        match ended {
            Ok(_) => machine.assert_empty(),
            Err(error) => assert_eq!((error, adapter.phase()), (Error::Gone, Phase::Gone), "at access {access}"),
        }
        assert!(ended.is_ok() || nic.peek_faults().gone);
        machine.iommu.assert_clean();
    }
}

#[test]
fn without_bus_mastering_a_device_reaches_no_memory_and_some_keep_it() {
    let machine = crate::machine(300);
    let bench = machine.port(0);
    bench.nic.set_faults(|faults| faults.bus_master_stuck = true);
    assert!(!bench.nic.set_bus_master(false) && bench.nic.is_bus_master());
    bench.nic.set_faults(|faults| faults.bus_master_stuck = false);
    assert!(bench.nic.set_bus_master(false));
    (0..3).for_each(|serial| bench.nic.inject(frame(0, serial, 100)));
    bench.nic.settle();
    assert_eq!((bench.nic.delivered(), bench.nic.ignored()), (0, 3));
}

#[test]
fn a_slow_transmitter_takes_its_time_for_each_frame() {
    let machine = crate::machine(300);
    let mut bench = port_with(&machine, |faults| faults.slow_transmit = 4);
    (0..2).for_each(|serial| assert_eq!(bench.send(&frame(9, serial, 100)), TxOutcome::all(1)));
    let sent = [(); 10].map(|()| {
        bench.nic.step();
        bench.nic.all_sent().len()
    });
    assert_eq!(sent, [0, 0, 0, 0, 1, 0, 0, 0, 0, 1]);
}
