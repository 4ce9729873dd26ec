//! The seam between a network driver and the network code.
//!
//! Key types: [`Interface`] (implemented by drivers, called by the router's workers), [`TxOutcome`]
//! (what became of a batch), [`IfStatistics`] (the counters of one port). Everything here may be
//! called from any thread; nothing may be called from interrupt context.
//! Source: RFC 2863 for the meaning of the counters.

use core::fmt;

use pktbuf::{PacketBatch, PoolCache};
use wire::{MacAddr, VlanId};

use crate::DropReason;

/// The number of an interface: its place in the router's interface table, in PCI order.
///
/// `fib` and `pktbuf` carry the same number as a plain `u16`; this type is for everybody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IfIndex(pub u16);

impl IfIndex {
    /// Returns the index as a table subscript.
    #[must_use]
    pub const fn as_usize(self) -> usize {
        self.0 as usize
    }
}

impl From<u16> for IfIndex {
    fn from(index: u16) -> Self {
        Self(index)
    }
}

impl From<IfIndex> for u16 {
    fn from(index: IfIndex) -> Self {
        index.0
    }
}

impl fmt::Display for IfIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "if{}", self.0)
    }
}

/// Why an interface would not take (the rest of) a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TxRefusal {
    /// The transmit ring has no free slots, also after reclaiming the finished ones.
    RingFull,
    /// There is no carrier.
    LinkDown,
    /// The interface is stopped or stopping; it will not send again until it is started.
    NotRunning,
    /// The frame at the front of the batch is longer than the interface can send.
    TooLong,
}

impl From<TxRefusal> for DropReason {
    fn from(refusal: TxRefusal) -> Self {
        match refusal {
            TxRefusal::RingFull => Self::TxRingFull,
            TxRefusal::LinkDown => Self::TxLinkDown,
            TxRefusal::NotRunning => Self::TxNotRunning,
            TxRefusal::TooLong => Self::TxTooLong,
        }
    }
}

/// What became of a batch handed to [`Interface::transmit`].
///
/// Accepted frames have left the batch from its front and belong to the interface. Refused frames
/// are still in the batch, in order: the caller drops and counts them, so that no frame can end in
/// two counters or in none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "refused frames are still in the batch and have to be counted"]
pub struct TxOutcome {
    /// How many frames the interface took.
    pub accepted: u32,
    /// Why it stopped, when frames are left in the batch. `None` exactly when the batch is empty.
    ///
    /// [`TxRefusal::TooLong`] speaks of the front frame only: after dropping that one the caller
    /// may offer the rest again. The other three speak of every frame that is left.
    pub refused: Option<TxRefusal>,
}

impl TxOutcome {
    /// Returns the outcome of a batch that was taken whole.
    pub const fn all(accepted: u32) -> Self {
        Self { accepted, refused: None }
    }

    /// Returns the outcome of a batch of which only the first `accepted` frames were taken.
    pub const fn refused(accepted: u32, why: TxRefusal) -> Self {
        Self { accepted, refused: Some(why) }
    }
}

/// The counters of one port since it was attached.
///
/// A copy: the fields were read one after another while traffic went on, so sums over several of
/// them are exact only when the port is quiet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IfStatistics {
    /// Frames handed to the network code.
    pub rx_packets: u64,
    /// Octets of these frames, without FCS.
    pub rx_octets: u64,
    /// Frames handed up that were addressed to a group other than broadcast.
    pub rx_multicast: u64,
    /// Frames handed up that were addressed to all stations.
    pub rx_broadcast: u64,
    /// Frames the hardware lost because no descriptor was free (the ring was not served in time).
    pub rx_missed: u64,
    /// Frames dropped by the driver because the packet pool had no fresh buffer for the slot.
    pub rx_no_buffer: u64,
    /// Frames with a wrong frame check sequence.
    pub rx_crc_errors: u64,
    /// Frames with a wrong length: runts, giants, and frames spanning several descriptors.
    pub rx_length_errors: u64,
    /// Frames with any other receive error (symbol, alignment, sequence).
    pub rx_errors: u64,
    /// Frames accepted for transmission.
    pub tx_packets: u64,
    /// Octets of these frames, without padding and FCS.
    pub tx_octets: u64,
    /// Frames the hardware reported as sent, whose buffers were taken back.
    pub tx_done: u64,
    /// Frames refused because the ring was full.
    pub tx_ring_full: u64,
    /// Frames accepted but then discarded by a ring reset (watchdog, stop), not sent.
    pub tx_discarded: u64,
    /// Frames the hardware gave up on (excessive or late collisions, underrun).
    pub tx_errors: u64,
    /// Times the transmit watchdog had to reset the port.
    pub watchdog_resets: u64,
    /// Changes of the link state, either way.
    pub link_changes: u64,
    /// Interrupts that this port claimed.
    pub interrupts: u64,
}

/// A network port: what the network code may know of a driver.
///
/// Reception is not in this trait. The driver hands received frames to the function it was given
/// at attach, in its interrupt thread; an interface is only called to send and to be asked.
pub trait Interface: Send + Sync + fmt::Debug {
    /// Returns the name by which the operator knows the port, such as `em0`.
    fn name(&self) -> &str;

    /// Returns the station address the port was attached with.
    fn mac(&self) -> MacAddr;

    /// Returns the longest IP packet the port carries, in octets; the Ethernet header is extra.
    fn mtu(&self) -> u16;

    /// Returns whether there is carrier.
    fn link_up(&self) -> bool;

    /// Returns whether the port is started and neither stopping nor stopped.
    fn running(&self) -> bool;

    /// Takes as many frames from the front of `batch` as fit, in order.
    ///
    /// Each frame is a complete Ethernet frame without FCS, its packet window starting at the
    /// destination address. The driver pads to 60 octets. Buffers of frames that were sent earlier
    /// and are found finished on the way are recycled into `cache`.
    ///
    /// # Context
    /// Thread context, any thread; never interrupt context. Takes the port's transmit lock for the
    /// length of the call (a spin lock) and does not sleep. The caller holds no other lock.
    fn transmit(&self, batch: &mut PacketBatch, cache: &mut PoolCache) -> TxOutcome;

    /// Sends as [`transmit`](Self::transmit) does, with the tag of `vlan` (IEEE 802.1Q) inserted in every frame, which has none yet. It
    /// does not count for the [`mtu`](Self::mtu). An interface that inserts no tags refuses all frames with
    /// [`TxRefusal::NotRunning`]. With `more`, as [`transmit_more`](Self::transmit_more).
    ///
    /// # Context
    /// As [`transmit`](Self::transmit).
    fn transmit_tagged(&self, vlan: VlanId, batch: &mut PacketBatch, more: bool, cache: &mut PoolCache) -> TxOutcome {
        let _ = (vlan, more, cache);
        if batch.is_empty() { TxOutcome::all(0) } else { TxOutcome::refused(0, TxRefusal::NotRunning) }
    }

    /// Returns the VLAN that the interface is, and the name of the one whose frames carry the tag; `None` for a port.
    fn vlan(&self) -> Option<(VlanId, &str)> {
        None
    }

    /// The same as [`transmit`](Self::transmit) when the caller is about to send more: the port may leave its device untold of these frames, until the next
    /// [`transmit`](Self::transmit) or [`ring_doorbell`](Self::ring_doorbell), of which the caller makes one soon.
    ///
    /// # Context
    /// As [`transmit`](Self::transmit).
    fn transmit_more(&self, batch: &mut PacketBatch, cache: &mut PoolCache) -> TxOutcome {
        self.transmit(batch, cache)
    }

    /// Tells the device of frames it has been left untold of. `lane` is that of the cache they were sent with
    /// ([`PoolCache::lane`]).
    ///
    /// # Context
    /// As [`transmit`](Self::transmit).
    fn ring_doorbell(&self, lane: usize) {
        let _ = lane;
    }

    /// Returns a copy of the counters.
    ///
    /// # Context
    /// Any thread. Does not sleep.
    fn statistics(&self) -> IfStatistics;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_has_its_own_drop_reason() {
        let refusals = [TxRefusal::RingFull, TxRefusal::LinkDown, TxRefusal::NotRunning, TxRefusal::TooLong];
        for (i, a) in refusals.into_iter().enumerate() {
            for b in refusals.into_iter().skip(i + 1) {
                assert_ne!(DropReason::from(a), DropReason::from(b));
            }
        }
    }

    #[test]
    fn an_outcome_without_refusal_is_a_batch_taken_whole() {
        assert_eq!(TxOutcome::all(3).refused, None);
        let partial = TxOutcome::refused(1, TxRefusal::RingFull);
        assert_eq!((partial.accepted, partial.refused), (1, Some(TxRefusal::RingFull)));
    }

    #[test]
    fn an_interface_can_be_used_as_a_trait_object() {
        fn takes(_: Option<&'static dyn Interface>) {}
        takes(None);
    }
}
