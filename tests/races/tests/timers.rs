//! Races between timers, other processors and the end. The scenarios stand in `src/scenarios/timers.rs`.

races::hold! {
    r06_timer_that_rearms_itself_after_the_stop
    a_console_that_sends_until_it_is_stopped
}
