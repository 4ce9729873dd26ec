//! A hub at a port of the controller, and what is at its ports; hubs behind hubs are left alone.
//!
//! Source: USB 2.0, 11.23 and 11.24; USB 3.2, 10.15 and 10.16; xHCI 1.2, 4.3.3 and 8.

use alloc::vec::Vec;

use crate::{
    Controller, Error, Found, Host, Request, Role,
    device::{HubContext, Place, speed},
    port::is_final,
};

/// Ports that are looked at, at most.
const MOST_PORTS: u8 = 15;
/// How long a hub may take over a reset, how long contacts settle, and how long a device rests after a reset. In milliseconds.
const RESET_MILLIS: u32 = 800;
const CONNECT_MILLIS: u32 = 1000;
const RECOVERY_MILLIS: u32 = 50;
/// How long lies between two looks at a port in its reset.
const LOOK_MILLIS: u32 = 10;

/// Features of a port (USB 2.0, table 11-17).
const RESET: u16 = 4;
const POWER: u16 = 8;
const CHANGED_CONNECTION: u16 = 16;
const CHANGED_RESET: u16 = 20;

/// A port's status and what has changed of it (USB 2.0, 11.24.2.7).
#[derive(Clone, Copy)]
struct PortStatus {
    status: u16,
    change: u16,
}

impl PortStatus {
    fn is_connected(self) -> bool {
        self.status & 1 != 0
    }

    fn is_enabled(self) -> bool {
        self.status & 1 << 1 != 0
    }

    fn has_been_reset(self) -> bool {
        self.change & 1 << 4 != 0 && self.status & 1 << 4 == 0
    }

    /// The speed of what is there, at a hub of the given one.
    fn speed(self, of_hub: u32) -> u32 {
        match (of_hub >= speed::SUPER, self.status >> 9 & 0b11) {
            (true, _) => of_hub,
            (false, 0b00) => speed::FULL,
            (false, 0b01) => speed::LOW,
            (false, _) => speed::HIGH,
        }
    }
}

impl<H: Host> Controller<H> {
    /// Puts a hub to work and sets up what is at its ports; what is found is appended.
    pub(crate) fn scan_hub(&mut self, number: usize, found: &mut Vec<Found>) -> Result<(), Error> {
        let place = self.devices.get(number).ok_or(Error::OutOfRange)?.place();
        let is_super = place.speed >= speed::SUPER;
        self.choose_configuration(number)?;
        let mut head = [0; 7];
        let kind: u16 = if is_super { 0x2A } else { 0x29 };
        let request = Request { kind: 0xA0, request: 6, value: kind << 8, index: 0 };
        if self.control_in(number, request, &mut head)? != head.len() {
            return Err(Error::BadDescriptor);
        }
        let [_, _, ports, characteristics, _, power_good, _] = head;
        if is_super {
            // Right at the controller.
            self.control_none(number, Request { kind: 0x20, request: 12, value: 0, index: 0 })?;
        }
        self.configure_hub(number, HubContext { ports, think_time: characteristics >> 5 & 0b11 })?;
        let ports = 1..=ports.min(MOST_PORTS);
        for port in ports.clone() {
            self.set_feature(number, port, POWER)?;
        }
        self.host.pause((u32::from(power_good) * 2 + CONNECT_MILLIS) * 1000);
        for port in ports {
            if self.host.is_cancelled() {
                return Err(Error::Cancelled);
            }
            if !self.port_status(number, port)?.is_connected() {
                continue;
            }
            match self.bring_up_behind(number, port, place) {
                Err(error) if is_final(error) => return Err(error),
                outcome => found.push(Found { port: place.port, behind: port, outcome }),
            }
        }
        Ok(())
    }

    /// Resets a hub's port and sets up what is there.
    fn bring_up_behind(&mut self, hub: usize, port: u8, place: Place) -> Result<Role, Error> {
        self.set_feature(hub, port, RESET)?;
        for _ in 0..RESET_MILLIS / LOOK_MILLIS {
            if self.port_status(hub, port)?.has_been_reset() {
                break;
            }
            self.host.pause(LOOK_MILLIS * 1000);
        }
        let status = self.port_status(hub, port)?;
        if !status.has_been_reset() || !status.is_enabled() {
            return Err(Error::Port);
        }
        self.clear_feature(hub, port, CHANGED_RESET)?;
        self.clear_feature(hub, port, CHANGED_CONNECTION)?;
        self.host.pause(RECOVERY_MILLIS * 1000);
        let own = status.speed(place.speed);
        let is_translated = place.speed == speed::HIGH && own != speed::HIGH;
        let slot = self.devices.get(hub).map(|device| device.slot);
        let behind = Place { speed: own, behind: port, translator: slot.filter(|_| is_translated), ..place };
        self.attach(behind).map(|number| self.role(number))
    }

    fn set_feature(&mut self, hub: usize, port: u8, feature: u16) -> Result<(), Error> {
        self.control_none(hub, Request { kind: 0x23, request: 3, value: feature, index: port.into() })
    }

    fn clear_feature(&mut self, hub: usize, port: u8, feature: u16) -> Result<(), Error> {
        self.control_none(hub, Request { kind: 0x23, request: 1, value: feature, index: port.into() })
    }

    fn port_status(&mut self, hub: usize, port: u8) -> Result<PortStatus, Error> {
        let mut octets = [0; 4];
        let request = Request { kind: 0xA3, request: 0, value: 0, index: port.into() };
        if self.control_in(hub, request, &mut octets)? != octets.len() {
            return Err(Error::BadDescriptor);
        }
        let [a, b, c, d] = octets;
        Ok(PortStatus { status: u16::from_le_bytes([a, b]), change: u16::from_le_bytes([c, d]) })
    }
}
