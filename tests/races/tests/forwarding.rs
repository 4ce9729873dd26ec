//! Races between forwarding and the end. The scenarios stand in `src/scenarios/forwarding.rs`.

races::hold! {
    r01_transmit_into_a_stopped_device_from_anothers_ithread
    r01_frames_in_hand_when_the_rings_look_empty
    r05_receive_loop_on_a_ring_that_is_taken_away
    r08_forwarding_through_an_interface_that_is_detached
    r09_packets_held_for_an_address_are_flushed_by_name
    r09_packets_in_protocol_queues_are_forwarded
    r09_frames_in_hand_reach_their_queue
}
