//! The kernel's first steps: when the boot loader handed over, and whether this processor can run what follows.
//!
//! - [`begin`]: the first thing the kernel does. Everything after it may use the instructions that the compiler was told of.
//! - [`counter`]: the time stamp counter at the hand-over: the zero of the kernel's clock.
//! - [`mark`], [`Marks`]: when which step of the boot began, noted before there is a clock and told when there is one.
//!
//! Context: the boot CPU; for [`begin`] with interrupts off and no console.

use core::{
    fmt,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
};

use ksync::Once;

use crate::{
    ports::{CpuPorts, PortIo},
    time::{self, source::tsc},
};

/// CPUID leaf 1, ECX: POPCNT, which every server processor since 2009 has, and QEMU's plainest model has not.
const POPCNT: u32 = 1 << 23;

/// Said to whoever watches the serial line when the processor is too old.
const TOO_OLD: &[u8] =
    b"\r\nsluice: this processor lacks the instruction POPCNT (QEMU: -cpu qemu64,+popcnt); halted\r\n";

static COUNTER: AtomicU64 = AtomicU64::new(0);

/// The most marks that are kept.
const MARKS: usize = 32;
static MARKED: [Once<(&'static str, u64)>; MARKS] = [const { Once::new() }; MARKS];
static NEXT: AtomicUsize = AtomicUsize::new(0);

/// Notes the time of the hand-over and refuses a processor that lacks what the kernel is compiled for, on the serial line.
pub(crate) fn begin() {
    // ORDERING: one CPU during boot.
    COUNTER.store(tsc(), Ordering::Relaxed);
    if raw_cpuid::cpuid!(1).ecx & POPCNT == 0 {
        say(&CpuPorts, TOO_OLD);
        crate::cpu::halt_forever();
    }
}

/// The time stamp counter when the boot loader handed over; 0 before [`begin`].
pub(crate) fn counter() -> u64 {
    COUNTER.load(Ordering::Relaxed)
}

/// Notes that a step of the boot begins now. Any context; without effect once all places are taken.
pub fn mark(what: &'static str) {
    // ORDERING: only the place is taken here; what is in it is published by the `Once`.
    let place = NEXT.fetch_add(1, Ordering::Relaxed);
    if let Some(mark) = MARKED.get(place) {
        mark.call_once(|| (what, tsc()));
    }
}

/// Microseconds of the time stamp counter, if that is the clock.
fn micros(counts: u64) -> Option<u64> {
    time::tsc_hz().map(|hz| (u128::from(counts) * 1_000_000 / u128::from(hz)) as u64)
}

/// Returns how many microseconds the time stamp counter had run at the hand-over: the time that firmware and boot loader have
/// taken since the power came or the machine was created. `None` unless it is the clock. Any context.
#[must_use]
pub fn micros_before() -> Option<u64> {
    micros(counter())
}

/// All marks so far with the microseconds from the hand-over to each.
#[derive(Clone, Copy, Debug, Default)]
pub struct Marks;

impl fmt::Display for Marks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (what, at) in MARKED.iter().filter_map(Once::get) {
            let Some(micros) = micros(at.saturating_sub(counter())) else { return f.write_str("no counter") };
            write!(f, "{separator}{what} {micros}")?;
            separator = ", ";
        }
        Ok(())
    }
}

/// Shows a number where firmware shows its progress: port 0x80, which management controllers and debug cards display.
pub(crate) fn post_code(number: u32) {
    CpuPorts.write8(0x80, number as u8);
}

/// Returns whether the boot takes so long that somebody will want to see what it is at.
pub(crate) fn is_slow() -> bool {
    const SLOW: u64 = 1_000_000;
    micros(tsc().saturating_sub(counter())).is_some_and(|micros| micros > SLOW)
}

/// Writes `text` to COM1 with nothing but port accesses, 115200 bit/s, 8 data bits; gives up on a line that takes nothing.
fn say(ports: &impl PortIo, text: &[u8]) {
    const COM1: u16 = 0x3F8;
    const HOLDING_EMPTY: u8 = 1 << 5;
    const TRIES: u32 = 1_000_000;
    // Divisor latch open, divisor 1, latch closed with 8N1.
    for (register, value) in [(3, 0x80), (0, 1), (1, 0), (3, 0x03)] {
        ports.write8(COM1 + register, value);
    }
    for octet in text {
        let empty = (0..TRIES).any(|_| ports.read8(COM1 + 5) & HOLDING_EMPTY != 0);
        if !empty {
            return;
        }
        ports.write8(COM1, *octet);
    }
}
