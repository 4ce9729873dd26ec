//! One end of a `stream` network: frames with a length before each. [`Link`].
//!
//! QEMU puts the length of a frame before it, as four octets with the highest first (QEMU, net/stream). Reading and
//! writing never block; what the socket does not take at once waits in the outbox.

use std::{
    io::{ErrorKind, Read, Write},
    os::{
        fd::AsFd,
        unix::net::{UnixListener, UnixStream},
    },
    sync::Arc,
};

/// Something to wait on, which stays open while somebody does.
pub(super) type Descriptor = Arc<dyn AsFd + Send + Sync>;

/// The longest frame that is believed; QEMU's own limit is 4 KiB more than 64 KiB.
const LONGEST_FRAME: usize = 0x1_1000;

/// How much is read at once.
const READ_SIZE: usize = 256 * 1024;

/// How much may wait to be written before senders that can wait should.
const OUTBOX_MARK: usize = 128 * 1024;

/// How much may wait at all; more is dropped, as a cable would.
const OUTBOX_LIMIT: usize = 8 * 1024 * 1024;

/// A place for one peer, and the peer when it is there.
#[derive(Debug, Default)]
pub(super) struct Link {
    listener: Option<Arc<UnixListener>>,
    stream: Option<Arc<UnixStream>>,
    inbox: Inbox,
    outbox: Vec<u8>,
    /// How much of the outbox is written; at most its length.
    written: usize,
}

/// Bytes that have come: a buffer that is allocated once, and how much of it is filled.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    buffer: Vec<u8>,
    /// At most the buffer's length.
    filled: usize,
}

impl Inbox {
    /// Returns the bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        self.buffer.get(..self.filled).unwrap_or_default()
    }
}

impl Link {
    /// Makes a link that takes whoever connects; a later peer replaces an earlier one.
    pub(super) fn listening(listener: UnixListener) -> std::io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self { listener: Some(Arc::new(listener)), ..Self::default() })
    }

    /// Makes a link with its peer.
    pub(super) fn connected(stream: UnixStream) -> std::io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream: Some(Arc::new(stream)), ..Self::default() })
    }

    /// Returns whether the peer is there.
    pub(super) fn is_up(&self) -> bool {
        self.stream.is_some()
    }

    /// Returns what to wait on: its descriptor, and whether there is something to write to it.
    pub(super) fn waits_on(&self) -> impl Iterator<Item = (Descriptor, bool)> {
        let has_output = self.written < self.outbox.len();
        let stream = self.stream.as_ref().map(|stream| (Arc::clone(stream) as Descriptor, has_output));
        let listener = self.listener.as_ref().map(|listener| (Arc::clone(listener) as Descriptor, false));
        stream.into_iter().chain(listener)
    }

    /// Takes what has come: a new peer, and bytes. [`frames`] cuts them; [`keep`](Self::keep) has to follow.
    pub(super) fn receive(&mut self) -> Inbox {
        if let Some(listener) = &self.listener
            && let Ok((stream, _)) = listener.accept()
            && stream.set_nonblocking(true).is_ok()
        {
            self.stream = Some(Arc::new(stream));
            self.inbox.filled = 0;
            self.outbox.clear();
            self.written = 0;
        }
        let mut inbox = std::mem::take(&mut self.inbox);
        let Some(stream) = &self.stream else { return inbox };
        // Room for a whole read after whatever part of a frame was left.
        inbox.buffer.resize(READ_SIZE + 4 + LONGEST_FRAME, 0);
        match (&**stream).read(inbox.buffer.get_mut(inbox.filled..).unwrap_or_default()) {
            Ok(count @ 1..) => inbox.filled += count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Ok(0) | Err(_) => self.stream = None,
        }
        inbox
    }

    /// Gives back the bytes of [`receive`](Self::receive), of which the first `used` are done with.
    pub(super) fn keep(&mut self, mut inbox: Inbox, used: usize) {
        let used = used.min(inbox.filled);
        inbox.buffer.copy_within(used..inbox.filled, 0);
        inbox.filled -= used;
        self.inbox = inbox;
    }

    /// Queues a frame that `write` appends. Returns whether there was room.
    pub(super) fn queue(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        if !self.is_up() || self.outbox.len() - self.written > OUTBOX_LIMIT {
            return false;
        }
        let start = self.outbox.len();
        self.outbox.extend_from_slice(&[0; 4]);
        write(&mut self.outbox);
        let length = u32::try_from(self.outbox.len() - start - 4).unwrap_or(0).to_be_bytes();
        if let Some(place) = self.outbox.get_mut(start..start + 4) {
            place.copy_from_slice(&length);
        }
        true
    }

    /// Returns whether a sender that can wait should.
    pub(super) fn is_congested(&self) -> bool {
        self.outbox.len() - self.written > OUTBOX_MARK
    }

    /// Writes as much of the outbox as the socket takes.
    pub(super) fn flush(&mut self) {
        while self.written < self.outbox.len() {
            let Some(stream) = &self.stream else { break };
            match (&**stream).write(self.outbox.get(self.written..).unwrap_or_default()) {
                Ok(count @ 1..) => self.written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Ok(0) | Err(_) => self.stream = None,
            }
        }
        self.outbox.clear();
        self.written = 0;
    }
}

/// Hands each whole frame in `bytes` to `take` and returns how many bytes that were. A length that cannot be ends it:
/// the rest is thrown away, as there is no telling where a frame begins.
pub(super) fn frames(bytes: &[u8], mut take: impl FnMut(&[u8])) -> usize {
    let mut used = 0;
    while let Some((length, rest)) = bytes.get(used..).and_then(<[u8]>::split_first_chunk::<4>) {
        let length = u32::from_be_bytes(*length) as usize;
        if length > LONGEST_FRAME {
            return bytes.len();
        }
        let Some(frame) = rest.get(..length) else { break };
        take(frame);
        used += 4 + length;
    }
    used
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the frames that have come, as vectors.
    fn received(link: &mut Link) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        let inbox = link.receive();
        let used = frames(inbox.bytes(), |frame| out.push(frame.to_vec()));
        link.keep(inbox, used);
        out
    }

    #[test]
    fn frames_arrive_whole_and_in_order_however_the_bytes_do() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut link = Link::connected(ours).unwrap();
        let bytes = [0, 0, 0, 3, 1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 1, 9];
        let mut all = Vec::new();
        for byte in bytes {
            theirs.write_all(&[byte]).unwrap();
            all.extend(received(&mut link));
        }
        assert_eq!(all, [vec![1, 2, 3], vec![], vec![9]]);
    }

    #[test]
    fn what_is_queued_is_framed_and_flushed() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut link = Link::connected(ours).unwrap();
        assert!(link.queue(|out| out.extend_from_slice(b"abc")));
        assert!(link.waits_on().any(|(_, writes)| writes));
        link.flush();
        assert!(!link.waits_on().any(|(_, writes)| writes));
        let mut bytes = [0; 7];
        theirs.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"\0\0\0\x03abc");
    }

    #[test]
    fn a_peer_that_reads_nothing_congests_and_loses_nothing_below_the_limit() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut link = Link::connected(ours).unwrap();
        let mut queued = 0_usize;
        while !link.is_congested() {
            link.queue(|out| out.extend_from_slice(&[7; 1000]));
            link.flush();
            queued += 1;
        }
        theirs.set_nonblocking(true).unwrap();
        let (mut bytes, mut count) = (vec![0; 65536], 0);
        while count < queued * 1004 {
            link.flush();
            count += theirs.read(&mut bytes).unwrap_or(0);
        }
        assert!(!link.is_congested());
    }

    #[test]
    fn a_peer_that_goes_takes_the_link_down_and_another_may_come() {
        let folder = crate::workspace::scratch("link");
        let path = folder.join("socket");
        let mut link = Link::listening(UnixListener::bind(&path).unwrap()).unwrap();
        assert!(!link.is_up() && !link.queue(|_| ()));
        for _ in 0..2 {
            let peer = UnixStream::connect(&path).unwrap();
            received(&mut link);
            assert!(link.is_up());
            drop(peer);
            received(&mut link);
            assert!(!link.is_up());
        }
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_length_that_cannot_be_loses_the_rest_and_no_more() {
        let mut count = 0;
        assert_eq!(frames(&[0, 0, 0, 1, 5, 0xff, 0, 0, 0, 1, 2], |_| count += 1), 11);
        assert_eq!(count, 1);
    }
}
