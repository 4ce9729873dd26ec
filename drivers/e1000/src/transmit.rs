//! Sending: from a batch to the ring, under the transmit lock, and what the ring gives back on the way.
//!
//! Key type: [`How`]. Context: as [`Interface::transmit`]; the lock is held for one batch.

use ifnet::{Interface, TxOutcome, TxRefusal};
use ksync::atomic::Ordering;
use pktbuf::{PacketBatch, PacketBuf, PoolCache};
use wire::VLAN_TAG_LEN;

use crate::{
    adapter::{Adapter, Phase},
    regs::RegisterIo,
    stats::TxCounters,
    tx::{EncapError, Finished, MIN_FRAME, RECLAIM_BURST, TxRing},
    txsum::TxSums,
};

/// How the frames of a batch are sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct How {
    /// What goes into each frame's descriptor besides: [`desc::tx_tag`](crate::desc::tx_tag), or 0.
    pub(crate) tag: u64,
    /// More follows at once, and will have the device told.
    pub(crate) more: bool,
}

impl<R: RegisterIo> Adapter<R> {
    #[inline]
    fn transmit_locked(
        &self,
        ring: &mut Option<TxRing>,
        sent: &TxCounters,
        (batch, how): (&mut PacketBatch, How),
        mut home: impl FnMut(PacketBuf),
    ) -> Result<u32, (u32, TxRefusal)> {
        // ORDERING: acquire pairs with the release in `close_egress`.
        let running = self.phase() == Phase::Running && self.egress_open.load(Ordering::Acquire);
        let Some(ring) = ring.as_mut().filter(|ring| running && !ring.paused) else {
            return Err((0, TxRefusal::NotRunning));
        };
        // A burst in all, so that what comes free has a known limit; it is room enough for a whole batch.
        let mut burst = RECLAIM_BURST;
        burst -= ring.reclaim(burst, sent, &mut home);
        if !self.link_up() {
            return Err((0, TxRefusal::LinkDown));
        }
        // A tag that is inserted takes its room of what a frame may have.
        let inserted = if how.tag == 0 { 0 } else { VLAN_TAG_LEN };
        let longest = (self.frames.longest - inserted).max(MIN_FRAME);
        let (mut accepted, mut octets) = (0, 0);
        let refused = loop {
            let put = ring.encap(batch, how.tag, longest);
            accepted += put.frames as u64;
            octets += put.octets;
            match put.stopped {
                Some(EncapError::TooLong) => break Some(TxRefusal::TooLong),
                Some(EncapError::NoRoom) => break Some(TxRefusal::RingFull),
                Some(EncapError::Unsendable) => {
                    accepted += 1;
                    sent.discarded.bump();
                    batch.pop().into_iter().for_each(&mut home);
                }
                None if batch.is_empty() => break None,
                // The end of the ring, or it is full.
                None if ring.free() > 0 => {}
                None => {
                    let freed = ring.reclaim(burst, sent, &mut home);
                    if freed == 0 {
                        break Some(TxRefusal::RingFull);
                    }
                    burst -= freed;
                }
            }
        };
        if !how.more || refused.is_some() || ring.holds_many() {
            ring.flush(&self.regs);
        }
        sent.packets.add(accepted);
        sent.octets.add(octets);
        if refused == Some(TxRefusal::RingFull) {
            sent.ring_full.add(batch.len() as u64);
            self.ask_for_completion(ring.queue());
        }
        #[expect(clippy::cast_possible_truncation, reason = "a batch has at most 64 frames")]
        let accepted = accepted as u32;
        refused.map_or(Ok(accepted), |why| Err((accepted, why)))
    }

    /// Sends a frame in which the device fills in checksums.
    ///
    /// # Context
    /// As [`transmit`](Interface::transmit).
    ///
    /// # Errors
    /// The frame, and why it was not taken; [`TxRefusal::TooLong`] also for what is no frame.
    pub fn transmit_summed(
        &self,
        packet: PacketBuf,
        sums: TxSums,
        cache: &mut PoolCache,
    ) -> Result<(), (PacketBuf, TxRefusal)> {
        let queue = self.queues.of(cache.lane());
        let mut finished = Finished::new();
        let result = {
            let mut ring = queue.tx.lock();
            // ORDERING: acquire pairs with the release in `close_egress`.
            let running = self.phase() == Phase::Running && self.egress_open.load(Ordering::Acquire);
            match ring.as_mut().filter(|ring| running && !ring.paused) {
                None => Err((packet, TxRefusal::NotRunning)),
                Some(_) if !self.link_up() => Err((packet, TxRefusal::LinkDown)),
                Some(ring) => {
                    ring.reclaim(RECLAIM_BURST, &queue.sent, |packet| finished.push(packet));
                    let put = ring.encap_summed(packet, sums, self.frames.longest);
                    ring.flush(&self.regs);
                    put.map_err(|(packet, why)| match why {
                        EncapError::NoRoom => (packet, TxRefusal::RingFull),
                        EncapError::TooLong | EncapError::Unsendable => (packet, TxRefusal::TooLong),
                    })
                }
            }
            .map(|octets| {
                queue.sent.packets.bump();
                queue.sent.octets.add(octets);
            })
        };
        for packet in finished.drain(..) {
            cache.recycle_later(packet);
        }
        cache.publish();
        result
    }

    /// Sends a batch. Not inlined, nor made in each of the places that send: it has one name for the debugger.
    pub(crate) fn send(&self, batch: &mut PacketBatch, how: How, cache: &mut PoolCache) -> TxOutcome {
        if batch.is_empty() {
            return TxOutcome::all(0);
        }
        // Before and after locking: the cache may have to go to the pool, which has a lock of its own.
        cache.reserve_room(RECLAIM_BURST);
        let queue = self.queues.of(cache.lane());
        let mut finished = Finished::new();
        let result = {
            let mut ring = queue.tx.lock();
            self.transmit_locked(&mut ring, &queue.sent, (batch, how), |packet| {
                if let Err(packet) = cache.try_recycle(packet) {
                    finished.push(packet);
                }
            })
        };
        for packet in finished.drain(..) {
            cache.recycle_later(packet);
        }
        cache.publish();
        match result {
            Ok(accepted) => TxOutcome::all(accepted),
            Err((accepted, why)) => TxOutcome::refused(accepted, why),
        }
    }
}
