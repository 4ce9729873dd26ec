//! Races between forwarding and the end: R1, R5, R8, R9.

use std::sync::Arc;

use ifnet::DropReason;
use shutdown::Exit;

use crate::{Rig, Setup};

/// Who holds an adapter besides the router: the machine, the port's filter and its handler, and the timers.
const HOLDERS: usize = 4;

/// R1: the seed. Both cards forward into each other while the machine shuts down.
pub fn r01_transmit_into_a_stopped_device_from_anothers_ithread() {
    let rig = Rig::new(Setup::default());
    rig.send(5);
    rig.until_any_instant();
    let finished = rig.shut_down(Exit::Reboot);
    rig.end(&finished).assert_orderly();
}

/// R1: both rings look empty while a thread has frames in its hands; they leave before DMA stops, however slow the device is.
pub fn r01_frames_in_hand_when_the_rings_look_empty() {
    let rig = Rig::new(Setup::default());
    (0..2).for_each(|port| rig.nic(port).set_faults(|faults| faults.slow_transmit = 150));
    rig.send(1);
    rig.until_any_instant();
    let finished = rig.shut_down(Exit::Reboot);
    rig.end(&finished).assert_orderly();
}

/// R5: frames come in during every stage, so that the receive loop is at work whenever the ring could be taken away.
pub fn r05_receive_loop_on_a_ring_that_is_taken_away() {
    let rig = Rig::new(Setup::default());
    rig.trickle(8);
    rig.until_any_instant();
    let finished = rig.shut_down(Exit::Reboot);
    rig.end(&finished).assert_orderly();
}

/// R8: the router lets go of its ports while threads forward through them; what comes later is dropped by name.
pub fn r08_forwarding_through_an_interface_that_is_detached() {
    let rig = Rig::new(Setup::default());
    rig.trickle(6);
    rig.router
        .close(|| {
            rig.host.relax();
            true
        })
        .expect("no pass lasts for ever");
    for port in &rig.ports {
        assert_eq!(Arc::strong_count(&port.adapter), HOLDERS, "tables and configuration let go of the port");
    }
    let finished = rig.shut_down(Exit::Reboot);
    let ending = rig.end(&finished);
    ending.assert_orderly();
    assert_eq!(ending.received, ending.forwarded + ending.dropped(DropReason::ShuttingDown));
}

/// R9: neighbours never answer; what waits for their addresses is dropped under a name of its own.
pub fn r09_packets_held_for_an_address_are_flushed_by_name() {
    let rig = Rig::new(Setup { cold: true, ..Setup::default() });
    rig.send(3);
    rig.wait_for("a packet is held", || rig.router.arp().held() > 0);
    let finished = rig.shut_down(Exit::Halt);
    let ending = rig.end(&finished);
    ending.assert_orderly();
    let flushed = ending.dropped(DropReason::ArpFlushed) + ending.dropped(DropReason::ShuttingDown);
    assert!(flushed > 0 && ending.forwarded == 0 && ending.received == flushed, "held for ever: {ending:#?}");
}

/// R9: packets wait in netisr queues when the shutdown comes; they are forwarded first.
pub fn r09_packets_in_protocol_queues_are_forwarded() {
    let rig = Rig::new(Setup { deferred: true, ..Setup::default() });
    rig.send(5);
    rig.until_any_instant();
    let finished = rig.shut_down(Exit::Reboot);
    let ending = rig.end(&finished);
    assert_eq!(ending.dropped(DropReason::ShuttingDown), 0, "a frame found its queue closed: {ending:#?}");
    ending.assert_orderly();
}

/// R9: the rings are empty and so are the queues, but a thread has frames in hand that are on their way to a queue. It is not
/// closed before they are there.
pub fn r09_frames_in_hand_reach_their_queue() {
    let rig = Rig::new(Setup { deferred: true, ..Setup::default() });
    rig.hold_frames(0, 40);
    let finished = rig.shut_down(Exit::Reboot);
    let ending = rig.end(&finished);
    assert_eq!(ending.dropped(DropReason::ShuttingDown), 0, "a frame found its queue closed: {ending:#?}");
    ending.assert_orderly();
}
