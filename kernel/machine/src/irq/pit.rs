//! Channel 0 of the 8254, which firmware leaves ticking 18.2 times a second: stopped, since nobody listens to it. On a virtual machine each
//! tick wakes the emulator of an idle router.
//!
//! Channel 2, which the clock may be measured against, is left alone. Thread context at boot. Source: 8254 datasheet, control word, mode 0.

use crate::ports::PortIo;

const CONTROL: u16 = 0x43;
const CHANNEL_0: u16 = 0x40;
/// Channel 0, low octet then high, mode 0: counts down once.
const ONE_SHOT: u8 = 0b0011_0000;

/// Has channel 0 count down once more, in 55 ms at most, and never again.
pub(super) fn silence(ports: &impl PortIo) {
    ports.write8(CONTROL, ONE_SHOT);
    ports.write8(CHANNEL_0, 0);
    ports.write8(CHANNEL_0, 0);
}
