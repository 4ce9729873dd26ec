//! The transmit ring: encapsulate, flush, reclaim.
//!
//! Key type: [`TxRing`], which lives under the adapter's one lock. Every method runs with that lock held, so it does not
//! allocate, wait or take another lock: buffers that come free leave in a [`Finished`] list and go home after unlocking.
//! Manual: 3.3 (descriptors), 3.4 (ring), 14.5.

use alloc::vec::Vec;

use arrayvec::ArrayVec;
use bus_dma::{DmaMap, DmaMem, DmaTag, ToDevice};
use ksync::{
    atomic::{DeviceU64, Ordering},
    time::Instant,
};
use pktbuf::{BATCH_CAPACITY, PacketBatch, PacketBuf};

use crate::{
    desc::{self, TxCommand, TxStatus, WORDS},
    hardware::RingPlace,
    regs::{Reg, RegisterIo},
    rings::{DeviceRing, TxLook},
    stats::TxCounters,
    txsum::TxSums,
};

/// Frames taken back in one visit of the ring at most; as many as a batch holds.
pub(crate) const RECLAIM_BURST: usize = 64;

/// Buffers that came free while the lock was held.
///
/// Room for a burst of finished ones, and for a whole batch of which no frame can be sent.
pub(crate) type Finished = ArrayVec<PacketBuf, { RECLAIM_BURST + BATCH_CAPACITY }>;

/// Shortest frame without FCS (IEEE 802.3 3.2.8: 64 octets with it).
pub(crate) const MIN_FRAME: usize = 60;
/// Octets of an Ethernet header: nothing shorter is a frame.
pub(crate) const HEADER: usize = 14;

/// Why the frame at the front was not put into the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EncapError {
    /// No way to send it now; later perhaps.
    NoRoom,
    /// Longer than this port sends.
    TooLong,
    /// No way to send it ever: not a frame, or without a bus address.
    Unsendable,
}

/// What [`TxRing::encap`] has done.
#[derive(Debug)]
pub(crate) struct Encapsulated {
    /// Frames put into the ring.
    pub(crate) frames: usize,
    /// Their octets, before padding.
    pub(crate) octets: u64,
    /// What is wrong with the frame that is now at the front, if anything is.
    pub(crate) stopped: Option<EncapError>,
}

/// The ring, its memory and one map per descriptor.
#[derive(Debug)]
pub(crate) struct TxRing {
    /// Which of the port's queues.
    queue: u8,
    memory: DmaMem,
    /// One per descriptor; loaded exactly for the descriptors `clean .. clean + used` (modulo the length).
    maps: Vec<DmaMap<ToDevice>>,
    /// Where a flush began, the place of its last descriptor: the one that has RS set and reports for all of them.
    ends: Vec<u16>,
    /// The oldest descriptor in use; `< maps.len()`.
    clean: usize,
    /// The descriptor that is used next; `clean + used`, wrapped.
    next: usize,
    /// Descriptors in use; `<= maps.len() - 1`: one stays unused, since head == tail means empty.
    used: usize,
    /// Descriptors in use the device has not been told of.
    unflushed: usize,
    /// Descriptors in use without a buffer: contexts of frames whose checksums the device fills in.
    contexts: usize,
    /// The descriptor that reports for `clean`, when `clean` is not the first of its flush.
    awaited: Option<usize>,
    /// Set while the device is being reset: nothing may be put in.
    pub(crate) paused: bool,
    /// Since when frames have been in the ring without any coming out.
    stalled: Option<Instant>,
    /// Frames that came out when the watchdog looked last.
    seen_done: u64,
    /// The watchdog has started the ring again, and nothing has come out since.
    pub(crate) was_restarted: bool,
}

impl TxRing {
    pub(crate) fn new(queue: u8, memory: DmaMem, maps: Vec<DmaMap<ToDevice>>) -> Self {
        let ends = maps.iter().map(|_| 0).collect();
        Self {
            queue,
            memory,
            maps,
            ends,
            clean: 0,
            next: 0,
            used: 0,
            unflushed: 0,
            contexts: 0,
            awaited: None,
            paused: false,
            stalled: None,
            seen_done: 0,
            was_restarted: false,
        }
    }

    /// Returns where the ring stands, beside what the device says.
    pub(crate) fn look(&self, device: DeviceRing) -> TxLook {
        let &Self { next, clean, used, unflushed, paused, .. } = self;
        TxLook { device, next, clean, used, unflushed, paused }
    }

    /// Returns the descriptors in use.
    pub(crate) fn in_flight(&self) -> usize {
        self.used
    }

    /// Returns the descriptors that can be used.
    #[inline]
    pub(crate) fn free(&self) -> usize {
        (self.maps.len() - 1).saturating_sub(self.used)
    }

    /// Returns the descriptor that is used next.
    pub(crate) fn next(&self) -> usize {
        self.next
    }

    /// Returns the descriptor behind `index`.
    #[inline]
    fn after(&self, index: usize) -> usize {
        if index + 1 < self.maps.len() { index + 1 } else { 0 }
    }

    /// Puts frames from the front of `batch` into the ring, up to the end of the ring or the first that cannot be sent as it is. The
    /// device learns of them at the next [`flush`](Self::flush). `tag` is what each descriptor has besides.
    #[inline]
    pub(crate) fn encap(&mut self, batch: &mut PacketBatch, tag: u64, longest: usize) -> Encapsulated {
        let start = self.next;
        let end = self.maps.len().min(start + self.free());
        let (descriptors, _) = self.memory.cells().as_chunks::<WORDS>();
        let descriptors = descriptors.get(start..end).unwrap_or_default();
        let maps = self.maps.get_mut(start..end).unwrap_or_default();
        let (mut octets, mut stopped) = (0, None);
        let whole = desc::tx_word(0, TxCommand::EOP | TxCommand::IFCS) | tag;
        let frames = batch.consume(maps.iter_mut().zip(descriptors), |mut packet, (map, [address, rest])| {
            let len = packet.len();
            if len.wrapping_sub(MIN_FRAME) > longest - MIN_FRAME {
                packet = match pad(packet, longest) {
                    Ok(packet) => packet,
                    Err((packet, why)) => {
                        stopped = Some(why);
                        return Err(packet);
                    }
                };
            }
            match map.lend(packet) {
                Ok(segment) => {
                    #[expect(clippy::cast_possible_truncation, reason = "the tag's maxsize is below 2^16")]
                    let word = whole | desc::tx_word(segment.len as u16, TxCommand::empty());
                    // Plain stores: the descriptor is ours until TDT passes it, see `flush`.
                    address.store(segment.addr.as_u64(), Ordering::Relaxed);
                    rest.store(word, Ordering::Relaxed);
                    octets += len as u64;
                    Ok(())
                }
                Err((packet, error)) => {
                    let later = error == bus_dma::DmaError::NoMemory;
                    stopped = Some(if later { EncapError::NoRoom } else { EncapError::Unsendable });
                    Err(packet)
                }
            }
        });
        self.next = if start + frames < self.maps.len() { start + frames } else { 0 };
        self.used += frames;
        self.unflushed += frames;
        Encapsulated { frames, octets, stopped }
    }

    /// Puts one frame into the ring whose checksums the device fills in, behind the context that says where they are. Returns its octets.
    ///
    /// # Errors
    /// The frame, and why it was not put in.
    pub(crate) fn encap_summed(
        &mut self,
        packet: PacketBuf,
        sums: TxSums,
        longest: usize,
    ) -> Result<u64, (PacketBuf, EncapError)> {
        let packet = pad(packet, longest)?;
        let octets = packet.len() as u64;
        if self.free() < 2 {
            return Err((packet, EncapError::NoRoom));
        }
        let (context, frame) = (self.next, self.after(self.next));
        let Some(map) = self.maps.get_mut(frame) else { return Err((packet, EncapError::Unsendable)) };
        let segment = match map.lend(packet) {
            Ok(segment) => segment,
            Err((packet, bus_dma::DmaError::NoMemory)) => return Err((packet, EncapError::NoRoom)),
            Err((packet, _)) => return Err((packet, EncapError::Unsendable)),
        };
        #[expect(clippy::cast_possible_truncation, reason = "the tag's maxsize is below 2^16")]
        let data = [segment.addr.as_u64(), sums.data(segment.len as u16)];
        for (place, words) in [(context, sums.context()), (frame, data)] {
            if let Some(cells) = self.cells(place) {
                // Plain stores, as in `encap`.
                cells.iter().zip(words).for_each(|(cell, word)| cell.store(word, Ordering::Relaxed));
            }
        }
        self.next = self.after(frame);
        self.used += 2;
        self.unflushed += 2;
        self.contexts += 1;
        Ok(octets)
    }

    #[inline]
    fn cells(&self, index: usize) -> Option<&[DeviceU64; WORDS]> {
        let (descriptors, _) = self.memory.cells().as_chunks();
        descriptors.get(index)
    }

    /// Returns whether the device is untold of so many frames that it should not wait for more.
    #[inline]
    pub(crate) fn holds_many(&self) -> bool {
        self.unflushed >= self.maps.len() / 2
    }

    /// Tells the device of all frames put in since the last time: RS on the last of them, then one doorbell.
    #[inline]
    pub(crate) fn flush<R: RegisterIo>(&mut self, regs: &R) {
        if self.unflushed == 0 {
            return;
        }
        let len = self.maps.len();
        let last = if self.next == 0 { len - 1 } else { self.next - 1 };
        let first = if self.next >= self.unflushed { self.next } else { self.next + len } - self.unflushed;
        if let Some([_, rest]) = self.cells(last) {
            rest.store(rest.load(Ordering::Relaxed) | desc::tx_word(0, TxCommand::RS), Ordering::Relaxed);
        }
        if let Some(end) = self.ends.get_mut(first) {
            #[expect(clippy::cast_possible_truncation, reason = "a ring has at most 4096 descriptors")]
            let last = last as u16;
            *end = last;
        }
        self.unflushed = 0;
        // ORDERING: the descriptors' words come before the doorbell; pairs with the device's reading of the ring after
        // TDT. On x86 a compiler barrier, stores being in order.
        self.memory.sync();
        #[expect(clippy::cast_possible_truncation, reason = "a ring has at most 4096 descriptors")]
        regs.write32(Reg::Tdt(self.queue), self.next as u32);
    }

    /// Lets frames in again after the transmitter was switched off and on, and rings the doorbell once more.
    ///
    /// The device's head stays where it is. Set back to what it has not reported, the device could read a buffer again whose report was
    /// only late, and which is somebody else's by then.
    pub(crate) fn resume<R: RegisterIo>(&mut self, regs: &R) {
        #[expect(clippy::cast_possible_truncation, reason = "a ring has at most 4096 descriptors")]
        regs.write32(Reg::Tdt(self.queue), self.next as u32);
        self.stalled = None;
        self.was_restarted = true;
        self.paused = false;
    }

    /// Returns which of the port's queues this is the ring of.
    pub(crate) fn queue(&self) -> u8 {
        self.queue
    }

    /// Takes back the buffers of frames the device reports as done and gives them to `home`, at most `limit`. Returns how many.
    #[inline]
    pub(crate) fn reclaim(&mut self, limit: usize, counters: &TxCounters, mut home: impl FnMut(PacketBuf)) -> usize {
        let (mut done, mut no_frames) = (0, 0);
        while self.used > self.unflushed && done < limit {
            let first = || self.ends.get(self.clean).map(|&end| usize::from(end));
            let Some(report) = self.awaited.or_else(first) else { break };
            let Some([_, rest]) = self.cells(report) else { break };
            // ORDERING: acquire pairs with the device's write-back of DD: the device is done with every buffer up to here.
            let status = desc::tx_status(rest.load(Ordering::Acquire));
            if !status.contains(TxStatus::DD) {
                break;
            }
            // EC and LC are counted by ECOL and LATECOL, for every frame and not only for those that report.
            // Those up to it, or to the end of the ring, from where the next round goes on.
            let end = if report >= self.clean { report + 1 } else { self.maps.len() };
            let maps = self.maps.get_mut(self.clean..end.min(self.clean + limit - done)).unwrap_or_default();
            if maps.is_empty() {
                break;
            }
            let freed = maps.len();
            if self.contexts > 0 {
                let without = maps.iter().filter(|map| !map.is_loaded()).count();
                self.contexts -= without;
                no_frames += without;
            }
            maps.iter_mut().filter_map(DmaMap::take_back).for_each(&mut home);
            done += freed;
            self.used -= freed;
            let last = self.clean + freed - 1;
            self.clean = self.after(last);
            self.awaited = (last != report).then_some(report);
        }
        if done > 0 {
            counters.done.add((done - no_frames) as u64);
        }
        done
    }

    /// Takes the buffer out of the oldest descriptor, of which there is one.
    #[inline]
    fn release_oldest(&mut self) -> Option<PacketBuf> {
        let index = self.clean;
        self.clean = self.after(index);
        self.used -= 1;
        self.maps.get_mut(index)?.take_back()
    }

    /// Takes back everything, sent or not. The device has been reset: it does no DMA. Returns `false` when `finished`
    /// is full and there is more.
    pub(crate) fn discard(&mut self, finished: &mut Finished, counters: &TxCounters) -> bool {
        while self.used > 0 {
            if finished.len() >= RECLAIM_BURST {
                return false;
            }
            if let Some(packet) = self.release_oldest() {
                counters.discarded.bump();
                finished.push(packet);
            }
        }
        self.clean = 0;
        self.next = 0;
        self.unflushed = 0;
        self.contexts = 0;
        self.awaited = None;
        self.stalled = None;
        self.was_restarted = false;
        true
    }

    /// Returns whether frames have been in the ring for `limit` without any coming out.
    pub(crate) fn hung(&mut self, now: Instant, limit: core::time::Duration, done: u64) -> bool {
        if self.used == 0 || done != self.seen_done {
            self.was_restarted = false;
        }
        if self.used == 0 || done != self.seen_done || self.stalled.is_none() {
            self.seen_done = done;
            self.stalled = (self.used > 0).then_some(now);
            return false;
        }
        self.stalled.is_some_and(|since| now.saturating_duration_since(since) >= limit)
    }

    /// Restarts the watchdog's clock: there is a good reason for making no progress.
    pub(crate) fn excuse(&mut self) {
        self.stalled = None;
    }

    /// Returns where the ring lies.
    pub(crate) fn place(&self) -> RingPlace {
        RingPlace::of(&self.memory, self.maps.len())
    }

    /// Takes the ring apart.
    pub(crate) fn into_parts(self) -> (DmaMem, Vec<DmaMap<ToDevice>>) {
        (self.memory, self.maps)
    }
}

/// Makes a short frame as long as it has to be. The device pads as well (TCTL.PSP), but with whatever lies behind the frame on some
/// parts: pad with zeros here. Gives the frame back, with the reason if it cannot be sent all the same.
#[cold]
fn pad(mut packet: PacketBuf, longest: usize) -> Result<PacketBuf, (PacketBuf, EncapError)> {
    match packet.len() {
        octets if octets > longest => Err((packet, EncapError::TooLong)),
        octets if octets >= MIN_FRAME => Ok(packet),
        octets if octets >= HEADER && packet.extend(MIN_FRAME.saturating_sub(octets)).is_some() => Ok(packet),
        _ => Err((packet, EncapError::Unsendable)),
    }
}

/// Makes `count` transmit maps.
pub(crate) fn maps(tag: &DmaTag, count: u16) -> Result<Vec<DmaMap<ToDevice>>, bus_dma::DmaError> {
    (0..count).map(|_| tag.create_map()).collect()
}
