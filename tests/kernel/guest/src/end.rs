//! The two orderly ends of a machine.

use machine::{
    boot::BootRecord,
    console, platform,
    reset::{self, Rung},
};

fn bring_up(record: &'static BootRecord) {
    if let Err(error) = platform::bring_up(record) {
        panic!("the platform could not be brought up: {error:?}");
    }
}

pub(crate) fn power_off(record: &'static BootRecord) -> ! {
    bring_up(record);
    log::info!("powering off");
    console::flush();
    let error = reset::power_off();
    panic!("the power is still on: {error:?}")
}

pub(crate) fn restart(record: &'static BootRecord) -> ! {
    bring_up(record);
    log::info!("restarting");
    console::flush();
    reset::restart()
}

/// Restarts by one rung of the ladder and no other.
pub(crate) fn restart_by(record: &'static BootRecord, rung: Rung) -> ! {
    bring_up(record);
    log::info!("restarting by {rung:?}");
    console::flush();
    reset::attempt(rung);
    panic!("{rung:?} does not restart this machine")
}
