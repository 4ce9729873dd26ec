//! One word that answers for 16 neighbouring slots: [`Entry`]. Any context.
//!
//! 13 bits are the number of a [shape](crate::shape), which says for each slot which of a few values it has. Of four
//! values or fewer all are in the word itself (*near*): with it a lookup has its answer. More of them, and those that lead
//! to groups or are too large, are elsewhere (*far*), and the word says where.
//!
//! ```text
//! near:  shape:13  unused:2  0  value 3:12  value 2:12  value 1:12  value 0:12
//! far:   shape:13  unused:2  1                unused:16  place of value 0 : 32
//! ```

use crate::{
    cells::Leaf,
    shape::{RANKS, SHAPES, Shaped, values_of},
};

/// Set if the values are elsewhere.
const FAR: u64 = 1 << 48;
/// Where the number of the shape begins; it ends with the word.
const SHAPE: u32 = 51;
/// How many values are in the word itself, at most.
const NEAR: usize = 4;
/// How many bits each of them has. The largest have no room.
const NEAR_BITS: u32 = 12;
/// Values from here on are in no entry.
pub(crate) const LARGE: Leaf = 1 << NEAR_BITS;

/// See this module's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry(u64);

impl Entry {
    /// All slots have the answer `leaf`. A [large](LARGE) one is among the values at the place of its own number.
    pub(crate) const fn of(leaf: Leaf) -> Self {
        if leaf < LARGE { Self(leaf as u64) } else { Self(FAR | leaf as u64) }
    }

    /// Takes up the values of `shaped`, if there are few of them and none is large or leads to a group.
    pub(crate) fn near(shaped: &Shaped) -> Option<Self> {
        let values = shaped.values();
        if values.len() > NEAR || values.iter().any(|value| *value >= LARGE) {
            return None;
        }
        let values = values.iter().rev().fold(0, |word, &value| word << NEAR_BITS | u64::from(value));
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

    /// Returns how many values the entry has elsewhere for itself alone.
    pub(crate) fn own_values(self) -> usize {
        if self.is_far() && self.shape() > 0 { values_of(self.shape()) } else { 0 }
    }

    /// Returns the answer for an address, whose slot is in bits 8 to 11, of an entry that is near.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "a value has 12 bits")]
    pub(crate) const fn value(self, address: u32) -> Leaf {
        // Four times the rank, as the dictionary has it: times three is where the value begins.
        let rank = (RANKS[self.shape()] >> place_of_slot(address)) as u32 & (3 << 2);
        self.0.wrapping_shr(rank * (NEAR_BITS / 4)) as Leaf % LARGE
    }

    /// Returns the rank of the value for an address, of any entry.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "a rank has four bits")]
    pub(crate) const fn rank(self, address: u32) -> u32 {
        (RANKS[self.shape()].rotate_right(2) >> place_of_slot(address)) as u32 & 15
    }

    #[inline]
    const fn shape(self) -> usize {
        (self.0 >> SHAPE) as usize
    }
}

/// Returns where in a word of ranks the one for an address begins.
#[inline]
const fn place_of_slot(address: u32) -> u32 {
    (address >> 6) & 0x3c
}

const _: () = assert!(SHAPES == 1 << (u64::BITS - SHAPE));

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{cells::LONG, shape::SLOTS};

    fn address(slot: usize) -> u32 {
        u32::try_from(slot << 8).expect("a slot")
    }

    proptest! {
        #[test]
        fn a_near_entry_has_all_its_answers_itself(slots in prop::array::uniform16(0_u16..LONG), range in 1_usize..6, large: bool) {
            let slots: [Leaf; SLOTS] = core::array::from_fn(|slot| {
                let value = slots[usize::from(slots[slot]) % range];
                if large { value } else { value % LARGE }
            });
            let shaped = Shaped::fit(&slots);
            let entry = Entry::near(&shaped);
            let fits = shaped.values().len() <= NEAR && slots.iter().all(|slot| *slot < LARGE);
            prop_assert_eq!(entry.is_some(), fits);
            if let Some(entry) = entry {
                prop_assert!(!entry.is_far());
                let answers: [Leaf; SLOTS] = core::array::from_fn(|slot| entry.value(address(slot)));
                prop_assert_eq!(answers, slots);
            }
        }

        #[test]
        fn a_far_entry_keeps_shape_and_place(slots in prop::array::uniform16(1_u16..6), base: u32) {
            let shaped = Shaped::fit(&slots);
            let entry = Entry::far(shaped.shape, base);
            prop_assert!(entry.is_far());
            let own = if shaped.shape == 0 { 0 } else { shaped.values().len() };
            prop_assert_eq!((entry.base(), entry.own_values()), (base, own));
            let answers: [Leaf; SLOTS] = core::array::from_fn(|slot| shaped.values()[entry.rank(address(slot)) as usize]);
            prop_assert_eq!(answers, slots);
        }
    }

    #[test]
    fn what_leads_to_a_group_is_far() {
        assert_eq!(Entry::near(&Shaped::fit(&[LONG | 3; SLOTS])), None);
    }

    #[test]
    fn one_answer_for_all_slots_takes_no_values_of_its_own() {
        for leaf in [0, 1, LARGE - 1, LARGE, LONG - 1] {
            let entry = Entry::of(leaf);
            assert_eq!((entry.is_far(), entry.own_values()), (leaf >= LARGE, 0));
            assert_eq!(if entry.is_far() { entry.base() } else { entry.value(address(3)).into() }, u32::from(leaf));
            assert!((0..SLOTS).all(|slot| entry.rank(address(slot)) == 0));
        }
    }
}
