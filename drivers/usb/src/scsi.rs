//! Blocks of a stick, by SCSI commands: [`Disk`].
//!
//! Source: SPC-4 (INQUIRY 6.6, REQUEST SENSE 6.39, TEST UNIT READY 6.47), SBC-3 (READ 5.8, READ CAPACITY 5.12, SYNCHRONIZE CACHE 5.18,
//! WRITE 5.27), each in its form of 6 or 10 octets, which every stick knows.

use core::fmt;

use crate::{
    Error, Pipes, Sense,
    bulk_only::{Data, Outcome, Transport},
    device::MOST,
};

/// Octets of a block.
pub const BLOCK: usize = 512;
/// Blocks of one command, at most.
const MOST_BLOCKS: usize = MOST / BLOCK;
/// How often a unit is asked whether it is ready, and how long is waited between.
const ASKED: u32 = 50;
const BETWEEN_MILLIS: u32 = 100;

/// Sense keys.
const NOT_READY: u8 = 2;
const ILLEGAL_REQUEST: u8 = 5;
const UNIT_ATTENTION: u8 = 6;
/// The additional sense code of a drive without a medium.
const NO_MEDIUM: u8 = 0x3A;

/// What a unit calls itself: vendor and product, printable and without blanks at the ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    text: [u8; 24],
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (vendor, product) = self.text.split_at(8);
        let [vendor, product] = [vendor, product].map(|text| core::str::from_utf8(text).unwrap_or("?").trim());
        write!(f, "{vendor}{}{product}", if vendor.is_empty() || product.is_empty() { "" } else { " " })
    }
}

/// A unit with a medium whose size is known.
#[derive(Debug)]
pub struct Disk<P> {
    transport: Transport<P>,
    unit: u8,
    identity: Identity,
    blocks: u32,
}

impl<P: Pipes> Disk<P> {
    /// Waits until a unit is ready, for some seconds, and asks how large it is.
    ///
    /// # Errors
    /// [`Error::NoMedium`], [`Error::NotReady`], [`Error::BlockSize`], [`Error::Capacity`]; [`Error::BadDescriptor`] when it is no
    /// disk; those of the transport.
    pub fn open(transport: Transport<P>, unit: u8) -> Result<Self, Error> {
        let mut disk = Self { transport, unit, identity: Identity { text: [b' '; 24] }, blocks: 0 };
        disk.inquire()?;
        disk.wait_ready()?;
        disk.measure()?;
        Ok(disk)
    }

    /// Returns what it calls itself.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Returns how many blocks it has.
    pub fn blocks(&self) -> u32 {
        self.blocks
    }

    /// Does a command; a failure is turned into its reason.
    fn command(&mut self, command: &[u8], data: Data<'_>) -> Result<usize, Error> {
        match self.transport.command(self.unit, command, data)? {
            Outcome::Done(octets) => Ok(octets),
            Outcome::Failed => Err(Error::Sense(self.sense()?)),
        }
    }

    /// Asks why the last command failed.
    fn sense(&mut self) -> Result<Sense, Error> {
        let mut sense = [0; 18];
        let asked = self.transport.command(self.unit, &[0x03, 0, 0, 0, 18, 0], Data::In(&mut sense))?;
        if !matches!(asked, Outcome::Done(14..)) {
            return Ok(Sense::default());
        }
        Ok(Sense { key: sense[2] & 0xF, code: sense[12], qualifier: sense[13] })
    }

    fn inquire(&mut self) -> Result<(), Error> {
        let mut answer = [0; 36];
        let octets = self.command(&[0x12, 0, 0, 0, 36, 0], Data::In(&mut answer))?;
        // A disk, connected.
        if octets < 36 || answer[0] != 0 {
            return Err(Error::BadDescriptor);
        }
        let printable = |octet: &u8| if (0x20..0x7F).contains(octet) { *octet } else { b'?' };
        self.identity.text.iter_mut().zip(&answer[8..32]).for_each(|(to, from)| *to = printable(from));
        Ok(())
    }

    fn wait_ready(&mut self) -> Result<(), Error> {
        let mut last = Sense::default();
        for _ in 0..ASKED {
            match self.command(&[0x00, 0, 0, 0, 0, 0], Data::None) {
                Ok(_) => return Ok(()),
                Err(Error::Sense(sense)) if sense.key == NOT_READY && sense.code == NO_MEDIUM => {
                    return Err(Error::NoMedium);
                }
                Err(Error::Sense(sense)) if matches!(sense.key, NOT_READY | UNIT_ATTENTION) => last = sense,
                Err(error) => return Err(error),
            }
            self.transport.pause(BETWEEN_MILLIS)?;
        }
        Err(Error::NotReady(last))
    }

    fn measure(&mut self) -> Result<(), Error> {
        let mut answer = [0; 8];
        let octets = self.command(&[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0], Data::In(&mut answer))?;
        let [a, b, c, d, e, f, g, h] = answer;
        let (last, size) = (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]));
        if octets != answer.len() {
            return Err(Error::ShortTransfer);
        }
        if usize::try_from(size) != Ok(BLOCK) {
            return Err(Error::BlockSize(size));
        }
        self.blocks = match last {
            0 | u32::MAX => return Err(Error::Capacity),
            last => last + 1,
        };
        Ok(())
    }

    /// Returns the number of blocks in so many octets, which begin at `first` and lie on the disk.
    fn check(&self, first: u32, octets: usize) -> Result<(), Error> {
        let blocks = u32::try_from(octets / BLOCK).map_err(|_| Error::OutOfRange)?;
        let end = first.checked_add(blocks).ok_or(Error::OutOfRange)?;
        if octets.is_multiple_of(BLOCK) && end <= self.blocks { Ok(()) } else { Err(Error::OutOfRange) }
    }

    /// Reads blocks, from `first`.
    ///
    /// # Errors
    /// [`Error::OutOfRange`], [`Error::Sense`], [`Error::ShortTransfer`], those of the transport.
    pub fn read(&mut self, first: u32, into: &mut [u8]) -> Result<(), Error> {
        self.check(first, into.len())?;
        for (at, part) in (first..).step_by(MOST_BLOCKS).zip(into.chunks_mut(MOST)) {
            let wanted = part.len();
            let got = self.command(&transfer(0x28, at, wanted), Data::In(part))?;
            if got != wanted {
                return Err(Error::ShortTransfer);
            }
        }
        Ok(())
    }

    /// Writes blocks, from `first`.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn write(&mut self, first: u32, from: &[u8]) -> Result<(), Error> {
        self.check(first, from.len())?;
        for (at, part) in (first..).step_by(MOST_BLOCKS).zip(from.chunks(MOST)) {
            let went = self.command(&transfer(0x2A, at, part.len()), Data::Out(part))?;
            if went != part.len() {
                return Err(Error::ShortTransfer);
            }
        }
        Ok(())
    }

    /// Has it keep for good what was written. One that does not know the command has nothing to do for it.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn flush(&mut self) -> Result<(), Error> {
        match self.command(&[0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0], Data::None) {
            Err(Error::Sense(sense)) if sense.key == ILLEGAL_REQUEST => Ok(()),
            outcome => outcome.map(drop),
        }
    }
}

/// A command of ten octets about `octets` from block `first`.
fn transfer(operation: u8, first: u32, octets: usize) -> [u8; 10] {
    let [a, b, c, d] = first.to_be_bytes();
    let [high, low] = u16::try_from(octets / BLOCK).unwrap_or(0).to_be_bytes();
    [operation, 0, a, b, c, d, 0, high, low, 0]
}
