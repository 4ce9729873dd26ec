//! The two 8259 interrupt controllers: moved out of the exceptions' way and masked for good.
//!
//! Masked is not silent: a line that drops during acknowledgement still delivers their spurious interrupt, so they get vectors
//! of their own. Thread context at boot. Source: 8259A datasheet, initialization command words.

use super::vectors::PIC_BASE;
use crate::ports::PortIo;

const MASTER: u16 = 0x20;
const SLAVE: u16 = 0xA0;

/// Initializes both chips at [`PIC_BASE`] and masks every line.
pub(super) fn silence(ports: &impl PortIo) {
    for (chip, vector, wiring) in [(MASTER, PIC_BASE, 1 << 2), (SLAVE, PIC_BASE + 8, 2)] {
        ports.write8(chip, 0x11);
        ports.write8(chip + 1, vector);
        ports.write8(chip + 1, wiring);
        ports.write8(chip + 1, 0x01);
        ports.write8(chip + 1, 0xFF);
    }
}
