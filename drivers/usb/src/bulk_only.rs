//! Bulk-Only Transport: a command, its data and its status, each by a bulk transfer: [`Transport`] over [`Pipes`].
//!
//! Source: USB Mass Storage Class, Bulk-Only Transport 1.0; the numbers of sections are its own.

use crate::{Error, Request};

/// Octets of what wraps a command, and of the status (5.1, 5.2).
const COMMAND_OCTETS: usize = 31;
const STATUS_OCTETS: usize = 13;
const COMMAND_SIGNATURE: [u8; 4] = *b"USBC";
const STATUS_SIGNATURE: [u8; 4] = *b"USBS";

/// What the protocol needs of a device. Every call is bounded in time.
pub trait Pipes {
    /// The number of its interface.
    fn interface(&self) -> u8;

    /// A request on the control endpoint that fetches octets, or none; returns how many came.
    ///
    /// # Errors
    /// [`Error::Stalled`] if the device refuses; what it does not survive otherwise.
    fn request(&mut self, request: Request, into: &mut [u8]) -> Result<usize, Error>;

    /// Sends octets by its bulk endpoint.
    ///
    /// # Errors
    /// [`Error::Stalled`] if the endpoint is halted; what it does not survive otherwise.
    fn send(&mut self, octets: &[u8]) -> Result<(), Error>;

    /// Fetches octets by its bulk endpoint; returns how many came.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    fn receive(&mut self, into: &mut [u8]) -> Result<usize, Error>;

    /// Ends the halt of one of the bulk endpoints, if there is one, and lets both ends begin to count packets anew.
    ///
    /// # Errors
    /// When the device refuses that as well.
    fn clear_halt(&mut self, toward_host: bool) -> Result<(), Error>;

    /// Lets time pass.
    ///
    /// # Errors
    /// [`Error::Cancelled`].
    fn pause(&mut self, millis: u32) -> Result<(), Error>;
}

/// The data of a command.
#[derive(Debug)]
pub enum Data<'d> {
    /// None.
    None,
    /// To the host.
    In(&'d mut [u8]),
    /// To the device.
    Out(&'d [u8]),
}

/// How a command ended, when the device says so in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done, with so many octets of data.
    Done(usize),
    /// Failed; the sense says why.
    Failed,
}

/// A device's command channel.
#[derive(Debug)]
pub struct Transport<P> {
    pipes: P,
    tag: u32,
}

impl<P: Pipes> Transport<P> {
    /// Begins to speak to a device that awaits a command, as after its port's reset.
    pub const fn new(pipes: P) -> Self {
        Self { pipes, tag: 0 }
    }

    /// Returns the highest number of a logical unit (3.2). A device that refuses to say has one.
    ///
    /// # Errors
    /// Those of the request, but a refusal.
    pub fn last_unit(&mut self) -> Result<u8, Error> {
        let mut last = [0];
        let index = self.pipes.interface().into();
        match self.pipes.request(Request { kind: 0xA1, request: 0xFE, value: 0, index }, &mut last) {
            Ok(1) => Ok(last[0].min(15)),
            Ok(_) | Err(Error::Stalled) => Ok(0),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn pause(&mut self, millis: u32) -> Result<(), Error> {
        self.pipes.pause(millis)
    }

    /// Sends a command to a unit, moves its data, and hears how it ended (5.3).
    ///
    /// # Errors
    /// When the device breaks the protocol; it has been reset by then, if that was still possible.
    pub fn command(&mut self, unit: u8, command: &[u8], data: Data<'_>) -> Result<Outcome, Error> {
        let outcome = self.try_command(unit, command, data);
        if let Err(error) = outcome
            && !matches!(error, Error::Cancelled | Error::Gone | Error::TransferTimeout)
        {
            // What failed is said; whether this helps, the next command shows.
            let _ = self.recover();
        }
        outcome
    }

    fn try_command(&mut self, unit: u8, command: &[u8], mut data: Data<'_>) -> Result<Outcome, Error> {
        let (length, toward_host) = match &data {
            Data::None => (0, false),
            Data::In(into) => (into.len(), true),
            Data::Out(octets) => (octets.len(), false),
        };
        self.tag = self.tag.wrapping_add(1);
        let wrapped = wrap(self.tag, length, toward_host, unit, command).ok_or(Error::OutOfRange)?;
        self.pipes.send(&wrapped)?;
        let moved = match &mut data {
            Data::None => Ok(0),
            Data::In(into) => self.pipes.receive(into),
            Data::Out(octets) => self.pipes.send(octets).map(|()| octets.len()),
        };
        let moved = match moved {
            Ok(moved) => moved,
            // It has no more data, or wants none; its status says why (6.7.2, 6.7.3).
            Err(Error::Stalled) => {
                self.pipes.clear_halt(toward_host)?;
                0
            }
            // What a short transfer out means, the status says.
            Err(Error::ShortTransfer) => 0,
            Err(error) => return Err(error),
        };
        let (status, residue) = self.status()?;
        if residue > length {
            return Err(Error::BadStatus);
        }
        match status {
            // A device may send all that was asked for and call some of it padding.
            0 => Ok(Outcome::Done(moved.min(length - residue))),
            1 => Ok(Outcome::Failed),
            2 => Err(Error::Phase),
            _ => Err(Error::BadStatus),
        }
    }

    /// Fetches the status of the command under way: how it ended, and how many octets were not moved.
    fn status(&mut self) -> Result<(u8, usize), Error> {
        let mut status = [0; STATUS_OCTETS];
        let came = match self.pipes.receive(&mut status) {
            // Once it may be halted still; the status follows (6.7.2).
            Err(Error::Stalled) => {
                self.pipes.clear_halt(true)?;
                self.pipes.receive(&mut status)
            }
            came => came,
        }?;
        if came != STATUS_OCTETS {
            return Err(Error::ShortStatus);
        }
        let [s0, s1, s2, s3, t0, t1, t2, t3, r0, r1, r2, r3, outcome] = status;
        if [s0, s1, s2, s3] != STATUS_SIGNATURE {
            return Err(Error::BadSignature);
        }
        if u32::from_le_bytes([t0, t1, t2, t3]) != self.tag {
            return Err(Error::WrongTag);
        }
        let residue = usize::try_from(u32::from_le_bytes([r0, r1, r2, r3])).map_err(|_| Error::BadStatus)?;
        Ok((outcome, residue))
    }

    /// Brings the device's end to where it awaits a command (5.3.4).
    fn recover(&mut self) -> Result<(), Error> {
        let index = self.pipes.interface().into();
        match self.pipes.request(Request { kind: 0x21, request: 0xFF, value: 0, index }, &mut []) {
            // Some do not know it, and need it less.
            Ok(_) | Err(Error::Stalled) => {}
            Err(error) => return Err(error),
        }
        self.pipes.clear_halt(true)?;
        self.pipes.clear_halt(false)
    }
}

/// Wraps a command; `None` if it or its data is too long.
fn wrap(tag: u32, length: usize, toward_host: bool, unit: u8, command: &[u8]) -> Option<[u8; COMMAND_OCTETS]> {
    let mut wrapped = [0; COMMAND_OCTETS];
    let length = u32::try_from(length).ok()?;
    let head = [u8::from(toward_host) << 7, unit & 0xF, u8::try_from(command.len()).ok()?];
    let parts: [&[u8]; 5] = [&COMMAND_SIGNATURE, &tag.to_le_bytes(), &length.to_le_bytes(), &head, command];
    if command.is_empty() || command.len() > 16 {
        return None;
    }
    wrapped.iter_mut().zip(parts.into_iter().flatten()).for_each(|(to, from)| *to = *from);
    Some(wrapped)
}
