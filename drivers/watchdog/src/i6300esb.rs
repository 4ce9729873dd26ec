//! The watchdog of Intel's 6300ESB I/O controller hub, which QEMU offers as `-device i6300esb`.
//!
//! Two timers of 20 bits that count in units of 2^15 PCI clocks, nearly a millisecond: the second starts when the first has run
//! out, and resets the machine when it has run out too. Every write to the timers or to the reload register must follow two writes of
//! a password to the reload register; any other write in between forgets them.
//!
//! Source: Intel 6300ESB I/O Controller Hub datasheet (300641), watchdog timer (device 29, function 4); registers by its names.

use core::time::Duration;

use crate::{Error, Place, RegisterIo, Watchdog};

/// Vendor and device of the PCI function.
pub const PCI_ID: (u16, u16) = (0x8086, 0x25ab);
/// The BAR that holds the timers.
pub const BAR: u8 = 0;
/// Octets of its registers.
pub const WINDOW: usize = 0x10;

/// Preload value of the first timer, 20 bits \[PRELOAD1\].
const TIMER1: Place = Place::Memory32(0x00);
/// Preload value of the second timer, 20 bits \[PRELOAD2\].
const TIMER2: Place = Place::Memory32(0x04);
/// The reload register \[RELOAD\].
const RELOAD: Place = Place::Memory16(0x0c);
/// Reload: count from the beginning.
const RELOAD_TIMERS: u32 = 1 << 8;
/// Reload: the second timer has run out; kept over the reset, a one clears it.
const TIMEOUT: u32 = 1 << 9;
/// What must be written, in this order, before each write that is to be taken.
const PASSWORD: [u32; 2] = [0x80, 0x86];

/// The configuration register \[WDTCONF\].
const CONFIG: Place = Place::Config16(0x60);
/// Configuration: the end of the first timer interrupts nobody (bits 0 and 1), the clock is divided by 2^15 (bit 2 clear), the
/// end of the second resets the machine (bit 5 clear).
const RESETS_ONLY: u32 = 0b11;
/// The lock register \[WDTLOCK\].
const LOCK: Place = Place::Config8(0x68);
/// Lock: nothing in this register can be changed any more.
const LOCKED: u32 = 1 << 0;
/// Lock: the timers count.
const ENABLE: u32 = 1 << 1;

/// What a timer counts in: 2^15 clocks of the PCI bus, which is never faster than 33.33 MHz here.
const UNIT: Duration = Duration::from_nanos(32_768 * 30);
/// The longest a timer counts.
const LONGEST: u32 = 0xf_ffff;

/// The watchdog.
#[derive(Debug)]
pub struct I6300Esb<R> {
    regs: R,
}

impl<R: RegisterIo> I6300Esb<R> {
    /// Takes over the device whose registers these are. Changes nothing yet.
    ///
    /// # Errors
    /// [`Error::Gone`] if nothing answers.
    pub fn attach(regs: R) -> Result<Self, Error> {
        if regs.read(CONFIG) == u32::from(u16::MAX) && regs.read(LOCK) == u32::from(u8::MAX) {
            return Err(Error::Gone);
        }
        Ok(Self { regs })
    }

    fn write_unlocked(&self, place: Place, value: u32) {
        PASSWORD.iter().for_each(|word| self.regs.write(RELOAD, *word));
        self.regs.write(place, value);
    }

    fn is_locked(&self) -> bool {
        self.regs.read(LOCK) & LOCKED != 0
    }

    fn is_enabled(&self) -> bool {
        self.regs.read(LOCK) & (ENABLE | 0x80) == ENABLE
    }
}

impl<R: RegisterIo> Watchdog for I6300Esb<R> {
    fn name(&self) -> &'static str {
        "i6300ESB"
    }

    fn take_fired(&self) -> bool {
        let reload = self.regs.read(RELOAD);
        let fired = reload != u32::from(u16::MAX) && reload & TIMEOUT != 0;
        if fired {
            self.write_unlocked(RELOAD, TIMEOUT | RELOAD_TIMERS);
        }
        fired
    }

    fn start(&self, timeout: Duration) -> Result<Duration, Error> {
        // Locked and running, it can still be given other times; locked and stopped, it is of no use.
        if self.is_locked() && !self.is_enabled() {
            return Err(Error::Locked);
        }
        let units = (timeout / 2).as_nanos().div_ceil(UNIT.as_nanos());
        let units = u32::try_from(units).unwrap_or(LONGEST).clamp(1, LONGEST);
        self.regs.write(CONFIG, RESETS_ONLY);
        self.write_unlocked(TIMER1, units);
        self.write_unlocked(TIMER2, units);
        // The old times are what counts until this.
        self.feed();
        if !self.is_locked() {
            self.regs.write(LOCK, ENABLE);
        }
        if self.is_enabled() { Ok(UNIT * units * 2) } else { Err(Error::NotAccepted) }
    }

    fn feed(&self) {
        self.write_unlocked(RELOAD, RELOAD_TIMERS);
    }

    fn stop(&self) -> Result<(), Error> {
        self.feed();
        if self.is_locked() {
            return Err(Error::Locked);
        }
        self.regs.write(LOCK, 0);
        if self.regs.read(LOCK) & ENABLE == 0 { Ok(()) } else { Err(Error::NotAccepted) }
    }
}
