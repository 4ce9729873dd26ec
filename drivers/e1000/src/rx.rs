//! The receive ring: owned by one ithread, so there is no lock.
//!
//! Key type: [`RxRing`]. Buffers are swapped, never copied: a full one leaves, a fresh one takes its place. The order for
//! each frame: see DD (acquire) → PostRead → take the buffer → new address → status clear; and once per pass RDT.
//! Manual: 3.2 (descriptors, ring), 14.4.

use alloc::{sync::Arc, vec::Vec};

use bus_dma::{DmaMap, DmaMem, FromDevice, PostRead, PreRead, Segment};
use ifnet::IfIndex;
use ksync::atomic::{DeviceU64, Ordering};
use pktbuf::{HEADROOM, LinkCast, PacketBuf, PoolCache};
use wire::MacAddr;

use crate::{
    adapter::Adapter,
    desc::{RxErrors, RxStatus, RxWriteback, WORDS},
    hardware::RingPlace,
    regs::{Reg, RegisterIo},
    stats::RxCounters,
};

/// Octets of a receive buffer: RCTL.BSIZE 0, RCTL.BSEX 0.
pub(crate) const BUFFER: usize = 2048;

/// Shortest frame that is handed up: an Ethernet header. Shorter ones can only come from a broken device.
const SHORTEST: usize = crate::tx::HEADER;

/// The receive ring of one port, with all its buffers.
///
/// It gives buffers back in two ways only: one at a time, to the `sink` of [`service`](Self::service), after the device
/// has said that it is done with them; and all at once to [`Adapter::teardown`], against the proof that the device's
/// DMA has stopped. Dropped otherwise, it leaks them (bus_dma's quarantine), because the device may still write there.
///
/// Nobody can take its buffers out:
/// ```compile_fail,E0616
/// fn wrong(ring: e1000::RxRing) -> usize {
///     ring.maps.len()
/// }
/// ```
#[derive(Debug)]
pub struct RxRing {
    /// Of the adapter this ring belongs to; compared by identity.
    pub(crate) name: Arc<str>,
    memory: DmaMem,
    /// One per descriptor, loaded at all times, and one spare, idle at all times: a fresh buffer is loaded into the spare
    /// before the full one is given up, so that no slot is ever without a buffer.
    maps: Vec<DmaMap<FromDevice>>,
    /// Which map each descriptor uses. A permutation of `0..=len` together with `spare`.
    slots: Vec<u16>,
    spare: u16,
    /// The descriptor that is served next; `< slots.len()`.
    next: usize,
    /// In the middle of a frame that spans descriptors and is being dropped.
    skipping: bool,
    mac: MacAddr,
    if_index: u16,
}

/// What a pass has counted so far.
#[derive(Default)]
struct Pass {
    packets: u64,
    octets: u64,
    multicast: u64,
    broadcast: u64,
}

impl RxRing {
    /// Makes a ring. `maps` has one more than `descriptors`; all but the last are loaded.
    pub(crate) fn new(
        name: Arc<str>,
        memory: DmaMem,
        maps: Vec<DmaMap<FromDevice>>,
        mac: MacAddr,
        if_index: IfIndex,
    ) -> Self {
        let descriptors = u16::try_from(maps.len().saturating_sub(1)).unwrap_or(0);
        Self {
            name,
            memory,
            maps,
            slots: (0..descriptors).collect(),
            spare: descriptors,
            next: 0,
            skipping: false,
            mac,
            if_index: if_index.0,
        }
    }

    /// Returns the buffers in the ring: one per descriptor, always.
    #[must_use]
    pub fn buffers(&self) -> usize {
        self.slots.len()
    }

    /// Returns whether a received frame waits to be served. Reads memory only, no register.
    ///
    /// # Context
    /// The owning thread.
    #[inline]
    #[must_use]
    pub fn has_work(&self) -> bool {
        self.available().is_some()
    }

    /// Counts the received frames that nobody has served, the frame under way included if its end is there. The device
    /// has stopped, or it may become more at once.
    pub(crate) fn unserved(&self) -> usize {
        let written = (0..self.slots.len()).map_while(|n| self.written((self.next + n) % self.slots.len()));
        written.filter(|written| written.status.contains(RxStatus::EOP)).count()
    }

    /// Serves up to `budget` descriptors: good frames go to `sink`, bad ones are counted, every buffer is replaced. Then
    /// gives the descriptors back to the device with one register write. Returns the descriptors served.
    ///
    /// Packets carry the interface index and the link-layer cast; their window starts at the Ethernet header. If the
    /// watchdog has asked for it, the device is reset here first, because this thread owns the ring.
    ///
    /// # Context
    /// The owning ithread. Does not park, lock, allocate or log (a reset waits some milliseconds).
    pub fn service<R: RegisterIo>(
        &mut self,
        adapter: &Adapter<R>,
        budget: usize,
        cache: &mut PoolCache,
        mut sink: impl FnMut(PacketBuf),
    ) -> usize {
        if !Arc::ptr_eq(&self.name, &adapter.name) || !adapter.may_receive() {
            return 0;
        }
        if adapter.recovery_wanted() {
            return self.recover(adapter, cache, sink);
        }
        // Less than the whole ring: then RDT, written after the pass, cannot run into RDH.
        let served = self.harvest(&adapter.rx, budget.min(self.slots.len() - 1), cache, &mut sink);
        if served > 0 {
            self.flush(adapter.regs());
        }
        served
    }

    fn harvest(
        &mut self,
        counters: &RxCounters,
        budget: usize,
        cache: &mut PoolCache,
        sink: &mut impl FnMut(PacketBuf),
    ) -> usize {
        let mut pass = Pass::default();
        let mut served = 0;
        while served < budget {
            let Some(written) = self.available() else { break };
            if let Some(packet) = self.receive(written, counters, cache, &mut pass) {
                sink(packet);
            }
            self.advance();
            // ORDERING: relaxed; for a view, and nobody reads the ring by it.
            #[expect(clippy::cast_possible_truncation, reason = "a ring has at most 4096 descriptors")]
            counters.next.store(self.next as u32, Ordering::Relaxed);
            served += 1;
        }
        if pass.packets > 0 {
            counters.packets.add(pass.packets);
            counters.octets.add(pass.octets);
            counters.multicast.add(pass.multicast);
            counters.broadcast.add(pass.broadcast);
        }
        served
    }

    /// Returns what the device wrote into the next descriptor, if it is done with it.
    #[inline]
    fn available(&self) -> Option<RxWriteback> {
        self.written(self.next)
    }

    /// As [`available`](Self::available), for descriptor `index`.
    #[inline]
    fn written(&self, index: usize) -> Option<RxWriteback> {
        let [_, rest] = self.cells(index)?;
        // ORDERING: acquire pairs with the device's write-back: DD is written after the frame and the length.
        let written = RxWriteback::decode(rest.load(Ordering::Acquire));
        written.done().then_some(written)
    }

    /// Serves one descriptor: returns the packet if it is good; the slot has a buffer and is armed either way.
    #[inline]
    fn receive(
        &mut self,
        written: RxWriteback,
        counters: &RxCounters,
        cache: &mut PoolCache,
        pass: &mut Pass,
    ) -> Option<PacketBuf> {
        let length = usize::from(written.length);
        let whole = written.status.contains(RxStatus::EOP) && !self.skipping;
        if !whole || written.errors.intersects(RxErrors::FRAME) || !(SHORTEST..=BUFFER).contains(&length) {
            self.refuse(written, counters);
            self.arm_again();
            return None;
        }
        let Some(mut packet) = self.swap(cache) else {
            counters.no_buffer.bump();
            self.arm_again();
            return None;
        };
        packet.set_window(HEADROOM, length)?;
        packet.set_rx_if(self.if_index);
        let cast = link_cast(packet.bytes(), self.mac);
        packet.set_link_cast(cast);
        pass.packets += 1;
        pass.octets += u64::from(written.length);
        pass.multicast += u64::from(cast == LinkCast::Multicast);
        pass.broadcast += u64::from(cast == LinkCast::Broadcast);
        Some(packet)
    }

    /// Counts a frame that is dropped here, once however many descriptors it spans.
    #[cold]
    fn refuse(&mut self, written: RxWriteback, counters: &RxCounters) {
        let last = written.status.contains(RxStatus::EOP);
        if self.skipping || !last {
            if !self.skipping {
                counters.length_errors.bump();
            }
            self.skipping = !last;
        } else if written.errors.contains(RxErrors::CE) {
            counters.crc_errors.bump();
        } else if written.errors.intersects(RxErrors::FRAME) {
            counters.errors.bump();
        } else {
            counters.length_errors.bump();
        }
    }

    /// Takes the full buffer out of the next slot and arms the slot with a fresh one. `None`, and no change, if there is
    /// no fresh buffer, or no way for the device to reach it.
    #[inline]
    fn swap(&mut self, cache: &mut PoolCache) -> Option<PacketBuf> {
        let fresh = cache.alloc()?;
        let spare = self.maps.get_mut(usize::from(self.spare))?;
        if let Err(fresh) = arm(spare, fresh) {
            cache.recycle(fresh);
            return None;
        }
        let segment = spare.segments().first().copied()?;
        let slot = self.slots.get_mut(self.next)?;
        core::mem::swap(slot, &mut self.spare);
        self.write(self.next, segment);
        let full = self.maps.get_mut(usize::from(self.spare))?;
        full.sync(PostRead);
        full.unload()
    }

    /// Gives the next slot back to the device with the buffer it has.
    #[cold]
    fn arm_again(&mut self) {
        let index = self.next;
        let map = self.slots.get(index).and_then(|&map| self.maps.get_mut(usize::from(map)));
        let Some(map) = map else { return };
        map.sync(PreRead);
        if let Some(segment) = map.segments().first().copied() {
            self.write(index, segment);
        }
    }

    /// Writes descriptor `index`: address first, then the cleared status. It is ours until RDT passes it.
    #[inline]
    fn write(&self, index: usize, segment: Segment) {
        if let Some([address, rest]) = self.cells(index) {
            address.store(segment.addr.as_u64(), Ordering::Relaxed);
            // ORDERING: release keeps the status word behind the address; the doorbell is what publishes both.
            rest.store(0, Ordering::Release);
        }
    }

    #[inline]
    fn cells(&self, index: usize) -> Option<&[DeviceU64; WORDS]> {
        self.memory.cells().get(index * WORDS..)?.first_chunk()
    }

    #[inline]
    fn advance(&mut self) {
        self.next += 1;
        if self.next >= self.slots.len() {
            self.next = 0;
        }
    }

    /// Gives all served descriptors back: RDT becomes the last of them, one behind `next`, which stays out of the
    /// device's reach since RDH == RDT would mean an empty ring.
    #[inline]
    fn flush<R: RegisterIo>(&self, regs: &R) {
        // ORDERING: the descriptors' words come before the doorbell; pairs with the device's reading of the ring after
        // RDT. On x86 a compiler barrier, stores being in order.
        self.memory.sync();
        let tail = if self.next == 0 { self.slots.len() - 1 } else { self.next - 1 };
        #[expect(clippy::cast_possible_truncation, reason = "a ring has at most 4096 descriptors")]
        regs.write32(Reg::Rdt, tail as u32);
    }

    /// Arms every slot and gives them all to the device, which starts at descriptor 0. The device does no DMA.
    pub(crate) fn restart<R: RegisterIo>(&mut self, regs: &R) {
        self.skipping = false;
        for index in 0..self.slots.len() {
            self.next = index;
            self.arm_again();
        }
        self.next = 0;
        self.flush(regs);
    }

    /// Resets the device for the watchdog, hands up what had been received before, and starts again.
    #[cold]
    fn recover<R: RegisterIo>(
        &mut self,
        adapter: &Adapter<R>,
        cache: &mut PoolCache,
        mut sink: impl FnMut(PacketBuf),
    ) -> usize {
        if adapter.reset_for_recovery(cache).is_err() {
            return 0;
        }
        let served = self.harvest(&adapter.rx, self.slots.len(), cache, &mut sink);
        adapter.restart_after_recovery(self);
        adapter.rx.next.store(0, Ordering::Relaxed);
        served
    }

    /// Returns where the ring lies.
    pub(crate) fn place(&self) -> RingPlace {
        RingPlace::of(&self.memory, self.slots.len())
    }

    /// Takes the ring apart.
    pub(crate) fn into_parts(self) -> (DmaMem, Vec<DmaMap<FromDevice>>) {
        (self.memory, self.maps)
    }
}

/// Loads a fresh buffer for reception, or gives it back.
#[inline]
pub(crate) fn arm(map: &mut DmaMap<FromDevice>, mut fresh: PacketBuf) -> Result<(), PacketBuf> {
    if fresh.set_window(HEADROOM, BUFFER).is_none() {
        return Err(fresh);
    }
    map.load(fresh).map_err(|(fresh, _)| fresh)?;
    map.sync(PreRead);
    Ok(())
}

/// Tells to whom a frame is addressed.
#[inline]
fn link_cast(frame: &[u8], own: MacAddr) -> LinkCast {
    let Some(destination) = frame.first_chunk().map(|octets| MacAddr(*octets)) else { return LinkCast::OtherHost };
    if destination == own {
        LinkCast::Unicast
    } else if !destination.is_group() {
        LinkCast::OtherHost
    } else if destination.is_broadcast() {
        LinkCast::Broadcast
    } else {
        LinkCast::Multicast
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_classed_by_their_destination() {
        let own = MacAddr([0x52, 0x54, 0, 0, 0, 1]);
        assert_eq!(link_cast(&[0x52, 0x54, 0, 0, 0, 1, 9], own), LinkCast::Unicast);
        assert_eq!(link_cast(&[0x52, 0x54, 0, 0, 0, 2, 9], own), LinkCast::OtherHost);
        assert_eq!(link_cast(&[0xff; 14], own), LinkCast::Broadcast);
        assert_eq!(link_cast(&[1, 0, 0x5e, 0, 0, 5], own), LinkCast::Multicast);
        assert_eq!(link_cast(&[1, 0, 0x5e], own), LinkCast::OtherHost);
    }
}
