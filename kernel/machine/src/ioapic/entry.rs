//! One redirection table entry: encode and decode. Pure; any context. Source: 82093AA datasheet, 3.2.4.

/// When a line counts as asserted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// On a change.
    Edge,
    /// While it lasts.
    Level,
}

/// Which voltage means asserted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Polarity {
    /// Active high.
    High,
    /// Active low.
    Low,
}

/// How a line signals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signal {
    /// Edge or level.
    pub trigger: Trigger,
    /// High or low.
    pub polarity: Polarity,
}

impl Signal {
    /// A PCI interrupt pin: level, active low, shareable.
    pub const PCI: Self = Self { trigger: Trigger::Level, polarity: Polarity::Low };
    /// An ISA interrupt line: edge, active high.
    pub const ISA: Self = Self { trigger: Trigger::Edge, polarity: Polarity::High };
}

/// Mask bit in the low word.
pub const MASKED: u32 = 1 << 16;
/// Level interrupt delivered and not yet acknowledged; read-only.
pub const REMOTE_IRR: u32 = 1 << 14;
const LEVEL: u32 = 1 << 15;
const ACTIVE_LOW: u32 = 1 << 13;

/// A route: fixed delivery, physical destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Vector delivered.
    pub vector: u8,
    /// Destination APIC id; eight bits are all the entry has.
    pub apic_id: u8,
    /// How the pin signals.
    pub signal: Signal,
    /// Delivers nothing while set.
    pub masked: bool,
}

impl Entry {
    /// The low word.
    #[must_use]
    pub fn low(self) -> u32 {
        let level = if self.signal.trigger == Trigger::Level { LEVEL } else { 0 };
        let active_low = if self.signal.polarity == Polarity::Low { ACTIVE_LOW } else { 0 };
        let masked = if self.masked { MASKED } else { 0 };
        u32::from(self.vector) | level | active_low | masked
    }

    /// The high word.
    #[must_use]
    pub fn high(self) -> u32 {
        u32::from(self.apic_id) << 24
    }

    /// Reads both words back; delivery mode and status bits are ignored.
    #[must_use]
    pub fn decode(low: u32, high: u32) -> Self {
        let [vector, ..] = low.to_le_bytes();
        let [.., apic_id] = high.to_le_bytes();
        let trigger = if low & LEVEL != 0 { Trigger::Level } else { Trigger::Edge };
        let polarity = if low & ACTIVE_LOW != 0 { Polarity::Low } else { Polarity::High };
        Self { vector, apic_id, signal: Signal { trigger, polarity }, masked: low & MASKED != 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::{Entry, MASKED, Signal};

    #[test]
    fn a_pci_route_is_level_low_fixed_physical() {
        let entry = Entry { vector: 0x31, apic_id: 2, signal: Signal::PCI, masked: true };
        assert_eq!(entry.low(), 0x0001_A031);
        assert_eq!(entry.high(), 0x0200_0000);
    }

    #[test]
    fn decode_inverts_encode() {
        for signal in [Signal::PCI, Signal::ISA] {
            for masked in [false, true] {
                let entry = Entry { vector: 0x9E, apic_id: 0xA5, signal, masked };
                assert_eq!(Entry::decode(entry.low(), entry.high()), entry);
            }
        }
        assert_eq!(Entry { vector: 1, apic_id: 0, signal: Signal::ISA, masked: true }.low() & MASKED, MASKED);
    }
}
