//! How the machine ends after its report: a moment for a reader, then a restart.
//!
//! FreeBSD's wording and setting (`kern.panic_reboot_wait_time`). Context: the owner of the report, the world stopped; polls.

use core::{
    fmt::Write,
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use crate::{console::Emergency, cpu, hooks, reset, time};

/// Seconds before the restart.
static WAIT: AtomicI64 = AtomicI64::new(15);
/// How often the console is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Seconds a crashed machine waits before it restarts (`kern.panic_reboot_wait_time`); negative: for a key.
#[must_use]
pub fn reboot_wait_time() -> i64 {
    // ORDERING: relaxed, here and below; a setting.
    WAIT.load(Ordering::Relaxed)
}

/// Sets [`reboot_wait_time`].
pub fn set_reboot_wait_time(seconds: i64) {
    WAIT.store(seconds, Ordering::Relaxed);
}

/// Ends the emulator in tests, else waits as set and restarts.
pub(super) fn run(exit_code: u32) -> ! {
    if exit_code != 0 {
        cpu::debug_exit(exit_code);
    }
    let mut out = Emergency::kept();
    let seconds = reboot_wait_time();
    if seconds > 0 {
        let _ = writeln!(out, "Automatic reboot in {seconds} seconds - press a key on the console to abort");
    }
    if seconds < 0 || (seconds > 0 && key_within(seconds)) {
        let _ = writeln!(out, "--> Press a key on the console to reboot,");
        let _ = writeln!(out, "--> or switch off the system now.");
        hooks::key_wait();
        while Emergency::try_read().is_none() {
            time::delay(LOOK);
        }
    }
    let _ = writeln!(out, "Rebooting...");
    reset::restart()
}

/// Whether a key is pressed within so many seconds.
fn key_within(seconds: i64) -> bool {
    (0..seconds.saturating_mul(10)).any(|_| {
        time::delay(LOOK);
        Emergency::try_read().is_some()
    })
}

/// The end of a machine whose report went wrong: at once.
pub(super) fn now(exit_code: u32) -> ! {
    if exit_code != 0 {
        cpu::debug_exit(exit_code);
    }
    reset::restart()
}
