//! What a controller says of itself, checked against the window its registers are in: [`Capabilities`].

use alloc::vec::Vec;

use crate::{
    Error, Host,
    host::wait,
    regs::{cap, ext, op, rt},
};

/// Extended capabilities that are looked at, at most; they are a list of offsets that the device makes up.
const MOST_CAPABILITIES: usize = 64;
/// How long firmware has to give the controller up: a second, as the specification asks (xHCI 1.2, 4.22.1).
const HAND_OVER_MILLIS: u32 = 1000;

/// Ports of one protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Protocol {
    /// 2 or 3.
    pub(crate) major: u8,
    /// The first port, from 1.
    pub(crate) first: u8,
    pub(crate) count: u8,
    /// What a slot for a device at such a port is asked for as.
    pub(crate) slot_type: u32,
}

/// What firmware did when it was asked for a controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Firmware {
    /// It had not got it.
    Absent,
    /// It drove it, for a keyboard perhaps, and gave it up.
    GaveUp,
    /// It drove it and did not answer; the controller was taken nevertheless.
    Silent,
}

/// What a controller is like.
#[derive(Clone, Debug)]
pub(crate) struct Capabilities {
    pub(crate) operational: usize,
    pub(crate) runtime: usize,
    pub(crate) doorbells: usize,
    pub(crate) slots: u8,
    pub(crate) ports: u8,
    /// Pages that it wants for itself.
    pub(crate) scratchpads: usize,
    /// Octets of a context.
    pub(crate) context: usize,
    pub(crate) wide: bool,
    pub(crate) switches_power: bool,
    pub(crate) protocols: Vec<Protocol>,
    legacy: Option<usize>,
}

impl Capabilities {
    pub(crate) fn read(host: &impl Host) -> Result<Self, Error> {
        if host.window() < cap::END {
            return Err(Error::BadRegister("register window"));
        }
        let length = host.read32(cap::LENGTH);
        if length == u32::MAX {
            return Err(Error::Gone);
        }
        let [params1, params2, hcc] = [cap::HCSPARAMS1, cap::HCSPARAMS2, cap::HCCPARAMS1].map(|reg| host.read32(reg));
        let [slots, _, _, ports] = params1.to_le_bytes();
        let operational = usize::from(length.to_le_bytes()[0]);
        let doorbells = host.read32(cap::DBOFF) as usize & !0x3;
        let runtime = host.read32(cap::RTSOFF) as usize & !0x1F;
        let fits = |start: usize, octets: usize| start.checked_add(octets).is_some_and(|end| end <= host.window());
        let checks = [
            (operational >= cap::END && operational.is_multiple_of(4), "CAPLENGTH"),
            (fits(operational, op::PORTS + usize::from(ports) * op::PORT_STRIDE), "number of ports"),
            (fits(runtime, rt::END), "RTSOFF"),
            (fits(doorbells, (usize::from(slots) + 1) * 4), "DBOFF"),
            (slots > 0 && ports > 0, "HCSPARAMS1"),
        ];
        if let Some((_, which)) = checks.into_iter().find(|(holds, _)| !holds) {
            return Err(Error::BadRegister(which));
        }
        let mut found = Self {
            operational,
            runtime,
            doorbells,
            slots,
            ports,
            scratchpads: ((params2 >> 21 & 0x1F) << 5 | params2 >> 27) as usize,
            context: if hcc & cap::CSZ == 0 { 32 } else { 64 },
            wide: hcc & cap::AC64 != 0,
            switches_power: hcc & cap::PPC != 0,
            protocols: Vec::new(),
            legacy: None,
        };
        found.read_extended(host, (hcc >> 16) as usize * 4);
        Ok(found)
    }

    /// Walks the list of extended capabilities, which begins at an offset, if there is one. It ends at anything odd.
    fn read_extended(&mut self, host: &impl Host, first: usize) {
        let mut at = first;
        for _ in 0..MOST_CAPABILITIES {
            if at < cap::END || at + 0x10 > host.window() {
                return;
            }
            let head = host.read32(at);
            match head & 0xFF {
                ext::LEGACY => self.legacy = Some(at),
                ext::PROTOCOL => {
                    let [first, count, ..] = host.read32(at + 8).to_le_bytes();
                    let slot_type = host.read32(at + 12) & 0x1F;
                    let [.., major] = head.to_le_bytes();
                    self.protocols.push(Protocol { major, first, count, slot_type });
                }
                _ => {}
            }
            let next = (head >> 8 & 0xFF) as usize * 4;
            if next == 0 {
                return;
            }
            at += next;
        }
    }

    /// Returns the protocol of a port, from 1; a controller that does not say is taken for one of USB 2.
    pub(crate) fn protocol(&self, port: u8) -> Protocol {
        let is_of = |protocol: &&Protocol| port >= protocol.first && port - protocol.first < protocol.count;
        let unknown = Protocol { major: 2, first: port, count: 1, slot_type: 0 };
        self.protocols.iter().find(is_of).copied().unwrap_or(unknown)
    }

    /// Takes the controller from firmware that may be driving it for its own keyboard (xHCI 1.2, 4.22.1), and keeps it from raising
    /// SMIs. Firmware that does not answer is taken as gone, since the reset that follows ends whatever it does.
    pub(crate) fn take_from_firmware(&self, host: &impl Host) -> Result<Firmware, Error> {
        let Some(legacy) = self.legacy else { return Ok(Firmware::Absent) };
        let support = host.read32(legacy);
        host.write32(legacy, support | ext::OS_OWNED);
        let is_free = || Ok((host.read32(legacy) & ext::BIOS_OWNED == 0).then_some(()));
        let given_up = wait(host, HAND_OVER_MILLIS, is_free)?.is_some();
        if !given_up {
            host.write32(legacy, (support | ext::OS_OWNED) & !ext::BIOS_OWNED);
        }
        let control = host.read32(legacy + 4);
        host.write32(legacy + 4, control & !ext::SMI_ENABLES | ext::SMI_EVENTS);
        Ok(match (support & ext::BIOS_OWNED, given_up) {
            (0, _) => Firmware::Absent,
            (_, true) => Firmware::GaveUp,
            (_, false) => Firmware::Silent,
        })
    }
}
