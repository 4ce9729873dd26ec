//! Every edge of the ladder is needed: with any one left out some scenario fails, and with none left out all hold (the other
//! tests here).
//!
//! Under shuttle only: a race is found by looking for it. `cargo run -- check shuttle` prints which scenario found what.

#![cfg(shuttle)]

use std::time::Instant;

use races::{scenarios, without};
use shutdown::Edge;

/// The scenario that finds each edge missing, and words of the promise that it finds broken.
const FOUND_BY: &[(Edge, &str, &str)] = &[
    (Edge::OneOwner, "r11_two_cpus_ask_at_once", "two ladders were walked"),
    (Edge::StrongestExit, "r11_two_cpus_ask_at_once", "the stronger request was lost"),
    (Edge::PanicNeverWalks, "r10_shutdown_during_a_panic", "a shutdown began in the middle of a panic"),
    (Edge::PanicPreempts, "r10_panic_during_a_shutdown", "the ladder went on"),
    (
        Edge::AnnounceBeforeDrain,
        "a_console_that_sends_until_it_is_stopped",
        "the console still took orders after the drain",
    ),
    (
        Edge::DevicesTogether,
        "r01_transmit_into_a_stopped_device_from_anothers_ithread",
        "a frame was sent into a stopped device",
    ),
    (Edge::CloseBeforeDrain, "r05_receive_loop_on_a_ring_that_is_taken_away", "a frame was received and lost"),
    (Edge::DrainBeforeMask, "r20_interrupt_between_the_drain_and_the_mask", "drain: em"),
    (Edge::FlushHeld, "r09_packets_held_for_an_address_are_flushed_by_name", "packets wait for ever"),
    (Edge::HandsEmptied, "r09_frames_in_hand_reach_their_queue", "a frame found its queue closed"),
    (Edge::QueuesDrained, "r09_packets_in_protocol_queues_are_forwarded", "a queue was not drained"),
    (
        Edge::MaskBeforeJoin,
        "r20_interrupt_between_the_drain_and_the_mask",
        "asked to leave whose device could still interrupt",
    ),
    (
        Edge::JoinBeforeStop,
        "r01_transmit_into_a_stopped_device_from_anothers_ithread",
        "DMA was stopped under a thread that was still at work",
    ),
    (
        Edge::JoinAllBeforeStop,
        "r01_transmit_into_a_stopped_device_from_anothers_ithread",
        "DMA was stopped under a thread that was still at work",
    ),
    (
        Edge::MaskAfterJoin,
        "r20_interrupt_between_the_drain_and_the_mask",
        "could interrupt after its thread had been joined",
    ),
    (
        Edge::CalloutsBeforeStop,
        "r06_timer_that_rearms_itself_after_the_stop",
        "a timer ran after the memory was given back",
    ),
    (Edge::CloseEgressAfterJoin, "a_console_that_sends_until_it_is_stopped", "a packet of our own never left"),
    (Edge::DrainAfterJoin, "a_console_that_sends_until_it_is_stopped", "a packet of our own never left"),
    (
        Edge::StopBeforeTearDown,
        "r03_dma_of_a_device_that_obeys_nothing_but_its_reset",
        "memory was to be freed that a device may still own",
    ),
    (
        Edge::StopBeforeBusMasterOff,
        "r15_bus_mastering_that_cannot_be_switched_off_is_named",
        "bus mastering was taken from a device at work",
    ),
    (
        Edge::ForceWithoutProof,
        "r13_a_wedged_thread_is_named_and_nothing_of_it_is_freed",
        "bus mastering was taken from a device at work",
    ),
    (
        Edge::QuarantineWithoutProof,
        "r16_a_device_that_never_acknowledges_its_reset_keeps_its_memory",
        "memory was to be freed that a device may still own",
    ),
    (
        Edge::BusMasterOffBeforeExit,
        "r01_transmit_into_a_stopped_device_from_anothers_ithread",
        "a device can reach memory in the next kernel",
    ),
    (
        Edge::TripwireBeforeExit,
        "r03_a_write_to_freed_memory_is_found_by_the_tripwire",
        "a write to freed memory was not noticed",
    ),
    (Edge::ParkBeforeExit, "a_console_that_sends_until_it_is_stopped", "a CPU still ran when the machine was over"),
];

#[test]
fn every_edge_left_out_is_found_by_a_scenario() {
    let mut missed = Vec::new();
    for edge in Edge::ALL {
        let (_, name, words) = FOUND_BY.iter().find(|(other, ..)| other == edge).expect("every edge has its scenario");
        let (_, scenario) = scenarios::ALL.iter().find(|(other, _)| other == name).expect("it is one of ours");
        let started = Instant::now();
        let failure = without(*edge, || ksync::model::find(*scenario, |message| message.contains(words)));
        match failure {
            Some(failure) => {
                let first = failure.message.lines().find(|line| line.contains(words)).unwrap_or("");
                println!(
                    "without \"{edge}\": {name} fails in execution {} ({} ms): {}",
                    failure.executions,
                    started.elapsed().as_millis(),
                    first.trim()
                );
            }
            None => missed.push(format!("{edge}: nothing in {name} is {words:?}")),
        }
    }
    println!("{} of {} edges found", Edge::ALL.len() - missed.len(), Edge::ALL.len());
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}
