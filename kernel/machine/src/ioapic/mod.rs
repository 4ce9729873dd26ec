//! I/O APICs: global system interrupt → pin, redirection entries, mask, unmask and read back.
//!
//! [`IoApic`] drives one chip over [`Registers`]; [`IoApicSet`] finds the chip of a GSI. The two registers of a chip (select,
//! data) are a pair, so each chip is behind a spin lock that also disables interrupts. Context: thread or interrupt.
//! Source: 82093AA datasheet, 3.1 and 3.2.

pub mod entry;

use alloc::vec::Vec;
use core::fmt;

pub use entry::{Entry, Polarity, Signal, Trigger};
use ksync::SpinLock;

/// The chip's memory window: offset 0x00 selects, 0x10 reads and writes what is selected.
pub trait Registers: Send {
    /// Reads 32 bits at a byte offset.
    fn read32(&self, offset: usize) -> u32;
    /// Writes 32 bits at a byte offset.
    fn write32(&self, offset: usize, value: u32);
}

const SELECT: usize = 0x00;
const DATA: usize = 0x10;
const VERSION: u32 = 0x01;
const TABLE: u32 = 0x10;

/// No chip serves the interrupt, or it cannot be routed there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IoApicError {
    /// No I/O APIC has this global system interrupt.
    NoSuchGsi {
        /// The interrupt asked for.
        gsi: u32,
    },
    /// Without interrupt remapping an entry holds eight bits of APIC id (and 255 means everybody).
    Unaddressable {
        /// The id asked for.
        apic_id: u32,
    },
    /// The window reads as all ones: nothing answers at the address the firmware gave.
    Absent {
        /// First interrupt of the chip.
        gsi_base: u32,
    },
    /// The entry did not read back as written.
    DidNotStick {
        /// The interrupt.
        gsi: u32,
    },
}

/// One chip.
#[derive(Debug)]
pub struct IoApic<R> {
    registers: R,
    gsi_base: u32,
    pins: u32,
}

impl<R: Registers> IoApic<R> {
    /// Reads the number of pins and masks them all.
    pub fn new(registers: R, gsi_base: u32) -> Result<Self, IoApicError> {
        let mut chip = Self { registers, gsi_base, pins: 0 };
        let version = chip.read(VERSION);
        if version == u32::MAX {
            return Err(IoApicError::Absent { gsi_base });
        }
        chip.pins = ((version >> 16) & 0xFF) + 1;
        for pin in 0..chip.pins {
            chip.set_masked(pin, true);
        }
        Ok(chip)
    }

    fn read(&self, register: u32) -> u32 {
        self.registers.write32(SELECT, register);
        self.registers.read32(DATA)
    }

    fn write(&self, register: u32, value: u32) {
        self.registers.write32(SELECT, register);
        self.registers.write32(DATA, value);
    }

    fn low(&self, pin: u32) -> u32 {
        self.read(TABLE + 2 * pin)
    }

    fn set_masked(&self, pin: u32, masked: bool) {
        let low = self.low(pin);
        let wanted = if masked { low | entry::MASKED } else { low & !entry::MASKED };
        self.write(TABLE + 2 * pin, wanted);
    }

    fn write_entry(&self, pin: u32, entry: Entry) {
        // Masked first: between the two writes the pin would deliver to a mixture of old and new.
        self.write(TABLE + 2 * pin, entry::MASKED);
        self.write(TABLE + 2 * pin + 1, entry.high());
        self.write(TABLE + 2 * pin, entry.low());
    }

    fn read_entry(&self, pin: u32) -> Entry {
        Entry::decode(self.low(pin), self.read(TABLE + 2 * pin + 1))
    }
}

/// Where a chip's interrupts lie; for `show` commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// First global system interrupt.
    pub gsi_base: u32,
    /// Number of pins.
    pub pins: u32,
}

struct Chip<R> {
    span: Span,
    chip: SpinLock<IoApic<R>>,
}

/// All chips of the machine.
pub struct IoApicSet<R> {
    chips: Vec<Chip<R>>,
}

impl<R> fmt::Debug for IoApicSet<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.spans()).finish()
    }
}

impl<R> IoApicSet<R> {
    /// The spans, in the firmware's order.
    pub fn spans(&self) -> impl Iterator<Item = Span> {
        self.chips.iter().map(|chip| chip.span)
    }
}

impl<R: Registers> IoApicSet<R> {
    /// Puts the chips together.
    #[must_use]
    pub fn new(chips: impl IntoIterator<Item = IoApic<R>>) -> Self {
        let place = |chip: IoApic<R>| Chip {
            span: Span { gsi_base: chip.gsi_base, pins: chip.pins },
            chip: SpinLock::new(chip),
        };
        Self { chips: chips.into_iter().map(place).collect() }
    }

    fn with<T>(&self, gsi: u32, act: impl FnOnce(&IoApic<R>, u32) -> T) -> Result<T, IoApicError> {
        for place in &self.chips {
            if let Some(pin) = gsi.checked_sub(place.span.gsi_base).filter(|&pin| pin < place.span.pins) {
                return Ok(act(&place.chip.lock(), pin));
            }
        }
        Err(IoApicError::NoSuchGsi { gsi })
    }

    /// Routes an interrupt and leaves it masked; checks that the entry reads back.
    pub fn route(&self, gsi: u32, vector: u8, apic_id: u32, signal: Signal) -> Result<(), IoApicError> {
        let id = u8::try_from(apic_id).ok().filter(|&id| id != 0xFF).ok_or(IoApicError::Unaddressable { apic_id })?;
        let entry = Entry { vector, apic_id: id, signal, masked: true };
        let stuck = self.with(gsi, |chip, pin| {
            chip.write_entry(pin, entry);
            chip.read_entry(pin) == entry
        })?;
        if stuck { Ok(()) } else { Err(IoApicError::DidNotStick { gsi }) }
    }

    /// Stops delivery; on return the chip has seen the write (it was read back).
    pub fn mask(&self, gsi: u32) -> Result<(), IoApicError> {
        let masked = self.with(gsi, |chip, pin| {
            chip.set_masked(pin, true);
            chip.low(pin) & entry::MASKED != 0
        })?;
        if masked { Ok(()) } else { Err(IoApicError::DidNotStick { gsi }) }
    }

    /// Allows delivery; a level line that is asserted fires at once.
    pub fn unmask(&self, gsi: u32) -> Result<(), IoApicError> {
        self.with(gsi, |chip, pin| chip.set_masked(pin, false))
    }

    /// Reads the mask bit back.
    pub fn is_masked(&self, gsi: u32) -> Result<bool, IoApicError> {
        self.with(gsi, |chip, pin| chip.low(pin) & entry::MASKED != 0)
    }

    /// True while a level interrupt is delivered and not yet acknowledged at the local APIC. Moving a route to another
    /// processor before this clears would strand it.
    pub fn in_flight(&self, gsi: u32) -> Result<bool, IoApicError> {
        self.with(gsi, |chip, pin| chip.low(pin) & entry::REMOTE_IRR != 0)
    }

    /// The route as the chip has it.
    pub fn entry(&self, gsi: u32) -> Result<Entry, IoApicError> {
        self.with(gsi, IoApic::read_entry)
    }

    /// Masks every pin of every chip; the last thing before the machine is left.
    pub fn mask_all(&self) {
        for place in &self.chips {
            let chip = place.chip.lock();
            for pin in 0..chip.pins {
                chip.set_masked(pin, true);
            }
        }
    }
}

#[cfg(test)]
mod tests;
