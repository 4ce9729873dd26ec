//! An e1000's registers through a mapped BAR, and the driver's clock.
//!
//! [`Bar`] implements the driver's `RegisterIo` over `machine`'s bounds-checked window; [`Clock`] its `Delay`. A
//! [fail point](crate::fail_points) makes a card's registers lie. Context: any.

use core::time::Duration;

use e1000::{
    Delay, Reg, RegisterIo,
    regs::{ALL_ONES, Ctrl, Rctl, Tctl},
};
use ksync::time::Instant;
use machine::{mmio::MmioWindow, time};

use crate::fail_points::{self, Lie};

/// The register window of one card.
#[derive(Debug)]
pub(crate) struct Bar {
    window: MmioWindow,
    /// The card's number: 0 for em0.
    card: u16,
}

impl Bar {
    pub(crate) const fn new(window: MmioWindow, card: u16) -> Self {
        Self { window, card }
    }

    fn read(&self, reg: Reg) -> u32 {
        self.window.read32(reg.offset() as usize)
    }

    fn write(&self, reg: Reg, value: u32) {
        self.window.write32(reg.offset() as usize, value);
    }

    /// Reads as a card that lies answers.
    #[cold]
    fn read_lie(&self, lie: Lie, reg: Reg) -> u32 {
        match (lie, reg) {
            (Lie::Gone, _) => ALL_ONES,
            (Lie::IgnoresStop, Reg::Ctrl) if fail_points::is_resetting(self.card) => self.read(reg) | Ctrl::RST.bits(),
            (Lie::IgnoresStop, _) => self.read(reg),
        }
    }

    /// Writes as a card that lies takes it: a reset, or switching the transmitter or the receiver off for good, has no
    /// effect. Closing reception, which leaves other bits of RCTL set, has one: that is not what stops DMA.
    #[cold]
    fn write_lie(&self, lie: Lie, reg: Reg, value: u32) {
        match (lie, reg) {
            (Lie::Gone, _) => {}
            (Lie::IgnoresStop, Reg::Ctrl) if value & Ctrl::RST.bits() != 0 => fail_points::ignore_reset(self.card),
            (Lie::IgnoresStop, Reg::Tctl) if value & Tctl::EN.bits() == 0 => {}
            (Lie::IgnoresStop, Reg::Rctl) if value == Rctl::empty().bits() => {}
            (Lie::IgnoresStop, _) => self.write(reg, value),
        }
    }
}

impl RegisterIo for Bar {
    #[inline]
    fn read32(&self, reg: Reg) -> u32 {
        match fail_points::lie(self.card) {
            None => self.read(reg),
            Some(lie) => self.read_lie(lie, reg),
        }
    }

    #[inline]
    fn write32(&self, reg: Reg, value: u32) {
        match fail_points::lie(self.card) {
            None => self.write(reg, value),
            Some(lie) => self.write_lie(lie, reg, value),
        }
    }
}

/// Busy waiting by the machine's clock.
#[derive(Debug)]
pub(crate) struct Clock;

impl Delay for Clock {
    fn micros(&self, micros: u32) {
        time::delay(Duration::from_micros(u64::from(micros)));
    }

    fn now(&self) -> Instant {
        time::now()
    }
}
