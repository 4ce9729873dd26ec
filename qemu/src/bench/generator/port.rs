//! One end of a `stream` network, for many frames at a time: [`Port`].
//!
//! QEMU puts the length of a frame before it, as four octets with the highest first. Frames are read into one buffer by
//! large reads and looked at in place, and written from another by large writes; neither blocks or allocates.

use std::{
    io::{ErrorKind, Read, Write},
    os::{fd::AsFd, unix::net::UnixStream},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use nix::{
    poll::{PollFd, PollFlags, ppoll},
    sys::time::TimeSpec,
};

use super::outbox::{Outbox, PREFIX, Tag, untagged};

/// How much is read at once.
const READ_SIZE: usize = 512 * 1024;

/// The longest frame there is.
const LONGEST: usize = 64 * 1024;

/// One end of a link.
#[derive(Debug)]
pub(super) struct Port {
    stream: UnixStream,
    inbox: Vec<u8>,
    /// How much of the inbox is filled; at most its length.
    filled: usize,
    outbox: Outbox,
    /// How much of the outbox is written; at most its length.
    written: usize,
    /// System calls so far.
    pub(super) reads: u64,
    pub(super) writes: u64,
}

impl Port {
    pub(super) fn new(stream: UnixStream) -> Result<Self> {
        stream.set_nonblocking(true)?;
        let inbox = vec![0; READ_SIZE + PREFIX + LONGEST];
        Ok(Self { stream, inbox, filled: 0, outbox: Outbox::default(), written: 0, reads: 0, writes: 0 })
    }

    /// From now on frames are sent with this tag, and must come with it.
    pub(super) fn tag(&mut self, tag: Option<Tag>) {
        self.outbox = Outbox::tagged(tag);
    }

    /// Reads once and hands each whole frame to `take`. Returns how many there were.
    pub(super) fn receive(&mut self, mut take: impl FnMut(&[u8], &mut Outbox) -> Result<()>) -> Result<usize> {
        self.reads += 1;
        match self.stream.read(self.inbox.get_mut(self.filled..).unwrap_or_default()) {
            Ok(0) => bail!("QEMU has closed the link"),
            Ok(count) => self.filled += count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return Ok(0),
            Err(error) => return Err(error).context("cannot read from QEMU"),
        }
        let (mut used, mut count, tag) = (0, 0, self.outbox.tag());
        let bytes = self.inbox.get_mut(..self.filled).unwrap_or_default();
        while let Some((length, rest)) = bytes.get_mut(used..).and_then(<[u8]>::split_first_chunk_mut::<PREFIX>) {
            let length = u32::from_be_bytes(*length) as usize;
            if length > LONGEST {
                bail!("QEMU announces a frame of {length} octets");
            }
            let Some(frame) = rest.get_mut(..length) else { break };
            take(untagged(frame, tag), &mut self.outbox)?;
            used += PREFIX + length;
            count += 1;
        }
        self.inbox.copy_within(used..self.filled, 0);
        self.filled -= used;
        Ok(count)
    }

    /// Returns whether everything is written that was to be.
    pub(super) fn is_idle(&self) -> bool {
        self.outbox.octets().is_empty()
    }

    /// Returns the outbox, to which frames with their lengths before them may be appended.
    pub(super) const fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// Writes as much of the outbox as the socket takes.
    pub(super) fn flush(&mut self) -> Result<()> {
        while self.written < self.outbox.octets().len() {
            self.writes += 1;
            match self.stream.write(self.outbox.octets().get(self.written..).unwrap_or_default()) {
                Ok(0) => bail!("QEMU takes no frames any more"),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("cannot write to QEMU"),
            }
        }
        self.outbox.clear();
        self.written = 0;
        Ok(())
    }
}

/// Waits until a port has something to read, or takes what it has to write, at most for `limit`.
pub(super) fn wait(ports: &[Port; 2], limit: Duration) -> Result<()> {
    let flags = |port: &Port| if port.is_idle() { PollFlags::POLLIN } else { PollFlags::POLLIN | PollFlags::POLLOUT };
    let mut waited = ports.each_ref().map(|port| PollFd::new(port.stream.as_fd(), flags(port)));
    match ppoll(&mut waited, Some(TimeSpec::from_duration(limit)), None) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
        Err(error) => Err(error).context("cannot wait for QEMU"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(port: &mut Port) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        port.receive(|frame, _| {
            frames.push(frame.to_vec());
            Ok(())
        })
        .unwrap();
        frames
    }

    #[test]
    fn frames_arrive_whole_however_the_octets_do() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut port = Port::new(ours).unwrap();
        let mut all = Vec::new();
        for octet in [0, 0, 0, 3, 1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 1, 9, 0, 1] {
            theirs.write_all(&[octet]).unwrap();
            all.extend(received(&mut port));
        }
        assert_eq!(all, [vec![1, 2, 3], vec![], vec![9]]);
        assert!(received(&mut port).is_empty());
        theirs.write_all(&[0xff, 0]).unwrap();
        assert!(port.receive(|_, _| Ok(())).is_err(), "no such length");
        drop(theirs);
        assert!(port.receive(|_, _| Ok(())).is_err());
    }

    #[test]
    fn what_the_socket_does_not_take_at_once_is_written_later() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (mut port, mut other) = (Port::new(ours).unwrap(), Port::new(theirs).unwrap());
        let frames = 4000;
        for index in 0..frames {
            port.outbox().append(&[u8::try_from(index % 251).unwrap(); 1000]);
        }
        port.flush().unwrap();
        assert!(!port.is_idle(), "4 MB fit into no socket");
        let mut all = Vec::new();
        while all.len() < frames {
            all.extend(received(&mut other));
            port.flush().unwrap();
        }
        assert!(port.is_idle());
        assert!(all.iter().enumerate().all(|(index, frame)| *frame == [u8::try_from(index % 251).unwrap(); 1000]));
    }
}
