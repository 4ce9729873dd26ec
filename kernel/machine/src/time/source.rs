//! The clocks of a PC, read raw: time stamp counter, HPET, PM timer, PIT channel 2. Context: any.
//!
//! Sources: SDM volume 3, 18.17 (TSC); IA-PC HPET 1.0a, 2.3; ACPI 6.5, 4.8.3.3 (PM timer); 8254 datasheet.

use super::convert::{PIT_HZ, elapsed};
use crate::{acpi::fadt, map, mmio::MmioWindow, ports::PortIo};

/// Reads the time stamp counter. Not ordered with earlier loads; good enough for deadlines and log lines.
#[inline]
#[must_use]
pub fn tsc() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: reads a counter.
    unsafe { core::arch::asm!("rdtsc", out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags)) };
    (u64::from(high) << 32) | u64::from(low)
}

/// Reads the time stamp counter after every earlier load is done: for comparing processors.
#[inline]
#[must_use]
pub fn tsc_ordered() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: a fence and a counter; a compiler barrier too, since it may touch memory as far as the compiler knows.
    unsafe { core::arch::asm!("lfence", "rdtsc", out("eax") low, out("edx") high, options(nostack, preserves_flags)) };
    (u64::from(high) << 32) | u64::from(low)
}

/// The HPET's main counter.
#[derive(Debug)]
pub struct Hpet {
    window: MmioWindow,
    hz: u64,
    wide: bool,
}

const HPET_CAPABILITIES: usize = 0x000;
const HPET_CONFIGURATION: usize = 0x010;
const HPET_COUNTER: usize = 0x0F0;
/// The period may be at most 100 ns, in femtoseconds.
const LONGEST_PERIOD: u64 = 100_000_000;

impl Hpet {
    /// Maps the registers and starts the counter; `None` if nothing plausible answers.
    #[must_use]
    pub fn start(address: u64) -> Option<Self> {
        let window = map::registers(address, 0x400)?;
        let capabilities = window.read64(HPET_CAPABILITIES);
        let period = capabilities >> 32;
        if period == 0 || period > LONGEST_PERIOD {
            return None;
        }
        let (hz, wide) = (1_000_000_000_000_000 / period, capabilities & (1 << 13) != 0);
        let hpet = Self { window, hz, wide };
        let configuration = hpet.window.read64(HPET_CONFIGURATION);
        hpet.window.write64(HPET_CONFIGURATION, configuration | 1);
        let before = hpet.count();
        let moves = (0..100_000).any(|_| hpet.count() != before);
        moves.then_some(hpet)
    }

    /// The low 32 bits, which exist in every HPET.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.window.read32(HPET_COUNTER)
    }

    /// The whole counter, if it has 64 bits.
    #[must_use]
    pub fn count64(&self) -> Option<u64> {
        self.wide.then(|| self.window.read64(HPET_COUNTER))
    }

    /// Frequency in Hz.
    #[must_use]
    pub const fn hz(&self) -> u64 {
        self.hz
    }
}

/// The ACPI PM timer at an I/O port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PmTimer {
    port: u16,
    bits: u32,
}

impl PmTimer {
    /// From the FADT; `None` without one, or if it does not count.
    #[must_use]
    pub fn find(fadt: &fadt::Fadt, ports: &impl PortIo) -> Option<Self> {
        let register = fadt.pm_timer.filter(|register| register.space == fadt::Space::Port)?;
        let port = u16::try_from(register.address).ok()?;
        let timer = Self { port, bits: if fadt.pm_timer_32_bit { 32 } else { 24 } };
        let before = timer.count(ports);
        (0..10_000).any(|_| timer.count(ports) != before).then_some(timer)
    }

    /// The counter, 24 or 32 bits.
    #[must_use]
    pub fn count(&self, ports: &impl PortIo) -> u32 {
        ports.read32(self.port)
    }

    /// Ticks from one reading to another.
    #[must_use]
    pub const fn elapsed(&self, from: u32, to: u32) -> u32 {
        elapsed(from, to, self.bits)
    }
}

/// Runs PIT channel 2 down once from `ticks` and calls `poll` until it is done; returns false if it never is (a gated PIT).
/// The speaker stays off.
pub fn pit_countdown(ports: &impl PortIo, ticks: u16, mut poll: impl FnMut()) -> bool {
    const GATE: u16 = 0x61;
    let gate = ports.read8(GATE) & !0b11;
    ports.write8(GATE, gate);
    ports.write8(0x43, 0b1011_0000);
    let [low, high] = ticks.to_le_bytes();
    ports.write8(0x42, low);
    ports.write8(0x42, high);
    ports.write8(GATE, gate | 1);
    // A port read takes about a microsecond on hardware; ten times the time asked for is a dead PIT.
    let patience = u64::from(ticks) * 1_000_000 / PIT_HZ * 10 + 10_000;
    let done = (0..patience).any(|_| {
        poll();
        ports.read8(GATE) & (1 << 5) != 0
    });
    ports.write8(GATE, gate);
    done
}
