//! Keys and buttons of the machine's case: Ctrl-Alt-Del, Ctrl-Alt-Esc, the power button; and the keyboard as a console.
//!
//! Both interrupts are answered by filters alone. A machine without one of the devices says so once and goes without. Context:
//! [`start`] in the first thread; the filters in interrupt context.

use alloc::boxed::Box;

use ithread::{Filter, FilterResult};
use machine::{
    kdb,
    keyboard::{self, NoKeyboard},
    platform,
    power_button::{self, NoButton, Pressed},
};
use shutdown::Exit;

use crate::{lines, power};

/// The keyboard's interrupt on the ISA bus.
const KEYBOARD_IRQ: u8 = 1;

/// Puts keyboard and power button to work.
pub(crate) fn start() {
    let Some(platform) = platform::platform() else { return };
    let (gsi, signal) = platform.madt.isa(KEYBOARD_IRQ);
    match lines::add_filter(gsi, signal, "atkbd0", Box::new(Keyboard)) {
        Ok(()) => match keyboard::init() {
            Ok(()) => log::info!("atkbd0: keyboard, irq {gsi}"),
            Err(NoKeyboard::NoController) => log::info!("atkbd0: no keyboard controller"),
            Err(NoKeyboard::Silent) => log::warn!("atkbd0: the keyboard controller does not answer"),
        },
        Err(error) => log::warn!("atkbd0: no interrupt ({error})"),
    }
    let (gsi, signal) = power_button::line(&platform.fadt, &platform.madt);
    match lines::add_filter(gsi, signal, "acpi0", Box::new(PowerButton)) {
        Ok(()) => match power_button::enable() {
            Ok(()) => log::info!("acpi0: power button, irq {gsi}"),
            Err(NoButton::Absent) => log::info!("acpi0: no power button of the fixed kind"),
            Err(NoButton::NoAcpiMode) => log::warn!("acpi0: firmware does not switch to ACPI mode; no power button"),
        },
        Err(error) => log::warn!("acpi0: no interrupt ({error}); no power button"),
    }
}

struct Keyboard;

impl Filter for Keyboard {
    fn filter(&self) -> FilterResult {
        let demands = keyboard::on_interrupt();
        if demands.restart {
            power::request(Exit::Reboot, "ctrl-alt-del");
        }
        if demands.debugger {
            kdb::enter(kdb::Reason::BreakSequence);
        }
        if demands.any { FilterResult::Handled } else { FilterResult::Stray }
    }
}

struct PowerButton;

impl Filter for PowerButton {
    fn filter(&self) -> FilterResult {
        match power_button::on_interrupt() {
            Pressed::Stray => FilterResult::Stray,
            Pressed::Other => FilterResult::Handled,
            Pressed::PowerButton => {
                power::request(Exit::PowerOff, "the power button");
                FilterResult::Handled
            }
        }
    }
}
