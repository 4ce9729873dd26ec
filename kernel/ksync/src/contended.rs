//! What a CPU asks while it waits for a lock: whether the holder will ever give it back.
//!
//! In a world that a debugger or a crash report has stopped, a lock held by a stopped CPU is never released. The machine layer
//! installs a function here which, in that case, does not return to the waiting loop but abandons the view that wanted the lock.
//! Looked at on the contended path only: a free lock costs nothing more.

use crate::Once;

static HOOK: Once<fn()> = Once::new();

/// Installs what a waiting CPU calls again and again; the first call wins.
///
/// # Context
/// Thread, at boot. The function runs in any context, NMI included, and takes no lock.
pub fn set_hook(hook: fn()) {
    HOOK.call_once(|| hook);
}

/// Called by a waiting CPU between two looks at the lock.
#[cold]
#[cfg_attr(any(loom, shuttle), expect(dead_code, reason = "the checker's mutex waits by itself"))]
pub(crate) fn still_waiting() {
    if let Some(hook) = HOOK.get() {
        hook();
    }
}
