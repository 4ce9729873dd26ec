//! The serial line through `uart_16550`: COM1 or where firmware's tables put it; 115200 bit/s unless they say otherwise, 8 data bits,
//! no parity, FIFOs on.
//!
//! Nothing here waits without a bound: a line that takes nothing makes the caller drop its text. Source: 16550D data sheet.

use uart_16550::{
    BaudRate, Config, Uart16550,
    backend::Backend,
    spec::{
        NUM_REGISTERS,
        registers::{FifoTriggerLevel, IER, LSR},
    },
};

use crate::{
    acpi::spcr::SerialPlace,
    map,
    mmio::MmioWindow,
    ports::{CpuPorts, PortIo},
};

/// The transmitter FIFO; filled only when empty.
const FIFO: usize = 16;

/// What came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Received {
    Octet(u8),
    /// The other side held the line low for longer than a character.
    Break,
}

/// The chip's registers.
#[derive(Debug)]
enum Registers {
    Ports(u16),
    Memory { window: MmioWindow, stride: u8 },
}

impl Registers {
    /// Makes the registers at a place usable; `None` where they cannot be.
    fn open(place: SerialPlace) -> Option<Self> {
        const LAST: u16 = NUM_REGISTERS as u16 - 1;
        match place {
            SerialPlace::Port(base) => base.checked_add(LAST).map(|_| Self::Ports(base)),
            SerialPlace::Memory { address, stride } => {
                let window = map::registers(address, NUM_REGISTERS * usize::from(stride.max(1)))?;
                Some(Self::Memory { window, stride: stride.max(1) })
            }
        }
    }
}

impl Backend for Registers {
    unsafe fn read(&mut self, register: u8) -> u8 {
        match self {
            Self::Ports(base) => CpuPorts.read8(base.wrapping_add(register.into())),
            // A chip that is wired to 32 bits answers to nothing narrower.
            Self::Memory { window, stride: 4 } => window.read32(usize::from(register) * 4) as u8,
            Self::Memory { window, stride } => window.read8(usize::from(register) * usize::from(*stride)),
        }
    }

    unsafe fn write(&mut self, register: u8, value: u8) {
        match self {
            Self::Ports(base) => CpuPorts.write8(base.wrapping_add(register.into()), value),
            Self::Memory { window, stride: 4 } => window.write32(usize::from(register) * 4, value.into()),
            Self::Memory { window, stride } => window.write8(usize::from(register) * usize::from(*stride), value),
        }
    }
}

/// The serial line; absent until [`Serial::open`] found it.
#[derive(Debug)]
pub(super) struct Serial {
    uart: Option<Uart16550<Registers>>,
    /// The line feed of this text still waits for its carriage return to be accepted.
    after_return: bool,
}

impl Serial {
    pub(super) const fn new() -> Self {
        Self { uart: None, after_return: false }
    }

    /// Probes and programs the chip at a place, and makes it the line if it is there; answers whether it is.
    pub(super) fn open(&mut self, place: SerialPlace, baud: u32) -> bool {
        let Some(registers) = Registers::open(place) else { return false };
        // SAFETY: the registers are COM1's, or firmware's own console's: a 16550, which belongs to this driver. Where there is none, reads
        // give all ones and the probe fails.
        let mut uart = unsafe { Uart16550::new_with_backend(registers) };
        let config = Config {
            baud_rate: BaudRate::Custom(baud),
            // Typed characters arrive one by one; a burst (a pasted configuration) is served by the FIFO behind the trigger.
            fifo_trigger_level: Some(FifoTriggerLevel::One),
            ..Config::DEFAULT
        };
        let is_there = uart.init(config).is_ok();
        if is_there {
            self.uart = Some(uart);
            self.after_return = false;
        }
        is_there
    }

    /// Hands the line as much of `text` as it takes now, and returns how many octets of `text` that was.
    ///
    /// A line feed goes out as carriage return and line feed. Without a serial line everything is taken.
    pub(super) fn send(&mut self, text: &[u8]) -> usize {
        let Some(uart) = self.uart.as_mut() else { return text.len() };
        let mut octets = [0; FIFO];
        let room = if uart.fifo_enabled() { FIFO } else { 1 };
        let burst = octets.get_mut(..room).unwrap_or_default();
        let (mut filled, mut taken) = (0, 0);
        let mut after_return = self.after_return;
        for octet in text {
            let Some(slot) = burst.get_mut(filled) else { break };
            filled += 1;
            if *octet == b'\n' && !after_return {
                *slot = b'\r';
                after_return = true;
                let Some(slot) = burst.get_mut(filled) else { break };
                filled += 1;
                *slot = b'\n';
            } else {
                *slot = *octet;
            }
            after_return = false;
            taken += 1;
        }
        let sent = uart.send_bytes(burst.get(..filled).unwrap_or_default());
        if sent == 0 {
            return 0;
        }
        debug_assert_eq!(sent, filled, "an empty transmitter takes a whole burst");
        self.after_return = after_return;
        taken
    }

    /// Sends all of `text`, giving up after `tries` looks at a line that takes nothing.
    pub(super) fn send_all(&mut self, mut text: &[u8], tries: u32) {
        let mut idle = 0;
        while !text.is_empty() && idle < tries {
            let sent = self.send(text);
            text = text.get(sent..).unwrap_or_default();
            idle = if sent > 0 { 0 } else { idle + 1 };
            core::hint::spin_loop();
        }
    }

    /// Returns a received octet, if there is one.
    pub(super) fn receive(&mut self) -> Option<Received> {
        let uart = self.uart.as_mut()?;
        let octet = uart.try_receive_byte().ok()?;
        // A BREAK condition reads as a zero, and the status that belongs to it was read with it.
        let was_break = octet == 0 && uart.lsr().contains(LSR::BREAK_INTERRUPT);
        Some(if was_break { Received::Break } else { Received::Octet(octet) })
    }

    /// Lets the port interrupt when an octet has arrived.
    pub(super) fn enable_input_interrupt(&mut self) {
        if let Some(uart) = self.uart.as_mut() {
            uart.enable_interrupts(IER::DATA_READY);
        }
    }

    /// Returns whether the last octet has left the shift register.
    pub(super) fn is_drained(&mut self) -> bool {
        self.uart.as_mut().is_none_or(|uart| uart.lsr().contains(LSR::TRANSMITTER_EMPTY))
    }
}
