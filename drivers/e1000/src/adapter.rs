//! The adapter: one port, shared by everybody who sends through it or asks about it.
//!
//! Key types: [`Adapter`], which implements [`Interface`], its [`Queues`] and its [`Phase`]. The receive rings are not in here: each
//! belongs to its ithread, see [`RxRing`](crate::RxRing). The one lock, of each queue, is the transmit lock.

use alloc::sync::Arc;
use core::{fmt, time::Duration};

use ifnet::{IfStatistics, Interface, TxOutcome, TxRefusal};
use ksync::{
    SpinLock,
    atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering},
    counter::{Counter, SharedCounter},
};
use pktbuf::{BufferSize, PacketBatch, PoolCache};
use wire::{MacAddr, VlanId};

use crate::{
    attach::Tags,
    config::{Delivery, Moderation},
    desc,
    error::Delay,
    filter::ReceiveFilter,
    flow::Flow,
    frames::FrameSizes,
    link::LinkState,
    queue::{Queue, Queues},
    regs::{Rctl, RegisterIo, Stat},
    rxsum::{ChecksumTrial, Sums},
    stats::{HardwareTotals, RxCounters},
    transmit::How,
    variant::Variant,
};

/// What an adapter is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Set up, neither receiving nor sending.
    Attached,
    /// Receiving (unless the ingress is closed) and sending.
    Running,
    /// A reset was not acknowledged; only stopping is possible.
    Failed,
    /// Stopped for good.
    Stopped,
    /// The device has left the bus.
    Gone,
}

/// One port of the family.
///
/// # Context
/// See each method. In short: [`filter`](Self::filter) in interrupt context, everything else in threads.
pub struct Adapter<R> {
    /// Name of the port; this very allocation is the identity that receive ring and proofs are checked against.
    pub(crate) name: Arc<str>,
    pub(crate) regs: R,
    pub(crate) delay: &'static dyn Delay,
    pub(crate) variant: &'static Variant,
    pub(crate) mac: MacAddr,
    pub(crate) mtu: u16,
    pub(crate) frames: FrameSizes,
    pub(crate) moderation: Moderation,
    pub(crate) delivery: Delivery,
    pub(crate) sums: Sums,
    pub(crate) watchdog: Duration,
    /// A [`Phase`]. Leaves `Running` before the transmit lock is passed through, so that who finds `Running` under the
    /// lock may touch the ring.
    pub(crate) phase: AtomicU8,
    /// Whether frames may come in from the wire.
    pub(crate) ingress_open: AtomicBool,
    /// Whether frames are accepted for sending. Changed under no lock; who passes through the transmit lock afterwards knows
    /// that nobody puts anything into the ring any more.
    pub(crate) egress_open: AtomicBool,
    /// The shutdown has masked the device; [`unmask`](Self::unmask) does nothing any more.
    pub(crate) masked_for_good: AtomicBool,
    /// The watchdog wants the ithreads to reset the device.
    pub(crate) recover: AtomicBool,
    /// How often the device has been programmed anew. A receive ring that has an older number has to be given to it again.
    pub(crate) generation: AtomicU32,
    /// Interrupt causes the filter has read and nobody has looked at.
    pub(crate) causes: AtomicU32,
    /// A packed [`LinkState`].
    pub(crate) link: AtomicU32,
    /// The filter modes of RCTL in force.
    pub(crate) mode: AtomicU32,
    /// The device takes VLAN tags off what it receives, and inserts them in what says so. Once it does, it does so for good.
    pub(crate) tagging: AtomicBool,
    pub(crate) queues: Queues,
    /// Interrupts that concern no queue, of a port that has a message for these.
    pub(crate) other_interrupts: Counter,
    pub(crate) strays: Counter,
    pub(crate) watchdog_resets: SharedCounter,
    pub(crate) ring_restarts: SharedCounter,
    pub(crate) link_changes: SharedCounter,
    /// Protects: the sums of the statistics registers; held across: one collection.
    pub(crate) hardware: SpinLock<HardwareTotals>,
    /// Protects: what flow control is wanted and agreed, and the PHY; held across: asking the PHY.
    pub(crate) flow: SpinLock<Flow>,
    /// Protects: what the receiver lets through; held across: writing the filter tables.
    pub(crate) receive_filter: SpinLock<ReceiveFilter>,
    /// Protects: the tags until teardown; held across: taking them.
    pub(crate) tags: SpinLock<Option<Tags>>,
}

impl<R: RegisterIo> Adapter<R> {
    /// Returns what the port is doing.
    #[must_use]
    pub fn phase(&self) -> Phase {
        // ORDERING: acquire pairs with the release in `set_phase`.
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Attached,
            1 => Phase::Running,
            2 => Phase::Failed,
            3 => Phase::Stopped,
            _ => Phase::Gone,
        }
    }

    pub(crate) fn set_phase(&self, phase: Phase) {
        // ORDERING: pairs with the acquire in `phase`.
        self.phase.store(phase as u8, Ordering::Release);
    }

    /// Notes that the device has left the bus; returns whether that is news.
    pub(crate) fn mark_gone(&self) -> bool {
        // ORDERING: as in `set_phase`; both ways, since the old value decides.
        self.phase.swap(Phase::Gone as u8, Ordering::AcqRel) != Phase::Gone as u8
    }

    /// Returns the part.
    #[must_use]
    pub fn variant(&self) -> &'static Variant {
        self.variant
    }

    /// Returns the state of the link.
    #[must_use]
    pub fn link(&self) -> LinkState {
        LinkState::from_word(self.link.load(Ordering::Relaxed))
    }

    /// Returns the sums of the device's own counters, as of the last [`tick`](Self::tick).
    #[must_use]
    pub fn hardware_totals(&self) -> HardwareTotals {
        // Held by a CPU that has been stopped, they are unknown; only a debugger asks then.
        self.hardware.look().map(|totals| *totals).unwrap_or_default()
    }

    /// Returns what became of the device's checksum verdicts; all 0 unless they are compared.
    #[must_use]
    pub fn checksum_trial(&self) -> ChecksumTrial {
        self.queues.iter().map(|queue| queue.rx.trial.get()).fold(ChecksumTrial::default(), |sum, of_queue| {
            ChecksumTrial {
                agreed: sum.agreed + of_queue.agreed,
                disagreed: sum.disagreed + of_queue.disagreed,
                silent: sum.silent + of_queue.silent,
            }
        })
    }

    /// Returns the interrupts that were not this port's.
    #[must_use]
    pub fn stray_interrupts(&self) -> u64 {
        self.strays.get()
    }

    /// Returns the registers, for tests and for the debugger. Writing them behind the driver's back is at the caller's
    /// risk; memory stays safe, since the device knows only the addresses bus_dma gave out.
    #[inline]
    pub fn regs(&self) -> &R {
        &self.regs
    }

    /// Returns how many queues the port has, in each direction.
    #[must_use]
    pub fn queue_count(&self) -> u8 {
        self.queues.count()
    }

    /// Returns the counters of what a queue has received.
    #[inline]
    pub(crate) fn received(&self, queue: u8) -> &RxCounters {
        &self.queues.of(usize::from(queue)).rx
    }

    /// Returns how the port's interrupts are delivered.
    #[must_use]
    pub fn delivery(&self) -> Delivery {
        self.delivery
    }

    #[inline]
    pub(crate) fn generation(&self) -> u32 {
        // ORDERING: acquire pairs with the release in `restart_after_recovery`: who sees the number finds the device programmed.
        self.generation.load(Ordering::Acquire)
    }

    #[inline]
    pub(crate) fn may_receive(&self) -> bool {
        self.phase() == Phase::Running
    }

    /// Returns what of RCTL is in force beside the enable bit: the filter's modes and the sizes of frames.
    pub(crate) fn receive_mode(&self) -> Rctl {
        Rctl::from_bits_retain(self.mode.load(Ordering::Relaxed)) | self.frames.rctl()
    }

    /// Returns the octets of each receive buffer as the device knows them.
    #[must_use]
    pub fn buffer_size(&self) -> BufferSize {
        self.frames.buffer
    }

    /// Returns whether the device takes VLAN tags off what it receives ([`PacketBuf::vlan`](pktbuf::PacketBuf::vlan) has them) and inserts them in what is sent:
    /// whether there is, or was, a VLAN in its filter.
    #[inline]
    #[must_use]
    pub fn handles_tags(&self) -> bool {
        // ORDERING: acquire pairs with the release in `begin_tagging`.
        self.tagging.load(Ordering::Acquire)
    }
}

impl<R: RegisterIo> Interface for Adapter<R> {
    fn name(&self) -> &str {
        &self.name
    }

    fn mac(&self) -> MacAddr {
        self.mac
    }

    fn mtu(&self) -> u16 {
        self.mtu
    }

    fn link_up(&self) -> bool {
        self.link().is_up()
    }

    /// Closing the ingress does not end this: what was received is still forwarded.
    fn running(&self) -> bool {
        self.phase() == Phase::Running
    }

    #[inline]
    fn transmit(&self, batch: &mut PacketBatch, cache: &mut PoolCache) -> TxOutcome {
        self.send(batch, How { tag: 0, more: false }, cache)
    }

    #[inline]
    fn transmit_more(&self, batch: &mut PacketBatch, cache: &mut PoolCache) -> TxOutcome {
        self.send(batch, How { tag: 0, more: true }, cache)
    }

    fn ring_doorbell(&self, lane: usize) {
        let mut ring = self.queues.of(lane).tx.lock();
        // ORDERING: acquire pairs with the release in `close_egress`.
        let running = self.phase() == Phase::Running && self.egress_open.load(Ordering::Acquire);
        if let Some(ring) = ring.as_mut().filter(|ring| running && !ring.paused) {
            ring.flush(&self.regs);
        }
    }

    fn transmit_tagged(&self, vlan: VlanId, batch: &mut PacketBatch, more: bool, cache: &mut PoolCache) -> TxOutcome {
        // A device that inserts no tags would send the frames without, into another network.
        if !self.handles_tags() && !batch.is_empty() {
            return TxOutcome::refused(0, TxRefusal::NotRunning);
        }
        self.send(batch, How { tag: desc::tx_tag(vlan), more }, cache)
    }

    fn statistics(&self) -> IfStatistics {
        let hardware = self.hardware_totals();
        let mut sum = IfStatistics {
            rx_missed: hardware.get(Stat::Mpc),
            rx_crc_errors: hardware.get(Stat::Crcerrs),
            rx_length_errors: hardware.sum(&[Stat::Ruc, Stat::Rfc, Stat::Roc, Stat::Rjc]),
            rx_errors: hardware.sum(&[Stat::Algnerrc, Stat::Rxerrc, Stat::Sec]),
            tx_errors: hardware.sum(&[Stat::Ecol, Stat::Latecol]),
            watchdog_resets: self.watchdog_resets.get(),
            link_changes: self.link_changes.get(),
            interrupts: self.other_interrupts.get(),
            ..IfStatistics::default()
        };
        for Queue { rx, sent: tx, rx_interrupts, tx_interrupts, .. } in self.queues.iter() {
            sum.rx_packets += rx.packets.get();
            sum.rx_octets += rx.octets.get();
            sum.rx_multicast += rx.multicast.get();
            sum.rx_broadcast += rx.broadcast.get();
            sum.rx_no_buffer += rx.no_buffer.get();
            sum.rx_crc_errors += rx.crc_errors.get();
            sum.rx_length_errors += rx.length_errors.get();
            sum.rx_errors += rx.errors.get();
            sum.tx_packets += tx.packets.get();
            sum.tx_octets += tx.octets.get();
            sum.tx_done += tx.done.get();
            sum.tx_ring_full += tx.ring_full.get();
            sum.tx_discarded += tx.discarded.get();
            sum.interrupts += rx_interrupts.get() + tx_interrupts.get();
        }
        sum
    }
}

impl<R> Drop for Adapter<R> {
    /// A port that was not torn down leaves its memory in quarantine; its tags stay as well, so that `show dma` and the
    /// shutdown report can name what is lost.
    fn drop(&mut self) {
        if let Some(tags) = self.tags.lock().take() {
            core::mem::forget(tags);
        }
    }
}

impl<R> fmt::Debug for Adapter<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Adapter").field("name", &self.name).field("mac", &self.mac).finish_non_exhaustive()
    }
}
