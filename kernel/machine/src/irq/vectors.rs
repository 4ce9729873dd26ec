//! Which of the 256 vectors is for what, and the allocator of the device vectors. Pure; thread context under a lock.
//!
//! The upper half of a vector is its priority class (SDM volume 3, 11.8.3.1): the timer and interprocessor interrupts lie above
//! every device, so that a processor buried in device interrupts still answers.

/// First vector for devices; below are exceptions and the range the 8259s are parked in.
pub const FIRST_DEVICE: u8 = 0x30;
/// Last vector for devices.
pub const LAST_DEVICE: u8 = 0xDF;
/// Where the masked 8259s would deliver a spurious interrupt.
pub const PIC_BASE: u8 = 0x20;
/// The local timer.
pub const TIMER: u8 = 0xF0;
/// "Look at your run queue."
pub const RESCHEDULE: u8 = 0xF1;
/// "Stop for good."
pub const PARK: u8 = 0xF2;
/// "Forget your cached translations."
pub const FLUSH: u8 = 0xF3;

const COUNT: usize = (LAST_DEVICE - FIRST_DEVICE) as usize + 1;

/// The free device vectors.
#[derive(Debug, Clone)]
pub struct VectorSet {
    used: [bool; COUNT],
    next: usize,
}

impl VectorSet {
    /// All free.
    #[must_use]
    pub const fn new() -> Self {
        Self { used: [false; COUNT], next: 0 }
    }

    /// Takes one, round robin, so that a freed vector rests before it means something else.
    pub fn take(&mut self) -> Option<u8> {
        let free = (0..COUNT).map(|step| (self.next + step) % COUNT).find(|&index| !self.used[index])?;
        self.used[free] = true;
        self.next = (free + 1) % COUNT;
        u8::try_from(free).ok().map(|index| FIRST_DEVICE + index)
    }

    /// Gives one back; false if it was not taken.
    pub fn give(&mut self, vector: u8) -> bool {
        let slot = vector.checked_sub(FIRST_DEVICE).and_then(|index| self.used.get_mut(usize::from(index)));
        slot.is_some_and(|used| core::mem::replace(used, false))
    }

    /// Takes `count` (a power of two) adjacent, aligned vectors, as plain MSI with several messages wants them.
    pub fn take_block(&mut self, count: u8) -> Option<u8> {
        let count = usize::from(count);
        if !count.is_power_of_two() || count > 32 {
            return None;
        }
        let aligned = |&index: &usize| (usize::from(FIRST_DEVICE) + index).is_multiple_of(count);
        let free = |&index: &usize| self.used.get(index..index + count).is_some_and(|run| run.iter().all(|used| !used));
        let first = (0..COUNT).filter(aligned).find(free)?;
        self.used[first..first + count].fill(true);
        u8::try_from(first).ok().map(|index| FIRST_DEVICE + index)
    }
}

impl Default for VectorSet {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::{COUNT, FIRST_DEVICE, LAST_DEVICE, VectorSet};

    #[test]
    fn every_device_vector_is_given_once_and_then_none() {
        let mut set = VectorSet::new();
        let mut seen = [false; 256];
        for _ in 0..COUNT {
            let vector = set.take().unwrap();
            assert!((FIRST_DEVICE..=LAST_DEVICE).contains(&vector));
            assert!(!core::mem::replace(&mut seen[usize::from(vector)], true));
        }
        assert_eq!(set.take(), None);
        assert!(set.give(0x77) && !set.give(0x77));
        assert_eq!(set.take(), Some(0x77));
    }

    #[test]
    fn vectors_outside_the_device_range_cannot_be_given_back() {
        let mut set = VectorSet::new();
        assert!(!set.give(0x20) && !set.give(0xF0) && !set.give(0xFF));
    }

    #[test]
    fn a_freed_vector_rests_before_it_is_taken_again() {
        let mut set = VectorSet::new();
        let first = set.take().unwrap();
        assert!(set.give(first));
        assert_ne!(set.take(), Some(first));
    }

    #[test]
    fn a_block_is_aligned_and_whole() {
        let mut set = VectorSet::new();
        assert_eq!(set.take(), Some(0x30));
        assert_eq!(set.take_block(4), Some(0x34));
        assert_eq!(set.take_block(32), Some(0x40));
        assert_eq!(set.take_block(3), None);
        assert!((0..4).all(|step| set.give(0x34 + step)));
    }
}
