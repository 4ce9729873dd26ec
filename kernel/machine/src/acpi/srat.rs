//! SRAT: which processors and which memory lie close together. Pure; any context.
//!
//! Source: ACPI 6.5, 5.2.16.

use alloc::vec::Vec;

use super::{
    bytes::{byte, long, word},
    tables::HEADER,
};

/// A range of memory and its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeMemory {
    /// First octet.
    pub start: u64,
    /// First octet beyond.
    pub end: u64,
    /// The proximity domain.
    pub node: u32,
}

/// The table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Srat {
    /// Processors by APIC id, with their nodes.
    pub processors: Vec<(u32, u32)>,
    /// Memory.
    pub memory: Vec<NodeMemory>,
}

const ENABLED: u32 = 1 << 0;

impl Srat {
    /// Interprets an "SRAT" table; entries that are too short for their type, or not enabled, are left out.
    #[must_use]
    pub fn parse(table: &[u8]) -> Self {
        let mut srat = Self::default();
        let mut rest = table.get(HEADER + 12..).unwrap_or_default();
        // A length below 2 would never advance.
        while let Some(length) = byte(rest, 1).map(usize::from).filter(|&length| length >= 2) {
            let Some((entry, tail)) = rest.split_at_checked(length) else { break };
            let _ = srat.entry(entry);
            rest = tail;
        }
        srat
    }

    fn entry(&mut self, entry: &[u8]) -> Option<()> {
        match byte(entry, 0)? {
            0 if word(entry, 4)? & ENABLED != 0 => {
                // The node's low octet, then the three others.
                let [_, high @ ..] = word(entry, 8)?.to_le_bytes();
                let node = u32::from_le_bytes([byte(entry, 2)?, high[0], high[1], high[2]]);
                self.processors.push((u32::from(byte(entry, 3)?), node));
            }
            1 if word(entry, 28)? & ENABLED != 0 => {
                let (start, length) = (long(entry, 8)?, long(entry, 16)?);
                let end = start.checked_add(length).filter(|&end| end > start)?;
                self.memory.push(NodeMemory { start, end, node: word(entry, 2)? });
            }
            2 if word(entry, 12)? & ENABLED != 0 => self.processors.push((word(entry, 8)?, word(entry, 4)?)),
            _ => {}
        }
        Some(())
    }

    /// The node of a processor.
    #[must_use]
    pub fn node_of(&self, apic_id: u32) -> Option<u32> {
        self.processors.iter().find(|(id, _)| *id == apic_id).map(|(_, node)| *node)
    }

    /// The nodes there are, ascending.
    #[must_use]
    pub fn nodes(&self) -> Vec<u32> {
        let (of_processors, of_memory) = (self.processors.iter().map(|(_, node)| *node), self.memory.iter());
        let mut nodes: Vec<u32> = of_processors.chain(of_memory.map(|memory| memory.node)).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }

    /// The node whose memory an address is in.
    #[must_use]
    pub fn node_at(&self, address: u64) -> Option<u32> {
        self.memory.iter().find(|memory| (memory.start..memory.end).contains(&address)).map(|memory| memory.node)
    }

    /// The largest range of a node's memory.
    #[must_use]
    pub fn largest_of(&self, node: u32) -> Option<NodeMemory> {
        let own = self.memory.iter().filter(|memory| memory.node == node);
        own.copied().max_by_key(|memory| memory.end - memory.start)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::{NodeMemory, Srat};
    use std::vec::Vec;

    fn local_apic(id: u8, node: u32, flags: u32) -> Vec<u8> {
        let [low, high @ ..] = node.to_le_bytes();
        let mut entry = std::vec![0, 16, low, id];
        entry.extend(flags.to_le_bytes());
        entry.push(0);
        entry.extend(high);
        entry.resize(16, 0);
        entry
    }

    fn x2apic(id: u32, node: u32) -> Vec<u8> {
        let mut entry = std::vec![2, 24, 0, 0];
        entry.extend(node.to_le_bytes());
        entry.extend(id.to_le_bytes());
        entry.extend(1u32.to_le_bytes());
        entry.resize(24, 0);
        entry
    }

    fn memory(start: u64, length: u64, node: u32, flags: u32) -> Vec<u8> {
        let mut entry = std::vec![1, 40];
        entry.extend(node.to_le_bytes());
        entry.extend([0, 0]);
        entry.extend(start.to_le_bytes());
        entry.extend(length.to_le_bytes());
        entry.extend([0; 4]);
        entry.extend(flags.to_le_bytes());
        entry.resize(40, 0);
        entry
    }

    fn table(entries: &[Vec<u8>]) -> Vec<u8> {
        let mut table = std::vec![0u8; 48];
        entries.iter().for_each(|entry| table.extend(entry));
        table
    }

    #[test]
    fn two_sockets_with_a_hole_and_high_apic_ids() {
        let srat = Srat::parse(&table(&[
            local_apic(0, 0, 1),
            local_apic(2, 0, 1),
            local_apic(4, 0, 0),
            x2apic(0x120, 1),
            memory(0, 0x8000_0000, 0, 1),
            memory(0x1_0000_0000, 0xF_8000_0000, 0, 1),
            memory(0x10_8000_0000, 0x10_0000_0000, 1, 1),
            memory(0x20_8000_0000, 0x10_0000_0000, 2, 0),
        ]));
        assert_eq!(srat.nodes(), [0, 1], "what is not enabled does not count");
        assert_eq!((srat.node_of(2), srat.node_of(0x120), srat.node_of(4)), (Some(0), Some(1), None));
        let largest = NodeMemory { start: 0x1_0000_0000, end: 0x10_8000_0000, node: 0 };
        assert_eq!((srat.largest_of(0), srat.largest_of(2)), (Some(largest), None));
        let at = [0x7FFF_FFFF, 0x8000_0000, 0x10_8000_0000, 0x20_8000_0000].map(|address| srat.node_at(address));
        assert_eq!(at, [Some(0), None, Some(1), None]);
    }

    #[test]
    fn a_node_has_32_bits_and_memory_does_not_wrap() {
        let srat = Srat::parse(&table(&[local_apic(1, 0x0102_0304, 1), memory(u64::MAX - 4095, 8192, 1, 1)]));
        assert_eq!(srat.processors, [(1, 0x0102_0304)]);
        assert!(srat.memory.is_empty());
    }

    #[test]
    fn every_truncation_parses_and_a_length_of_zero_ends_the_table() {
        let mut whole = table(&[local_apic(0, 0, 1), memory(0, 4096, 0, 1), x2apic(1, 1)]);
        for length in 0..=whole.len() {
            let _ = Srat::parse(&whole[..length]);
        }
        whole[49] = 0;
        assert_eq!(Srat::parse(&whole), Srat::default());
    }
}
