//! The transmit ring: encapsulate, flush, reclaim.
//!
//! Key type: [`TxRing`], which lives under the adapter's one lock. Every method runs with that lock held, so it does not
//! allocate, wait or take another lock: buffers that come free leave in a [`Finished`] list and go home after unlocking.
//! Manual: 3.3 (descriptors), 3.4 (ring), 14.5.

use alloc::vec::Vec;

use arrayvec::ArrayVec;
use bus_dma::{DmaMap, DmaMem, DmaTag, PostWrite, PreWrite, ToDevice};
use ksync::{
    atomic::{DeviceU64, Ordering},
    time::Instant,
};
use pktbuf::{BATCH_CAPACITY, PacketBuf};

use crate::{
    desc::{self, TxCommand, TxStatus, WORDS},
    regs::{Reg, RegisterIo},
    rings::{DeviceRing, TxLook},
    stats::TxCounters,
};

/// Frames taken back in one visit of the ring at most; as many as a batch holds.
pub(crate) const RECLAIM_BURST: usize = 64;

/// Buffers that came free while the lock was held.
///
/// Room for a burst of finished ones, and for a whole batch of which no frame can be sent.
pub(crate) type Finished = ArrayVec<PacketBuf, { RECLAIM_BURST + BATCH_CAPACITY }>;

/// A descriptor that reports completion, at least every so many.
const REPORT_EVERY: usize = 32;

/// Shortest frame without FCS (IEEE 802.3 3.2.8: 64 octets with it).
pub(crate) const MIN_FRAME: usize = 60;
/// Octets of an Ethernet header: nothing shorter is a frame.
pub(crate) const HEADER: usize = 14;

/// Why one frame was not put into the ring.
#[derive(Debug)]
pub(crate) enum EncapError {
    /// No way to send it now; later perhaps.
    NoRoom(PacketBuf),
    /// No way to send it ever: not a frame, or without a bus address.
    Unsendable(PacketBuf),
}

/// The ring, its memory and one map per descriptor.
#[derive(Debug)]
pub(crate) struct TxRing {
    memory: DmaMem,
    /// One per descriptor; loaded exactly for the descriptors `clean .. clean + used` (modulo the length).
    maps: Vec<DmaMap<ToDevice>>,
    /// Which descriptors have RS set, among those in use.
    reports: Vec<bool>,
    /// The oldest descriptor in use; `< maps.len()`.
    clean: usize,
    /// Descriptors in use; `<= maps.len() - 1`: one stays unused, since head == tail means empty.
    used: usize,
    /// Descriptors in use the device has not been told of.
    unflushed: usize,
    /// Descriptors since the last one with RS.
    unreported: usize,
    /// The next descriptor with RS at or after `clean`, when it is known.
    awaited: Option<usize>,
    /// Set while the device is being reset: nothing may be put in.
    pub(crate) paused: bool,
    /// Since when frames have been in the ring without any coming out.
    stalled: Option<Instant>,
    /// Frames that came out when the watchdog looked last.
    seen_done: u64,
}

impl TxRing {
    pub(crate) fn new(memory: DmaMem, maps: Vec<DmaMap<ToDevice>>) -> Self {
        let reports = maps.iter().map(|_| false).collect();
        Self {
            memory,
            maps,
            reports,
            clean: 0,
            used: 0,
            unflushed: 0,
            unreported: 0,
            awaited: None,
            paused: false,
            stalled: None,
            seen_done: 0,
        }
    }

    /// Returns where the ring stands, beside what the device says.
    pub(crate) fn look(&self, device: DeviceRing) -> TxLook {
        let (next, clean, used, unflushed) = (self.next(), self.clean, self.used, self.unflushed);
        TxLook { device, next, clean, used, unflushed, paused: self.paused }
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
        self.wrap(self.clean + self.used)
    }

    #[inline]
    fn wrap(&self, index: usize) -> usize {
        if index >= self.maps.len() { index - self.maps.len() } else { index }
    }

    /// Puts one frame into the ring and returns its octets (before padding). The device learns of it at the next
    /// [`flush`](Self::flush).
    #[inline]
    pub(crate) fn encap(&mut self, mut packet: PacketBuf) -> Result<usize, EncapError> {
        if self.free() == 0 {
            return Err(EncapError::NoRoom(packet));
        }
        let octets = packet.len();
        let padding = MIN_FRAME.saturating_sub(octets);
        // The device pads as well (TCTL.PSP), but with whatever lies behind the frame on some parts: pad with zeros here.
        if octets < HEADER || (padding > 0 && packet.extend(padding).is_none()) {
            return Err(EncapError::Unsendable(packet));
        }
        let index = self.next();
        let Some(map) = self.maps.get_mut(index) else { return Err(EncapError::NoRoom(packet)) };
        map.load(packet).map_err(|(packet, error)| match error {
            bus_dma::DmaError::NoMemory => EncapError::NoRoom(packet),
            _ => EncapError::Unsendable(packet),
        })?;
        map.sync(PreWrite);
        let Some(segment) = map.segments().first().copied() else {
            // A loaded map has a segment; without one, nothing was told to the device.
            return map.unload().map_or(Ok(0), |packet| Err(EncapError::Unsendable(packet)));
        };
        self.unreported += 1;
        let report = self.unreported >= REPORT_EVERY;
        self.write(index, segment, report);
        self.used += 1;
        self.unflushed += 1;
        Ok(octets)
    }

    /// Writes descriptor `index`.
    #[inline]
    fn write(&mut self, index: usize, segment: bus_dma::Segment, report: bool) {
        let mut command = TxCommand::EOP | TxCommand::IFCS;
        command.set(TxCommand::RS, report);
        #[expect(clippy::cast_possible_truncation, reason = "the tag's maxsize is below 2^16")]
        let word = desc::tx_word(segment.len as u16, command);
        if let Some([address, rest]) = self.cells(index) {
            // Plain stores: the descriptor is ours until TDT passes it, see `flush`.
            address.store(segment.addr.as_u64(), Ordering::Relaxed);
            rest.store(word, Ordering::Relaxed);
        }
        self.note_report(index, report);
    }

    #[inline]
    fn note_report(&mut self, index: usize, report: bool) {
        if let Some(slot) = self.reports.get_mut(index) {
            *slot = report;
        }
        if report {
            self.unreported = 0;
        }
    }

    #[inline]
    fn cells(&self, index: usize) -> Option<&[DeviceU64; WORDS]> {
        self.memory.cells().get(index * WORDS..)?.first_chunk()
    }

    /// Tells the device of all frames put in since the last time: RS on the last of them, then one doorbell.
    #[inline]
    pub(crate) fn flush<R: RegisterIo>(&mut self, regs: &R) {
        if self.unflushed == 0 {
            return;
        }
        let next = self.next();
        let last = if next == 0 { self.maps.len() - 1 } else { next - 1 };
        if self.unreported > 0 {
            if let Some([_, rest]) = self.cells(last) {
                let word = rest.load(Ordering::Relaxed) | desc::tx_word(0, TxCommand::RS);
                rest.store(word, Ordering::Relaxed);
            }
            self.note_report(last, true);
        }
        self.unflushed = 0;
        // ORDERING: the descriptors' words come before the doorbell; pairs with the device's reading of the ring after
        // TDT. On x86 a compiler barrier, stores being in order.
        self.memory.sync();
        #[expect(clippy::cast_possible_truncation, reason = "a ring has at most 4096 descriptors")]
        regs.write32(Reg::Tdt, next as u32);
    }

    /// Takes back the buffers of frames the device reports as done, up to a burst in `finished`.
    #[inline]
    pub(crate) fn reclaim(&mut self, finished: &mut Finished, counters: &TxCounters) {
        while self.used > self.unflushed {
            let Some(report) = self.awaited.or_else(|| self.find_report()) else { return };
            self.awaited = Some(report);
            let Some([_, rest]) = self.cells(report) else { return };
            // ORDERING: acquire pairs with the device's write-back of DD: the device is done with every buffer up to here.
            let status = desc::tx_status(rest.load(Ordering::Acquire));
            if !status.contains(TxStatus::DD) {
                return;
            }
            // EC and LC are counted by ECOL and LATECOL, for every frame and not only for those that report.
            loop {
                if finished.len() >= RECLAIM_BURST {
                    return;
                }
                let index = self.clean;
                if let Some(packet) = self.release_oldest() {
                    counters.done.bump();
                    finished.push(packet);
                }
                if index == report {
                    break;
                }
            }
            self.awaited = None;
        }
    }

    /// Finds the oldest descriptor in use that reports.
    fn find_report(&self) -> Option<usize> {
        (0..self.used - self.unflushed)
            .map(|n| self.wrap(self.clean + n))
            .find(|&i| self.reports.get(i).copied().unwrap_or(false))
    }

    /// Takes the buffer out of the oldest descriptor.
    #[inline]
    fn release_oldest(&mut self) -> Option<PacketBuf> {
        if self.used == 0 {
            return None;
        }
        let index = self.clean;
        self.clean = self.wrap(index + 1);
        self.used -= 1;
        let map = self.maps.get_mut(index)?;
        map.sync(PostWrite);
        map.unload()
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
        self.unflushed = 0;
        self.unreported = 0;
        self.awaited = None;
        self.stalled = None;
        true
    }

    /// Returns whether frames have been in the ring for `limit` without any coming out.
    pub(crate) fn hung(&mut self, now: Instant, limit: core::time::Duration, done: u64) -> bool {
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
    pub(crate) fn place(&self) -> crate::hardware::RingPlace {
        crate::hardware::RingPlace::of(&self.memory, self.maps.len())
    }

    /// Takes the ring apart.
    pub(crate) fn into_parts(self) -> (DmaMem, Vec<DmaMap<ToDevice>>) {
        (self.memory, self.maps)
    }
}

/// Makes `count` transmit maps.
pub(crate) fn maps(tag: &DmaTag, count: u16) -> Result<Vec<DmaMap<ToDevice>>, bus_dma::DmaError> {
    (0..count).map(|_| tag.create_map()).collect()
}
