//! COM1 through `uart_16550`: 115200 bit/s, 8 data bits, no parity, FIFOs on.
//!
//! Nothing here waits without a bound: a line that takes nothing makes the caller drop its text. Source: 16550D data sheet.

use uart_16550::{
    BaudRate, Config, Uart16550,
    backend::PioBackend,
    spec::registers::{FifoTriggerLevel, IER, LSR},
};

/// Port base of COM1.
const COM1: u16 = 0x3F8;
/// The transmitter FIFO; filled only when empty.
const FIFO: usize = 16;

/// What came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Received {
    Octet(u8),
    /// The other side held the line low for longer than a character.
    Break,
}

/// The serial line; absent until [`Serial::init`] found it.
#[derive(Debug)]
pub(super) struct Serial {
    uart: Option<Uart16550<PioBackend>>,
    /// The line feed of this text still waits for its carriage return to be accepted.
    after_return: bool,
}

impl Serial {
    pub(super) const fn new() -> Self {
        Self { uart: None, after_return: false }
    }

    /// Probes and programs the port.
    pub(super) fn init(&mut self) {
        // SAFETY: COM1's ports belong to this driver; on a machine without it reads give all ones and the probe fails.
        let Ok(mut uart) = (unsafe { Uart16550::new_port(COM1) }) else { return };
        let config = Config {
            baud_rate: BaudRate::Baud115200,
            // Typed characters arrive one by one; a burst (a pasted configuration) is served by the FIFO behind the trigger.
            fifo_trigger_level: Some(FifoTriggerLevel::One),
            ..Config::DEFAULT
        };
        if uart.init(config).is_ok() {
            self.uart = Some(uart);
        }
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
