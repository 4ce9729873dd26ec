//! The station address: from the EEPROM, or as the hardware preloaded it into RAL0/RAH0.
//!
//! EERD, 13.4.4; EEPROM map, 5.6: words 0 to 2 hold the address, low octet first. Attach only; every wait is bounded.

use wire::MacAddr;

use crate::{
    error::{Delay, Error, Polled, poll, read_checked},
    regs::{RAH_AV, Reg, RegisterIo},
    variant::EerdLayout,
};

/// EERD: start reading.
const START: u32 = 1 << 0;

/// Tries and microseconds between them: 5 ms, where the manual expects less than 1 ms.
const BUDGET: (u32, u32) = (1000, 5);

/// Reads one 16-bit word.
///
/// # Errors
/// [`Error::EepromTimeout`], [`Error::Gone`].
pub fn read_word<R: RegisterIo>(regs: &R, delay: &dyn Delay, layout: EerdLayout, word: u8) -> Result<u16, Error> {
    regs.write32(Reg::Eerd, START | u32::from(word) << layout.address_shift);
    match poll(regs, delay, Reg::Eerd, BUDGET, |eerd| eerd & layout.done != 0) {
        Polled::Done(eerd) => {
            let [_, _, low, high] = eerd.to_le_bytes();
            Ok(u16::from_le_bytes([low, high]))
        }
        Polled::TimedOut => Err(Error::EepromTimeout),
        Polled::Gone => Err(Error::Gone),
    }
}

/// Reads the station address: EEPROM words 0 to 2, else what reset loaded into RAL0/RAH0.
///
/// The register is the better source on parts whose EEPROM is virtual, and the only one without an EEPROM; but some
/// firmware leaves it empty. So: whichever holds the address of a station, the EEPROM first.
///
/// # Errors
/// [`Error::InvalidMac`], [`Error::EepromTimeout`] if additionally the EEPROM does not answer, [`Error::Gone`].
pub fn station_address<R: RegisterIo>(regs: &R, delay: &dyn Delay, layout: EerdLayout) -> Result<MacAddr, Error> {
    let stored = from_eeprom(regs, delay, layout);
    match stored {
        Ok(mac) if mac.is_station() => return Ok(mac),
        Err(Error::Gone) => return Err(Error::Gone),
        _ => {}
    }
    let preloaded = from_register(regs)?;
    if preloaded.is_station() {
        return Ok(preloaded);
    }
    Err(stored.err().unwrap_or(Error::InvalidMac))
}

fn from_eeprom<R: RegisterIo>(regs: &R, delay: &dyn Delay, layout: EerdLayout) -> Result<MacAddr, Error> {
    let mut octets = [0; 6];
    for (word, pair) in (0..).zip(octets.chunks_exact_mut(2)) {
        pair.copy_from_slice(&read_word(regs, delay, layout, word)?.to_le_bytes());
    }
    Ok(MacAddr(octets))
}

fn from_register<R: RegisterIo>(regs: &R) -> Result<MacAddr, Error> {
    let high = read_checked(regs, Reg::Rah(0))?;
    let [a, b, c, d] = regs.read32(Reg::Ral(0)).to_le_bytes();
    let [e, f, ..] = high.to_le_bytes();
    Ok(if high & RAH_AV != 0 { MacAddr([a, b, c, d, e, f]) } else { MacAddr::ZERO })
}
