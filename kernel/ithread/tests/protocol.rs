//! The interrupt protocol in every interleaving (`--cfg loom`) and on real threads.

mod rig;

use std::sync::atomic::Ordering::SeqCst;

use ksync::{model, time::Instant};
use rig::Machine;

/// No promise here depends on time running out.
const FOREVER: Instant = Instant::MAX;

#[test]
fn an_interrupt_is_served_however_it_meets_the_parking_thread() {
    model::check(|| {
        let (machine, event) = Machine::new();
        let (device, _) = machine.attach(&event, "em0");
        let hardware = {
            let (machine, device) = (machine.clone(), device.clone());
            model::spawn(move || machine.raise(&device))
        };
        device.wait_served(1);
        hardware.join().unwrap();
        let _ = event.quiesce(FOREVER).unwrap();
        machine.join();
    });
}

#[test]
fn a_second_interrupt_is_served_even_if_it_meets_the_rearm() {
    model::check(|| {
        let (machine, event) = Machine::new();
        let (device, _) = machine.attach(&event, "em0");
        machine.raise(&device);
        device.wait_served(1);
        // The handler has run; the thread may be anywhere between there and its park.
        machine.raise(&device);
        device.wait_served(2);
        let _ = event.quiesce(FOREVER).unwrap();
        machine.join();
    });
}

#[test]
fn a_handler_that_is_busy_as_it_rearms_is_run_again_and_the_line_opens_after_that() {
    model::check(|| {
        let (machine, event) = Machine::new();
        let (device, _) = machine.attach(&event, "em0");
        let (neighbour, _) = machine.attach(&event, "em1");
        device.comes_late.store(true, SeqCst);
        machine.raise(&device);
        // No interrupt tells of the second.
        device.wait_served(2);
        machine.raise(&neighbour);
        neighbour.wait_served(1);
        let _ = event.quiesce(FOREVER).unwrap();
        machine.join();
    });
}

#[test]
fn two_handlers_on_one_line_are_both_served() {
    model::check(|| {
        let (machine, event) = Machine::new();
        let (first, _) = machine.attach(&event, "em0");
        let (second, _) = machine.attach(&event, "em1");
        let hardware = {
            let (machine, first) = (machine.clone(), first.clone());
            model::spawn(move || machine.raise(&first))
        };
        machine.raise(&second);
        first.wait_served(1);
        second.wait_served(1);
        hardware.join().unwrap();
        let _ = event.quiesce(FOREVER).unwrap();
        machine.join();
    });
}

#[test]
fn removal_returns_only_when_filter_and_handler_are_out() {
    model::check(|| {
        let (machine, event) = Machine::new();
        let (device, id) = machine.attach(&event, "em0");
        let hardware = {
            let (machine, device) = (machine.clone(), device.clone());
            model::spawn(move || machine.raise(&device))
        };
        event.remove(id, FOREVER).unwrap();
        // The caller frees what they used: these writes race with any filter or handler that is still at work.
        device.filter_memory.write();
        device.handler_memory.write();
        assert!(machine.line.is_masked(), "nobody is left who could quiet the line");
        assert!(device.retired.load(SeqCst), "the thread let the handler go itself");
        hardware.join().unwrap();
        assert!(machine.line.is_masked(), "nor did the thread open it later");
        let _ = event.quiesce(FOREVER).unwrap();
        machine.join();
    });
}

#[test]
fn removing_one_handler_does_not_lose_its_neighbours_interrupt() {
    model::check(|| {
        let (machine, event) = Machine::new();
        let (_leaving, id) = machine.attach(&event, "em0");
        let (staying, _) = machine.attach(&event, "em1");
        let hardware = {
            let (machine, staying) = (machine.clone(), staying.clone());
            model::spawn(move || machine.raise(&staying))
        };
        event.remove(id, FOREVER).unwrap();
        staying.wait_served(1);
        hardware.join().unwrap();
        let _ = event.quiesce(FOREVER).unwrap();
        machine.join();
    });
}

#[test]
fn the_line_stays_masked_after_quiesce_though_the_thread_was_rearming() {
    model::check(|| {
        let (machine, event) = Machine::new();
        let (device, _) = machine.attach(&event, "em0");
        let hardware = {
            let (machine, device) = (machine.clone(), device.clone());
            model::spawn(move || machine.raise(&device))
        };
        let rest = event.quiesce(FOREVER).unwrap();
        assert_eq!(rest.irq(), rig::IRQ);
        assert!(machine.line.is_masked());
        device.filter_memory.write();
        device.handler_memory.write();
        hardware.join().unwrap();
        machine.join();
        assert!(machine.line.is_masked(), "nobody opened the line afterwards");
    });
}

#[test]
fn a_suspended_handler_rests_until_it_is_resumed_and_then_catches_up() {
    model::check(|| {
        let (machine, event) = Machine::new();
        let (device, id) = machine.attach(&event, "em0");
        let hardware = {
            let (machine, device) = (machine.clone(), device.clone());
            model::spawn(move || machine.raise(&device))
        };
        event.suspend(id, FOREVER).unwrap();
        device.filter_memory.write();
        device.handler_memory.write();
        event.resume(id).unwrap();
        device.wait_served(1);
        hardware.join().unwrap();
        let _ = event.quiesce(FOREVER).unwrap();
        machine.join();
    });
}
