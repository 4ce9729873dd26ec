//! The TCO timer ("total cost of ownership") of Intel's chipsets from ICH6 to the 9 series and C610, as QEMU's q35 has it.
//!
//! A countdown of 10 bits in units of 0.6 s. Run out once, it notes that and begins again; run out twice in a row, it resets
//! the machine, unless NO_REBOOT is set: by firmware, which can be undone, or by a strap of the board, which cannot. Firmware that has
//! the first end raise an SMI (SMI_EN.TCO_EN) keeps it: what it does then is its own affair, and may be a reset.
//!
//! Later chipsets (C620 on) have the timer behind another function and NO_REBOOT behind a side band; they are not driven.
//!
//! Source: Intel I/O Controller Hub 9 (ICH9) Family datasheet (316972), chapter 10 (chipset configuration registers: GCS), 13.1 (LPC
//! bridge: PMBASE, ACPI_CNTL, RCBA), 13.9 (TCO); registers by its names.

use core::time::Duration;

use crate::{Error, Place, RegisterIo, Watchdog};

/// Configuration register of the chipset's LPC bridge: where the power management ports are.
pub const PMBASE: u16 = 0x40;
/// Configuration register: whether those ports answer.
pub const ACPI_CNTL: u16 = 0x44;
/// Configuration register: where the chipset's own memory registers are.
pub const RCBA: u16 = 0xf0;
/// Octets of the timer's ports.
pub const PORTS: u16 = 0x20;
/// Octets of the memory register.
pub const WINDOW: usize = 4;

/// ACPI_CNTL: the ports answer.
const ACPI_ENABLE: u32 = 1 << 7;
/// RCBA: the memory answers.
const RCBA_ENABLE: u32 = 1 << 0;

/// General control and status \[GCS\], the only memory register.
const GCS: Place = Place::Memory32(0);
/// GCS: the timer does not reset the machine.
const NO_REBOOT: u32 = 1 << 5;

/// Any write reloads the timer \[TCO_RLD\].
const RELOAD: Place = Place::Port16(0x00);
/// What happened \[TCO1_STS\].
const STATUS1: Place = Place::Port16(0x04);
/// STATUS1: the timer has run out once.
const TIMEOUT: u32 = 1 << 3;
/// What happened \[TCO2_STS\]; kept over a reset.
const STATUS2: Place = Place::Port16(0x06);
/// STATUS2: the timer has run out twice.
const SECOND_TIMEOUT: u32 = 1 << 1;
/// STATUS2: and the processor did not come to its first instruction afterwards.
const BOOT_FAILED: u32 = 1 << 2;
/// Control \[TCO1_CNT\].
const CONTROL: Place = Place::Port16(0x08);
/// Control: the timer stands still.
const HALT: u32 = 1 << 11;
/// Control: set, so that a one written to the bit that raises an NMI at once stays out of what is written back.
const NMI_NOW: u32 = 1 << 8;
/// Preload value \[TCO_TMR\].
const TIMER: Place = Place::Port16(0x12);
/// The bits of it that count.
const TIMER_BITS: u32 = 0x3ff;
/// Values below are not allowed.
const SHORTEST: u32 = 4;

/// What the timer counts in.
const UNIT: Duration = Duration::from_millis(600);

/// Returns whether the LPC bridge with these ids has the timer where this driver looks for it.
#[must_use]
pub fn is_bridge(vendor: u16, device: u16) -> bool {
    vendor == 0x8086
        && matches!(device,
            // ICH6 to ICH8.
            0x2640..=0x2642 | 0x2670 | 0x27b0 | 0x27b8 | 0x27b9 | 0x27bc | 0x27bd | 0x2810..=0x2815
            // ICH9 (q35 is 2918) and ICH10.
            | 0x2912 | 0x2914 | 0x2916..=0x2919 | 0x3a14 | 0x3a16 | 0x3a18 | 0x3a1a
            // 5 series and 3400, 6 series and C200, C600, 7, 8 series and C220, 9 series, C610.
            | 0x3b00..=0x3b16 | 0x1c41..=0x1c5f | 0x1d40 | 0x1d41 | 0x1e40..=0x1e5f | 0x8c40..=0x8c5f | 0x8cc1..=0x8cc6
            | 0x8d40..=0x8d5f)
}

/// Where the timer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// First of its [`PORTS`].
    pub port: u16,
    /// Physical address of its memory register.
    pub memory: u64,
}

impl Location {
    /// Decodes what [`PMBASE`], [`ACPI_CNTL`] and [`RCBA`] hold.
    ///
    /// # Errors
    /// [`Error::Unassigned`] where firmware has not switched either on, [`Error::Gone`].
    pub fn decode(pmbase: u32, acpi_cntl: u32, rcba: u32) -> Result<Self, Error> {
        if [pmbase, acpi_cntl, rcba].contains(&u32::MAX) {
            return Err(Error::Gone);
        }
        let base = u16::try_from(pmbase & 0xff80).unwrap_or(0);
        if base == 0 || acpi_cntl & ACPI_ENABLE == 0 || rcba & RCBA_ENABLE == 0 {
            return Err(Error::Unassigned);
        }
        // Both offsets lie within what the bases address: the low bits of the bases are clear.
        Ok(Self { port: base | 0x60, memory: u64::from(rcba & 0xffff_c000) + 0x3410 })
    }
}

/// The timer.
#[derive(Debug)]
pub struct Tco<R> {
    regs: R,
}

impl<R: RegisterIo> Tco<R> {
    /// Takes over the timer whose registers these are. Changes nothing yet.
    ///
    /// # Errors
    /// [`Error::Gone`] if nothing answers.
    pub fn attach(regs: R) -> Result<Self, Error> {
        let ones = u32::from(u16::MAX);
        if regs.read(GCS) == u32::MAX || (regs.read(CONTROL) == ones && regs.read(TIMER) == ones) {
            return Err(Error::Gone);
        }
        Ok(Self { regs })
    }

    /// Stops the timer or lets it run; answers whether it does.
    fn set_halted(&self, halted: bool) -> bool {
        let others = self.regs.read(CONTROL) & !(HALT | NMI_NOW);
        self.regs.write(CONTROL, if halted { others | HALT } else { others });
        (self.regs.read(CONTROL) & HALT != 0) == halted
    }
}

impl<R: RegisterIo> Watchdog for Tco<R> {
    fn name(&self) -> &'static str {
        "TCO"
    }

    fn take_fired(&self) -> bool {
        let status = self.regs.read(STATUS2);
        if status == u32::from(u16::MAX) || status & SECOND_TIMEOUT == 0 {
            return false;
        }
        // Ones clear; one after the other, as the second may only be cleared when the first is. QEMU stores what is written,
        // so the order leaves the first clear there, too.
        self.regs.write(STATUS2, SECOND_TIMEOUT);
        self.regs.write(STATUS2, BOOT_FAILED);
        true
    }

    fn start(&self, timeout: Duration) -> Result<Duration, Error> {
        let gcs = self.regs.read(GCS);
        self.regs.write(GCS, gcs & !NO_REBOOT);
        if self.regs.read(GCS) & NO_REBOOT != 0 {
            return Err(Error::NoReboot);
        }
        let units = (timeout / 2).as_nanos().div_ceil(UNIT.as_nanos());
        let units = u32::try_from(units).unwrap_or(TIMER_BITS).clamp(SHORTEST, TIMER_BITS);
        if !self.set_halted(true) {
            return Err(Error::Locked);
        }
        self.regs.write(STATUS1, TIMEOUT);
        self.regs.write(TIMER, self.regs.read(TIMER) & !TIMER_BITS | units);
        let taken = self.regs.read(TIMER) & TIMER_BITS == units;
        self.feed();
        if taken && self.set_halted(false) { Ok(UNIT * units * 2) } else { Err(Error::NotAccepted) }
    }

    fn feed(&self) {
        self.regs.write(RELOAD, 1);
    }

    fn stop(&self) -> Result<(), Error> {
        if self.set_halted(true) { Ok(()) } else { Err(Error::NotAccepted) }
    }
}
