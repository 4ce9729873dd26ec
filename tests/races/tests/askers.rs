//! Races between those who ask for the end. The scenarios stand in `src/scenarios/askers.rs`.

races::hold! {
    r10_panic_during_a_shutdown
    r10_shutdown_during_a_panic
    r11_two_cpus_ask_at_once
    r12_two_cpus_trap_at_once
    r18_nobody_who_is_waited_for_waits_for_the_sequencer
}
