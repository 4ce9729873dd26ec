//! What is typed: taken from the serial line, and from a keyboard, in order, and watched for the debugger's key sequence.

use ksync::SpinLock;

use super::{SERIAL, ring::Queue, serial::Received};
use crate::{
    hooks,
    kdb::{self, BreakKeys},
};

/// Typed octets nobody has read yet.
const INPUT_SIZE: usize = 256;

static INPUT: SpinLock<Input> = SpinLock::new(Input { octets: Queue::new(), keys: BreakKeys::new() });

/// What was typed and not yet read, and the watch for the debugger's key sequence.
struct Input {
    octets: Queue<INPUT_SIZE>,
    keys: BreakKeys,
}

/// Returns the next typed octet, in the order of typing whether the line interrupts or not.
///
/// # Context
/// Thread or interrupt; never waits.
#[must_use]
pub fn try_read() -> Option<u8> {
    let mut octet = [0];
    if INPUT.lock().octets.pop(&mut octet) == 0 {
        let taken = take_in();
        if INPUT.lock().octets.pop(&mut octet) == 0 {
            taken.enter_if_asked();
            return None;
        }
        taken.enter_if_asked();
    }
    Some(octet[0])
}

/// What the serial line brought.
struct Taken {
    any: bool,
    /// The key sequence or condition that asks for the debugger.
    debugger: bool,
}

impl Taken {
    /// With no lock held: the debugger sees the console as it is.
    fn enter_if_asked(&self) {
        if self.debugger {
            kdb::enter(kdb::Reason::BreakSequence);
        }
    }
}

/// Moves what the serial line received into the input queue. The queue stays locked all the while: an octet between line and
/// queue could otherwise be overtaken by the next one, read on another CPU.
fn take_in() -> Taken {
    let mut taken = Taken { any: false, debugger: false };
    let mut input = INPUT.lock();
    while let Some(received) = SERIAL.lock().receive() {
        match received {
            Received::Octet(octet) => {
                taken.debugger |= input.keys.push(octet);
                taken.any |= input.octets.push(&[octet]);
            }
            Received::Break => taken.debugger = true,
        }
    }
    taken
}

/// Lets the serial line interrupt on input (ISA IRQ 4); call it when [`on_serial_interrupt`] is wired to that vector.
pub fn enable_input_interrupt() {
    SERIAL.lock().enable_input_interrupt();
}

/// Moves what the serial line received into the input queue and wakes the reader.
///
/// # Context
/// Interrupt. Input beyond the queue's 256 octets is dropped, as a terminal does.
pub fn on_serial_interrupt() {
    let taken = take_in();
    if taken.any {
        hooks::console_input();
    }
    taken.enter_if_asked();
}

/// Takes in text that was typed elsewhere (a keyboard) as if the serial line had received it, and wakes the reader.
///
/// # Context
/// Interrupt or thread. Input beyond the queue's 256 octets is dropped, as a terminal does.
pub fn type_in(octets: &[u8]) {
    let any = INPUT.lock().octets.push(octets);
    if any {
        hooks::console_input();
    }
}

/// Returns whether somebody holds the lock of what was typed.
pub(super) fn is_held() -> bool {
    INPUT.is_held()
}
