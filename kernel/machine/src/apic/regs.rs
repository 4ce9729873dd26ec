//! The local APIC's registers: offsets, and the values that go into them.
//!
//! One enumeration serves both modes: the xAPIC register at byte offset `r` is the x2APIC MSR `0x800 + r / 16`
//! (Intel SDM volume 3, 11.12.1.2, table 11-6). Only the interrupt command register differs in shape.

use bitflags::bitflags;

/// Byte offset of a register in the xAPIC page (SDM volume 3, table 11-1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u16)]
pub enum ApicReg {
    /// Local APIC id (ID).
    Id = 0x020,
    /// Version and highest local vector entry (VER).
    Version = 0x030,
    /// Task priority (TPR).
    TaskPriority = 0x080,
    /// End of interrupt (EOI).
    EndOfInterrupt = 0x0B0,
    /// Logical destination (LDR); read-only in x2APIC mode.
    LogicalDestination = 0x0D0,
    /// Destination format (DFR); does not exist in x2APIC mode.
    DestinationFormat = 0x0E0,
    /// Spurious interrupt vector and software enable (SVR).
    Spurious = 0x0F0,
    /// First of eight in-service registers (ISR).
    InService = 0x100,
    /// First of eight interrupt request registers (IRR).
    Request = 0x200,
    /// Error status (ESR); written before it is read.
    ErrorStatus = 0x280,
    /// Interrupt command, low half (ICR); the whole 64-bit register in x2APIC mode.
    CommandLow = 0x300,
    /// Interrupt command, destination half (ICR); xAPIC only.
    CommandHigh = 0x310,
    /// Local vector: timer.
    LvtTimer = 0x320,
    /// Local vector: performance counters.
    LvtPerformance = 0x340,
    /// Local vector: pin LINT0.
    LvtLint0 = 0x350,
    /// Local vector: pin LINT1.
    LvtLint1 = 0x360,
    /// Local vector: APIC error.
    LvtError = 0x370,
    /// Timer's initial count.
    TimerInitial = 0x380,
    /// Timer's current count.
    TimerCurrent = 0x390,
    /// Timer's divider.
    TimerDivide = 0x3E0,
}

impl ApicReg {
    /// Byte offset in the xAPIC page.
    #[must_use]
    pub const fn offset(self) -> usize {
        self as usize
    }

    /// MSR number in x2APIC mode.
    #[must_use]
    pub const fn msr(self) -> u32 {
        0x800 + (self as u32 >> 4)
    }
}

bitflags! {
    /// Contents of a local vector table entry beside its vector (SDM volume 3, figure 11-8).
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Lvt: u32 {
        /// Delivery mode NMI.
        const NMI = 0b100 << 8;
        /// Delivery mode ExtINT: the 8259 supplies the vector.
        const EXT_INT = 0b111 << 8;
        /// The pin is active low.
        const ACTIVE_LOW = 1 << 13;
        /// The pin is level triggered.
        const LEVEL = 1 << 15;
        /// The entry delivers nothing.
        const MASKED = 1 << 16;
        /// Timer only: reload at zero.
        const PERIODIC = 0b01 << 17;
        /// Timer only: fire when the time stamp counter passes IA32_TSC_DEADLINE.
        const TSC_DEADLINE = 0b10 << 17;
    }
}

bitflags! {
    /// IA32_APIC_BASE (SDM volume 3, 11.4.4 and 11.12.1).
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct ApicBase: u64 {
        /// This is the bootstrap processor.
        const BSP = 1 << 8;
        /// x2APIC mode.
        const X2APIC = 1 << 10;
        /// The APIC is on at all.
        const ENABLED = 1 << 11;
    }
}

/// The MSR of [`ApicBase`].
pub const IA32_APIC_BASE: u32 = 0x1B;
/// Deadline of the local timer in time stamp counts; zero disarms it (SDM volume 3, 11.5.4.1).
pub const IA32_TSC_DEADLINE: u32 = 0x6E0;
/// Software enable in [`ApicReg::Spurious`].
pub const SPURIOUS_ENABLE: u32 = 1 << 8;
/// Divide by 16 in [`ApicReg::TimerDivide`]: bits 0, 1 and 3 hold the logarithm.
pub const DIVIDE_BY_16: u32 = 0b0011;

/// Physical address of the xAPIC page in an IA32_APIC_BASE value.
#[must_use]
pub const fn base_address(base: ApicBase) -> u64 {
    base.bits() & 0x000F_FFFF_FFFF_F000
}
