//! The contained stack on a host: the escape is called by hand, as the panic handler and the timer would.

extern crate std;
use core::time::Duration;

use super::{CALLER, Failure, Ordering, PANICKED, TIMED_OUT, run, sluice_contained_escape};

fn escape(code: usize) -> ! {
    // SAFETY: called only by functions under `run`, whose registers are saved at CALLER.
    unsafe { sluice_contained_escape(CALLER.load(Ordering::Relaxed), code) }
}

// One test: there is one contained function at a time, and tests run in parallel.
#[test]
fn a_result_comes_back_and_an_escape_is_a_failure_and_neither_spoils_the_next() {
    let limit = Duration::from_secs(1);
    for round in 0..100u64 {
        let text = std::format!("round {round}");
        assert_eq!(run(limit, move || text.len()), Ok(std::format!("round {round}").len()));
        assert_eq!(run::<u64, _>(limit, || escape(PANICKED)), Err(Failure::Panicked));
        assert_eq!(
            run::<u64, _>(limit, move || if round > 0 { escape(TIMED_OUT) } else { 7 }).ok(),
            (round == 0).then_some(7)
        );
    }
    assert_eq!(run(limit, move || run(limit, || 1)), Ok(Err(Failure::Busy)));
}
