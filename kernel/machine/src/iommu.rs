//! DMA remapping that firmware left on: switched off, unit by unit, and said so.
//!
//! The kernel uses bus addresses that are physical addresses. Firmware that protects itself against DMA may hand over with translation,
//! interrupt remapping or protected memory regions on; then every transfer of a card would fail, or end up elsewhere. A unit
//! that does not let itself be switched off is on record ([`translates`]), and no card may do DMA.
//!
//! Context: the boot CPU, before any card may do DMA; waits a tenth of a second at most for each step.
//! Source: Intel Virtualization Technology for Directed I/O, revision 4.1, 11.4.4 (GCMD), 11.4.5 (GSTS), 11.4.8.1 (PMEN).

use core::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use crate::{acpi::dmar::RemappingUnit, map, mmio::MmioWindow, time};

/// Octets of a unit's registers that are used.
const WINDOW: usize = 0x1000;
/// Global command: what is to be on. One-shot bits are sent as zeros.
const COMMAND: usize = 0x18;
/// Global status: what is on.
const STATUS: usize = 0x1C;
/// Protected memory: bit 31 enables it, bit 0 says that it is.
const PROTECTED: usize = 0x64;

/// DMA is translated (command and status).
const TRANSLATION: u32 = 1 << 31;
/// Invalidations are queued.
const QUEUE: u32 = 1 << 26;
/// Interrupts are remapped.
const INTERRUPTS: u32 = 1 << 25;
/// The bits of the status that say what is on for good, and are to be written back: not those that are acknowledgements.
const LASTING: u32 = TRANSLATION | QUEUE | INTERRUPTS | 1 << 28 | 1 << 23;

/// How often a step is looked at, and how long between two looks.
const LOOKS: u32 = 1000;
const PAUSE: Duration = Duration::from_micros(100);

static TRANSLATES: AtomicBool = AtomicBool::new(false);

/// Returns whether a unit translates DMA addresses in a way the kernel does not know. Any context.
#[must_use]
pub fn translates() -> bool {
    // ORDERING: relaxed; set once during boot, before there are threads.
    TRANSLATES.load(Ordering::Relaxed)
}

/// The registers of a unit.
trait UnitIo {
    fn read(&self, register: usize) -> u32;
    fn write(&self, register: usize, value: u32);
}

impl UnitIo for MmioWindow {
    fn read(&self, register: usize) -> u32 {
        self.read32(register)
    }
    fn write(&self, register: usize, value: u32) {
        self.write32(register, value);
    }
}

/// What a unit was found with, and what is left of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Found {
    translation: bool,
    interrupts: bool,
    protected: bool,
    /// It went on all the same, or does not answer.
    stays: bool,
}

/// Switches every unit off and says what was found.
pub(crate) fn quiet(units: &[RemappingUnit]) {
    for unit in units {
        let Some(window) = map::registers(unit.address, WINDOW) else {
            TRANSLATES.store(true, Ordering::Relaxed);
            continue;
        };
        let found = switch_off(&window, &|| time::delay(PAUSE));
        let what = match found {
            Found { stays: true, .. } => {
                TRANSLATES.store(true, Ordering::Relaxed);
                log::error!(
                    "iommu: unit at {:#x}: cannot be switched off ({found:?}); no card may do DMA",
                    unit.address
                );
                continue;
            }
            Found { translation: false, interrupts: false, protected: false, .. } => "off, and stays off",
            Found { translation: true, .. } => "firmware left translation on; switched off",
            Found { protected: true, .. } => "firmware left memory protected; switched off",
            Found { .. } => "firmware left interrupt remapping on; switched off",
        };
        log::info!("iommu: unit at {:#x}, segment {}: {what}", unit.address, unit.segment);
    }
}

/// Switches off what is on: interrupts first, as those that are remapped would be lost, then translation, then the queue, then protection.
fn switch_off(unit: &impl UnitIo, pause: &dyn Fn()) -> Found {
    let status = unit.read(STATUS);
    if status == u32::MAX {
        return Found { stays: true, ..Found::default() };
    }
    let protected = unit.read(PROTECTED);
    let mut found = Found {
        translation: status & TRANSLATION != 0,
        interrupts: status & INTERRUPTS != 0,
        protected: protected & 1 != 0 && protected != u32::MAX,
        stays: false,
    };
    for bit in [INTERRUPTS, TRANSLATION, QUEUE] {
        let lasting = unit.read(STATUS) & LASTING;
        if lasting & bit != 0 {
            unit.write(COMMAND, lasting & !bit);
            found.stays |= !clears(unit, STATUS, bit, pause);
        }
    }
    if found.protected {
        unit.write(PROTECTED, 0);
        found.stays |= !clears(unit, PROTECTED, 1, pause);
    }
    found
}

/// Waits until the bit of a register is clear.
fn clears(unit: &impl UnitIo, register: usize, bit: u32, pause: &dyn Fn()) -> bool {
    (0..LOOKS).any(|_| {
        let clear = unit.read(register) & bit == 0;
        if !clear {
            pause();
        }
        clear
    })
}

#[cfg(test)]
mod tests {
    use core::cell::{Cell, RefCell};
    use std::{vec, vec::Vec};

    use super::{COMMAND, Found, INTERRUPTS, PROTECTED, QUEUE, STATUS, TRANSLATION, UnitIo, switch_off};

    /// A unit that obeys after some looks at its status, or never.
    #[derive(Default)]
    struct Unit {
        status: Cell<u32>,
        command: Cell<u32>,
        protected: Cell<u32>,
        slowness: Cell<u32>,
        stubborn: u32,
        written: RefCell<Vec<(usize, u32)>>,
    }

    impl UnitIo for Unit {
        fn read(&self, register: usize) -> u32 {
            match register {
                STATUS if self.slowness.get() > 0 => self.slowness.set(self.slowness.get() - 1),
                STATUS => self.status.set(self.command.get() | self.status.get() & self.stubborn),
                _ => {}
            }
            match register {
                STATUS => self.status.get(),
                PROTECTED => self.protected.get(),
                other => panic!("{other:#x} is not read"),
            }
        }

        fn write(&self, register: usize, value: u32) {
            self.written.borrow_mut().push((register, value));
            match register {
                COMMAND => self.command.set(value),
                PROTECTED => self.protected.set(value),
                other => panic!("{other:#x} is not written"),
            }
        }
    }

    fn unit(on: u32) -> Unit {
        Unit { status: Cell::new(on), command: Cell::new(on), ..Unit::default() }
    }

    #[test]
    fn a_unit_that_is_off_is_not_written_to() {
        let unit = unit(0);
        assert_eq!(switch_off(&unit, &|| ()), Found::default());
        assert!(unit.written.borrow().is_empty());
    }

    #[test]
    fn what_is_on_is_switched_off_one_bit_at_a_time_and_waited_for() {
        // The root table pointer is set (bit 30): an acknowledgement, which is not written back.
        let unit = unit(TRANSLATION | INTERRUPTS | QUEUE | 1 << 30);
        unit.slowness.set(20);
        let found = switch_off(&unit, &|| ());
        assert_eq!(found, Found { translation: true, interrupts: true, protected: false, stays: false });
        let commands = vec![(COMMAND, TRANSLATION | QUEUE), (COMMAND, QUEUE), (COMMAND, 0)];
        assert_eq!(*unit.written.borrow(), commands);
    }

    #[test]
    fn protected_memory_is_opened() {
        let unit = Unit { protected: Cell::new(1 << 31 | 1), ..Unit::default() };
        let found = switch_off(&unit, &|| ());
        assert_eq!(found, Found { protected: true, ..Found::default() });
        assert_eq!(unit.protected.get(), 0);
    }

    #[test]
    fn a_unit_that_does_not_obey_is_told_and_costs_a_bounded_time() {
        let pauses = Cell::new(0);
        let stubborn = Unit { stubborn: TRANSLATION, ..unit(TRANSLATION) };
        assert!(switch_off(&stubborn, &|| pauses.set(pauses.get() + 1)).stays);
        assert_eq!(pauses.get(), 1000);
        assert!(switch_off(&unit(u32::MAX), &|| ()).stays, "a unit that does not answer cannot be known to be off");
    }
}
