//! Which CPU an interrupt's thread runs on.

/// Returns the place, among `cpus` CPUs, of the thread for interrupt `number` (a card's number times the interrupts of each card, plus the
/// interrupt's own number): one after another, and one further in each round. Without that the first queues of all cards would share a CPU where there are as
/// many queues as CPUs, and a flow and the one back, which cards sort into the same queue, too.
///
/// Returns 0 without CPUs. Pure; any context.
#[must_use]
pub const fn place(number: usize, cpus: usize) -> usize {
    match number.checked_div(cpus) {
        Some(round) => number.wrapping_add(round) % cpus,
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn each_round_gives_each_cpu_one_interrupt() {
        for cpus in 1..=24 {
            for round in 0..40 {
                let mut places: Vec<_> = (0..cpus).map(|n| place(round * cpus + n, cpus)).collect();
                places.sort_unstable();
                assert_eq!(places, (0..cpus).collect::<Vec<_>>());
            }
        }
        assert_eq!((place(7, 0), place(usize::MAX, 1)), (0, 0));
    }

    #[test]
    fn the_same_queue_of_two_cards_is_on_two_cpus_and_single_queues_count_on() {
        for cpus in 2..=8 {
            for queue in 0..cpus {
                assert_ne!(place(queue, cpus), place(cpus + queue, cpus));
            }
            assert_eq!((0..cpus).map(|card| place(card, cpus)).collect::<Vec<_>>(), (0..cpus).collect::<Vec<_>>());
        }
    }
}
