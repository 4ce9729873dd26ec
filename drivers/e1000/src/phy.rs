//! The PHY's registers, through MDI Control: reading and writing, bounded.
//!
//! Key type: [`PhyReg`]. Manual: 13.4.15 (MDIC); IEEE 802.3 clause 22 for the registers. Thread context; a call takes some 64 us,
//! and 5 ms at most. One caller at a time: the adapter's flow lock, or a port that only one thread knows.

use crate::{
    error::{Delay, Polled, poll},
    regs::{Reg, RegisterIo},
};

/// Operations and outcomes of MDIC (13.4.15).
const READ: u32 = 2 << 26;
const WRITE: u32 = 1 << 26;
/// The address of the only PHY.
const ADDRESS: u32 = 1 << 21;
const READY: u32 = 1 << 28;
const ERROR: u32 = 1 << 30;
/// Time for the PHY to answer: 5 ms, where the manual speaks of 64 us.
const BUDGET: (u32, u32) = (500, 10);

/// A register of the PHY (IEEE 802.3, 22.2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PhyReg {
    /// Control.
    Control = 0,
    /// What we offer in auto-negotiation.
    Advertisement = 4,
    /// What the other end offers.
    PartnerAbility = 5,
}

/// Why the PHY did not do as it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PhyFault {
    /// It does not answer, or says that it cannot.
    Silent,
    /// The device is gone.
    Gone,
}

/// Reads a register.
pub(crate) fn read<R: RegisterIo>(regs: &R, delay: &dyn Delay, reg: PhyReg) -> Result<u16, PhyFault> {
    let [low, high, ..] = ask(regs, delay, READ | number(reg))?.to_le_bytes();
    Ok(u16::from_le_bytes([low, high]))
}

/// Writes a register.
pub(crate) fn write<R: RegisterIo>(regs: &R, delay: &dyn Delay, reg: PhyReg, value: u16) -> Result<(), PhyFault> {
    ask(regs, delay, WRITE | number(reg) | u32::from(value)).map(|_| ())
}

const fn number(reg: PhyReg) -> u32 {
    (reg as u32) << 16
}

fn ask<R: RegisterIo>(regs: &R, delay: &dyn Delay, order: u32) -> Result<u32, PhyFault> {
    regs.write32(Reg::Mdic, order | ADDRESS);
    match poll(regs, delay, Reg::Mdic, BUDGET, |mdic| mdic & READY != 0) {
        Polled::Done(mdic) if mdic & ERROR == 0 => Ok(mdic),
        Polled::Done(_) | Polled::TimedOut => Err(PhyFault::Silent),
        Polled::Gone => Err(PhyFault::Gone),
    }
}
