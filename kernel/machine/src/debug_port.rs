//! The second serial port, COM2, for a debugger on another computer: polled, octet by octet, nothing kept.
//!
//! It belongs to nobody else and interrupts nobody: with the machine stopped its owner reads and writes, with the machine running one
//! thread looks now and then for gdb's interrupt character. There is no state but the chip's, so whoever is stopped
//! holds nothing. 115200 bit/s, 8 data bits, no parity, FIFOs on. Source: 16550D data sheet.

use core::sync::atomic::{AtomicBool, Ordering};

use crate::{
    acpi::spcr::SerialPlace,
    platform,
    ports::{CpuPorts, PortIo},
};

/// Port base of COM2.
const COM2: u16 = 0x2F8;

/// Registers, as offsets: data (divisor low with DLAB), interrupt enable (divisor high), FIFO control, line control, modem control, line
/// status, scratch.
const DATA: u16 = 0;
const INTERRUPT_ENABLE: u16 = 1;
const FIFO_CONTROL: u16 = 2;
const LINE_CONTROL: u16 = 3;
const MODEM_CONTROL: u16 = 4;
const LINE_STATUS: u16 = 5;
const SCRATCH: u16 = 7;

const DIVISOR_LATCH: u8 = 1 << 7;
const EIGHT_BITS: u8 = 3;
/// 115200 bit/s is the undivided rate.
const DIVISOR: u8 = 1;
/// FIFOs on and emptied, trigger at one octet.
const FIFO_ON: u8 = 7;
/// DTR and RTS, so that the far end sends.
const READY: u8 = 3;
const RECEIVED: u8 = 1 << 0;
const TRANSMITTER_EMPTY: u8 = 1 << 5;

/// Looks at a transmitter that takes nothing before an octet is dropped: a second or so, thousands of octet times.
const SEND_TRIES: u32 = 1_000_000;

static IS_THERE: AtomicBool = AtomicBool::new(false);

/// The port, on a machine that has one.
#[derive(Clone, Copy, Debug)]
pub struct DebugPort {
    _private: (),
}

/// Looks for the port and sets it up, unless firmware's tables make it the console. Thread context, once.
pub fn init() {
    let console = platform::platform().and_then(|platform| platform.serial).map(|serial| serial.place);
    if console == Some(SerialPlace::Port(COM2)) {
        return;
    }
    // ORDERING: relaxed; the port's state is in the chip.
    IS_THERE.store(set_up(&CpuPorts), Ordering::Relaxed);
}

/// Returns the port, if [`init`] has found one. Any context.
#[must_use]
pub fn port() -> Option<DebugPort> {
    IS_THERE.load(Ordering::Relaxed).then_some(DebugPort { _private: () })
}

impl DebugPort {
    /// Returns a received octet, if there is one. Any context.
    #[must_use]
    pub fn try_receive(self) -> Option<u8> {
        try_receive(&CpuPorts)
    }

    /// Sends an octet; one that the line does not take for a second is dropped. Any context.
    pub fn send(self, octet: u8) {
        send(&CpuPorts, octet);
    }
}

fn set_up(ports: &impl PortIo) -> bool {
    // Without a chip there, nothing keeps what is written.
    let keeps = |value| {
        ports.write8(COM2 + SCRATCH, value);
        ports.read8(COM2 + SCRATCH) == value
    };
    if !keeps(0x5A) || !keeps(0xA5) {
        return false;
    }
    ports.write8(COM2 + INTERRUPT_ENABLE, 0);
    ports.write8(COM2 + LINE_CONTROL, DIVISOR_LATCH);
    ports.write8(COM2 + DATA, DIVISOR);
    ports.write8(COM2 + INTERRUPT_ENABLE, 0);
    ports.write8(COM2 + LINE_CONTROL, EIGHT_BITS);
    ports.write8(COM2 + FIFO_CONTROL, FIFO_ON);
    ports.write8(COM2 + MODEM_CONTROL, READY);
    true
}

fn try_receive(ports: &impl PortIo) -> Option<u8> {
    (ports.read8(COM2 + LINE_STATUS) & RECEIVED != 0).then(|| ports.read8(COM2 + DATA))
}

fn send(ports: &impl PortIo, octet: u8) {
    for _ in 0..SEND_TRIES {
        if ports.read8(COM2 + LINE_STATUS) & TRANSMITTER_EMPTY != 0 {
            return ports.write8(COM2 + DATA, octet);
        }
        core::hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use core::cell::RefCell;
    use std::{collections::BTreeMap, vec, vec::Vec};

    use super::{COM2, DATA, LINE_STATUS, PortIo, RECEIVED, SCRATCH, TRANSMITTER_EMPTY, send, set_up, try_receive};

    /// A chip that keeps what is written, or none at all.
    #[derive(Default)]
    struct Chip {
        is_there: bool,
        status: u8,
        registers: RefCell<BTreeMap<u16, u8>>,
        written: RefCell<Vec<(u16, u8)>>,
    }

    impl PortIo for Chip {
        fn read8(&self, port: u16) -> u8 {
            match (self.is_there, port - COM2) {
                (false, _) => 0xFF,
                (true, LINE_STATUS) => self.status,
                (true, register) => self.registers.borrow().get(&register).copied().unwrap_or(0),
            }
        }

        fn write8(&self, port: u16, value: u8) {
            self.registers.borrow_mut().insert(port - COM2, value);
            self.written.borrow_mut().push((port - COM2, value));
        }

        fn read16(&self, _: u16) -> u16 {
            unreachable!("the chip has octets only")
        }

        fn read32(&self, _: u16) -> u32 {
            unreachable!("the chip has octets only")
        }

        fn write16(&self, _: u16, _: u16) {
            unreachable!("the chip has octets only")
        }

        fn write32(&self, _: u16, _: u32) {
            unreachable!("the chip has octets only")
        }
    }

    #[test]
    fn a_machine_without_the_port_is_left_alone() {
        let chip = Chip::default();
        assert!(!set_up(&chip));
        assert!(chip.written.borrow().iter().all(|(register, _)| *register == SCRATCH));
    }

    #[test]
    fn the_port_is_set_to_115200_8n1_without_interrupts() {
        let chip = Chip { is_there: true, ..Chip::default() };
        assert!(set_up(&chip));
        let after_probe: Vec<(u16, u8)> = chip.written.borrow()[2..].to_vec();
        assert_eq!(after_probe, [(1, 0), (3, 0x80), (0, 1), (1, 0), (3, 3), (2, 7), (4, 3)]);
    }

    #[test]
    fn octets_pass_when_the_chip_says_so() {
        let chip = Chip { is_there: true, ..Chip::default() };
        chip.registers.borrow_mut().insert(DATA, b'x');
        assert_eq!(try_receive(&chip), None);
        send(&chip, b'y');
        assert_eq!(*chip.written.borrow(), [], "dropped after a while");
        let chip = Chip { status: RECEIVED | TRANSMITTER_EMPTY, ..chip };
        assert_eq!(try_receive(&chip), Some(b'x'));
        send(&chip, b'y');
        assert_eq!(*chip.written.borrow(), vec![(DATA, b'y')]);
    }
}
