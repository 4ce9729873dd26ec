//! The crash dump: everything about the stopped machine as lines of text with a checksum each (`crashdump`).
//!
//! On a panic, after the report, a dump is kept in the memory that survives a warm reset, and sent over the serial line unless
//! `debug.dump_on_panic` is 0; the debugger's `dump` does the same. What was kept can be sent again in parts, now ([`send_again`])
//! or after the restart ([`mod@previous`]).
//!
//! - [`mod@content`]: what is in a dump. [`mod@kept`]: reading it back out of memory, line by line.
//!
//! Context: the owner of the stopped world, unless a function says otherwise. Nothing waits without a bound: sending ends after
//! [`LONGEST`], and what fails to be shown costs its section and a line that says so.

mod content;
mod kept;
mod previous;

use core::{
    fmt::{self, Write},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use crashdump::Encoder;
use ksync::time::Instant;
use machine::{
    hooks,
    kdb::World,
    pstore::{self, Kind},
    time,
};

use crate::knobs::{self, Access, Knob};
pub(crate) use previous::{announce, send_previous, show_previous};

/// How long sending may take: 11 kB/s at 115200 bit/s, and a line that takes nothing must not keep the machine from its restart.
const LONGEST: Duration = Duration::from_secs(60);

/// Whether a panic's dump is sent.
static ON_PANIC: AtomicBool = AtomicBool::new(true);

/// `debug.dump_on_panic`.
pub(crate) const KNOBS: &[Knob] = &[Knob {
    name: "debug.dump_on_panic",
    description: "1 sends a crash dump over the serial line after a panic",
    // ORDERING: relaxed, here and below; a setting.
    get: || if ON_PANIC.load(Ordering::Relaxed) { "1" } else { "0" }.into(),
    access: Access::Setting(|value| {
        ON_PANIC.store(knobs::switch(value)?, Ordering::Relaxed);
        Ok(())
    }),
}];

/// Lets a panic leave a dump from now on.
pub(crate) fn install() {
    hooks::set_dump(on_panic);
}

/// What became of a dump.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    /// Lines of the whole dump; `None` if its end did not fit.
    total: Option<u32>,
    /// Lines sent.
    sent: u32,
    took: Duration,
    /// It is in memory for the next run.
    kept: bool,
}

impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sent, took) = (self.sent, self.took.as_millis());
        match self.total {
            Some(total) if self.kept => write!(f, "{sent} of {total} lines sent in {took} ms; kept for the next boot"),
            Some(total) => write!(f, "{sent} of {total} lines sent in {took} ms; not kept"),
            None => write!(f, "{sent} lines sent in {took} ms; the dump is cut"),
        }
    }
}

/// The panic's hook.
fn on_panic(world: &mut World<'_>) {
    let mut out = world.out();
    if !ON_PANIC.load(Ordering::Relaxed) {
        let kept = keep(world);
        let _ = match kept {
            Some(lines) => writeln!(out, "dump: {lines} lines kept for the next boot"),
            None => writeln!(out, "dump: not kept"),
        };
        return;
    }
    let _ = writeln!(out, "Dumping the machine over the serial line...");
    let sent = take(world);
    let _ = writeln!(out, "dump: {sent}");
}

/// Makes a dump, keeps it, and sends it.
pub(crate) fn take(world: &mut World<'_>) -> Sent {
    let start = time::now();
    let total = keep(world);
    let kept = total.is_some();
    // What could not be kept is made while it is sent.
    let (sent, total) = if kept { (send_kept(world, start, 0, u32::MAX), total) } else { make_and_send(world, start) };
    Sent { total, sent, took: since(start), kept }
}

/// Sends lines of the last dump again; returns how many, and how long it took.
pub(crate) fn send_again(world: &mut World<'_>, first: u32, last: u32) -> (u32, Duration) {
    let start = time::now();
    (send_kept(world, start, first, last), since(start))
}

fn since(start: Instant) -> Duration {
    time::now().saturating_duration_since(start)
}

/// Makes a dump in the memory that survives a reset; returns its number of lines, `None` if it is not there as a whole.
fn keep(world: &mut World<'_>) -> Option<u32> {
    pstore::range()?;
    let mut writer = pstore::writer(Kind::Dump);
    writer.restart();
    let room = writer.room();
    let mut encoder = Encoder::new(writer, number());
    content::write(world, room, &mut encoder);
    let lines = encoder.end().ok()?;
    pstore::writer(Kind::Dump).finish();
    Some(lines)
}

/// Makes a dump on the serial line itself, where nothing can be kept.
fn make_and_send(world: &mut World<'_>, start: Instant) -> (u32, Option<u32>) {
    let out = Bounded { out: world.serial(), start };
    let mut encoder = Encoder::new(out, number());
    content::write(world, usize::MAX, &mut encoder);
    let lines = encoder.lines();
    let total = encoder.end().ok();
    (total.unwrap_or(lines), total)
}

/// Sends lines of this run's dump as they are in memory; returns how many.
fn send_kept(world: &mut World<'_>, start: Instant, first: u32, last: u32) -> u32 {
    let mut out = Bounded { out: world.serial(), start };
    // Whatever stood at the end of the line: the dump begins with a line of its own.
    let _ = out.write_str("\n");
    let copy = |at: usize, octets: &mut [u8]| pstore::written(Kind::Dump, at, octets);
    kept::lines(copy, first, last, &mut |line| writeln!(out, "{line}"))
}

/// The number of the next dump: differs from that of any other dump that may be in the same log, as good as surely.
fn number() -> u16 {
    let nanos = time::now().as_nanos();
    let mixed = (nanos ^ u64::from(pstore::run().unwrap_or(0))).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> 48) as u16
}

/// A writer that fails when the time for sending is over.
struct Bounded<W> {
    out: W,
    start: Instant,
}

impl<W: Write> Write for Bounded<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if since(self.start) > LONGEST { Err(fmt::Error) } else { self.out.write_str(text) }
    }
}
