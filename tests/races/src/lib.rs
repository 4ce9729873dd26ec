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

pub use rig::{Rig, Setup, on_part, without};
pub use walk::Ending;

/// Repetitions of a scenario on real threads.
pub const REPEATS: usize = 12;

/// Makes a test of each scenario named: every schedule that shuttle is asked for, or some repetitions on real threads. With
/// `on 0x10d3:` in front, for machines whose cards have this PCI device id.
#[macro_export]
macro_rules! hold {
    (on $device:literal: $($scenario:ident)*) => {
        $(
            #[test]
            fn $scenario() {
                $crate::check(|| $crate::on_part($device, $crate::scenarios::$scenario));
            }
        )*
    };
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
