//! The controller's ports: power, reset, and what is at them (xHCI 1.2, 4.19; USB 2.0, 7.1.7.5 and 11.5). [`Found`].

use alloc::vec::Vec;

use crate::{
    Controller, Error, Host,
    device::Place,
    host::wait,
    regs::{op, portsc},
};

/// How long power takes to be good, and contacts to settle; how long a device of USB 3 may train its link. In milliseconds.
const POWER_MILLIS: u32 = 100;
const CONNECT_MILLIS: u32 = 5000;
/// How long nothing may change before what is connected is taken as all there is. The reset has taken the power from some sticks, and
/// those begin anew.
const QUIET_MILLIS: u32 = 1000;
/// How often a device is set up, at most.
const ATTEMPTS: u32 = 3;
const RESET_MILLIS: u32 = 800;
/// After its reset a device has 10 ms (USB 2.0, 9.2.6.2); many want more.
const RECOVERY_MICROS: u32 = 50_000;

/// What is at a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The controller's port, from 1.
    pub port: u8,
    /// The port of the hub that is there, from 1, if the device is behind one; 0 if not.
    pub behind: u8,
    /// What was made of it.
    pub outcome: Result<Role, Error>,
}

/// What a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Mass storage by bulk transfers; with this number it is [opened](Controller::storage).
    Storage(usize),
    /// A hub; what is behind it is [found](Found) as well, if it is no further hub.
    Hub(usize),
    /// Anything else.
    Other,
}

/// Says whether an error ends the search everywhere.
pub(crate) fn is_final(error: Error) -> bool {
    matches!(error, Error::Gone | Error::ControllerFailed | Error::ControllerTimeout(_) | Error::Cancelled)
}

impl<H: Host> Controller<H> {
    /// Looks at every port, and makes what is there ready for use.
    ///
    /// # Errors
    /// When the controller itself fails, or the search is cancelled. What fails at one port is said there.
    pub fn scan(&mut self) -> Result<Vec<Found>, Error> {
        self.settle()?;
        let mut found = Vec::new();
        for port in 1..=self.capabilities.ports {
            let status = self.port(port)?;
            if status & portsc::CCS == 0 {
                continue;
            }
            let mut outcome = self.bring_up(port, false);
            for _ in 1..ATTEMPTS {
                // A stick that was in the middle of something may answer after another reset only.
                if let Err(Error::Command(_) | Error::Transfer(_) | Error::TransferTimeout | Error::Stalled) = outcome {
                    outcome = self.bring_up(port, true);
                }
            }
            match outcome {
                Err(error) if is_final(error) => return Err(error),
                Ok(Role::Hub(number)) => match self.scan_hub(number, &mut found) {
                    Err(error) if is_final(error) => return Err(error),
                    Err(error) => found.push(Found { port, behind: 0, outcome: Err(error) }),
                    Ok(()) => {}
                },
                outcome => found.push(Found { port, behind: 0, outcome }),
            }
        }
        Ok(found)
    }

    /// Resets a port and sets up what is there.
    fn bring_up(&mut self, port: u8, again: bool) -> Result<Role, Error> {
        let place = self.enable(port, again)?;
        self.attach(place).map(|number| self.role(number))
    }

    pub(crate) fn role(&self, number: usize) -> Role {
        match self.devices.get(number) {
            Some(device) if device.storage.is_some() => Role::Storage(number),
            Some(device) if device.is_hub() => Role::Hub(number),
            _ => Role::Other,
        }
    }

    const fn port_register(port: u8) -> usize {
        op::PORTS + (port as usize - 1) * op::PORT_STRIDE
    }

    fn port(&self, port: u8) -> Result<u32, Error> {
        let status = self.read_op(Self::port_register(port));
        if status == u32::MAX { Err(Error::Gone) } else { Ok(status) }
    }

    /// Writes bits that act, beside those that stay.
    fn set_port(&self, port: u8, act: u32) -> Result<(), Error> {
        let kept = self.port(port)? & portsc::KEPT;
        self.write_op(Self::port_register(port), kept | act);
        Ok(())
    }

    /// Switches all ports on and waits until nothing changes any more.
    fn settle(&self) -> Result<(), Error> {
        for port in 1..=self.capabilities.ports {
            if self.capabilities.switches_power && self.port(port)? & portsc::PP == 0 {
                self.set_port(port, portsc::PP)?;
            }
        }
        self.host.pause(POWER_MILLIS * 1000);
        let (mut last, mut quiet) = (Vec::new(), 0);
        wait(&self.host, CONNECT_MILLIS, || {
            if self.host.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let now: Vec<u32> = (1..=self.capabilities.ports).map(|port| self.port(port)).collect::<Result<_, _>>()?;
            quiet = if now == last { quiet + 1 } else { 0 };
            last = now;
            Ok((quiet >= QUIET_MILLIS).then_some(()))
        })
        // Where something never comes to rest, the others are looked at nevertheless.
        .map(drop)
    }

    /// Resets a port with something connected until it is enabled; one of USB 3 that is enabled only if this was tried before.
    fn enable(&self, port: u8, again: bool) -> Result<Place, Error> {
        let protocol = self.capabilities.protocol(port);
        if self.port(port)? & portsc::OCA != 0 {
            return Err(Error::Port);
        }
        // A link of USB 3 trains itself and needs a reset only if that failed.
        if protocol.major < 3 {
            self.reset_port(port, portsc::PR, portsc::PRC)?;
        } else if again || self.port(port)? & portsc::PED == 0 || portsc::link(self.port(port)?) != 0 {
            self.reset_port(port, portsc::WPR, portsc::WRC)?;
        }
        let status = self.port(port)?;
        if status & portsc::PED == 0 || status & portsc::CCS == 0 {
            return Err(Error::Port);
        }
        self.host.pause(RECOVERY_MICROS);
        Ok(Place { port, speed: portsc::speed(status), slot_type: protocol.slot_type, behind: 0, translator: None })
    }

    fn reset_port(&self, port: u8, begin: u32, ended: u32) -> Result<(), Error> {
        self.set_port(port, portsc::CHANGES)?;
        self.set_port(port, begin)?;
        let done = || {
            let status = self.port(port)?;
            if self.host.is_cancelled() {
                return Err(Error::Cancelled);
            }
            Ok((status & ended != 0 && status & portsc::PR == 0).then_some(()))
        };
        wait(&self.host, RESET_MILLIS, done)?.ok_or(Error::Port)?;
        self.set_port(port, portsc::CHANGES)
    }
}
