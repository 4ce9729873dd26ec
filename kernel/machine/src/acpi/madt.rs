//! The MADT: processors, I/O APICs, and how ISA interrupts differ from the identity. Pure; any context.
//!
//! APIC ids are not indexes: they may be sparse, above 255 (type 9), disabled, or merely able to come online later.
//! Source: ACPI 6.5, 5.2.12.

use alloc::vec::Vec;

use super::{
    AcpiError, Signature,
    bytes::{byte, half, long, word},
    tables::HEADER,
};
use crate::ioapic::{Polarity, Signal, Trigger};

/// A processor the firmware lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Processor {
    /// Its local APIC id.
    pub apic_id: u32,
    /// Ready to be started. False: only capable of being plugged in later.
    pub enabled: bool,
}

/// An I/O APIC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IoApicInfo {
    /// Physical address of its registers.
    pub address: u32,
    /// First global system interrupt.
    pub gsi_base: u32,
}

/// An ISA interrupt that is not wired one to one, or not edge/high.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Override {
    /// The ISA interrupt.
    pub irq: u8,
    /// Where it arrives.
    pub gsi: u32,
    /// How it signals.
    pub signal: Signal,
}

/// The interrupt controllers of the machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Madt {
    /// Local APIC address; 64 bits if the table overrides it.
    pub local_apic: u64,
    /// Two 8259 exist and must be masked.
    pub has_8259: bool,
    /// Processors, each id once, in the firmware's order.
    pub processors: Vec<Processor>,
    /// I/O APICs.
    pub io_apics: Vec<IoApicInfo>,
    /// ISA overrides.
    pub overrides: Vec<Override>,
    /// Entries that were too short for their type, and skipped.
    pub malformed: u32,
}

const ENABLED: u32 = 1 << 0;

impl Madt {
    /// Interprets the checked bytes of an "APIC" table.
    pub fn parse(table: &[u8]) -> Result<Self, AcpiError> {
        let broken = AcpiError::BadLength { signature: Signature(*b"APIC") };
        let mut madt = Self {
            local_apic: u64::from(word(table, HEADER).ok_or(broken)?),
            has_8259: word(table, HEADER + 4).ok_or(broken)? & 1 != 0,
            ..Self::default()
        };
        let mut rest = table.get(HEADER + 8..).ok_or(broken)?;
        // A length below 2 would never advance; what follows it cannot be trusted either.
        while let Some(length) = byte(rest, 1).map(usize::from).filter(|&length| length >= 2) {
            let Some((entry, tail)) = rest.split_at_checked(length) else { break };
            if madt.entry(entry).is_none() {
                madt.malformed += 1;
            }
            rest = tail;
        }
        if !rest.is_empty() {
            madt.malformed += 1;
        }
        Ok(madt)
    }

    fn entry(&mut self, entry: &[u8]) -> Option<()> {
        match byte(entry, 0)? {
            0 => self.processor(u32::from(byte(entry, 3)?), 0xFF, word(entry, 4)?),
            9 => self.processor(word(entry, 4)?, u32::MAX, word(entry, 8)?),
            1 => self.io_apics.push(IoApicInfo { address: word(entry, 4)?, gsi_base: word(entry, 8)? }),
            2 => {
                let (irq, gsi) = (byte(entry, 3)?, word(entry, 4)?);
                self.overrides.push(Override { irq, gsi, signal: isa_signal(half(entry, 8)?) });
            }
            5 => self.local_apic = long(entry, 4)?,
            _ => {}
        }
        Some(())
    }

    fn processor(&mut self, apic_id: u32, broadcast: u32, flags: u32) {
        // The broadcast id marks an unused slot, and firmware lists processors below 255 twice, as type 0 and type 9.
        if apic_id == broadcast || self.processors.iter().any(|known| known.apic_id == apic_id) {
            return;
        }
        self.processors.push(Processor { apic_id, enabled: flags & ENABLED != 0 });
    }

    /// Where ISA interrupt `irq` arrives and how it signals.
    #[must_use]
    pub fn isa(&self, irq: u8) -> (u32, Signal) {
        let found = self.overrides.iter().find(|over| over.irq == irq);
        found.map_or((u32::from(irq), Signal::ISA), |over| (over.gsi, over.signal))
    }

    /// The signal firmware states for a global interrupt, if it states one.
    #[must_use]
    pub fn signal_of(&self, gsi: u32) -> Option<Signal> {
        self.overrides.iter().find(|over| over.gsi == gsi).map(|over| over.signal)
    }
}

/// Flags of an override on the ISA bus; "conforms to the bus" means edge and high there (table 5.26).
fn isa_signal(flags: u16) -> Signal {
    let polarity = if flags & 0b11 == 0b11 { Polarity::Low } else { Polarity::High };
    let trigger = if (flags >> 2) & 0b11 == 0b11 { Trigger::Level } else { Trigger::Edge };
    Signal { trigger, polarity }
}

#[cfg(test)]
mod tests;
