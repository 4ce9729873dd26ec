//! Table discovery over a model of physical memory, whole and damaged.

extern crate std;
use std::{boxed::Box, collections::BTreeMap, vec::Vec};

use super::{AcpiError, PhysicalMemory, Signature, Tables};

/// Firmware memory made of leaked pieces.
#[derive(Default)]
pub(crate) struct Memory(pub(crate) BTreeMap<u64, &'static [u8]>);

impl PhysicalMemory for Memory {
    fn bytes(&self, address: u64, length: usize) -> Option<&'static [u8]> {
        let (&start, piece) = self.0.range(..=address).next_back()?;
        let offset = usize::try_from(address - start).ok()?;
        piece.get(offset..offset.checked_add(length)?)
    }
}

impl Memory {
    pub(crate) fn put(&mut self, address: u64, bytes: Vec<u8>) {
        self.0.insert(address, Box::leak(bytes.into_boxed_slice()));
    }
}

fn fix(bytes: &mut [u8], at: usize) {
    bytes[at] = 0;
    let sum = bytes.iter().fold(0u8, |sum, &byte| sum.wrapping_add(byte));
    bytes[at] = sum.wrapping_neg();
}

/// A table with a right header and checksum around `body`.
pub(crate) fn table(signature: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let mut bytes = signature.to_vec();
    bytes.extend(u32::try_from(36 + body.len()).unwrap().to_le_bytes());
    bytes.resize(36, 1);
    bytes.extend(body);
    fix(&mut bytes, 9);
    bytes
}

fn rsdp(revision: u8, rsdt: u32, xsdt: u64) -> Vec<u8> {
    let mut bytes = b"RSD PTR ".to_vec();
    bytes.push(0);
    bytes.extend(b"SLUICE");
    bytes.push(revision);
    bytes.extend(rsdt.to_le_bytes());
    fix(&mut bytes, 8);
    bytes.extend(36u32.to_le_bytes());
    bytes.extend(xsdt.to_le_bytes());
    bytes.resize(36, 0);
    fix(&mut bytes, 32);
    bytes
}

fn machine(revision: u8) -> Memory {
    let mut memory = Memory::default();
    memory.put(0xF_0000, rsdp(revision, 0x1000, 0x2000));
    memory.put(0x1000, table(b"RSDT", &0x3000u32.to_le_bytes()));
    let mut entries = 0x3000u64.to_le_bytes().to_vec();
    entries.extend(0x4000u64.to_le_bytes());
    memory.put(0x2000, table(b"XSDT", &entries));
    memory.put(0x3000, table(b"APIC", &[0; 8]));
    memory.put(0x4000, table(b"HPET", &[0; 20]));
    memory
}

#[test]
fn revision_2_follows_the_xsdt_and_revision_0_the_rsdt() {
    assert_eq!(Tables::discover(&machine(2), 0xF_0000).unwrap().signatures().count(), 2);
    assert_eq!(Tables::discover(&machine(0), 0xF_0000).unwrap().signatures().count(), 1);
}

#[test]
fn a_table_with_a_wrong_checksum_is_left_out_and_named() {
    let mut memory = machine(2);
    let mut broken = table(b"HPET", &[0; 20]);
    broken[40] ^= 1;
    memory.put(0x4000, broken);
    let tables = Tables::discover(&memory, 0xF_0000).unwrap();
    assert!(tables.find(*b"HPET").is_none());
    assert!(tables.find(*b"APIC").is_some());
    assert_eq!(tables.rejected, [(0x4000, AcpiError::BadChecksum { signature: Signature(*b"HPET") })]);
}

#[test]
fn impossible_lengths_are_refused() {
    for length in [0u32, 35, u32::MAX] {
        let mut memory = machine(2);
        let mut broken = table(b"HPET", &[0; 20]);
        broken[4..8].copy_from_slice(&length.to_le_bytes());
        memory.put(0x4000, broken);
        let tables = Tables::discover(&memory, 0xF_0000).unwrap();
        assert_eq!(tables.rejected[0].1, AcpiError::BadLength { signature: Signature(*b"HPET") });
    }
}

#[test]
fn no_rsdp_and_a_dangling_root_are_errors() {
    assert_eq!(Tables::discover(&machine(2), 0x3000).err(), Some(AcpiError::NoRsdp));
    let mut memory = machine(2);
    memory.0.remove(&0x1000);
    memory.0.remove(&0x2000);
    assert!(matches!(Tables::discover(&memory, 0xF_0000), Err(AcpiError::Unreadable { address: 0x2000 })));
}

#[test]
fn an_entry_pointing_nowhere_costs_only_itself() {
    let mut memory = machine(2);
    memory.0.remove(&0x4000);
    let tables = Tables::discover(&memory, 0xF_0000).unwrap();
    assert!(tables.find(*b"APIC").is_some());
    assert_eq!(tables.rejected, [(0x4000, AcpiError::Unreadable { address: 0x4000 })]);
}
