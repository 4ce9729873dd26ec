//! [`LocalApic`]: one processor's interrupt controller over [`ApicAccess`], the register trait that hides the mode.
//!
//! The same code drives xAPIC by memory and x2APIC by MSR; the tests drive it over a model of each. Context: any, on the
//! processor the APIC belongs to. Source: SDM volume 3, chapter 11.

use super::{
    command::{self, Ipi, Target},
    regs::{ApicReg, DIVIDE_BY_16, Lvt, SPURIOUS_ENABLE},
};

/// How the registers are reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Memory mapped, 8-bit ids.
    Xapic,
    /// By MSR, 32-bit ids.
    X2apic,
}

/// Access to the local APIC of the executing processor.
pub trait ApicAccess {
    /// Which of the two shapes the registers have.
    fn mode(&self) -> Mode;
    /// Reads a register.
    fn read(&self, reg: ApicReg) -> u32;
    /// Reads word `word` (0..8) of the in-service bits, which are 16 bytes (one MSR) apart.
    fn read_in_service(&self, word: u8) -> u32;
    /// Writes a register.
    fn write(&self, reg: ApicReg, value: u32);
    /// Writes the 64-bit command register; called in x2APIC mode only.
    fn write_command(&self, value: u64);
}

/// A command could not be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendError {
    /// In xAPIC mode ids from 255 on have no name.
    Unaddressable {
        /// The id asked for.
        apic_id: u32,
    },
    /// The previous command never left the APIC.
    Stuck,
}

/// Spins granted to the previous command before it counts as stuck; sending takes well under a microsecond.
const COMMAND_SPINS: u32 = 1_000_000;

/// The local APIC of the executing processor.
#[derive(Debug, Clone, Copy)]
pub struct LocalApic<A> {
    access: A,
}

impl<A: ApicAccess> LocalApic<A> {
    /// Wraps the registers; touches none.
    pub const fn new(access: A) -> Self {
        Self { access }
    }

    /// Which way the registers are reached.
    pub fn mode(&self) -> Mode {
        self.access.mode()
    }

    /// This processor's APIC id.
    pub fn id(&self) -> u32 {
        let raw = self.access.read(ApicReg::Id);
        match self.access.mode() {
            Mode::Xapic => raw >> 24,
            Mode::X2apic => raw,
        }
    }

    /// Puts the APIC into the state the kernel wants: software enabled, every priority accepted, the local vectors masked
    /// except the error vector, flat logical addressing where it exists.
    ///
    /// LINT0 is masked on purpose: the 8259 behind it is off. LINT1 keeps NMI delivery, as firmware wires it.
    pub fn enable(&self, spurious: u8, error: u8) {
        let a = &self.access;
        if a.mode() == Mode::Xapic {
            a.write(ApicReg::DestinationFormat, u32::MAX);
        }
        a.write(ApicReg::TaskPriority, 0);
        a.write(ApicReg::LvtTimer, Lvt::MASKED.bits());
        if self.highest_lvt() >= 4 {
            a.write(ApicReg::LvtPerformance, Lvt::MASKED.bits());
        }
        a.write(ApicReg::LvtLint0, (Lvt::MASKED | Lvt::EXT_INT).bits());
        a.write(ApicReg::LvtLint1, Lvt::NMI.bits());
        // Software enable comes before the error vector: a disabled APIC forces every LVT mask bit to one.
        a.write(ApicReg::Spurious, SPURIOUS_ENABLE | u32::from(spurious));
        a.write(ApicReg::ErrorStatus, 0);
        a.write(ApicReg::LvtError, u32::from(error));
        self.drain_in_service();
    }

    /// Index of the last local vector entry.
    fn highest_lvt(&self) -> u32 {
        (self.access.read(ApicReg::Version) >> 16) & 0xFF
    }

    /// Acknowledges what firmware left in service; a stale bit would block every lower priority for good.
    fn drain_in_service(&self) {
        for _ in 0..256 {
            let busy = (0..8).any(|word| self.access.read_in_service(word) != 0);
            if !busy {
                return;
            }
            self.end_of_interrupt();
        }
    }

    /// Ends the interrupt in service. Interrupt context, exactly once per delivered vector (never for the spurious one).
    #[inline]
    pub fn end_of_interrupt(&self) {
        self.access.write(ApicReg::EndOfInterrupt, 0);
    }

    /// Latches and returns the error bits since the last call (SDM volume 3, figure 11-9).
    pub fn take_errors(&self) -> u32 {
        self.access.write(ApicReg::ErrorStatus, 0);
        self.access.read(ApicReg::ErrorStatus) & 0xFF
    }

    /// Sends an interprocessor interrupt.
    ///
    /// xAPIC needs two writes that must not be split by an interrupt handler sending another: call with interrupts off.
    pub fn send(&self, ipi: Ipi, target: Target) -> Result<(), SendError> {
        let a = &self.access;
        if a.mode() == Mode::X2apic {
            a.write_command(command::x2apic(ipi, target));
            return Ok(());
        }
        let high = command::xapic_high(target).ok_or(match target {
            Target::One(apic_id) => SendError::Unaddressable { apic_id },
            Target::Others => SendError::Stuck,
        })?;
        self.wait_idle()?;
        a.write(ApicReg::CommandHigh, high);
        a.write(ApicReg::CommandLow, command::low(ipi, target));
        Ok(())
    }

    /// Sends a non-maskable interrupt from any context, even from an NMI between the two writes of another command: the half
    /// that one had written is put back. An unreachable processor shows as one that does not confirm.
    pub fn send_nmi_from_anywhere(&self, apic_id: u32) {
        let a = &self.access;
        if a.mode() == Mode::X2apic {
            let _ = self.send(Ipi::Nmi, Target::One(apic_id));
            return;
        }
        let interrupted = a.read(ApicReg::CommandHigh);
        let _ = self.send(Ipi::Nmi, Target::One(apic_id));
        let _ = self.wait_idle();
        a.write(ApicReg::CommandHigh, interrupted);
    }

    /// Waits until the last command has left (xAPIC; x2APIC has no such state).
    pub fn wait_idle(&self) -> Result<(), SendError> {
        if self.access.mode() == Mode::X2apic {
            return Ok(());
        }
        for _ in 0..COMMAND_SPINS {
            if self.access.read(ApicReg::CommandLow) & command::PENDING == 0 {
                return Ok(());
            }
            core::hint::spin_loop();
        }
        Err(SendError::Stuck)
    }

    /// Programs the timer entry: one-shot by count, divided by 16.
    pub fn timer_one_shot(&self, vector: u8) {
        self.access.write(ApicReg::TimerDivide, DIVIDE_BY_16);
        self.access.write(ApicReg::LvtTimer, u32::from(vector));
    }

    /// Programs the timer entry to count without delivering: for calibration.
    pub fn timer_one_shot_masked(&self) {
        self.access.write(ApicReg::TimerDivide, DIVIDE_BY_16);
        self.access.write(ApicReg::LvtTimer, Lvt::MASKED.bits());
    }

    /// Programs the timer entry: fires when the time stamp counter reaches IA32_TSC_DEADLINE.
    pub fn timer_deadline(&self, vector: u8) {
        self.access.write(ApicReg::LvtTimer, u32::from(vector) | Lvt::TSC_DEADLINE.bits());
    }

    /// Masks the timer.
    pub fn timer_mask(&self) {
        self.access.write(ApicReg::LvtTimer, Lvt::MASKED.bits());
        self.access.write(ApicReg::TimerInitial, 0);
    }

    /// Starts a one-shot count; zero stops the timer.
    #[inline]
    pub fn timer_start(&self, count: u32) {
        self.access.write(ApicReg::TimerInitial, count);
    }

    /// What is left of the count.
    pub fn timer_left(&self) -> u32 {
        self.access.read(ApicReg::TimerCurrent)
    }
}

#[cfg(test)]
mod tests;
