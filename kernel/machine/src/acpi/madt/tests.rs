//! MADT interpretation: what machines have, and what broken firmware has.

extern crate std;
use std::vec::Vec;

use super::{IoApicInfo, Madt, Override, Polarity, Processor, Signal, Trigger};

fn madt(entries: &[&[u8]]) -> Vec<u8> {
    let mut bytes = std::vec![0; 36];
    bytes.extend(0xFEE0_0000u32.to_le_bytes());
    bytes.extend(1u32.to_le_bytes());
    bytes.extend(entries.concat());
    bytes
}

const CPU3: [u8; 8] = [0, 8, 1, 3, 1, 0, 0, 0];
const X2_CPU_300: [u8; 16] = [9, 16, 0, 0, 0x2C, 1, 0, 0, 1, 0, 0, 0, 7, 0, 0, 0];

#[test]
fn local_apics_and_x2apics_become_processors_by_id_not_by_index() {
    let parsed = Madt::parse(&madt(&[&CPU3, &X2_CPU_300])).unwrap();
    let expected = [Processor { apic_id: 3, enabled: true }, Processor { apic_id: 300, enabled: true }];
    assert_eq!(parsed.processors, expected);
    assert!(parsed.has_8259);
}

#[test]
fn a_processor_listed_in_both_forms_is_one_processor() {
    let twice = [9, 16, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 7, 0, 0, 0];
    assert_eq!(Madt::parse(&madt(&[&CPU3, &twice])).unwrap().processors.len(), 1);
}

#[test]
fn disabled_and_unused_slots_are_not_started() {
    let capable = [0, 8, 1, 4, 2, 0, 0, 0];
    let unused = [0, 8, 1, 0xFF, 1, 0, 0, 0];
    let parsed = Madt::parse(&madt(&[&capable, &unused])).unwrap();
    assert_eq!(parsed.processors, [Processor { apic_id: 4, enabled: false }]);
}

#[test]
fn overrides_move_the_timer_and_make_interrupts_level() {
    let timer = [2, 10, 0, 0, 2, 0, 0, 0, 0, 0];
    let pci_link = [2, 10, 0, 11, 11, 0, 0, 0, 0x0D, 0];
    let parsed = Madt::parse(&madt(&[&timer, &pci_link])).unwrap();
    assert_eq!(parsed.isa(0), (2, Signal::ISA));
    let level_high = Signal { trigger: Trigger::Level, polarity: Polarity::High };
    assert_eq!(parsed.isa(11), (11, level_high));
    assert_eq!(parsed.isa(4), (4, Signal::ISA));
    assert_eq!(parsed.signal_of(11), Some(level_high));
    assert_eq!(parsed.signal_of(16), None);
    assert_eq!(parsed.overrides[0], Override { irq: 0, gsi: 2, signal: Signal::ISA });
}

#[test]
fn io_apics_and_the_64_bit_local_address_are_taken() {
    let io = [1, 12, 0, 0, 0, 0, 0xC0, 0xFE, 24, 0, 0, 0];
    let address = [5, 12, 0, 0, 0, 0, 0xE0, 0xFE, 1, 0, 0, 0];
    let parsed = Madt::parse(&madt(&[&io, &address])).unwrap();
    assert_eq!(parsed.io_apics, [IoApicInfo { address: 0xFEC0_0000, gsi_base: 24 }]);
    assert_eq!(parsed.local_apic, 0x1_FEE0_0000);
}

#[test]
fn an_entry_of_length_zero_ends_the_table_instead_of_looping() {
    let parsed = Madt::parse(&madt(&[&CPU3, &[0, 0, 9, 9], &X2_CPU_300])).unwrap();
    assert_eq!((parsed.processors.len(), parsed.malformed), (1, 1));
}

#[test]
fn an_entry_past_the_end_or_too_short_for_its_type_is_counted() {
    let past = Madt::parse(&madt(&[&CPU3, &[0, 8, 1, 4]])).unwrap();
    assert_eq!((past.processors.len(), past.malformed), (1, 1));
    let short = Madt::parse(&madt(&[&[1, 4, 0, 0], &CPU3])).unwrap();
    assert_eq!((short.io_apics.len(), short.processors.len(), short.malformed), (0, 1, 1));
    assert!(Madt::parse(&[0; 40]).is_err());
}
