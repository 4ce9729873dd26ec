//! The scenarios, one function each, by the race class that they play. `README.md` lists them.
//!
//! A scenario is one run: it makes a machine, lets it race, and panics if a promise is broken. [`ALL`] is for the test that
//! leaves out the ladder's edges.

mod askers;
mod dma;
mod forwarding;
mod interrupts;
mod timers;

pub use askers::*;
pub use dma::*;
pub use forwarding::*;
pub use interrupts::*;
pub use timers::*;

/// A scenario and its name.
pub type Named = (&'static str, fn());

macro_rules! named {
    ($($scenario:ident,)*) => { &[$((stringify!($scenario), $scenario),)*] };
}

/// All scenarios.
pub const ALL: &[Named] = named![
    r01_transmit_into_a_stopped_device_from_anothers_ithread,
    r01_frames_in_hand_when_the_rings_look_empty,
    r02_interrupt_after_its_handler_is_gone,
    r03_dma_of_a_device_that_obeys_nothing_but_its_reset,
    r03_a_write_to_freed_memory_is_found_by_the_tripwire,
    r04_transmit_completion_after_the_stop,
    r05_receive_loop_on_a_ring_that_is_taken_away,
    r06_timer_that_rearms_itself_after_the_stop,
    r08_forwarding_through_an_interface_that_is_detached,
    r09_packets_held_for_an_address_are_flushed_by_name,
    r09_packets_in_protocol_queues_are_forwarded,
    r09_frames_in_hand_reach_their_queue,
    r10_panic_during_a_shutdown,
    r10_shutdown_during_a_panic,
    r11_two_cpus_ask_at_once,
    r12_two_cpus_trap_at_once,
    r13_a_wedged_thread_is_named_and_nothing_of_it_is_freed,
    r14_a_shared_line_serves_the_neighbour_of_a_dead_device,
    r15_bus_mastering_that_cannot_be_switched_off_is_named,
    r16_a_device_that_never_acknowledges_its_reset_keeps_its_memory,
    r16_a_device_that_never_acknowledges_master_disable_keeps_its_memory,
    r17_a_device_removed_at_any_instant,
    r18_nobody_who_is_waited_for_waits_for_the_sequencer,
    r19_handlers_come_and_go_while_the_thread_runs,
    r20_interrupt_between_the_drain_and_the_mask,
    frames_that_come_as_their_thread_goes_to_sleep,
    a_console_that_sends_until_it_is_stopped,
];
