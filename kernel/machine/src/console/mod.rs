//! The console: serial line COM1 and, where the machine has one, the screen; and the message buffer behind `show log`.
//!
//! Whole lines enter a queue under a short lock; whoever finds nobody sending becomes the sender and moves the queue to the
//! devices without holding that lock, so interrupts are never off for the length of a line at 115200 bit/s, and lines of several
//! CPUs never mix. Two kinds of text: [`message`] (boot stages, `log`) is also kept in the message buffer; [`print`] (the command
//! line's answers) is not.
//!
//! Context: any but NMI; never parks. A full queue is drained by the writer for a bounded time, then text is dropped and counted.
//! The panic path and the debugger ([`Emergency`]) write around locks whose holders are stopped.

mod emergency;
mod flight;
mod input;
mod lines;
mod logger;
mod ring;
mod screen;
mod serial;
mod stopped;

use core::{
    fmt::{self, Write},
    sync::atomic::{AtomicBool, AtomicU64, Ordering, fence},
};

use bootloader_api::info::FrameBuffer;
use ksync::SpinLock;

pub use self::{
    emergency::Emergency,
    input::{enable_input_interrupt, on_serial_interrupt, try_read, type_in},
};
pub(crate) use self::{
    emergency::{hush, speak},
    stopped::{SerialOnly, last_messages},
};
use self::{
    flight::Flight,
    lines::LineWriter,
    ring::{History, Queue},
    screen::Screen,
    serial::Serial,
};
use crate::acpi::{Spcr, spcr::SerialPlace};

/// Octets of the message buffer.
const HISTORY_SIZE: usize = 64 * 1024;
/// Octets waiting for the devices.
const QUEUE_SIZE: usize = 16 * 1024;
/// Bits a second on the serial line, unless firmware says otherwise.
const BAUD: u32 = 115_200;
/// How often a writer tries to put its text into a full queue before it drops it, and how many spins lie between two tries at most.
const FULL_TRIES: u32 = 20_000;
const LONGEST_PAUSE: u32 = 2_000;
/// How often [`flush`] looks whether the queue is empty and its sender done.
const FLUSH_TRIES: u32 = 1_000_000;
/// How often the sender looks at a serial line that takes nothing before it gives the piece up.
const STALL_TRIES: u32 = 2_000_000;

static QUEUE: SpinLock<Queue<QUEUE_SIZE>> = SpinLock::new(Queue::new());
static HISTORY: SpinLock<History<HISTORY_SIZE>> = SpinLock::new(History::new());
static SERIAL: SpinLock<Serial> = SpinLock::new(Serial::new());
static SCREEN: SpinLock<Option<Screen>> = SpinLock::new(None);
/// What the loader left, until [`show_screen`].
static FRAMEBUFFER: SpinLock<Option<FrameBuffer>> = SpinLock::new(None);
/// The serial line is where firmware's tables say.
static IS_FIRMWARES: AtomicBool = AtomicBool::new(false);
/// Text stays in the queue.
static HELD: AtomicBool = AtomicBool::new(false);
static SENDING: AtomicBool = AtomicBool::new(false);
/// What the sender has taken from the queue and not yet sent.
static FLIGHT: Flight = Flight::new();
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Prepares COM1 and the `log` backend; the first thing the kernel does. A machine without a serial port is fine.
pub(crate) fn init_serial() {
    SERIAL.lock().open(SerialPlace::COM1, BAUD);
    logger::init();
}

/// Moves to the serial port that is firmware's console, unless it is COM1, where the kernel is already. What has been said so far is
/// said there again, if it has not been held back anyway. Thread context at boot.
pub(crate) fn use_serial(spcr: &Spcr) {
    let baud = spcr.baud.unwrap_or(BAUD);
    if spcr.place == SerialPlace::COM1 && baud == BAUD {
        return IS_FIRMWARES.store(true, Ordering::Relaxed);
    }
    let is_there = SERIAL.lock().open(spcr.place, baud);
    IS_FIRMWARES.store(is_there, Ordering::Relaxed);
    // ORDERING: one CPU during boot.
    if is_there && !HELD.load(Ordering::Relaxed) {
        read_messages(|piece| SERIAL.lock().send_all(piece, STALL_TRIES));
    }
    let what =
        if is_there { "is the console, as firmware's SPCR says" } else { "named by firmware's SPCR, does not answer" };
    log::info!("console: serial port at {:x?}, {baud} bit/s: {what}", spcr.place);
}

/// Keeps the framebuffer for [`show_screen`]: to clear it and to draw the boot's messages takes longer than all the rest of the boot,
/// and nobody needs it to forward packets.
pub(crate) fn keep_framebuffer(framebuffer: FrameBuffer) {
    *FRAMEBUFFER.lock() = Some(framebuffer);
}

/// Returns whether the serial line is the port that firmware's tables describe.
#[must_use]
pub fn is_firmwares() -> bool {
    // ORDERING: relaxed; set once, on one CPU, during boot.
    IS_FIRMWARES.load(Ordering::Relaxed)
}

/// Adds the screen if the machine has one: clears it and shows the messages so far. A second call does nothing.
///
/// # Context
/// Thread, or a stopped world's report. What others log at the same moment may be shown twice.
pub fn show_screen() {
    let Some(framebuffer) = FRAMEBUFFER.lock().take() else { return };
    if let Some(screen) = drawn(framebuffer) {
        *SCREEN.lock() = Some(screen);
    } else {
        log::warn!("console: the framebuffer's pixel format is not supported; serial only");
    }
}

/// Makes a screen of the framebuffer and writes all messages on it, holding no lock meanwhile.
fn drawn(framebuffer: FrameBuffer) -> Option<Screen> {
    let mut screen = Screen::new(framebuffer)?;
    read_messages(|piece| screen.write(piece));
    Some(screen)
}

/// Writes text that is not kept: answers of the command line, its prompt and echo.
///
/// # Context
/// Thread. A line is whole; a piece without a newline (a prompt) is sent as it is.
pub fn print(arguments: fmt::Arguments<'_>) {
    write_lines(arguments, &mut |piece| send(piece));
}

/// Writes text that is also kept in the message buffer.
///
/// # Context
/// Any but NMI.
pub fn message(arguments: fmt::Arguments<'_>) {
    write_lines(arguments, &mut |piece| {
        HISTORY.lock().push(piece);
        send(piece);
    });
}

fn write_lines(arguments: fmt::Arguments<'_>, sink: &mut dyn FnMut(&[u8])) {
    let mut writer = LineWriter::new(sink);
    // The writer accepts everything; an error could only come from a `Display` that gives up, and the rest is lost then.
    let _ = writer.write_fmt(arguments);
    writer.finish();
}

/// A [`fmt::Write`] onto [`print`], line by line.
#[derive(Debug, Default)]
pub struct Printer;

impl Write for Printer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        print(format_args!("{text}"));
        Ok(())
    }
}

/// Keeps text in the queue from now on, until [`release`]: a line takes longer to send than a step of the boot to do. What does not
/// fit is sent all the same, and a crash sends everything.
pub fn hold() {
    // ORDERING: one CPU during boot.
    HELD.store(true, Ordering::Relaxed);
}

/// Sends what has been held, and everything at once from now on.
///
/// # Context
/// Thread; whatever has a higher priority goes on meanwhile.
pub fn release() {
    // ORDERING: relaxed; who still sees it set has queued its text before, or leaves it to the next who sends.
    HELD.store(false, Ordering::Relaxed);
    drain();
}

/// Sends what has been held up to now; what comes is held on. Thread context at boot.
pub(crate) fn send_held() {
    drain();
}

/// Queues one piece and sends the queue unless somebody is doing that already.
fn send(piece: &[u8]) {
    // ORDERING: relaxed, see `release`.
    if HELD.load(Ordering::Relaxed) && QUEUE.lock().push(piece) {
        return;
    }
    let mut pause = 1;
    for _ in 0..FULL_TRIES {
        let queued = QUEUE.lock().push(piece);
        drain();
        if queued {
            return;
        }
        // Longer each time: the sender needs the queue's lock for every piece it takes out.
        (0..pause).for_each(|_| core::hint::spin_loop());
        pause = (2 * pause).min(LONGEST_PAUSE);
    }
    // ORDERING: a statistic.
    DROPPED.fetch_add(piece.len() as u64, Ordering::Relaxed);
}

/// Sends the queue to the devices, if nobody else is sending.
fn drain() {
    loop {
        // ORDERING: acquire; pairs with the release below: the devices' state of the previous sender is visible.
        if SENDING.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_err() {
            return;
        }
        loop {
            let mut chunk = [0; flight::SIZE];
            let count = FLIGHT.take_from(&mut QUEUE.lock(), &mut chunk);
            if count == 0 {
                break;
            }
            emit(chunk.get(..count).unwrap_or_default());
        }
        // ORDERING: release; pairs with the acquire above. The fence orders this store before the look at the queue: a writer
        // that queued after our last pop and found us sending is seen here (its own order comes from the queue's lock).
        SENDING.store(false, Ordering::Release);
        fence(Ordering::SeqCst);
        if QUEUE.lock().is_empty() {
            return;
        }
    }
}

/// Writes what is in flight to both devices; the serial line is waited for outside its lock, for a bounded time.
fn emit(text: &[u8]) {
    if let Some(screen) = SCREEN.lock().as_mut() {
        screen.write(text);
    }
    let mut idle = 0;
    while idle < STALL_TRIES {
        emergency::wait_while_hushed();
        let mut serial = SERIAL.lock();
        // Under the lock, so that whoever finds the line unlocked knows exactly what has been sent.
        let left = text.get(FLIGHT.sent()..).unwrap_or_default();
        if left.is_empty() {
            return;
        }
        let sent = serial.send(left);
        FLIGHT.note_sent(sent);
        drop(serial);
        idle = if sent > 0 { 0 } else { idle + 1 };
        core::hint::spin_loop();
    }
    // ORDERING: a statistic.
    DROPPED.fetch_add(FLIGHT.abandon() as u64, Ordering::Relaxed);
}

/// Calls `reader` with the message buffer, oldest first, in pieces that each hold whole lines or less; copies, so that no lock is
/// held while `reader` prints. Text overwritten meanwhile is skipped.
///
/// # Context
/// Thread.
pub fn read_messages(mut reader: impl FnMut(&[u8])) {
    let mut position = HISTORY.lock().start();
    let mut piece = [0; 256];
    loop {
        let (next, count) = HISTORY.lock().copy_from(position, &mut piece);
        if count == 0 {
            return;
        }
        position = next;
        reader(piece.get(..count).unwrap_or_default());
    }
}

/// Octets of output that no device took.
#[must_use]
pub fn dropped_octets() -> u64 {
    // ORDERING: a statistic.
    DROPPED.load(Ordering::Relaxed)
}

/// Waits until everything queued has been sent, for a bounded time; answers whether it was.
///
/// # Context
/// Thread: before power is cut.
pub fn flush() -> bool {
    for _ in 0..FLUSH_TRIES {
        drain();
        // ORDERING: acquire, pairs with the sender's release: when it is clear, the sender's octets are with the device.
        if !SENDING.load(Ordering::Acquire) && QUEUE.lock().is_empty() {
            return (0..STALL_TRIES).any(|_| SERIAL.lock().is_drained());
        }
        core::hint::spin_loop();
    }
    false
}

/// As [`flush`], where nothing else runs any more: a thread that was interrupted while it sent does not come back, so what it had in
/// flight is finished here, and what is queued behind it.
///
/// # Context
/// The last thread of a machine that ends.
pub fn flush_alone() -> bool {
    if flush() {
        return true;
    }
    let mut piece = [0; flight::SIZE];
    let mut count = FLIGHT.take_rest(&mut piece);
    // No more rounds than the queue can hold pieces.
    for _ in 0..QUEUE_SIZE / flight::SIZE + 2 {
        let text = piece.get(..count).unwrap_or_default();
        if let Some(screen) = SCREEN.lock_bounded(STALL_TRIES).as_deref_mut().and_then(Option::as_mut) {
            screen.write(text);
        }
        let Some(mut serial) = SERIAL.lock_bounded(STALL_TRIES) else { return false };
        serial.send_all(text, STALL_TRIES);
        drop(serial);
        count = QUEUE.lock_bounded(STALL_TRIES).map_or(0, |mut queue| queue.pop(&mut piece));
        if count == 0 {
            break;
        }
    }
    (0..STALL_TRIES).any(|_| SERIAL.lock_bounded(STALL_TRIES).is_some_and(|mut serial| serial.is_drained()))
}

/// Calls `visit` with the name of each lock in here and whether somebody holds it. Any context; never waits.
pub(crate) fn locks(visit: &mut dyn FnMut(&'static str, bool)) {
    visit("console queue", QUEUE.is_held());
    visit("message buffer", HISTORY.is_held());
    visit("console input", input::is_held());
    visit("serial line", SERIAL.is_held());
    visit("screen", SCREEN.is_held());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_stopped_sender_had_in_flight_and_what_is_queued_is_sent_at_the_end() {
        // As a thread leaves it that was interrupted while it sent, on the only CPU.
        SENDING.store(true, Ordering::Relaxed);
        let mut piece = [0; flight::SIZE];
        assert!(QUEUE.lock().push(b"shutdown: clean\n"));
        FLIGHT.take_from(&mut QUEUE.lock(), &mut piece);
        FLIGHT.note_sent(4);
        assert!(QUEUE.lock().push(&[b'.'; 300]) && QUEUE.lock().push(b"Powering off...\n"));
        assert!(!flush(), "its sender does not come back");
        assert!(flush_alone());
        assert!(QUEUE.lock().is_empty());
        assert_eq!(FLIGHT.take_rest(&mut piece), 0);
        SENDING.store(false, Ordering::Relaxed);
    }
}
