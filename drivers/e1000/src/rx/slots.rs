//! The descriptors of a receive ring as words of memory: which comes before and after, what the device wrote, what it is given.

use core::mem::replace;

use bus_dma::Segment;
use ksync::atomic::{DeviceU64, Ordering};

use super::RxRing;
use crate::desc::{RxWriteback, WORDS};

impl RxRing {
    #[inline]
    pub(super) fn before(&self, index: usize) -> usize {
        if index == 0 { self.maps.len() - 1 } else { index - 1 }
    }

    #[inline]
    pub(super) fn after(&self, index: usize) -> usize {
        if index + 1 < self.maps.len() { index + 1 } else { 0 }
    }

    /// Returns what the device wrote into the next descriptor, if it is done with it.
    #[inline]
    pub(super) fn available(&self) -> Option<RxWriteback> {
        self.written(self.next)
    }

    /// Returns what stands in descriptor `index`, done or not.
    pub(super) fn written_at(&self, index: usize) -> Option<RxWriteback> {
        // ORDERING: acquire, as in `written`.
        self.cells(index).map(|[_, rest]| self.layout.decode(rest.load(Ordering::Acquire)))
    }

    /// As [`available`](Self::available), for descriptor `index`.
    #[inline]
    pub(super) fn written(&self, index: usize) -> Option<RxWriteback> {
        let [_, rest] = self.cells(index)?;
        // ORDERING: acquire pairs with the device's write-back: DD is written after the frame and the length.
        let written = self.layout.decode(rest.load(Ordering::Acquire));
        written.done().then_some(written)
    }

    /// Writes the descriptor before `next`: address first, then the cleared status. It is ours until RDT passes it. Of the next one the
    /// address is kept.
    #[inline]
    pub(super) fn write_before(&mut self, next: Segment) {
        let held = replace(&mut self.held, next.addr.as_u64());
        if let Some([address, rest]) = self.cells(self.before(self.next)) {
            address.store(held, Ordering::Relaxed);
            // ORDERING: release keeps the status word behind the address; the doorbell is what publishes both.
            rest.store(0, Ordering::Release);
        }
    }

    #[inline]
    fn cells(&self, index: usize) -> Option<&[DeviceU64; WORDS]> {
        let (descriptors, _) = self.memory.cells().as_chunks();
        descriptors.get(index)
    }
}
