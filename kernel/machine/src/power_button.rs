//! The power button as ACPI's fixed hardware has it: an event in the PM1 registers, told by the system control interrupt.
//!
//! [`init`] finds the registers, [`line()`] says where the interrupt arrives, [`enable`] lets the button interrupt, and
//! [`on_interrupt`] asks what happened. No general-purpose event is handled, so all are switched off: the interrupt is a level, and
//! an event nobody clears would hold it for ever. The bits are a pure part over [`Events`], tested against a model.
//!
//! Source: ACPI 6.5, 4.8.3.1 (PM1 status and enable), 4.8.4.1 (general-purpose events), 5.2.9 (FADT).

use ksync::Once;

use crate::{
    acpi::{Fadt, Madt, access::Access, fadt::Register},
    ioapic::Signal,
    reset,
};

/// Status and enable bit of the power button \[PWRBTN_STS, PWRBTN_EN\].
const POWER_BUTTON: u16 = 1 << 8;

/// A register block whose first half is status, cleared by writing ones, and whose second half is enable.
trait Events {
    /// Octets of a half.
    fn half(&self) -> u16;
    fn read(&self, at: u16) -> u16;
    fn write(&self, at: u16, value: u16);
}

/// Leaves only the button enabled, with no event pending.
fn arm(block: &impl Events) {
    block.write(block.half(), 0);
    block.write(0, block.read(0));
    block.write(block.half(), POWER_BUTTON);
}

/// Clears what is pending and enabled, and returns it.
fn take(block: &impl Events) -> u16 {
    let pending = block.read(0) & block.read(block.half());
    if pending != 0 {
        block.write(0, pending);
    }
    pending
}

#[derive(Debug)]
struct Block {
    access: Access,
    half: u16,
}

impl Block {
    fn open(register: Option<Register>, octets: u8) -> Option<Self> {
        let access = Access::open(register?)?;
        Some(Self { access, half: u16::from(octets / 2) }).filter(|block| block.half > 0)
    }
}

impl Events for Block {
    fn half(&self) -> u16 {
        self.half
    }
    fn read(&self, at: u16) -> u16 {
        self.access.read16(at)
    }
    fn write(&self, at: u16, value: u16) {
        self.access.write16(at, value);
    }
}

#[derive(Debug)]
struct Button {
    fadt: Fadt,
    /// PM1a, PM1b.
    blocks: [Option<Block>; 2],
    control: Access,
}

static BUTTON: Once<Button> = Once::new();

/// Why the button cannot be heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoButton {
    /// The machine has none of this kind: firmware describes another, or none.
    Absent,
    /// Firmware does not hand the registers over.
    NoAcpiMode,
}

/// What the system control interrupt was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pressed {
    /// Nothing of ours.
    Stray,
    /// Some other fixed event, now cleared.
    Other,
    /// The power button.
    PowerButton,
}

/// Finds and maps the registers. Thread context at boot, once.
pub(crate) fn init(fadt: &Fadt) {
    if fadt.hardware_reduced || fadt.button_is_a_device {
        return;
    }
    let blocks =
        [Block::open(fadt.pm1a_event, fadt.pm1_event_octets), Block::open(fadt.pm1b_event, fadt.pm1_event_octets)];
    let Some(control) = fadt.pm1a_control.and_then(Access::open) else { return };
    if blocks.iter().any(Option::is_some) {
        BUTTON.call_once(|| Button { fadt: *fadt, blocks, control });
    }
}

/// Returns where the system control interrupt arrives and how it signals: active low and a level, unless firmware says otherwise.
#[must_use]
pub fn line(fadt: &Fadt, madt: &Madt) -> (u32, Signal) {
    let irq = fadt.sci_interrupt;
    let (gsi, _) = u8::try_from(irq).map_or((u32::from(irq), Signal::PCI), |irq| madt.isa(irq));
    (gsi, madt.signal_of(gsi).unwrap_or(Signal::PCI))
}

/// Takes the registers over from firmware and lets the button interrupt. Call it when the interrupt is routed.
///
/// # Errors
/// [`NoButton`].
///
/// # Context
/// Thread, at boot. Waits for firmware at most some seconds.
pub fn enable() -> Result<(), NoButton> {
    let button = BUTTON.get().ok_or(NoButton::Absent)?;
    if !reset::acpi_mode(&button.fadt, &button.control) {
        return Err(NoButton::NoAcpiMode);
    }
    for (register, octets) in [button.fadt.gpe0, button.fadt.gpe1].into_iter().flatten() {
        let half = u16::from(octets / 2);
        if let Some(access) = Access::open(register) {
            (0..half).for_each(|octet| access.write8(half + octet, 0));
        }
    }
    button.blocks.iter().flatten().for_each(arm);
    Ok(())
}

/// Asks what the interrupt was about, and clears it.
///
/// # Context
/// Interrupt.
pub fn on_interrupt() -> Pressed {
    let Some(button) = BUTTON.get() else { return Pressed::Stray };
    match button.blocks.iter().flatten().fold(0, |events, block| events | take(block)) {
        0 => Pressed::Stray,
        events if events & POWER_BUTTON != 0 => Pressed::PowerButton,
        _ => Pressed::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::{Events, POWER_BUTTON, arm, take};
    use core::cell::Cell;

    /// Status clears where ones are written, as hardware does.
    struct Model {
        status: Cell<u16>,
        enable: Cell<u16>,
    }

    impl Events for Model {
        fn half(&self) -> u16 {
            2
        }
        fn read(&self, at: u16) -> u16 {
            if at == 0 { self.status.get() } else { self.enable.get() }
        }
        fn write(&self, at: u16, value: u16) {
            if at == 0 { self.status.set(self.status.get() & !value) } else { self.enable.set(value) }
        }
    }

    const TIMER: u16 = 1;

    #[test]
    fn a_press_before_the_handler_was_there_is_forgotten_and_firmwares_events_are_off() {
        let block = Model { status: Cell::new(POWER_BUTTON | TIMER), enable: Cell::new(TIMER | 1 << 5) };
        arm(&block);
        assert_eq!((block.status.get(), block.enable.get()), (0, POWER_BUTTON));
        assert_eq!(take(&block), 0);
    }

    #[test]
    fn a_press_is_taken_once_and_what_is_not_enabled_stays_where_it_is() {
        let block = Model { status: Cell::new(0), enable: Cell::new(POWER_BUTTON) };
        block.status.set(POWER_BUTTON | TIMER);
        assert_eq!(take(&block), POWER_BUTTON);
        assert_eq!((take(&block), block.status.get()), (0, TIMER));
    }
}
