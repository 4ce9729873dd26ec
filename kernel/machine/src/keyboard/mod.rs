//! The keyboard at the 8042 controller: a console for a machine without a serial line, and the keys that end a run.
//!
//! [`init`] finds and programs the controller; [`on_interrupt`] empties it. What is typed goes where serial input goes. USB
//! keyboards work as far as firmware makes them look like this one. Source: the PC/AT's keyboard controller as described in
//! IBM's technical reference and kept by every chipset since; scan codes are set 1, by the controller's translation.

mod keys;

use ksync::SpinLock;

pub use self::keys::{Keys, Text, Typed};
use crate::{
    console,
    ports::{CpuPorts, PortIo},
};

const DATA: u16 = 0x60;
const STATUS: u16 = 0x64;

/// Status: an octet waits for us.
const OUTPUT_FULL: u8 = 1 << 0;
/// Status: the controller has not taken our last octet yet.
const INPUT_FULL: u8 = 1 << 1;
/// Status: the octet that waits is the mouse's.
const FROM_MOUSE: u8 = 1 << 5;

/// Controller commands.
const READ_CONFIGURATION: u8 = 0x20;
const WRITE_CONFIGURATION: u8 = 0x60;
const DISABLE_MOUSE: u8 = 0xA7;
const DISABLE_KEYBOARD: u8 = 0xAD;
const ENABLE_KEYBOARD: u8 = 0xAE;

/// Configuration: the keyboard interrupts.
const KEYBOARD_INTERRUPT: u8 = 1 << 0;
/// Configuration: the mouse interrupts.
const MOUSE_INTERRUPT: u8 = 1 << 1;
/// Configuration: the keyboard's clock is off.
const KEYBOARD_OFF: u8 = 1 << 4;
/// Configuration: scan codes are translated to set 1.
const TRANSLATE: u8 = 1 << 6;

/// Looks at the status before a wait is given up; each takes about a microsecond on real ports.
const PATIENCE: u32 = 100_000;
/// Octets taken in one interrupt at most, so that a controller gone mad cannot keep a CPU.
const BURST: usize = 32;

/// Protects: the keys that are down; held across: one octet.
static KEYS: SpinLock<Keys> = SpinLock::new(Keys::new());

/// Why there is no keyboard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoKeyboard {
    /// Nothing is at the controller's ports.
    NoController,
    /// The controller does not answer.
    Silent,
}

/// What the keys demand beside text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demands {
    /// Something was there.
    pub any: bool,
    /// Ctrl-Alt-Del was pressed.
    pub restart: bool,
    /// Ctrl-Alt-Esc was pressed.
    pub debugger: bool,
}

/// Programs the controller: keyboard on, translated, interrupting (ISA IRQ 1); mouse off. Call it when the interrupt is routed.
///
/// # Errors
/// [`NoKeyboard`].
///
/// # Context
/// Thread, at boot. Bounded waits.
pub fn init() -> Result<(), NoKeyboard> {
    program(&CpuPorts)
}

fn program(ports: &impl PortIo) -> Result<(), NoKeyboard> {
    if ports.read8(STATUS) == u8::MAX {
        return Err(NoKeyboard::NoController);
    }
    command(ports, DISABLE_KEYBOARD)?;
    command(ports, DISABLE_MOUSE)?;
    while take(ports).is_some() {}
    command(ports, READ_CONFIGURATION)?;
    let configuration = wait(ports)?;
    let configuration = (configuration | KEYBOARD_INTERRUPT | TRANSLATE) & !(MOUSE_INTERRUPT | KEYBOARD_OFF);
    command(ports, WRITE_CONFIGURATION)?;
    ready(ports)?;
    ports.write8(DATA, configuration);
    command(ports, ENABLE_KEYBOARD)
}

/// Waits until the controller takes an octet.
fn ready(ports: &impl PortIo) -> Result<(), NoKeyboard> {
    let free = (0..PATIENCE).any(|_| ports.read8(STATUS) & INPUT_FULL == 0);
    if free { Ok(()) } else { Err(NoKeyboard::Silent) }
}

fn command(ports: &impl PortIo, command: u8) -> Result<(), NoKeyboard> {
    ready(ports)?;
    ports.write8(STATUS, command);
    Ok(())
}

/// Waits for an octet from the controller.
fn wait(ports: &impl PortIo) -> Result<u8, NoKeyboard> {
    (0..PATIENCE).find_map(|_| take(ports)).map(|(_, octet)| octet).ok_or(NoKeyboard::Silent)
}

/// Takes the octet that waits, if one does, with the status that it came with.
fn take(ports: &impl PortIo) -> Option<(u8, u8)> {
    let status = ports.read8(STATUS);
    (status & OUTPUT_FULL != 0 && status != u8::MAX).then(|| (status, ports.read8(DATA)))
}

/// Takes in what was typed: text goes to the console's input, the rest is returned.
///
/// # Context
/// Interrupt (ISA IRQ 1).
pub fn on_interrupt() -> Demands {
    let mut demands = Demands::default();
    for _ in 0..BURST {
        let Some((status, code)) = take(&CpuPorts) else { break };
        demands.any = true;
        if status & FROM_MOUSE != 0 {
            continue;
        }
        let typed = KEYS.lock().push(code);
        match typed {
            Typed::Nothing => {}
            Typed::Text(text) => console::type_in(text.octets()),
            Typed::Restart => demands.restart = true,
            Typed::Break => demands.debugger = true,
        }
    }
    demands
}

#[cfg(test)]
mod tests {
    use super::{
        DATA, INPUT_FULL, KEYBOARD_INTERRUPT, MOUSE_INTERRUPT, NoKeyboard, OUTPUT_FULL, PortIo, STATUS, TRANSLATE,
        WRITE_CONFIGURATION, program,
    };
    use std::{cell::RefCell, collections::VecDeque, vec::Vec};

    /// A controller with something stale in its buffer.
    struct Controller {
        status: u8,
        output: RefCell<VecDeque<u8>>,
        written: RefCell<Vec<(u16, u8)>>,
    }

    impl Controller {
        fn new(status: u8) -> Self {
            Self { status, output: RefCell::new(VecDeque::from([0x1C])), written: RefCell::default() }
        }
    }

    impl PortIo for Controller {
        fn read8(&self, port: u16) -> u8 {
            match port {
                DATA => self.output.borrow_mut().pop_front().unwrap_or(0),
                _ if self.output.borrow().is_empty() => self.status,
                _ => self.status | OUTPUT_FULL,
            }
        }
        fn write8(&self, port: u16, value: u8) {
            self.written.borrow_mut().push((port, value));
            if (port, value) == (STATUS, 0x20) {
                self.output.borrow_mut().push_back(MOUSE_INTERRUPT);
            }
        }
        fn read16(&self, _: u16) -> u16 {
            0
        }
        fn read32(&self, _: u16) -> u32 {
            0
        }
        fn write16(&self, _: u16, _: u16) {}
        fn write32(&self, _: u16, _: u32) {}
    }

    #[test]
    fn the_controller_is_emptied_and_set_to_interrupt_for_the_keyboard_only() {
        let controller = Controller::new(0);
        program(&controller).unwrap();
        let written = controller.written.borrow();
        let at = written.iter().position(|write| *write == (STATUS, WRITE_CONFIGURATION)).unwrap();
        assert_eq!(written[at + 1], (DATA, KEYBOARD_INTERRUPT | TRANSLATE), "the stale octet is not the configuration");
        assert_eq!(written.last(), Some(&(STATUS, 0xAE)));
    }

    #[test]
    fn an_absent_or_stuck_controller_is_no_keyboard_and_no_hang() {
        let absent = Controller::new(u8::MAX);
        assert_eq!(program(&absent), Err(NoKeyboard::NoController));
        assert!(absent.written.borrow().is_empty());
        assert_eq!(program(&Controller::new(INPUT_FULL)), Err(NoKeyboard::Silent));
    }
}
