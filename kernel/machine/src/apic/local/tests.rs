//! The local APIC over a model of its registers, in both modes; the x2APIC half has no other rehearsal under QEMU 7.2's TCG.

extern crate std;
use core::cell::{Cell, RefCell};
use std::{collections::BTreeMap, vec, vec::Vec};

use super::{ApicAccess, Ipi, LocalApic, Mode, SendError, Target};
use crate::apic::regs::{ApicReg, Lvt};

#[derive(Debug)]
struct Model {
    mode: Mode,
    values: RefCell<BTreeMap<ApicReg, u32>>,
    log: RefCell<Vec<(ApicReg, u32)>>,
    commands: RefCell<Vec<u64>>,
    in_service: Cell<u32>,
    stuck: Cell<bool>,
}

impl Model {
    fn new(mode: Mode) -> Self {
        let values = BTreeMap::from([(ApicReg::Version, 0x0006_0015)]);
        Self {
            mode,
            values: RefCell::new(values),
            log: RefCell::default(),
            commands: RefCell::default(),
            in_service: Cell::new(0),
            stuck: Cell::new(false),
        }
    }
}

impl ApicAccess for &Model {
    fn mode(&self) -> Mode {
        self.mode
    }
    fn read(&self, reg: ApicReg) -> u32 {
        let pending = u32::from(reg == ApicReg::CommandLow && self.stuck.get()) << 12;
        self.values.borrow().get(&reg).copied().unwrap_or(0) | pending
    }
    fn read_in_service(&self, word: u8) -> u32 {
        if word == 2 { self.in_service.get() } else { 0 }
    }
    fn write(&self, reg: ApicReg, value: u32) {
        let absent = [ApicReg::DestinationFormat, ApicReg::CommandHigh];
        assert!(self.mode == Mode::Xapic || !absent.contains(&reg), "{reg:?} raises #GP in x2APIC mode");
        if reg == ApicReg::EndOfInterrupt {
            let left = self.in_service.get();
            self.in_service.set(left & left.wrapping_sub(1));
        }
        self.log.borrow_mut().push((reg, value));
        self.values.borrow_mut().insert(reg, value);
    }
    fn write_command(&self, value: u64) {
        assert_eq!(self.mode, Mode::X2apic);
        self.commands.borrow_mut().push(value);
    }
}

#[test]
fn the_id_is_the_top_byte_in_xapic_and_the_whole_word_in_x2apic() {
    let x = Model::new(Mode::Xapic);
    x.values.borrow_mut().insert(ApicReg::Id, 0x0700_0000);
    assert_eq!(LocalApic::new(&x).id(), 7);
    let x2 = Model::new(Mode::X2apic);
    x2.values.borrow_mut().insert(ApicReg::Id, 0x0000_0123);
    assert_eq!(LocalApic::new(&x2).id(), 0x123);
}

#[test]
fn enable_writes_no_register_that_faults_in_x2apic_mode() {
    let model = Model::new(Mode::X2apic);
    LocalApic::new(&model).enable(0xFF, 0xFE);
    assert_eq!(model.values.borrow()[&ApicReg::Spurious], 0x1FF);
    assert_eq!(model.values.borrow()[&ApicReg::LvtError], 0xFE);
    assert_eq!(model.values.borrow()[&ApicReg::LvtTimer], Lvt::MASKED.bits());
}

#[test]
fn the_error_vector_is_written_after_software_enable() {
    let model = Model::new(Mode::Xapic);
    LocalApic::new(&model).enable(0xFF, 0xFE);
    let log = model.log.borrow();
    let at = |reg| log.iter().position(|&(r, _)| r == reg).unwrap();
    assert!(at(ApicReg::Spurious) < at(ApicReg::LvtError));
}

#[test]
fn enable_acknowledges_what_firmware_left_in_service_and_ends() {
    let model = Model::new(Mode::Xapic);
    model.in_service.set(0b1010);
    LocalApic::new(&model).enable(0xFF, 0xFE);
    assert_eq!(model.in_service.get(), 0);
}

#[test]
fn xapic_writes_the_destination_before_the_command() {
    let model = Model::new(Mode::Xapic);
    LocalApic::new(&model).send(Ipi::Fixed(0xF1), Target::One(5)).unwrap();
    let expected = vec![(ApicReg::CommandHigh, 0x0500_0000), (ApicReg::CommandLow, 0x40F1)];
    assert_eq!(*model.log.borrow(), expected);
}

#[test]
fn xapic_refuses_an_id_it_cannot_name_and_writes_nothing() {
    let model = Model::new(Mode::Xapic);
    let sent = LocalApic::new(&model).send(Ipi::Init, Target::One(256));
    assert_eq!(sent, Err(SendError::Unaddressable { apic_id: 256 }));
    assert!(model.log.borrow().is_empty());
}

#[test]
fn x2apic_sends_in_one_write() {
    let model = Model::new(Mode::X2apic);
    LocalApic::new(&model).send(Ipi::Startup(0x08), Target::One(300)).unwrap();
    assert_eq!(*model.commands.borrow(), vec![(300 << 32) | 0x4608]);
    assert!(model.log.borrow().is_empty());
}

#[test]
fn a_command_that_never_leaves_is_reported_not_waited_for() {
    let model = Model::new(Mode::Xapic);
    model.stuck.set(true);
    assert_eq!(LocalApic::new(&model).send(Ipi::Nmi, Target::Others), Err(SendError::Stuck));
}

#[test]
fn x2apic_msr_numbers_follow_the_manual() {
    assert_eq!(ApicReg::Id.msr(), 0x802);
    assert_eq!(ApicReg::EndOfInterrupt.msr(), 0x80B);
    assert_eq!(ApicReg::CommandLow.msr(), 0x830);
    assert_eq!(ApicReg::TimerInitial.msr(), 0x838);
}
