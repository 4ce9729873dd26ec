//! The receive ring: owned by one ithread, so there is no lock.
//!
//! Key type: [`RxRing`]. Buffers are swapped, never copied: a full one leaves, a fresh one takes its place. The order for
//! each frame: see DD (acquire) → PostRead → take the buffer → arm the descriptor before (address, status clear), whose write-back is
//! over now that this one is done; and once per pass RDT.
//! Manual: 3.2 (descriptors, ring), 14.4.

mod exchange;
mod odd;
mod recovery;
mod rest;
mod slots;
mod trial;

use alloc::{sync::Arc, vec::Vec};

use bus_dma::{DmaMap, DmaMem, FromDevice};
use ifnet::IfIndex;
use ksync::atomic::Ordering;
use pktbuf::{PacketBuf, PoolCache};

pub(crate) use self::recovery::arm;
use self::{
    exchange::Exchange,
    odd::{Odd, Pass},
};
use crate::{
    adapter::Adapter,
    desc::{RxLayout, RxStatus},
    frames::FrameSizes,
    hardware::RingPlace,
    regs::{Reg, RegisterIo},
    rxsum::Sums,
    stats::RxCounters,
};

/// Served descriptors that are worth a register write, which costs an exit.
pub(crate) const REFILL: usize = 32;

/// A receive ring of a port, with all its buffers: its only one, or that of one queue.
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
    /// Which of the port's queues.
    pub(crate) queue: u8,
    layout: RxLayout,
    sizes: FrameSizes,
    /// Which programming of the device this ring was given to last; see [`Adapter::generation`].
    pub(crate) generation: u32,
    memory: DmaMem,
    /// One per descriptor, loaded at all times: a full buffer is given up in exchange for a fresh one only.
    maps: Vec<DmaMap<FromDevice>>,
    /// The descriptor that is served next; `< maps.len()`.
    next: usize,
    /// The address of the buffer for the descriptor before `next`, which is written when the one after it is found done: until then the
    /// device may not be through with it. It is out of the device's reach anyway, see [`Self::publish`].
    ///
    /// QEMU's 82574L (7.2) writes a descriptor back as a block, which its C library copies in two strokes that overlap. Who
    /// polls, and writes the descriptor between the two, finds the first frame there once more, and no address.
    held: u64,
    /// Descriptors served that the device has not been told of: always those before `next`, fewer than the ring has.
    unflushed: usize,
    /// Whether the device is asked to look at checksums.
    sums: Sums,
    /// Whether it has found the header of every frame right that the last pass handed up; see [`vouches`](Self::vouches).
    vouched: bool,
    /// In the middle of a frame that spans descriptors and is being dropped.
    skipping: bool,
    /// Descriptors were served since the device was last told to forget its causes; see [`may_rest`](Self::may_rest).
    told: bool,
    if_index: u16,
}

impl RxRing {
    /// Makes a ring of as many descriptors as there are maps, which are all loaded.
    pub(crate) fn new(
        name: Arc<str>,
        (queue, layout, sums, sizes): (u8, RxLayout, Sums, FrameSizes),
        memory: DmaMem,
        maps: Vec<DmaMap<FromDevice>>,
        if_index: IfIndex,
    ) -> Self {
        let if_index = if_index.0;
        let (generation, next, unflushed) = (0, 0, 0);
        let (vouched, skipping, told) = (false, false, false);
        Self {
            name,
            queue,
            layout,
            sizes,
            generation,
            memory,
            maps,
            next,
            held: 0,
            unflushed,
            sums,
            vouched,
            skipping,
            told,
            if_index,
        }
    }

    /// Returns which of the port's queues this is the ring of.
    #[must_use]
    pub fn queue(&self) -> u8 {
        self.queue
    }

    /// Returns the buffers in the ring: one per descriptor, always.
    #[must_use]
    pub fn buffers(&self) -> usize {
        self.maps.len()
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

    /// Returns whether at least `frames` received descriptors wait to be served. Reads one word of memory.
    ///
    /// # Context
    /// The owning thread.
    #[inline]
    #[must_use]
    pub fn has_backlog(&self, frames: usize) -> bool {
        let (len, last) = (self.maps.len(), self.next + frames.saturating_sub(1));
        // The device writes them in order; those that it has not been given back are not done.
        frames < len && self.written(if last < len { last } else { last - len }).is_some()
    }

    /// Counts the received frames that nobody has served, the frame under way included if its end is there. The device
    /// has stopped, or it may become more at once.
    pub(crate) fn unserved(&self) -> usize {
        // All but the one before `next`, which has been served.
        let written = (1..self.maps.len()).map_while(|n| self.written((self.next + n - 1) % self.maps.len()));
        written.filter(|written| written.status.contains(RxStatus::EOP)).count()
    }

    /// Serves up to `budget` descriptors: good frames go to `sink`, bad ones are counted, every buffer is replaced. Returns the
    /// descriptors served. The device gets them back in bulk, with one register write for every [`REFILL`] or so: so many fewer
    /// than the ring has may be free to it at any time, also while nothing comes. While more wait than the budget allows, it gets them
    /// back by three quarters of the ring.
    ///
    /// Packets carry the interface index and the VLAN whose tag the device has taken off; their window starts at the Ethernet header, and the link-layer cast is
    /// [`Unicast`](pktbuf::LinkCast::Unicast) for every address that is no group's. If the watchdog has asked for it, the device is reset here
    /// first, because this thread owns the ring.
    ///
    /// # Context
    /// The owning ithread. Does not park, lock, allocate or log (a reset waits some milliseconds).
    #[inline]
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
        // In this order: the generation changes before the flag goes, so that a flag that has just gone shows the new one.
        let is_recovering = adapter.recovery_wanted();
        if self.generation != adapter.generation() {
            return self.rejoin(adapter, cache, sink);
        }
        if is_recovering {
            return self.recover(adapter, cache, sink);
        }
        // Less than the whole ring with what is unflushed: then RDT, written later, cannot run into RDH.
        let budget = budget.min(self.maps.len() - 1 - self.unflushed);
        let counters = adapter.received(self.queue);
        let served = match self.sums {
            Sums::Compared => self.harvest_comparing(counters, budget, cache, &mut sink),
            _ => self.harvest(counters, budget, cache, &mut sink),
        };
        // While frames wait for the thread in any case, a longer wait for descriptors costs nothing, and each write waits for the device.
        // QEMU's 82540EM, its ring empty, gets in that write all its host has read, and drops what finds none, on this CPU.
        let worth = if served < budget { REFILL.min(self.maps.len() / 2) } else { REFILL.max(self.maps.len() * 3 / 4) };
        if self.unflushed >= worth {
            self.publish(adapter.regs());
        }
        served
    }

    /// Returns whether the device has looked at the checksum of the IPv4 header of every frame that the last [`service`](Self::service)
    /// handed up, and found it right. Never, unless the part is asked to look ([`Variant::rx_checksum`](crate::Variant::rx_checksum)).
    ///
    /// # Context
    /// The owning ithread.
    #[inline]
    #[must_use]
    pub fn vouches(&self) -> bool {
        self.vouched
    }

    #[inline]
    fn harvest(
        &mut self,
        counters: &RxCounters,
        budget: usize,
        cache: &mut PoolCache,
        sink: &mut impl FnMut(PacketBuf),
    ) -> usize {
        // Asked once for many: each layout, with frames of the usual length or without, has a walk of its own, with its constants.
        match (self.layout, self.sizes.is_jumbo()) {
            (RxLayout::Legacy, false) => self.harvest_as::<false, false>(counters, budget, cache, sink),
            (RxLayout::Legacy, true) => self.harvest_as::<false, true>(counters, budget, cache, sink),
            (RxLayout::Extended, false) => self.harvest_as::<true, false>(counters, budget, cache, sink),
            (RxLayout::Extended, true) => self.harvest_as::<true, true>(counters, budget, cache, sink),
        }
    }

    #[inline]
    fn harvest_as<const EXTENDED: bool, const JUMBO: bool>(
        &mut self,
        counters: &RxCounters,
        budget: usize,
        cache: &mut PoolCache,
        sink: &mut impl FnMut(PacketBuf),
    ) -> usize {
        let mut pass = Pass::default();
        let mut served = 0;
        while served < budget {
            let (run, odd) = self.harvest_run::<EXTENDED, JUMBO>(budget - served, cache, &mut pass, sink);
            served += run;
            let Some(odd) = odd else {
                if run == 0 {
                    break;
                }
                continue;
            };
            if served >= budget || !self.refuse(odd, counters, &mut pass) {
                break;
            }
            self.next = self.after(self.next);
            served += 1;
        }
        if served > 0 {
            self.told = true;
            self.unflushed += served;
            // ORDERING: release pairs with the acquire in `Adapter::rx_backlog`: who finds the ring empty knows whose hands are full.
            #[expect(clippy::cast_possible_truncation, reason = "a ring has at most 4096 descriptors")]
            counters.next.store(self.next as u32, Ordering::Release);
            self.vouched = EXTENDED && pass.doubt == 0 && self.sums == Sums::Believed;
            counters.packets.add(served as u64 - pass.refused);
            counters.octets.add(pass.octets);
            if pass.groups > 0 {
                counters.multicast.add(pass.groups - pass.broadcast);
                counters.broadcast.add(pass.broadcast);
            }
            cache.publish();
        }
        served
    }

    /// Serves good frames up to the end of the ring, at most `limit`. Returns how many, and what stopped it early.
    #[inline]
    fn harvest_run<const EXTENDED: bool, const JUMBO: bool>(
        &mut self,
        limit: usize,
        cache: &mut PoolCache,
        pass: &mut Pass,
        sink: &mut impl FnMut(PacketBuf),
    ) -> (usize, Option<Odd>) {
        if self.skipping {
            return (0, self.written_at(self.next).map(Odd::Frame));
        }
        let next = self.next;
        if next == 0 {
            return self.harvest_first::<EXTENDED, JUMBO>(cache, pass, sink);
        }
        let end = self.maps.len().min(next + limit);
        let exchange = Exchange::<EXTENDED, JUMBO>::new(self.sizes, self.if_index);
        let pairs = self.memory.cells().as_chunks().0.get(next - 1..end).unwrap_or_default().windows(2);
        let slots = self.maps.get_mut(next..end).unwrap_or_default().iter_mut().zip(pairs);
        let (run, odd) = exchange.all(slots, exchange::neighbours, &mut self.held, cache, pass, sink);
        self.next = if next + run < self.maps.len() { next + run } else { 0 };
        (run, odd)
    }

    /// The same for the first descriptor alone: the one before it lies at the other end.
    #[cold]
    #[inline(never)]
    fn harvest_first<const EXTENDED: bool, const JUMBO: bool>(
        &mut self,
        cache: &mut PoolCache,
        pass: &mut Pass,
        sink: &mut impl FnMut(PacketBuf),
    ) -> (usize, Option<Odd>) {
        let exchange = Exchange::<EXTENDED, JUMBO>::new(self.sizes, self.if_index);
        let ring = self.memory.cells().as_chunks().0;
        let slot = self.maps.first_mut().zip(ring.last().zip(ring.first()));
        let (run, odd) = exchange.all(slot.into_iter(), Some, &mut self.held, cache, pass, sink);
        self.next = run;
        (run, odd)
    }

    /// Gives all served descriptors back: RDT becomes the last of them, one behind `next`, which stays out of the
    /// device's reach since RDH == RDT would mean an empty ring.
    #[inline]
    fn publish<R: RegisterIo>(&mut self, regs: &R) {
        self.unflushed = 0;
        // ORDERING: the descriptors' words come before the doorbell; pairs with the device's reading of the ring after
        // RDT. On x86 a compiler barrier, stores being in order.
        self.memory.sync();
        let tail = self.before(self.next);
        #[expect(clippy::cast_possible_truncation, reason = "a ring has at most 4096 descriptors")]
        regs.write32(Reg::Rdt(self.queue), tail as u32);
    }

    /// Returns where the ring lies.
    pub(crate) fn place(&self) -> RingPlace {
        RingPlace::of(&self.memory, self.maps.len())
    }

    /// Takes the ring apart.
    pub(crate) fn into_parts(self) -> (DmaMem, Vec<DmaMap<FromDevice>>) {
        (self.memory, self.maps)
    }
}
