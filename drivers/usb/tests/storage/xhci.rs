//! A modelled controller with one stick at one of its ports, behind a software IOMMU: [`Xhci`], and what is wrong with it ([`Fault`]).
//!
//! It does at once what it is told. Packets are counted at both ends of a bulk endpoint, as toggles are: ends that
//! disagree do not hear each other.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
};

use nic_model::Iommu;
use usb::Host;

use crate::model::Stick;

pub(crate) const OP: usize = 0x20;
const EXTENDED: usize = 0x800;
const RUNTIME: usize = 0x1000;
const DOORBELLS: usize = 0x1800;
pub(crate) const WINDOW: usize = 0x2000;
pub(crate) const PORTS: u8 = 4;

/// Bits of PORTSC.
const CCS: u32 = 1 << 0;
const PED: u32 = 1 << 1;
const PR: u32 = 1 << 4;
const PP: u32 = 1 << 9;
const WRC: u32 = 1 << 19;
const PRC: u32 = 1 << 21;
const CHANGES: u32 = 0x7F << 17;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// Its reset does not end.
    StuckReset,
    /// It does not halt, not even by a reset.
    NeverHalts,
    /// It does not start.
    NeverRuns,
    /// It answers no command.
    SilentCommands,
    /// It refuses commands of this type with "TRB error".
    Refuses(u32),
    /// It cannot reach memory as soon as it is to do anything.
    HostError,
    /// It answers a slot that there is not.
    OddSlot,
    /// The port never comes out of its reset.
    PortReset,
    /// All its registers read ones.
    Gone,
    /// Firmware does not give it up.
    FirmwareHolds,
}

/// What it looks like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Build {
    pub(crate) wide_contexts: bool,
    pub(crate) scratchpads: u32,
    pub(crate) usb3: bool,
    pub(crate) full_speed: bool,
    pub(crate) running: bool,
    /// The stick is at the third port of a hub.
    pub(crate) hub: bool,
}

pub(crate) const PLAIN: Build =
    Build { wide_contexts: false, scratchpads: 0, usb3: true, full_speed: false, running: false, hub: false };

#[derive(Debug, Default)]
pub(crate) struct Endpoint {
    pub(crate) next: u64,
    pub(crate) cycle: bool,
    pub(crate) halted: bool,
    pub(crate) packets: u64,
}

#[derive(Debug)]
pub(crate) struct State {
    /// Registers that just keep what is written.
    pub(crate) kept: BTreeMap<usize, u32>,
    pub(crate) portsc: [u32; PORTS as usize],
    pub(crate) legacy: [u32; 2],
    pub(crate) command: Endpoint,
    pub(crate) event: (u64, usize, bool),
    pub(crate) endpoints: BTreeMap<u8, Endpoint>,
    /// Packets as the device counts them.
    pub(crate) device_packets: BTreeMap<u8, u64>,
    pub(crate) configured: bool,
    pub(crate) slots: u8,
    /// Status and change of the hub's port.
    pub(crate) hub_port: [u8; 2],
    pub(crate) setup: [u8; 8],
    pub(crate) reply: Vec<u8>,
}

pub(crate) struct Xhci {
    pub(crate) iommu: &'static Iommu,
    pub(crate) build: Build,
    pub(crate) fault: Cell<Fault>,
    pub(crate) cancelled: Cell<bool>,
    /// How often a device does not take its address before it does.
    pub(crate) misses: Cell<u32>,
    pub(crate) paused: Cell<u64>,
    pub(crate) stick: RefCell<Stick>,
    /// Capability registers that read otherwise.
    pub(crate) forged: Cell<Option<(usize, u32)>>,
    state: RefCell<State>,
}

impl Xhci {
    pub(crate) fn new(build: Build, stick: Stick) -> Self {
        let mut portsc = [PP; PORTS as usize];
        // A link of USB 3 has trained itself.
        portsc[1] = if build.usb3 { PP | CCS | PED | 4 << 10 } else { PP | CCS | 7 << 5 };
        let usbcmd = u32::from(build.running);
        let state = State {
            kept: BTreeMap::from([(OP, usbcmd)]),
            portsc,
            legacy: [1 | (0x10 << 8) | 1 << 16, 0xE000_E011],
            command: Endpoint::default(),
            event: (0, 0, true),
            endpoints: BTreeMap::new(),
            device_packets: BTreeMap::new(),
            configured: false,
            slots: 0,
            hub_port: [1, 1],
            setup: [0; 8],
            reply: Vec::new(),
        };
        Self {
            iommu: Iommu::leak(),
            build,
            fault: Cell::new(Fault::None),
            cancelled: Cell::new(false),
            misses: Cell::new(0),
            paused: Cell::new(0),
            stick: RefCell::new(stick),
            forged: Cell::new(None),
            state: RefCell::new(state),
        }
    }

    /// The firmware's semaphore and its SMI enables.
    pub(crate) fn legacy(&self) -> [u32; 2] {
        self.state.borrow().legacy
    }

    /// Octets of a context.
    pub(crate) fn context(&self) -> u64 {
        if self.build.wide_contexts { 64 } else { 32 }
    }

    pub(crate) fn word64(&self, address: u64) -> u64 {
        let octets = self.iommu.read(address, 8).unwrap_or_else(|| vec![0; 8]);
        u64::from_le_bytes(octets.try_into().unwrap())
    }

    pub(crate) fn word(&self, address: u64) -> u32 {
        let octets = self.iommu.read(address, 4).unwrap_or_else(|| vec![0; 4]);
        u32::from_le_bytes(octets.try_into().unwrap())
    }

    fn status(&self, state: &State) -> u32 {
        let runs = state.kept.get(&OP).copied().unwrap_or(0) & 1 != 0;
        let failed = self.fault.get() == Fault::HostError && state.command.next != 0 && runs;
        let halted = match self.fault.get() {
            Fault::NeverHalts => false,
            Fault::NeverRuns => true,
            _ => !runs,
        };
        u32::from(halted) | u32::from(failed) << 2
    }

    fn write_port(&self, port: usize, value: u32, state: &mut State) {
        let status = &mut state.portsc[port];
        assert!(value & PED == 0, "a one would disable the port");
        *status &= !(value & CHANGES);
        *status = *status & !PP | value & PP;
        if value & PR != 0 && self.fault.get() == Fault::PortReset {
            *status |= PR;
        } else if value & PR != 0 && *status & CCS != 0 {
            // A hub is faster than what is behind it.
            let speed = if self.build.full_speed && !self.build.hub { 1 } else { 3 };
            *status = *status & !(0xF << 10) & !(0xF << 5) | PED | PRC | speed << 10;
        }
        if value & 1 << 31 != 0 {
            *status |= PED | PRC | WRC;
        }
    }
}

impl Host for &Xhci {
    fn window(&self) -> usize {
        WINDOW
    }

    fn read32(&self, offset: usize) -> u32 {
        assert!(offset.is_multiple_of(4) && offset < WINDOW, "register {offset:#x}");
        if self.fault.get() == Fault::Gone {
            return u32::MAX;
        }
        if let Some((_, value)) = self.forged.get().filter(|(at, _)| *at == offset) {
            return value;
        }
        let mut state = self.state.borrow_mut();
        let ports = OP + 0x400..OP + 0x400 + usize::from(PORTS) * 0x10;
        match offset {
            0x00 => 0x0100_0020,
            0x04 => u32::from(PORTS) << 24 | 1 << 8 | 8,
            0x08 => (self.build.scratchpads & 0x1F) << 27,
            0x10 => u32::try_from(EXTENDED / 4).unwrap() << 16 | u32::from(self.build.wide_contexts) << 2 | 1,
            0x14 => u32::try_from(DOORBELLS).unwrap(),
            0x18 => u32::try_from(RUNTIME).unwrap(),
            at if at == OP + 0x04 => self.status(&state),
            at if at == OP + 0x08 => 1,
            at if ports.contains(&at) => state.portsc[(at - ports.start) / 0x10],
            EXTENDED => {
                // Firmware lets go once it was asked.
                if state.legacy[0] & 1 << 24 != 0 && self.fault.get() != Fault::FirmwareHolds {
                    state.legacy[0] &= !(1 << 16);
                }
                state.legacy[0]
            }
            at if at == EXTENDED + 4 => state.legacy[1],
            at if at == EXTENDED + 0x40 => 2 | 0x10 << 8 | if self.build.usb3 { 3 << 24 } else { 2 << 24 },
            at if at == EXTENDED + 0x48 => 1 | u32::from(PORTS) << 8,
            at if at == EXTENDED + 0x80 => 0,
            at => state.kept.get(&at).copied().unwrap_or(0),
        }
    }

    fn write32(&self, offset: usize, value: u32) {
        assert!(offset.is_multiple_of(4) && offset < WINDOW, "register {offset:#x}");
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        let ports = OP + 0x400..OP + 0x400 + usize::from(PORTS) * 0x10;
        match offset {
            OP => {
                let stuck = self.fault.get() == Fault::StuckReset;
                if value & 2 != 0 {
                    (state.command, state.endpoints) = (Endpoint::default(), BTreeMap::new());
                }
                // A reset ends at once, or never.
                state.kept.insert(OP, if value & 2 != 0 && stuck { 2 } else { value & 1 });
                if value & 1 != 0 {
                    let half = |at: usize| u64::from(state.kept.get(&at).copied().unwrap_or(0));
                    let commands = half(OP + 0x18) | half(OP + 0x1C) << 32;
                    state.command =
                        Endpoint { next: commands & !0x3F, cycle: commands & 1 != 0, ..Endpoint::default() };
                    let table = half(RUNTIME + 0x30) | half(RUNTIME + 0x34) << 32;
                    assert_eq!(self.word(table + 8), 256, "blocks of the event ring");
                    state.event = (self.word64(table), 0, true);
                    if self.build.scratchpads > 0 {
                        let list = self.word64(self.dcbaap(state));
                        for pad in 0..self.build.scratchpads {
                            self.iommu.write(self.word64(list + u64::from(pad) * 8), &[0x77; 4096]);
                        }
                    }
                }
            }
            EXTENDED => state.legacy[0] = value,
            at if at == EXTENDED + 4 => state.legacy[1] = value & 0x1FFF_FFFF,
            DOORBELLS => self.commands(state),
            at if (DOORBELLS + 4..DOORBELLS + 32).contains(&at) => {
                let slot = u8::try_from((at - DOORBELLS) / 4).unwrap();
                self.transfer(state, slot, u8::try_from(value).unwrap());
            }
            at if ports.contains(&at) => self.write_port((at - ports.start) / 0x10, value, state),
            at => {
                state.kept.insert(at, value);
            }
        }
    }

    fn pause(&self, micros: u32) {
        self.paused.set(self.paused.get() + u64::from(micros));
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled.get()
    }
}
