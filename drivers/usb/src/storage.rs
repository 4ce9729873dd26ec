//! The pipes of a device at a controller: [`Storage`].

use crate::{Controller, Error, Host, Pipes, Request};

/// A mass storage device that [`Controller::scan`] has found.
#[derive(Debug)]
pub struct Storage<'c, H> {
    controller: &'c mut Controller<H>,
    number: usize,
}

impl<H: Host> Controller<H> {
    /// Opens a device by the number in its [`Role`](crate::Role).
    pub fn storage(&mut self, number: usize) -> Storage<'_, H> {
        Storage { controller: self, number }
    }
}

impl<H: Host> Pipes for Storage<'_, H> {
    fn interface(&self) -> u8 {
        let storage = self.controller.devices.get(self.number).and_then(|device| device.storage);
        storage.map_or(0, |storage| storage.interface)
    }

    fn request(&mut self, request: Request, into: &mut [u8]) -> Result<usize, Error> {
        if into.is_empty() {
            self.controller.control_none(self.number, request).map(|()| 0)
        } else {
            self.controller.control_in(self.number, request, into)
        }
    }

    fn send(&mut self, octets: &[u8]) -> Result<(), Error> {
        self.controller.bulk_out(self.number, octets)
    }

    fn receive(&mut self, into: &mut [u8]) -> Result<usize, Error> {
        self.controller.bulk_in(self.number, into)
    }

    fn clear_halt(&mut self, toward_host: bool) -> Result<(), Error> {
        self.controller.clear_halt(self.number, toward_host)
    }

    fn pause(&mut self, millis: u32) -> Result<(), Error> {
        self.controller.host.pause(millis * 1000);
        if self.controller.host.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }
}
