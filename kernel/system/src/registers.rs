//! An e1000's registers through a mapped BAR, and the driver's clock.
//!
//! [`Bar`] implements the driver's `RegisterIo` over `machine`'s bounds-checked window; [`Clock`] its `Delay`. Context: any.

use core::time::Duration;

use e1000::{Delay, Reg, RegisterIo};
use machine::{mmio::MmioWindow, time};

/// The register window of one card.
#[derive(Debug)]
pub(crate) struct Bar(pub(crate) MmioWindow);

impl RegisterIo for Bar {
    #[inline]
    fn read32(&self, reg: Reg) -> u32 {
        self.0.read32(reg.offset() as usize)
    }

    #[inline]
    fn write32(&self, reg: Reg, value: u32) {
        self.0.write32(reg.offset() as usize, value);
    }
}

/// Busy waiting by the machine's clock.
#[derive(Debug)]
pub(crate) struct Clock;

impl Delay for Clock {
    fn micros(&self, micros: u32) {
        time::delay(Duration::from_micros(u64::from(micros)));
    }
}
