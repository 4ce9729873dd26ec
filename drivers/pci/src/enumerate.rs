//! Finds every function of a segment.
//!
//! Key function: [`enumerate`]. Boot, one thread. Follows the bus numbers the firmware gave out and assigns none.

use alloc::vec::Vec;

use pci_types::{ConfigRegionAccess, PciAddress};

use crate::{Class, Kind, PciDevice, PciError, Pin, RootInterrupt, config};

/// Something wrong that was met on the way; the walk went on without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Of which function.
    pub address: PciAddress,
    /// What.
    pub error: PciError,
}

/// The outcome of a walk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Enumeration {
    /// What was found, in the order of the walk: bus, device, function, with what is behind a bridge after the bus that
    /// holds the bridge.
    pub devices: Vec<PciDevice>,
    /// What was wrong.
    pub faults: Vec<Fault>,
}

/// Walks over `segment` from its root buses (bus 0, and those of further host bridges that the firmware names) through all bridges.
/// A root that a bridge of an earlier one leads to is none, and is passed over.
///
/// A bus is visited once, whoever leads to it, so the walk ends after 256 buses at most.
///
/// # Context
/// Boot: allocates; some 300 reads per bus.
pub fn enumerate<A: ConfigRegionAccess + ?Sized>(access: &A, segment: u16, roots: &[u8]) -> Enumeration {
    let mut walk =
        Walk { access, segment, visited: [false; 256], pending: Vec::new(), outcome: Enumeration::default() };
    // In the order found, so that a parent bus comes before those behind it.
    let mut next = 0;
    for &root in roots {
        if walk.claim(root) {
            walk.pending.push(Bus { number: root, last: u8::MAX, bridges: Vec::new(), root });
        }
        while let Some(bus) = walk.pending.get(next).cloned() {
            walk.visit_bus(&bus);
            next += 1;
        }
    }
    walk.outcome
}

/// A bus to visit.
#[derive(Clone)]
struct Bus {
    number: u8,
    /// The last bus that may be behind it.
    last: u8,
    /// Device numbers of the bridges on the way, from the root bus down.
    bridges: Vec<u8>,
    root: u8,
}

struct Walk<'a, A: ?Sized> {
    access: &'a A,
    segment: u16,
    visited: [bool; 256],
    pending: Vec<Bus>,
    outcome: Enumeration,
}

impl<A: ConfigRegionAccess + ?Sized> Walk<'_, A> {
    /// Marks a bus as visited; answers whether it was not yet.
    fn claim(&mut self, bus: u8) -> bool {
        self.visited.get_mut(usize::from(bus)).is_some_and(|seen| !core::mem::replace(seen, true))
    }

    fn visit_bus(&mut self, bus: &Bus) {
        for device in 0..32 {
            let first = PciAddress::new(self.segment, bus.number, device, 0);
            // Without a function 0 there is no device (PCI 3.0, 3.2.2.3.4), whatever the others answer.
            if !self.visit_function(bus, first) {
                continue;
            }
            let header = config::octet(config::read(self.access, first, config::HEADER), 2);
            if header & 0x80 == 0 || header == u8::MAX {
                continue;
            }
            for function in 1..8 {
                self.visit_function(bus, PciAddress::new(self.segment, bus.number, device, function));
            }
        }
    }

    /// Answers whether the function is there.
    fn visit_function(&mut self, bus: &Bus, address: PciAddress) -> bool {
        let id = config::read(self.access, address, config::ID);
        // Ones are what nobody's answer reads as; zero is no vendor, but broken bridges answer so.
        if matches!(config::low_half(id), 0 | u16::MAX) {
            return false;
        }
        match self.describe(bus, address, id) {
            Ok(device) => {
                self.outcome.devices.push(device);
                if let Kind::Bridge { secondary, subordinate } = device.kind
                    && let Err(error) = self.follow(bus, address.device(), secondary, subordinate)
                {
                    self.outcome.faults.push(Fault { address, error });
                }
            }
            Err(error) => self.outcome.faults.push(Fault { address, error }),
        }
        true
    }

    fn describe(&self, bus: &Bus, address: PciAddress, id: u32) -> Result<PciDevice, PciError> {
        let read = |offset| config::read(self.access, address, offset);
        let header = config::octet(read(config::HEADER), 2);
        let class = read(config::CLASS);
        if header == u8::MAX && class == u32::MAX {
            return Err(PciError::Gone);
        }
        let kind = match header & 0x7f {
            0 => {
                let subsystem = read(config::SUBSYSTEM);
                Kind::Endpoint {
                    subsystem_vendor: config::low_half(subsystem),
                    subsystem: config::high_half(subsystem),
                }
            }
            1 => {
                let buses = read(config::BUSES);
                Kind::Bridge { secondary: config::octet(buses, 1), subordinate: config::octet(buses, 2) }
            }
            2 => Kind::CardBus,
            other => return Err(PciError::UnknownHeader(other)),
        };
        let interrupt = read(config::INTERRUPT);
        let pin = Pin::from_register(config::octet(interrupt, 1))?;
        Ok(PciDevice {
            address,
            vendor: config::low_half(id),
            device: config::high_half(id),
            revision: config::octet(class, 0),
            class: Class {
                base: config::octet(class, 3),
                sub: config::octet(class, 2),
                interface: config::octet(class, 1),
            },
            kind,
            pin,
            line: config::octet(interrupt, 0),
            root_interrupt: pin.map(|pin| bus.root_interrupt(address.device(), pin)),
        })
    }

    /// Notes the bus behind a bridge.
    fn follow(&mut self, bus: &Bus, device: u8, secondary: u8, subordinate: u8) -> Result<(), PciError> {
        // Not set up by the firmware: nothing behind it answers.
        if secondary == 0 {
            return Ok(());
        }
        let behind = bus.number < secondary && secondary <= subordinate && subordinate <= bus.last;
        if !behind || !self.claim(secondary) {
            return Err(PciError::BadBridge { secondary });
        }
        let mut bridges = bus.bridges.clone();
        bridges.push(device);
        self.pending.push(Bus { number: secondary, last: subordinate, bridges, root: bus.root });
        Ok(())
    }
}

impl Bus {
    /// Follows a pin up through the bridges: each passes it on turned by the number of the device below (PCI-to-PCI Bridge
    /// 1.2, 9.1).
    fn root_interrupt(&self, device: u8, pin: Pin) -> RootInterrupt {
        let (mut device, mut pin) = (device, pin);
        for &bridge in self.bridges.iter().rev() {
            pin = pin.through_bridge(device);
            device = bridge;
        }
        RootInterrupt { bus: self.root, device, pin }
    }
}
