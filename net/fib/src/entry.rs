//! One word that answers for 16 neighbouring slots: [`Entry`]. Any context.
//!
//! Ten bits are the number of a [shape](crate::shape), which says for each slot which of a few values it has. Of three
//! values or fewer all are in the word itself (*near*): with it a lookup has its answer. More of them, and those that lead
//! to groups, are elsewhere (*far*), and the word says where.
//!
//! ```text
//! near:  0  unused:5  shape:10  value 2:16  value 1:16  value 0:16
//! far:   1  unused:5  shape:10  unused:16   place of value 0 : 32
//! ```

use crate::{
    cells::{LONG, Leaf},
    shape::{RANKS, SHAPES, Shaped, values_of},
};

/// Set if the values are elsewhere.
const FAR: u64 = 1 << 63;
/// Where the number of the shape begins.
const SHAPE: u32 = 48;
/// How many values are in the word itself, at most.
const NEAR: usize = 3;

/// See this module's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry(u64);

impl Entry {
    /// All slots have the answer `leaf`.
    pub(crate) const fn of(leaf: Leaf) -> Self {
        Self(leaf as u64)
    }

    /// Takes up the values of `shaped`, if there are few of them and none leads to a group.
    pub(crate) fn near(shaped: &Shaped) -> Option<Self> {
        let values = shaped.values();
        if values.len() > NEAR || values.iter().any(|value| value & LONG != 0) {
            return None;
        }
        let values = values.iter().rev().fold(0, |word, &value| word << Leaf::BITS | u64::from(value));
        Some(Self(u64::from(shaped.shape) << SHAPE | values))
    }

    /// The values of `shape` are at `base`, by rank.
    pub(crate) fn far(shape: u32, base: u32) -> Self {
        Self(FAR | u64::from(shape) << SHAPE | u64::from(base))
    }

    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) const fn bits(self) -> u64 {
        self.0
    }

    /// Returns whether the values are elsewhere.
    #[inline]
    pub(crate) const fn is_far(self) -> bool {
        self.0 & FAR != 0
    }

    /// Returns where the values of an entry begin that is far.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "a place has 32 bits")]
    pub(crate) const fn base(self) -> u32 {
        self.0 as u32
    }

    /// Returns how many values the entry has.
    pub(crate) fn values(self) -> usize {
        values_of(self.shape())
    }

    /// Returns the rank of the value for an address, whose slot is in bits 8 to 11.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "a rank has four bits")]
    pub(crate) const fn rank(self, address: u32) -> u32 {
        (RANKS[self.shape()] >> ((address >> 6) & 0x3c)) as u32 & 15
    }

    /// Returns the value of this rank of an entry that is near.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "a value has 16 bits")]
    pub(crate) const fn value(self, rank: u32) -> Leaf {
        self.0.wrapping_shr(rank * Leaf::BITS) as Leaf
    }

    #[inline]
    const fn shape(self) -> usize {
        (self.0 >> SHAPE) as usize % SHAPES
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::shape::SLOTS;

    fn address(slot: usize) -> u32 {
        u32::try_from(slot << 8).expect("a slot")
    }

    proptest! {
        #[test]
        fn a_near_entry_has_all_its_answers_itself(slots in prop::array::uniform16(0_u16..LONG), range in 1_usize..5) {
            let slots: [Leaf; SLOTS] = core::array::from_fn(|slot| slots[usize::from(slots[slot]) % range]);
            let shaped = Shaped::fit(&slots);
            let entry = Entry::near(&shaped);
            prop_assert_eq!(entry.is_some(), shaped.values().len() <= NEAR);
            if let Some(entry) = entry {
                prop_assert!(!entry.is_far());
                let answers: [Leaf; SLOTS] = core::array::from_fn(|slot| entry.value(entry.rank(address(slot))));
                prop_assert_eq!(answers, slots);
            }
        }

        #[test]
        fn a_far_entry_keeps_shape_and_place(slots in prop::array::uniform16(1_u16..6), base: u32) {
            let shaped = Shaped::fit(&slots);
            let entry = Entry::far(shaped.shape, base);
            prop_assert!(entry.is_far());
            prop_assert_eq!((entry.base(), entry.values()), (base, shaped.values().len()));
            let answers: [Leaf; SLOTS] = core::array::from_fn(|slot| shaped.values()[entry.rank(address(slot)) as usize]);
            prop_assert_eq!(answers, slots);
        }
    }

    #[test]
    fn what_leads_to_a_group_is_far() {
        assert_eq!(Entry::near(&Shaped::fit(&[LONG | 3; SLOTS])), None);
    }
}
