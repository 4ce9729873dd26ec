//! A modelled controller with one stick at one of its ports, behind a software IOMMU: [`Xhci`], and what is wrong with it ([`Fault`]).
//!
//! It does at once what it is told. Packets are counted at both ends of a bulk endpoint, as toggles are: ends that
//! disagree do not hear each other.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
};

use nic_model::Iommu;
use usb::{Error, Host, Pipes, Request};

use crate::model::Stick;

const OP: usize = 0x20;
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
}

pub(crate) const PLAIN: Build =
    Build { wide_contexts: false, scratchpads: 0, usb3: true, full_speed: false, running: false };

#[derive(Debug, Default)]
struct Endpoint {
    next: u64,
    cycle: bool,
    halted: bool,
    packets: u64,
}

#[derive(Debug)]
struct State {
    /// Registers that just keep what is written.
    kept: BTreeMap<usize, u32>,
    portsc: [u32; PORTS as usize],
    legacy: [u32; 2],
    command: Endpoint,
    event: (u64, usize, bool),
    endpoints: BTreeMap<u8, Endpoint>,
    /// Packets as the device counts them.
    device_packets: BTreeMap<u8, u64>,
    configured: bool,
    setup: [u8; 8],
    reply: Vec<u8>,
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
    fn context(&self) -> u64 {
        if self.build.wide_contexts { 64 } else { 32 }
    }

    fn word64(&self, address: u64) -> u64 {
        let octets = self.iommu.read(address, 8).unwrap_or_else(|| vec![0; 8]);
        u64::from_le_bytes(octets.try_into().unwrap())
    }

    fn word(&self, address: u64) -> u32 {
        let octets = self.iommu.read(address, 4).unwrap_or_else(|| vec![0; 4]);
        u32::from_le_bytes(octets.try_into().unwrap())
    }

    /// Takes the next block of a ring.
    fn next(&self, ring: &mut Endpoint) -> Option<(u64, [u32; 4])> {
        loop {
            let at = ring.next;
            let trb = [0, 4, 8, 12].map(|offset| self.word(at + offset));
            if (trb[3] & 1 != 0) != ring.cycle {
                return None;
            }
            ring.next = at + 16;
            if trb[3] >> 10 & 0x3F != 6 {
                return Some((at, trb));
            }
            ring.next = self.word64(at);
            ring.cycle ^= trb[3] & 2 != 0;
        }
    }

    fn post(&self, state: &mut State, trb: [u32; 4]) {
        let (base, index, cycle) = state.event;
        let words = [trb[0], trb[1], trb[2], trb[3] | u32::from(cycle)];
        let octets: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.iommu.write(base + index as u64 * 16, &octets);
        state.event = if index == 255 { (base, 0, !cycle) } else { (base, index + 1, cycle) };
    }

    fn commands(&self, state: &mut State) {
        let mut ring = std::mem::take(&mut state.command);
        while let Some((at, trb)) = self.next(&mut ring) {
            let kind = trb[3] >> 10 & 0x3F;
            let (code, slot) = match (self.fault.get(), kind) {
                (Fault::SilentCommands | Fault::HostError, _) => continue,
                (Fault::Refuses(refused), kind) if refused == kind => (5, 1),
                (Fault::OddSlot, 9) => (1, 77),
                (_, 9) => (1, 1),
                (_, 11) if self.misses.get() > 0 => {
                    self.misses.set(self.misses.get() - 1);
                    (4, 1)
                }
                (_, 10) => {
                    state.endpoints.clear();
                    state.device_packets.clear();
                    (1, 1)
                }
                _ => {
                    self.command(state, kind, trb);
                    (1, 1)
                }
            };
            let [low, high] = [at & 0xFFFF_FFFF, at >> 32].map(|half| u32::try_from(half).unwrap());
            self.post(state, [low, high, code << 24, slot << 24 | 33 << 10]);
        }
        state.command = ring;
    }

    fn command(&self, state: &mut State, kind: u32, trb: [u32; 4]) {
        let input = u64::from(trb[1]) << 32 | u64::from(trb[0]);
        let endpoint = u8::try_from(trb[3] >> 16 & 0x1F).unwrap();
        match kind {
            11 | 12 => {
                let (dropped, added) = (self.word(input), self.word(input + 4));
                assert!(added & 1 != 0, "the slot's context comes with it");
                let slot = self.word(input + self.context());
                assert_eq!(self.word(input + self.context() + 4) >> 16 & 0xFF, 2, "the port");
                for index in 1..32_u8 {
                    if dropped >> index & 1 != 0 {
                        state.endpoints.remove(&index).expect("what is dropped was there");
                    }
                    if added >> index & 1 != 0 {
                        assert!(u32::from(index) <= slot >> 27, "context entries");
                        let dequeue = self.word64(input + self.context() * (u64::from(index) + 1) + 8);
                        let ring = Endpoint { next: dequeue & !0xF, cycle: dequeue & 1 != 0, ..Endpoint::default() };
                        assert!(state.endpoints.insert(index, ring).is_none(), "what is added was not there");
                    }
                }
                if kind == 11 {
                    // It writes the device's contexts.
                    let contexts = self.word64(self.dcbaap(state) + 8);
                    self.iommu.write(contexts, &[1; 64]);
                }
            }
            13 => {}
            14 => {
                let ring = state.endpoints.get_mut(&endpoint).unwrap();
                assert!(ring.halted, "only a halted endpoint is reset");
                (ring.halted, ring.packets) = (false, 0);
            }
            16 => {
                let ring = state.endpoints.get_mut(&endpoint).unwrap();
                (ring.next, ring.cycle) = (input & !0xF, input & 1 != 0);
            }
            other => panic!("no such command: {other}"),
        }
    }

    fn dcbaap(&self, state: &State) -> u64 {
        let half = |offset: usize| u64::from(state.kept.get(&(OP + offset)).copied().unwrap_or(0));
        half(0x30) | half(0x34) << 32
    }

    fn transfer(&self, state: &mut State, index: u8) {
        let Some(mut ring) = state.endpoints.remove(&index) else { panic!("no such endpoint: {index}") };
        while !ring.halted
            && let Some((at, trb)) = self.next(&mut ring)
        {
            let address = u64::from(trb[1]) << 32 | u64::from(trb[0]);
            let length = trb[2] & 0x1_FFFF;
            let done = if index == 1 {
                self.control(state, trb, address, length as usize)
            } else {
                let device = state.device_packets.entry(index).or_default();
                if *device != ring.packets {
                    // Neither end hears the other.
                    continue;
                }
                *device += 1;
                ring.packets += 1;
                self.bulk(index, address, length as usize)
            };
            let (code, moved) = match done {
                Ok(moved) => (if moved < length as usize { 13 } else { 1 }, moved),
                Err(Error::Stalled) => (6, 0),
                Err(_) => continue,
            };
            ring.halted = code == 6;
            // Of the stages of a control transfer, the last reports, and one that is short.
            if index == 1 && code == 1 && trb[3] & 1 << 5 == 0 {
                continue;
            }
            let residue = length - u32::try_from(moved).unwrap();
            let [low, high] = [at & 0xFFFF_FFFF, at >> 32].map(|half| u32::try_from(half).unwrap());
            self.post(state, [low, high, code << 24 | residue, 1 << 24 | u32::from(index) << 16 | 32 << 10]);
        }
        state.endpoints.insert(index, ring);
    }

    fn bulk(&self, index: u8, address: u64, length: usize) -> Result<usize, Error> {
        let mut stick = self.stick.borrow_mut();
        if index.is_multiple_of(2) {
            let octets = self.iommu.read(address, length).ok_or(Error::Gone)?;
            return stick.send(&octets).map(|()| length);
        }
        let mut into = vec![0; length];
        let came = stick.receive(&mut into)?;
        self.iommu.write(address, &into[..came]).ok_or(Error::Gone)?;
        Ok(came)
    }

    /// One stage of a request.
    fn control(&self, state: &mut State, trb: [u32; 4], address: u64, length: usize) -> Result<usize, Error> {
        match trb[3] >> 10 & 0x3F {
            2 => {
                state.setup = (u64::from(trb[1]) << 32 | u64::from(trb[0])).to_le_bytes();
                state.reply = self.request(state)?;
                Ok(length)
            }
            3 => {
                let reply = std::mem::take(&mut state.reply);
                let came = reply.len().min(length);
                self.iommu.write(address, &reply[..came]).ok_or(Error::Gone)?;
                Ok(came)
            }
            _ => Ok(length),
        }
    }

    fn request(&self, state: &mut State) -> Result<Vec<u8>, Error> {
        let [kind, request, _, which, index, ..] = state.setup;
        let packet = if self.build.usb3 { 9 } else { 64 };
        match (kind, request, which) {
            (0x80, 6, 1) => Ok(vec![18, 1, 0, 2, 0, 0, 0, packet, 1, 2, 3, 4, 0, 0, 0, 0, 0, 1]),
            (0x80, 6, 2) => Ok([
                &[9, 2, 32, 0, 1, 1, 0, 0x80, 50][..],
                &[9, 4, 3, 0, 2, 8, 6, 0x50, 0],
                &[7, 5, 0x81, 2, 0, 2, 0],
                &[7, 5, 0x02, 2, 0, 2, 0],
            ]
            .concat()),
            (0x00, 9, _) => {
                state.configured = true;
                Ok(vec![])
            }
            (0x02, 1, _) => {
                let toward_host = index & 0x80 != 0;
                state.device_packets.insert((index & 0xF) * 2 + u8::from(toward_host), 0);
                self.stick.borrow_mut().clear_halt(toward_host).map(|()| vec![])
            }
            (0x21 | 0xA1, ..) => {
                assert!(state.configured, "a class's request before the configuration");
                let mut into = [0; 1];
                let request = Request { kind, request, value: 0, index: index.into() };
                self.stick.borrow_mut().request(request, &mut into).map(|came| into[..came].to_vec())
            }
            _ => Err(Error::Stalled),
        }
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
            let speed = if self.build.full_speed { 1 } else { 3 };
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
            at if at == DOORBELLS + 4 => self.transfer(state, u8::try_from(value).unwrap()),
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
