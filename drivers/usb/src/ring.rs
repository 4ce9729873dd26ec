//! Rings: [`Producer`], which we fill (commands, transfers), and [`Events`], which the controller fills (xHCI 1.2, 4.9).
//!
//! A ring is one page. A block is handed over by its cycle bit, in the last word that is written of it.

use bus_dma::DmaMem;
use ksync::atomic::{DeviceU64, Ordering};

use crate::trb::{OCTETS, Trb};

/// Octets of a ring and of everything else that is allocated in pages.
pub(crate) const PAGE: usize = 4096;
const BLOCKS: usize = PAGE / OCTETS;

const fn halves(low: u32, high: u32) -> u64 {
    (high as u64) << 32 | low as u64
}

/// The cells of block `index`.
fn cells(memory: &DmaMem, index: usize) -> Option<(&DeviceU64, &DeviceU64)> {
    memory.cells().get(index * 2).zip(memory.cells().get(index * 2 + 1))
}

/// Writes a block so that its cycle bit is seen last.
fn write(memory: &DmaMem, index: usize, trb: Trb) {
    let Some((first, second)) = cells(memory, index) else { return };
    let [a, b, c, d] = trb.0;
    first.store(halves(a, b), Ordering::Relaxed);
    memory.sync();
    // ORDERING: the word with the cycle bit comes after the other one, and after the data it speaks of.
    second.store(halves(c, d), Ordering::Release);
    memory.sync();
}

/// A ring that we fill.
#[derive(Debug)]
pub(crate) struct Producer {
    memory: DmaMem,
    next: usize,
    cycle: bool,
}

impl Producer {
    /// Makes a ring of a page of zeros.
    pub(crate) const fn new(memory: DmaMem) -> Self {
        Self { memory, next: 0, cycle: true }
    }

    /// Where the next block goes, with the cycle state in bit 0: as contexts and commands want it.
    pub(crate) fn dequeue_pointer(&self) -> u64 {
        self.address(self.next) | u64::from(self.cycle)
    }

    fn address(&self, index: usize) -> u64 {
        self.memory.bus_addr().as_u64() + (index * OCTETS) as u64
    }

    /// Hands a block over; returns its address. The ring never runs full: one transfer of a few blocks is under way at a time.
    pub(crate) fn push(&mut self, trb: Trb) -> u64 {
        if self.next == BLOCKS - 1 {
            let link = Trb::link(self.address(0)).with_cycle(self.cycle);
            write(&self.memory, self.next, link);
            self.next = 0;
            self.cycle = !self.cycle;
        }
        let address = self.address(self.next);
        write(&self.memory, self.next, trb.with_cycle(self.cycle));
        self.next += 1;
        address
    }

    pub(crate) fn into_memory(self) -> DmaMem {
        self.memory
    }
}

/// The ring that the controller fills.
#[derive(Debug)]
pub(crate) struct Events {
    memory: DmaMem,
    table: DmaMem,
    next: usize,
    cycle: bool,
}

impl Events {
    /// Makes a ring of a page of zeros, and its table of one segment in another.
    pub(crate) fn new(memory: DmaMem, table: DmaMem) -> Self {
        if let Some((base, size)) = cells(&table, 0) {
            base.store(memory.bus_addr().as_u64(), Ordering::Relaxed);
            size.store(BLOCKS as u64, Ordering::Relaxed);
        }
        table.sync();
        Self { memory, table, next: 0, cycle: true }
    }

    /// The address of the table of segments, of which there is one.
    pub(crate) fn table(&self) -> u64 {
        self.table.bus_addr().as_u64()
    }

    /// Where the next event will be.
    pub(crate) fn dequeue_pointer(&self) -> u64 {
        self.memory.bus_addr().as_u64() + (self.next * OCTETS) as u64
    }

    /// Takes an event out, if there is one.
    pub(crate) fn pop(&mut self) -> Option<Trb> {
        let (first, second) = cells(&self.memory, self.next)?;
        // ORDERING: the cycle bit is read before the rest of the block, and before the data it speaks of.
        let high = second.load(Ordering::Acquire);
        self.memory.sync();
        let low = first.load(Ordering::Relaxed);
        let word = |value: u64, which: u32| u32::try_from(value >> (32 * which) & 0xFFFF_FFFF).unwrap_or(0);
        let trb = Trb([word(low, 0), word(low, 1), word(high, 0), word(high, 1)]);
        if trb.cycle() != self.cycle {
            return None;
        }
        self.next += 1;
        if self.next == BLOCKS {
            self.next = 0;
            self.cycle = !self.cycle;
        }
        Some(trb)
    }

    pub(crate) fn into_memory(self) -> [DmaMem; 2] {
        [self.memory, self.table]
    }
}
