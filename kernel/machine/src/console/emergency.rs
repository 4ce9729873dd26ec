//! The console of a stopped world: straight to the devices, around locks whose holders are stopped.
//!
//! Before the other CPUs are stopped the sender among them is asked to pause between two bursts ([`hush`]); what it had in flight
//! is finished here, and a line that was cut all the same is ended. So whatever is written next begins at the start of a line.

use core::{
    fmt::{self, Write},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use ksync::SpinLock;

use super::{
    FLIGHT, FRAMEBUFFER, HISTORY, QUEUE, QUEUE_SIZE, SCREEN, SERIAL, STALL_TRIES, flight, screen::Screen,
    serial::Received,
};
use crate::{
    kdb::{WORLD, me},
    time,
};

/// Tries per lock before it is bypassed.
const LOCK_TRIES: u32 = 1_000;
/// How long a sender may take to finish its burst. It hands 16 octets to an empty FIFO, which takes microseconds; an emulator's
/// host may need longer to give its CPU time. Only a sender that is wedged, or that crashed itself, makes us wait so long.
const BURST: Duration = Duration::from_millis(50);
/// Looks at the line before the wait for a burst ends on a machine whose clock does not run yet.
const BURST_LOOKS: u32 = 5_000_000;

/// The sender is to pause.
static HUSHED: AtomicBool = AtomicBool::new(false);

/// Asks the sender to pause and waits, for a bounded time, until it is between two bursts. For the owner of the world, before it
/// stops the others.
pub(crate) fn hush() {
    // ORDERING: sequentially consistent against the sender's look at it under the serial line's lock: either it sees this, or we
    // see the lock.
    HUSHED.store(true, Ordering::SeqCst);
    let end = time::now() + BURST;
    for _ in 0..BURST_LOOKS {
        if SERIAL.try_lock().is_some() || time::now() > end {
            return;
        }
        core::hint::spin_loop();
    }
}

/// Lets the sender go on; the world does.
pub(crate) fn speak() {
    HUSHED.store(false, Ordering::SeqCst);
}

/// The sender, between two bursts.
pub(super) fn wait_while_hushed() {
    while HUSHED.load(Ordering::SeqCst) && !WORLD.is_mine(me()) {
        core::hint::spin_loop();
    }
}

/// Calls `act` with the value of a lock, held or not.
pub(super) fn with<T, R>(lock: &SpinLock<T>, act: impl FnOnce(&mut T) -> R) -> R {
    if let Some(mut guard) = lock.lock_bounded(LOCK_TRIES) {
        return act(&mut guard);
    }
    // SAFETY: the world is stopped and this CPU owns it: the lock's holder is a stopped CPU, or code of this CPU that was
    // interrupted for as long as `act` runs. The value may be half changed; queues, the line and the screen are memory-safe in
    // every such state (positions are used modulo the size), at worst some text is lost or shown twice.
    act(unsafe { &mut *lock.as_ptr() })
}

/// Writes to the devices and reads from the line, for the owner of the stopped world.
#[derive(Debug)]
pub struct Emergency {
    /// What is written goes to the message buffer too.
    kept: bool,
}

impl Emergency {
    /// A writer whose text is kept in the message buffer: reports.
    pub(crate) fn kept() -> Self {
        Self { kept: true }
    }

    /// A writer whose text is not kept: the debugger's answers.
    pub(crate) fn unkept() -> Self {
        Self { kept: false }
    }

    /// Finishes what was being sent and what was queued, so that a report follows the last messages; then a report's writer.
    pub(crate) fn begin() -> Self {
        Self::add_screen();
        let cut = SERIAL.lock_bounded(LOCK_TRIES).is_none();
        let mut piece = [0; flight::SIZE];
        let rest = FLIGHT.take_rest(&mut piece);
        if cut {
            // Nobody knows how much of the burst has left: its line ends here.
            Self::emit(b"\n");
        } else {
            Self::emit(piece.get(..rest).unwrap_or_default());
        }
        for _ in 0..QUEUE_SIZE / piece.len() {
            let count = with(&QUEUE, |queue| queue.pop(&mut piece));
            if count == 0 {
                break;
            }
            Self::emit(piece.get(..count).unwrap_or_default());
        }
        Self::kept()
    }

    /// A crash before the screen was added shows it, with the messages that lead up to it.
    fn add_screen() {
        // Not around a lock that is held: there can be one owner of the pixels only.
        let framebuffer = FRAMEBUFFER.lock_bounded(LOCK_TRIES).and_then(|mut kept| kept.take());
        let Some(mut screen) = framebuffer.and_then(Screen::new) else { return };
        with(&HISTORY, |history| history.read(|piece| screen.write(piece)));
        with(&SCREEN, |place| *place = Some(screen));
    }

    fn emit(text: &[u8]) {
        if text.is_empty() {
            return;
        }
        with(&SCREEN, |screen| {
            if let Some(screen) = screen.as_mut() {
                screen.write(text);
            }
        });
        with(&SERIAL, |serial| serial.send_all(text, STALL_TRIES));
    }

    /// Returns a typed octet if there is one; never waits.
    pub(crate) fn try_read() -> Option<u8> {
        match with(&SERIAL, super::serial::Serial::receive)? {
            Received::Octet(octet) => Some(octet),
            Received::Break => None,
        }
    }
}

impl Write for Emergency {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.kept {
            with(&HISTORY, |history| history.push(text.as_bytes()));
        }
        Self::emit(text.as_bytes());
        Ok(())
    }
}
