//! Who has the machine's memory: [`Census`], every frame in one row.
//!
//! What is handed out is noted by its [`Use`] where it is handed out; the rest is known from boot. The rows add up to what the firmware
//! called memory, and [`Census::unexplained`] is what they miss, which is 0. Context: any; the counts are those of a moment.

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::FRAME_SIZE;
use crate::paging::{HEAP_BASE, STACK_BASE};

/// What frames are handed out for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Use {
    /// Page tables, beyond those of the loader.
    Tables = 0,
    /// Kernel stacks.
    Stacks = 1,
    /// The heap: reserved, whether in use or not.
    Heap = 2,
    /// Descriptor rings and other memory for devices.
    Dma = 3,
    /// Packet buffers.
    Packets = 4,
}

impl Use {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Tables, Self::Stacks, Self::Heap, Self::Dma, Self::Packets];

    /// Returns what a table calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tables => "page tables",
            Self::Stacks => "stacks",
            Self::Heap => "heap, reserved",
            Self::Dma => "descriptor rings",
            Self::Packets => "packet buffers",
        }
    }

    /// Returns what fresh frames mapped at `virt` are for.
    pub(crate) const fn at(virt: u64) -> Self {
        if virt >= STACK_BASE && virt < HEAP_BASE { Self::Stacks } else { Self::Heap }
    }
}

/// Frames handed out, by use.
static HANDED_OUT: [AtomicUsize; Use::ALL.len()] = [const { AtomicUsize::new(0) }; Use::ALL.len()];
/// Frames of the loader's, those it gave back not counted; and those that the allocator never got.
static LOADER: AtomicUsize = AtomicUsize::new(0);
static WITHHELD: AtomicUsize = AtomicUsize::new(0);
/// Octets that the firmware called memory.
static GIVEN: AtomicU64 = AtomicU64::new(0);

/// Notes that frames were handed out.
pub(crate) fn taken(what: Use, frames: usize) {
    // ORDERING: relaxed, here and below; a statistic.
    HANDED_OUT[what as usize].fetch_add(frames, Ordering::Relaxed);
}

/// Notes that frames came back.
pub(crate) fn returned(what: Use, frames: usize) {
    HANDED_OUT[what as usize].fetch_sub(frames, Ordering::Relaxed);
}

/// Notes what the boot began with: frames the loader uses, frames that are free by its map, and those of them the allocator got.
pub(crate) fn begin(loader: usize, usable: usize, managed: usize) {
    LOADER.store(loader, Ordering::Relaxed);
    WITHHELD.store(usable.saturating_sub(managed), Ordering::Relaxed);
    GIVEN.store((loader + usable) as u64 * FRAME_SIZE, Ordering::Relaxed);
}

/// Notes that a frame of the loader's has become free.
pub(super) fn adopted() {
    LOADER.fetch_sub(1, Ordering::Relaxed);
}

/// Every frame of the machine; counts of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Census {
    /// What the firmware called memory.
    pub given: usize,
    /// The kernel's file and image, its first stack and tables, the configuration and the symbols, as the loader placed them.
    pub loader: usize,
    /// Kept over a warm reset, and the allocator's own map.
    pub withheld: usize,
    /// Handed out, in the order of [`Use::ALL`].
    pub handed_out: [usize; Use::ALL.len()],
    /// Free.
    pub free: usize,
}

impl Census {
    /// Counts, with `free` frames free.
    pub(super) fn with_free(free: usize) -> Self {
        Self {
            given: (GIVEN.load(Ordering::Relaxed) / FRAME_SIZE) as usize,
            loader: LOADER.load(Ordering::Relaxed),
            withheld: WITHHELD.load(Ordering::Relaxed),
            handed_out: core::array::from_fn(|what| HANDED_OUT[what].load(Ordering::Relaxed)),
            free,
        }
    }

    /// Returns what the kernel takes: all that is not free.
    #[must_use]
    pub const fn used(&self) -> usize {
        self.given - self.free
    }

    /// Returns what no row explains: 0, or a mistake in the books (or something changed hands while they were read).
    #[must_use]
    pub fn unexplained(&self) -> isize {
        let rows = self.loader + self.withheld + self.handed_out.iter().sum::<usize>() + self.free;
        self.given.cast_signed() - rows.cast_signed()
    }
}

#[cfg(test)]
mod tests {
    use super::{Census, Use, adopted, begin, returned, taken};
    use crate::paging::{HEAP_BASE, STACK_BASE};

    #[test]
    fn every_frame_is_in_one_row_and_one_that_is_not_shows() {
        begin(100, 1000, 900);
        adopted();
        taken(Use::Tables, 3);
        taken(Use::Dma, 8);
        returned(Use::Dma, 2);
        let census = Census::with_free(900 + 1 - 3 - 6);
        assert_eq!((census.given, census.loader, census.withheld), (1100, 99, 100));
        assert_eq!((census.used(), census.unexplained()), (1100 - 892, 0));
        assert_eq!(Census::with_free(891).unexplained(), 1);
    }

    #[test]
    fn fresh_frames_are_told_by_where_they_are_mapped() {
        assert_eq!(
            (Use::at(STACK_BASE), Use::at(HEAP_BASE - 4096), Use::at(HEAP_BASE)),
            (Use::Stacks, Use::Stacks, Use::Heap)
        );
    }
}
