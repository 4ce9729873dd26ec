//! Races between interrupts, their threads and the end. The scenarios stand in `src/scenarios/interrupts.rs`.

races::hold! {
    r02_interrupt_after_its_handler_is_gone
    r13_a_wedged_thread_is_named_and_nothing_of_it_is_freed
    r14_a_shared_line_serves_the_neighbour_of_a_dead_device
    r19_handlers_come_and_go_while_the_thread_runs
    r20_interrupt_between_the_drain_and_the_mask
    frames_that_come_as_their_thread_goes_to_sleep
}
