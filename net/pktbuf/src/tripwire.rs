//! The tripwire: tells after a shutdown whether a device wrote into memory it no longer owns.
//!
//! Key type: [`TripwireReport`]. Free frames are filled with a pattern when all DMA has been stopped, and looked at
//! again later. Used by the shutdown thread; holds the pool's lock for one frame at a time.

use crate::{BufferSize, PacketPool};

/// What a free frame is filled with. Not zero and not all ones, which is what dead memory and dead devices read as.
const PATTERN: u8 = 0xd7;
/// As many octets as the smallest frame has, as they are when nobody has touched them.
const PATTERNED: [u8; BufferSize::K2.stride()] = [PATTERN; BufferSize::K2.stride()];

/// The answer of a tripwire that nobody disturbed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TripwireReport {
    /// Free frames looked at.
    pub checked: usize,
    /// Frames whose octets changed while they were free.
    pub damaged: usize,
}

/// What the pool looked like when its tripwire was armed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Armed {
    departures: u64,
    free: usize,
}

/// A frame left the free list or came home after the tripwire was armed, so that a changed octet would prove nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disturbed;

impl PacketPool {
    /// Fills all free frames with a pattern and returns the witness that [`check_tripwire`](Self::check_tripwire)
    /// wants.
    ///
    /// # Context
    /// Thread. Interrupts are off for one frame at a time.
    pub fn arm_tripwire(&self) -> Armed {
        let armed = self.armed();
        self.visit_free(|frame| frame.fill(PATTERN));
        armed
    }

    fn armed(&self) -> Armed {
        let free = self.free.lock();
        Armed { departures: free.departures, free: free.frames.len() }
    }

    /// Looks at all free frames again, and calls `tell` with each that has changed: where the first changed octet is, and how many
    /// there are.
    ///
    /// # Errors
    /// [`Disturbed`] if a frame was allocated, or came home, since `witness` was made; then nothing is told.
    pub fn check_tripwire(
        &self,
        witness: Armed,
        mut tell: impl FnMut(*const u8, usize),
    ) -> Result<TripwireReport, Disturbed> {
        if self.armed() != witness {
            return Err(Disturbed);
        }
        let mut report = TripwireReport { checked: 0, damaged: 0 };
        self.visit_free(|frame| {
            report.checked += 1;
            // Long pieces are compared at once; only a damaged frame is looked at octet by octet.
            if frame.chunks(PATTERNED.len()).all(|piece| PATTERNED.starts_with(piece)) {
                return;
            }
            report.damaged += 1;
            let mut changed = frame.iter().filter(|octet| **octet != PATTERN);
            if let Some(first) = changed.next() {
                tell(core::ptr::from_ref(first), 1 + changed.count());
            }
        });
        if self.armed() == witness { Ok(report) } else { Err(Disturbed) }
    }

    fn visit_free(&self, mut visit: impl FnMut(&mut [u8])) {
        for index in 0..self.total() {
            let mut free = self.free.lock();
            let Some(frame) = free.frames.get_mut(index) else { break };
            visit(frame.storage());
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use std::vec::Vec;

    use super::*;

    #[test]
    fn an_undisturbed_pool_reports_no_damage() {
        let pool = PacketPool::leak_for_tests(5);
        let witness = pool.arm_tripwire();
        assert_eq!(pool.check_tripwire(witness, |_, _| panic!()), Ok(TripwireReport { checked: 5, damaged: 0 }));
    }

    #[test]
    fn a_write_into_a_free_frame_is_found_wherever_it_is() {
        for size in BufferSize::ALL {
            let pool = PacketPool::leak_sized_for_tests(5, size);
            for place in [7, size.stride() / 2, size.stride() - 1] {
                let witness = pool.arm_tripwire();
                // Stands for a device that writes into memory it has lost.
                let at = pool.free.lock().frames.get_mut(3).map(|frame| {
                    let storage = frame.storage();
                    (storage[place], storage[size.stride() - 1]) = (1, 0);
                    storage[place..].as_ptr()
                });
                let mut told = Vec::new();
                let report = pool.check_tripwire(witness, |at, octets| told.push((at, octets)));
                assert_eq!(report, Ok(TripwireReport { checked: 5, damaged: 1 }));
                assert_eq!(told, [(at.unwrap(), 1 + usize::from(place != size.stride() - 1))]);
            }
        }
    }

    #[test]
    fn a_frame_that_comes_home_after_arming_is_not_mistaken_for_damage() {
        let pool = PacketPool::leak_for_tests(5);
        let out = pool.alloc();
        let witness = pool.arm_tripwire();
        drop(out);
        assert_eq!(pool.check_tripwire(witness, |_, _| panic!()), Err(Disturbed));
    }

    #[test]
    fn an_allocation_after_arming_is_admitted_not_mistaken_for_damage() {
        let pool = PacketPool::leak_for_tests(5);
        let witness = pool.arm_tripwire();
        drop(pool.alloc());
        assert_eq!(pool.check_tripwire(witness, |_, _| ()), Err(Disturbed));
    }
}
