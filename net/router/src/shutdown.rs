//! Emptying the places where packets wait, with the cause counted: the "drain" rung of the shutdown ladder.

use ifnet::DropReason;
use ksync::time::Instant;

use crate::Worker;

/// What [`Worker::flush_held`] found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flushed {
    /// Packets that were waiting for an answer to ARP, dropped as [`DropReason::ArpFlushed`].
    pub arp: u64,
    /// Frames in protocol queues, dropped as [`DropReason::NetisrFlushed`].
    pub netisr: u64,
    /// Fragments that were waiting for others, dropped as [`DropReason::ShuttingDown`].
    pub reassembly: u64,
}

impl Worker {
    /// Drops everything that waits in hold queues and protocol queues, and has these refuse what comes later.
    ///
    /// # Context
    /// Thread; after all netisr threads have been joined (or have found their queues empty and are not woken any more).
    pub fn flush_held(&mut self, now: Instant) -> Flushed {
        let router = self.router();
        router.netisr().close();
        router.arp().close();
        self.pass(now, |pass| {
            let (arp, reassembly) = (pass.flush_arp(None), pass.flush_pieces());
            let mut flushed = Flushed { arp, netisr: 0, reassembly };
            for workstream in 0..router.netisr().workstreams() {
                let mut queued = core::mem::take(&mut pass.core.scratch);
                while let Some(taken) = router.netisr().take(workstream, |packet| drop(queued.push(packet))) {
                    while let Some(packet) = queued.pop() {
                        pass.discard(packet, DropReason::NetisrFlushed);
                        flushed.netisr += 1;
                    }
                    router.netisr().complete(workstream, taken);
                }
                pass.core.scratch = queued;
            }
            flushed
        })
    }
}
