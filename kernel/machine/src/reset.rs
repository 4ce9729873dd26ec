//! The ends of a run: power off by ACPI, and the ladder of ways to restart.
//!
//! [`power_off`] and [`restart`] are called last, on one processor, with the others parked and every device stopped. Each step of
//! the ladder gets a moment to work before the next is tried. The steps are a pure plan over [`PortIo`], tested against a model;
//! memory registers are mapped at [`init`], because the end is no place to allocate. Any context, panic included.
//! Source: ACPI 6.5, 4.8.3.2.1 (PM1 control), 4.8.3.6 (reset register), 4.8.3.7 (sleep control), 16.1.6 (S5).

use core::time::Duration;

use ksync::Once;

use crate::{
    acpi::{Fadt, SleepType, access::Access},
    cpu,
    ports::{CpuPorts, PortIo},
    time,
};

const SCI_ENABLE: u16 = 1 << 0;
const SLEEP_ENABLE: u16 = 1 << 13;
const SLEEP_TYPE: u16 = 0b111 << 10;

/// How long firmware may take to switch ACPI mode on; the specification gives none, Linux waits three seconds.
const MODE_SWITCH: Duration = Duration::from_secs(3);
/// How long a step of the ladder may take to work.
const STEP: Duration = Duration::from_millis(100);

/// Why the machine is still on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PowerOffError {
    /// Firmware's bytecode gave no sleep type for "off".
    NoSleepType,
    /// The FADT names no register to write it to.
    NoRegister,
    /// ACPI mode could not be switched on.
    NoAcpiMode,
    /// Everything was written, and the machine is still on.
    Ignored,
}

#[derive(Debug)]
struct Ready {
    fadt: Fadt,
    s5: Option<SleepType>,
    pm1a: Option<Access>,
    pm1b: Option<Access>,
    sleep_control: Option<Access>,
    reset: Option<(Access, u8)>,
}

static READY: Once<Ready> = Once::new();

/// Remembers and maps what the end will need. Thread context at boot, once.
pub fn init(fadt: &Fadt, s5: Option<SleepType>) {
    READY.call_once(|| Ready {
        fadt: *fadt,
        s5,
        pm1a: fadt.pm1a_control.and_then(Access::open),
        pm1b: fadt.pm1b_control.and_then(Access::open),
        sleep_control: fadt.sleep_control.and_then(Access::open),
        reset: fadt.reset.and_then(|(register, value)| Some((Access::open(register)?, value))),
    });
}

/// The PM1 control value that enters `sleep_type`, other bits kept.
const fn sleep_value(current: u16, sleep_type: u8, enable: bool) -> u16 {
    let typed = (current & !(SLEEP_TYPE | SLEEP_ENABLE)) | (sleep_type as u16) << 10;
    if enable { typed | SLEEP_ENABLE } else { typed }
}

/// Ends the run by cutting the power. Returns only on failure.
pub fn power_off() -> PowerOffError {
    let Some(ready) = READY.get() else { return PowerOffError::NoRegister };
    let Some(s5) = ready.s5 else { return PowerOffError::NoSleepType };
    cpu::disable_interrupts();
    if ready.fadt.hardware_reduced {
        let Some(control) = &ready.sleep_control else { return PowerOffError::NoRegister };
        control.write8(0, s5.a << 2 | 1 << 5);
        time::delay(MODE_SWITCH);
        return PowerOffError::Ignored;
    }
    let Some(pm1a) = &ready.pm1a else { return PowerOffError::NoRegister };
    if !acpi_mode(&ready.fadt, pm1a) {
        return PowerOffError::NoAcpiMode;
    }
    // The type first, then type and enable: some chipsets latch the type one write before (ACPI 6.5, 4.8.3.2.1).
    for enable in [false, true] {
        pm1a.write16(0, sleep_value(pm1a.read16(0), s5.a, enable));
        if let Some(pm1b) = &ready.pm1b {
            pm1b.write16(0, sleep_value(pm1b.read16(0), s5.b, enable));
        }
    }
    time::delay(MODE_SWITCH);
    PowerOffError::Ignored
}

/// Makes sure the PM1 registers are ours: SCI_EN set, by SMI if need be. Waits for firmware, bounded.
pub(crate) fn acpi_mode(fadt: &Fadt, pm1a: &Access) -> bool {
    if pm1a.read16(0) & SCI_ENABLE != 0 {
        return true;
    }
    if fadt.smi_command == 0 || fadt.acpi_enable == 0 {
        return false;
    }
    CpuPorts.write8(fadt.smi_command, fadt.acpi_enable);
    let end = time::now() + MODE_SWITCH;
    while pm1a.read16(0) & SCI_ENABLE == 0 {
        if time::now() > end {
            return false;
        }
        core::hint::spin_loop();
    }
    true
}

/// A way to restart, in the order in which they are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rung {
    /// The register that firmware names in the FADT.
    Firmware,
    /// Port 0xCF9 of Intel's chipsets.
    Chipset,
    /// The keyboard controller's line to the reset pin.
    Keyboard,
    /// A processor that cannot even report a fault.
    TripleFault,
}

impl Rung {
    /// The ladder.
    pub const ALL: [Self; 4] = [Self::Firmware, Self::Chipset, Self::Keyboard, Self::TripleFault];
}

/// Restarts the machine: FADT reset register, port 0xCF9, keyboard controller, triple fault.
///
/// Memory stays as it is, as far as it is up to the kernel: [`crate::pstore`] is read again after it.
pub fn restart() -> ! {
    Rung::ALL.into_iter().for_each(attempt);
    triple_fault()
}

/// Tries one way to restart, and returns if it did not work; the last one always does.
pub fn attempt(rung: Rung) {
    cpu::disable_interrupts();
    cpu::write_back_caches();
    match rung {
        Rung::Firmware => {
            if let Some((register, value)) = READY.get().and_then(|ready| ready.reset.as_ref()) {
                register.write8(0, *value);
                time::delay(STEP);
            }
        }
        Rung::Chipset => chipset_reset(&CpuPorts, time::delay),
        Rung::Keyboard => keyboard_reset(&CpuPorts, time::delay),
        Rung::TripleFault => triple_fault(),
    }
}

/// Port 0xCF9: select a full reset, then pull it (ICH9 datasheet, 13.7.5).
fn chipset_reset(ports: &impl PortIo, wait: impl Fn(Duration)) {
    const CONTROL: u16 = 0xCF9;
    const PULL: u8 = 1 << 2;
    const SYSTEM: u8 = 1 << 1;
    let kept = ports.read8(CONTROL) & !(PULL | SYSTEM);
    ports.write8(CONTROL, kept | SYSTEM);
    wait(Duration::from_micros(50));
    ports.write8(CONTROL, kept | SYSTEM | PULL);
    wait(STEP);
}

/// Keyboard controller: pulse output line 0, which is wired to the reset pin. Bounded where there is no controller.
fn keyboard_reset(ports: &impl PortIo, wait: impl Fn(Duration)) {
    const STATUS: u16 = 0x64;
    const INPUT_FULL: u8 = 1 << 1;
    for _ in 0..10 {
        for _ in 0..1_000 {
            if ports.read8(STATUS) & INPUT_FULL == 0 {
                break;
            }
            wait(Duration::from_micros(2));
        }
        ports.write8(STATUS, 0xFE);
        wait(Duration::from_millis(5));
    }
}

/// An interrupt without a descriptor table: the processor gives up, and the chipset resets it.
fn triple_fault() -> ! {
    let empty = [0u16; 5];
    // SAFETY: this is the intent: no handler exists from here on, and nothing is returned to.
    unsafe { core::arch::asm!("lidt [{}]", "int3", in(reg) &raw const empty, options(noreturn)) };
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::{Duration, PortIo, chipset_reset, keyboard_reset, sleep_value};
    use std::{cell::RefCell, vec::Vec};

    struct Ports {
        reads: u8,
        writes: RefCell<Vec<(u16, u32)>>,
    }

    impl PortIo for Ports {
        fn read8(&self, _: u16) -> u8 {
            self.reads
        }
        fn read16(&self, _: u16) -> u16 {
            self.reads.into()
        }
        fn read32(&self, _: u16) -> u32 {
            self.reads.into()
        }
        fn write8(&self, port: u16, value: u8) {
            self.writes.borrow_mut().push((port, value.into()));
        }
        fn write16(&self, port: u16, value: u16) {
            self.writes.borrow_mut().push((port, value.into()));
        }
        fn write32(&self, port: u16, value: u32) {
            self.writes.borrow_mut().push((port, value));
        }
    }

    fn wait(_: Duration) {}

    #[test]
    fn the_sleep_type_replaces_three_bits_and_keeps_the_others() {
        assert_eq!(sleep_value(0x0001, 5, false), 0x1401);
        assert_eq!(sleep_value(0x1C01, 0, true), 0x2001);
        assert_eq!(sleep_value(0xFFFF, 2, true), 0xEBFF);
    }

    #[test]
    fn the_chipset_reset_selects_before_it_pulls() {
        let ports = Ports { reads: 0, writes: RefCell::default() };
        chipset_reset(&ports, wait);
        assert_eq!(*ports.writes.borrow(), [(0xCF9, 0x02), (0xCF9, 0x06)]);
    }

    #[test]
    fn an_absent_keyboard_controller_does_not_hang_the_ladder() {
        let ports = Ports { reads: 0xFF, writes: RefCell::default() };
        keyboard_reset(&ports, wait);
        assert_eq!(ports.writes.borrow().len(), 10);
    }
}
