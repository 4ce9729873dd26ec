//! A modelled stick, from its bulk endpoints on: [`Stick`], and in what it lies ([`Lie`]).

use std::collections::VecDeque;

use usb::{BLOCK, Error, Pipes, Request};

/// What the device does wrong, from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lie {
    None,
    /// Its status has 12 octets.
    ShortStatus,
    /// Its status has another signature.
    BadSignature,
    /// Its status is of the command before.
    WrongTag,
    /// Its status has an outcome that does not exist.
    BadOutcome,
    /// It did not move more than was asked for.
    HugeResidue,
    /// It lost track.
    Phase,
    /// It halts on every command.
    RefusesCommands,
    /// It halts instead of its status, each time.
    RefusesStatus,
    /// It sends half of the data and says that that is all.
    HalfTheData,
    /// It never becomes ready.
    NeverReady,
    /// It has no medium.
    NoMedium,
    /// It says so many octets are in a block.
    BlockSize(u32),
    /// It says that this is its last block.
    LastBlock(u32),
    /// Its sense is cut short.
    NoSense,
    /// It does not know SYNCHRONIZE CACHE.
    NoFlush,
    /// It is write-protected.
    Protected,
    /// It is no disk.
    Scanner,
    /// It answers nothing any more.
    Silent,
}

#[derive(Debug)]
pub(crate) struct Stick {
    pub(crate) blocks: Vec<u8>,
    pub(crate) lie: Lie,
    /// Commands that are answered with "not ready" before it is, and "unit attention" before that.
    pub(crate) sleepy: usize,
    /// Whether it halts the data endpoint in a command that fails, as it may.
    pub(crate) halts_on_failure: bool,
    /// Whether it halts once before a status.
    pub(crate) halts_before_status: bool,
    pub(crate) commands: Vec<u8>,
    pub(crate) calls: usize,
    pub(crate) paused: u32,
    pub(crate) resets: usize,
    pub(crate) flushes: usize,
    halted: [bool; 2],
    /// What it sends next.
    ready: VecDeque<Vec<u8>>,
    /// What it does with data that comes: the block, and the status after it.
    awaits: Option<(usize, Vec<u8>)>,
    sense: [u8; 3],
    attention: bool,
}

impl Stick {
    pub(crate) fn new(blocks: usize) -> Self {
        Self {
            blocks: vec![0; blocks * BLOCK],
            lie: Lie::None,
            sleepy: 0,
            halts_on_failure: false,
            halts_before_status: false,
            commands: Vec::new(),
            calls: 0,
            paused: 0,
            resets: 0,
            flushes: 0,
            halted: [false; 2],
            ready: VecDeque::new(),
            awaits: None,
            sense: [0; 3],
            attention: true,
        }
    }

    pub(crate) fn that(lie: Lie) -> Self {
        Self { lie, ..Self::new(128) }
    }

    fn called(&mut self) -> Result<(), Error> {
        self.calls += 1;
        if self.lie == Lie::Silent { Err(Error::TransferTimeout) } else { Ok(()) }
    }

    /// Does a command: what it answers, how it ends.
    fn execute(&mut self, command: &[u8]) -> Result<Vec<u8>, [u8; 3]> {
        self.commands.push(command[0]);
        let first = u32::from_be_bytes(command[2..6].try_into().unwrap()) as usize * BLOCK;
        let octets = usize::from(u16::from_be_bytes(command[7..9].try_into().unwrap())) * BLOCK;
        match command[0] {
            0x12 => {
                let kind = if self.lie == Lie::Scanner { 6 } else { 0 };
                Ok([&[kind, 0x80, 4, 2, 31, 0, 0, 0][..], b"ACME    Stick\x07of wood   1.00"].concat())
            }
            0x03 => {
                let [key, code, qualifier] = std::mem::take(&mut self.sense);
                let whole = [0x70, 0, key, 0, 0, 0, 0, 10, 0, 0, 0, 0, code, qualifier, 0, 0, 0, 0].to_vec();
                Ok(if self.lie == Lie::NoSense { whole[..4].to_vec() } else { whole })
            }
            _ if std::mem::take(&mut self.attention) => Err([6, 0x29, 0]),
            _ if self.lie == Lie::NoMedium => Err([2, 0x3A, 0]),
            _ if self.lie == Lie::NeverReady || self.sleepy > 0 => {
                self.sleepy = self.sleepy.saturating_sub(1);
                Err([2, 4, 1])
            }
            0x00 => Ok(vec![]),
            0x25 => {
                let last = match self.lie {
                    Lie::LastBlock(last) => last,
                    _ => u32::try_from(self.blocks.len() / BLOCK - 1).unwrap(),
                };
                let size = if let Lie::BlockSize(size) = self.lie { size } else { 512 };
                Ok([last.to_be_bytes(), size.to_be_bytes()].concat())
            }
            0x28 => Ok(self.blocks[first..first + octets].to_vec()),
            0x2A if self.lie == Lie::Protected => Err([7, 0x27, 0]),
            0x2A => {
                self.awaits = Some((first, vec![]));
                Ok(vec![])
            }
            0x35 if self.lie == Lie::NoFlush => Err([5, 0x20, 0]),
            0x35 => {
                self.flushes += 1;
                Ok(vec![])
            }
            _ => Err([5, 0x20, 0]),
        }
    }

    fn status(&self, tag: u32, residue: usize, outcome: u8) -> Vec<u8> {
        let tag = if self.lie == Lie::WrongTag { tag - 1 } else { tag };
        let signature = if self.lie == Lie::BadSignature { *b"USBC" } else { *b"USBS" };
        let outcome = match self.lie {
            Lie::Phase => 2,
            Lie::BadOutcome => 7,
            _ => outcome,
        };
        let residue = if self.lie == Lie::HugeResidue { u32::MAX } else { u32::try_from(residue).unwrap() };
        let mut status = [&signature[..], &tag.to_le_bytes(), &residue.to_le_bytes(), &[outcome]].concat();
        status.truncate(if self.lie == Lie::ShortStatus { 12 } else { 13 });
        status
    }
}

impl Pipes for Stick {
    fn interface(&self) -> u8 {
        3
    }

    fn request(&mut self, request: Request, into: &mut [u8]) -> Result<usize, Error> {
        self.called()?;
        assert_eq!(request.index, 3, "requests are for the interface");
        match (request.kind, request.request) {
            (0x21, 0xFF) => {
                self.resets += 1;
                (self.ready, self.awaits) = (VecDeque::new(), None);
                Ok(0)
            }
            (0xA1, 0xFE) => {
                into[0] = 1;
                Ok(1)
            }
            other => panic!("no such request: {other:?}"),
        }
    }

    fn send(&mut self, octets: &[u8]) -> Result<(), Error> {
        self.called()?;
        if self.lie == Lie::RefusesCommands {
            self.halted[0] = true;
        }
        if self.halted[0] {
            return Err(Error::Stalled);
        }
        if let Some((first, status)) = self.awaits.take() {
            self.blocks[first..first + octets.len()].copy_from_slice(octets);
            self.ready.push_back(status);
            return Ok(());
        }
        assert_eq!((octets.len(), &octets[..4]), (31, &b"USBC"[..]), "a command is wrapped");
        assert!(self.ready.is_empty(), "a command before the status of the one before");
        let tag = u32::from_le_bytes(octets[4..8].try_into().unwrap());
        let length = u32::from_le_bytes(octets[8..12].try_into().unwrap()) as usize;
        let toward_host = octets[12] & 0x80 != 0;
        match self.execute(&octets[15..]) {
            Ok(mut data) => {
                data.truncate(length);
                if self.lie == Lie::HalfTheData && toward_host && octets[15] == 0x28 {
                    data.truncate(length / 2);
                }
                let residue = if toward_host { length - data.len() } else { 0 };
                let status = self.status(tag, residue, 0);
                if toward_host {
                    self.ready.push_back(data);
                }
                match &mut self.awaits {
                    Some((_, kept)) => *kept = status,
                    None => self.ready.push_back(status),
                }
            }
            Err(sense) => {
                self.sense = sense;
                let status = self.status(tag, length, 1);
                if length > 0 && (self.halts_on_failure || !toward_host) {
                    self.halted[usize::from(toward_host)] = true;
                } else if length > 0 {
                    self.ready.push_back(vec![]);
                }
                self.ready.push_back(status);
            }
        }
        Ok(())
    }

    fn receive(&mut self, into: &mut [u8]) -> Result<usize, Error> {
        self.called()?;
        if self.halted[1] {
            return Err(Error::Stalled);
        }
        if into.len() == 13 && (self.lie == Lie::RefusesStatus || std::mem::take(&mut self.halts_before_status)) {
            self.halted[1] = true;
            return Err(Error::Stalled);
        }
        let Some(octets) = self.ready.pop_front() else { return Err(Error::TransferTimeout) };
        into[..octets.len()].copy_from_slice(&octets);
        Ok(octets.len())
    }

    fn clear_halt(&mut self, toward_host: bool) -> Result<(), Error> {
        self.called()?;
        self.halted[usize::from(toward_host)] = false;
        Ok(())
    }

    fn pause(&mut self, millis: u32) -> Result<(), Error> {
        self.paused += millis;
        Ok(())
    }
}

/// So that a test can look at the stick afterwards.
impl Pipes for &mut Stick {
    fn interface(&self) -> u8 {
        (**self).interface()
    }
    fn request(&mut self, request: Request, into: &mut [u8]) -> Result<usize, Error> {
        (**self).request(request, into)
    }
    fn send(&mut self, octets: &[u8]) -> Result<(), Error> {
        (**self).send(octets)
    }
    fn receive(&mut self, into: &mut [u8]) -> Result<usize, Error> {
        (**self).receive(into)
    }
    fn clear_halt(&mut self, toward_host: bool) -> Result<(), Error> {
        (**self).clear_halt(toward_host)
    }
    fn pause(&mut self, millis: u32) -> Result<(), Error> {
        (**self).pause(millis)
    }
}
