//! Transfers on a device's endpoints, one at a time, and what becomes of an endpoint that halted.
//!
//! Source: xHCI 1.2, 4.10 (completion), 4.11.2 (transfers), 4.6.8 (a halted endpoint).

use crate::{
    Controller, Error, Host, Request,
    device::{CONTROL, Device, MOST, index},
    memory::{load, store},
    trb::{Toward, Trb, code, kind},
};

/// How long a transfer may take. Writing to a bad stick takes seconds.
const TRANSFER_MILLIS: u32 = 10_000;
/// The same for a request on the control endpoint (USB 2.0, 9.2.6.4, has 5 s at most, and half a second for each piece of data).
const CONTROL_MILLIS: u32 = 5000;

impl<H: Host> Controller<H> {
    /// A request without data.
    pub(crate) fn control_none(&mut self, number: usize, request: Request) -> Result<(), Error> {
        self.control(number, request, 0).map(drop)
    }

    /// A request that fetches data; returns how many octets came.
    pub(crate) fn control_in(&mut self, number: usize, request: Request, into: &mut [u8]) -> Result<usize, Error> {
        let came = self.control(number, request, into.len())?;
        load(&self.device(number)?.buffer, into);
        Ok(came.min(into.len()))
    }

    fn control(&mut self, number: usize, request: Request, octets: usize) -> Result<usize, Error> {
        let length = u32::try_from(octets).ok().filter(|_| octets <= MOST).ok_or(Error::OutOfRange)?;
        let device = self.usable(number)?;
        let buffer = device.buffer.bus_addr().as_u64();
        let data = (length > 0).then_some(Toward::Host);
        let ring = &mut device.control;
        ring.push(Trb::setup(request.octets(octets), data));
        let data = data.map(|toward| ring.push(Trb::data(buffer, length, toward)));
        let last = ring.push(Trb::status(if data.is_some() { Toward::Device } else { Toward::Host }));
        self.ring_for(number, CONTROL)?;
        let mut came = length;
        loop {
            let event = self.transfer_event(number, CONTROL)?;
            match event.code() {
                code::SHORT_PACKET if Some(event.parameter()) == data => came = length - event.residue().min(length),
                code::SUCCESS | code::SHORT_PACKET if event.parameter() == last => return Ok(came as usize),
                // Of the data, that it came; the end of the request is still to be heard of.
                code::SUCCESS => {}
                other => return Err(self.failed(number, CONTROL, other)),
            }
        }
    }

    /// Sends octets to the device.
    pub(crate) fn bulk_out(&mut self, number: usize, octets: &[u8]) -> Result<(), Error> {
        let device = self.usable(number)?;
        store(&device.buffer, octets);
        let endpoint = index(&device.storage.ok_or(Error::BadDescriptor)?.bulk_out);
        let went = self.bulk(number, endpoint, octets.len())?;
        if went == octets.len() { Ok(()) } else { Err(Error::ShortTransfer) }
    }

    /// Fetches octets from the device; returns how many came.
    pub(crate) fn bulk_in(&mut self, number: usize, into: &mut [u8]) -> Result<usize, Error> {
        let endpoint = index(&self.usable(number)?.storage.ok_or(Error::BadDescriptor)?.bulk_in);
        let came = self.bulk(number, endpoint, into.len())?;
        load(&self.device(number)?.buffer, into);
        Ok(came.min(into.len()))
    }

    fn bulk(&mut self, number: usize, endpoint: u8, octets: usize) -> Result<usize, Error> {
        let length = u32::try_from(octets).ok().filter(|_| octets <= MOST).ok_or(Error::OutOfRange)?;
        let device = self.usable(number)?;
        let buffer = device.buffer.bus_addr().as_u64();
        let address = device.ring(endpoint).push(Trb::normal(buffer, length));
        self.ring_for(number, endpoint)?;
        loop {
            let event = self.transfer_event(number, endpoint)?;
            match event.code() {
                code::SUCCESS | code::SHORT_PACKET if event.parameter() == address => {
                    return Ok((length - event.residue().min(length)) as usize);
                }
                // Of an earlier one, which was given up.
                code::SUCCESS | code::SHORT_PACKET => {}
                other => return Err(self.failed(number, endpoint, other)),
            }
        }
    }

    /// The device, if nothing is under way there any more.
    pub(crate) fn usable(&mut self, number: usize) -> Result<&mut Device, Error> {
        let device = self.device(number)?;
        if device.lost { Err(Error::TransferTimeout) } else { Ok(device) }
    }

    fn ring_for(&mut self, number: usize, endpoint: u8) -> Result<(), Error> {
        let slot = self.device(number)?.slot;
        self.ring_doorbell(slot, endpoint);
        Ok(())
    }

    /// Waits for an event of an endpoint. None in time, and the device is lost: what it may still do to its buffer is nobody's
    /// business any more, and the buffer is not reused.
    fn transfer_event(&mut self, number: usize, endpoint: u8) -> Result<Trb, Error> {
        let slot = self.device(number)?.slot;
        let is_its =
            |event: &Trb| event.kind() == kind::TRANSFER_EVENT && event.slot() == slot && event.endpoint() == endpoint;
        let millis = if endpoint == CONTROL { CONTROL_MILLIS } else { TRANSFER_MILLIS };
        let answer = self.wait_event(millis, is_its);
        if let Ok(Some(event)) = answer {
            return Ok(event);
        }
        self.device(number)?.lost = true;
        Err(answer.err().unwrap_or(Error::TransferTimeout))
    }

    /// Makes a halted endpoint of ours ready again (the device's own halt is [another matter](Self::clear_halt)).
    fn failed(&mut self, number: usize, endpoint: u8, how: u8) -> Error {
        let revived = self.revive(number, endpoint);
        match (how, revived) {
            (_, Err(error)) => {
                if let Ok(device) = self.device(number) {
                    device.lost = true;
                }
                error
            }
            (code::STALL, Ok(())) => Error::Stalled,
            (other, Ok(())) => Error::Transfer(other),
        }
    }

    fn revive(&mut self, number: usize, endpoint: u8) -> Result<(), Error> {
        let device = self.device(number)?;
        let (slot, dequeue) = (device.slot, device.ring(endpoint).dequeue_pointer());
        self.command(Trb::reset_endpoint(slot, endpoint))?;
        self.command(Trb::set_dequeue(slot, endpoint, dequeue)).map(drop)
    }

    /// Ends the halt of an endpoint at the device, which makes it count packets anew, and has the controller do the same: the endpoint
    /// is taken out of the configuration and put back (4.6.6).
    pub(crate) fn clear_halt(&mut self, number: usize, toward_host: bool) -> Result<(), Error> {
        let storage = self.device(number)?.storage.ok_or(Error::BadDescriptor)?;
        let bulk = if toward_host { storage.bulk_in } else { storage.bulk_out };
        self.control_none(number, Request::clear_halt(bulk.number | u8::from(toward_host) << 7))?;
        self.configure_endpoints(number, &[bulk], true)
    }
}
