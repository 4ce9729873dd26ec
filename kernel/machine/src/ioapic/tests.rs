//! I/O APICs over a model chip.

extern crate std;
use std::{cell::RefCell, vec, vec::Vec};

use super::{Entry, IoApic, IoApicError, IoApicSet, Registers, Signal, Span};

#[derive(Debug)]
struct Model {
    selected: RefCell<u32>,
    words: RefCell<Vec<u32>>,
    version: u32,
}

fn chip(pins: u32) -> Model {
    Model {
        selected: RefCell::new(0),
        words: RefCell::new(vec![0; 2 * pins as usize]),
        version: ((pins - 1) << 16) | 0x20,
    }
}

impl Registers for Model {
    fn read32(&self, offset: usize) -> u32 {
        assert_eq!(offset, 0x10, "only the data register is readable");
        match *self.selected.borrow() {
            1 => self.version,
            register => self.words.borrow()[register as usize - 0x10],
        }
    }
    fn write32(&self, offset: usize, value: u32) {
        if offset == 0 {
            *self.selected.borrow_mut() = value;
        } else {
            let index = *self.selected.borrow() as usize - 0x10;
            let read_only = (1 << 12) | (1 << 14);
            let keep = self.words.borrow()[index] & read_only;
            self.words.borrow_mut()[index] = keep | (value & !read_only);
        }
    }
}

fn two() -> IoApicSet<Model> {
    IoApicSet::new([IoApic::new(chip(24), 0).unwrap(), IoApic::new(chip(32), 24).unwrap()])
}

#[test]
fn every_pin_is_masked_at_the_start() {
    let set = two();
    assert!((0..56).all(|gsi| set.is_masked(gsi).unwrap()));
    let spans: Vec<Span> = set.spans().collect();
    assert_eq!(spans, [Span { gsi_base: 0, pins: 24 }, Span { gsi_base: 24, pins: 32 }]);
}

#[test]
fn a_gsi_finds_its_chip_and_pin() {
    let set = two();
    set.route(24, 0x40, 1, Signal::PCI).unwrap();
    set.route(23, 0x41, 2, Signal::ISA).unwrap();
    assert_eq!(set.entry(24).unwrap(), Entry { vector: 0x40, apic_id: 1, signal: Signal::PCI, masked: true });
    assert_eq!(set.entry(23).unwrap().vector, 0x41);
    assert_eq!(set.route(56, 0x42, 0, Signal::PCI), Err(IoApicError::NoSuchGsi { gsi: 56 }));
}

#[test]
fn unmask_and_mask_change_one_bit_of_one_pin() {
    let set = two();
    set.route(10, 0x33, 0, Signal::PCI).unwrap();
    set.unmask(10).unwrap();
    assert!(!set.is_masked(10).unwrap());
    assert_eq!(set.entry(10).unwrap().vector, 0x33);
    assert!(set.is_masked(9).unwrap() && set.is_masked(11).unwrap());
    set.mask(10).unwrap();
    assert!(set.is_masked(10).unwrap());
}

#[test]
fn remote_irr_is_seen_and_survives_masking() {
    let set = two();
    set.route(11, 0x33, 0, Signal::PCI).unwrap();
    set.with(11, |chip, pin| chip.registers.words.borrow_mut()[2 * pin as usize] |= 1 << 14).unwrap();
    set.mask(11).unwrap();
    assert!(set.in_flight(11).unwrap());
    assert!(!set.in_flight(12).unwrap());
}

#[test]
fn an_apic_id_beyond_eight_bits_is_refused_not_truncated() {
    assert_eq!(two().route(3, 0x40, 256, Signal::PCI), Err(IoApicError::Unaddressable { apic_id: 256 }));
    assert_eq!(two().route(3, 0x40, 255, Signal::PCI), Err(IoApicError::Unaddressable { apic_id: 255 }));
}

#[test]
fn an_address_where_nothing_answers_is_an_error() {
    let mut absent = chip(24);
    absent.version = u32::MAX;
    assert_eq!(IoApic::new(absent, 24).err(), Some(IoApicError::Absent { gsi_base: 24 }));
}
