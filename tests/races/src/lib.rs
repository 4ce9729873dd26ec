#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod frames;
mod host;
mod line;
mod plant;
mod port;
mod rig;
pub mod scenarios;
mod waits;
mod walk;

pub use rig::{Rig, Setup, without};
pub use walk::Ending;

/// Repetitions of a scenario on real threads.
pub const REPEATS: usize = 12;

/// Makes a test of each scenario named: every schedule that shuttle is asked for, or some repetitions on real threads.
#[macro_export]
macro_rules! hold {
    ($($scenario:ident)*) => {
        $(
            #[test]
            fn $scenario() {
                $crate::check($crate::scenarios::$scenario);
            }
        )*
    };
}

/// Checks a scenario.
///
/// # Panics
/// If a promise is broken, with the schedule to replay.
pub fn check(scenario: fn()) {
    ksync::model::check_times(REPEATS, scenario);
}
