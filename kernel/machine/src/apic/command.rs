//! What goes into the interrupt command register: delivery mode, destination, and the two encodings of it.
//!
//! Source: SDM volume 3, 11.6.1 (figure 11-12) for xAPIC, 11.12.9 (figure 11-28) for x2APIC. Pure; any context.

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ipi {
    /// An ordinary interrupt on this vector.
    Fixed(u8),
    /// A non-maskable interrupt.
    Nmi,
    /// INIT: the target waits for a start-up interrupt.
    Init,
    /// Start-up: the target begins in real mode at physical page `.0`, below 1 MiB.
    Startup(u8),
}

/// Who gets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// One processor, by APIC id.
    One(u32),
    /// Every processor but the sender (SDM's shorthand 11b); works with ids above 255 too.
    Others,
}

/// Delivery status in the low half: the previous command has not left yet (xAPIC only).
pub const PENDING: u32 = 1 << 12;
const ASSERT: u32 = 1 << 14;
const OTHERS: u32 = 0b11 << 18;

impl Ipi {
    const fn bits(self) -> u32 {
        match self {
            Self::Fixed(vector) => vector as u32,
            Self::Nmi => 0b100 << 8,
            Self::Init => 0b101 << 8,
            Self::Startup(page) => (0b110 << 8) | page as u32,
        }
    }
}

/// The low 32 bits, alike in both modes.
#[must_use]
pub const fn low(ipi: Ipi, target: Target) -> u32 {
    let shorthand = match target {
        Target::One(_) => 0,
        Target::Others => OTHERS,
    };
    ipi.bits() | ASSERT | shorthand
}

/// The destination half for xAPIC, whose ids have eight bits; `None` for an id it cannot name (255 means everybody).
#[must_use]
pub fn xapic_high(target: Target) -> Option<u32> {
    match target {
        Target::One(id) if id < 0xFF => Some(id << 24),
        Target::One(_) => None,
        Target::Others => Some(0),
    }
}

/// The whole register for x2APIC, whose ids have 32 bits.
#[must_use]
pub fn x2apic(ipi: Ipi, target: Target) -> u64 {
    let destination = match target {
        Target::One(id) => u64::from(id) << 32,
        Target::Others => 0,
    };
    destination | u64::from(low(ipi, target))
}

#[cfg(test)]
mod tests {
    use super::{Ipi, Target, low, x2apic, xapic_high};

    #[test]
    fn startup_carries_the_page_and_asserts() {
        assert_eq!(low(Ipi::Startup(0x9A), Target::One(3)), 0x0000_469A);
        assert_eq!(low(Ipi::Init, Target::One(3)), 0x0000_4500);
        assert_eq!(low(Ipi::Nmi, Target::Others), 0x000C_4400);
        assert_eq!(low(Ipi::Fixed(0xF1), Target::Others), 0x000C_40F1);
    }

    #[test]
    fn xapic_cannot_name_an_id_of_255_or_more() {
        assert_eq!(xapic_high(Target::One(254)), Some(0xFE00_0000));
        assert_eq!(xapic_high(Target::One(255)), None);
        assert_eq!(xapic_high(Target::One(300)), None);
    }

    #[test]
    fn x2apic_names_ids_above_255() {
        assert_eq!(x2apic(Ipi::Startup(8), Target::One(0x1_0004)), 0x0001_0004_0000_4608);
        assert_eq!(x2apic(Ipi::Fixed(0x40), Target::Others), 0x000C_4040);
    }
}
