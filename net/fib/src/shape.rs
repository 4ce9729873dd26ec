//! How 16 neighbouring slots share few values: the dictionary of shapes, and [`Shaped`], which fits slots to it.
//!
//! A shape says for each of 16 slots which of a few values it has (its rank). All are made of what prefixes can do to 16 slots:
//! nothing (1 shape), one more specific prefix (30), two of them apart from each other (367), and, for all else, one of five
//! splittings in each quarter (625): 1023 shapes, hence ten bits. One word holds all ranks of a shape, so that a
//! lookup finds the rank by one load from 8 KiB, and no bits are counted. Any context.

use crate::cells::Leaf;

/// How many slots a block has.
pub(crate) const SLOTS: usize = 16;
/// How many shapes there are, the unused last one included.
pub(crate) const SHAPES: usize = 1024;

/// Aligned pieces of a block, numbered from 1: 16 of one slot, 8 of two, 4 of four, 2 of eight.
const PIECES: usize = 30;
/// The first shape of the kind that splits each quarter for itself.
const QUARTERED: usize = 1 + PIECES + 367;
/// The ranks of the four slots of a quarter: whole, halved, left half split, right half split, all apart.
const SPLITTINGS: [[u64; 4]; 5] = [[0, 0, 0, 0], [0, 0, 1, 1], [0, 1, 2, 2], [0, 0, 1, 2], [0, 1, 2, 3]];

/// Returns the first slot and the width of a piece.
const fn extent(piece: usize) -> (usize, usize) {
    match piece {
        ..17 => (piece - 1, 1),
        17..25 => ((piece - 17) * 2, 2),
        25..29 => ((piece - 25) * 4, 4),
        _ => ((piece - 29) * 8, 8),
    }
}

/// Returns the number of the piece of `width` slots that begins at `first`.
const fn piece(first: usize, width: usize) -> usize {
    match width {
        1 => 1 + first,
        2 => 17 + first / 2,
        4 => 25 + first / 4,
        _ => 29 + first / 8,
    }
}

/// What is known about all shapes.
struct Dictionary {
    /// By shape: the rank of slot `s` in bits `4 s` and up.
    ranks: [u64; SHAPES],
    /// By shape: how many values it has.
    values: [u8; SHAPES],
    /// By the pieces with ranks 1 and 2 (the second may be 0, for none): the shape.
    pieces: [[u16; PIECES + 1]; PIECES + 1],
}

impl Dictionary {
    const fn new() -> Self {
        let mut made = Self { ranks: [0; SHAPES], values: [1; SHAPES], pieces: [[0; PIECES + 1]; PIECES + 1] };
        let mut shape = 1;
        let mut one = 1;
        while one <= PIECES {
            let mut two = 0;
            while two <= PIECES {
                if two == 0 || (two > one && are_apart(one, two)) {
                    made.ranks[shape as usize] = ranks_of(one, 1) | ranks_of(two, 2);
                    made.values[shape as usize] = if two == 0 { 2 } else { 3 };
                    made.pieces[one][two] = shape;
                    shape += 1;
                }
                two += 1;
            }
            one += 1;
        }
        assert!(shape as usize == QUARTERED);
        made.quartered()
    }

    const fn quartered(mut self) -> Self {
        let mut index = 0;
        while index < 625 {
            let splits = [index % 5, index / 5 % 5, index / 25 % 5, index / 125];
            let (mut next, mut slot) = (0, 0);
            while slot < SLOTS {
                let ranks = &SPLITTINGS[splits[slot / 4]];
                self.ranks[QUARTERED + index] |= (next + ranks[slot % 4]) << (4 * slot);
                if slot % 4 == 3 {
                    next += ranks[3] + 1;
                }
                slot += 1;
            }
            self.values[QUARTERED + index] = next.to_le_bytes()[0];
            index += 1;
        }
        self
    }
}

/// Returns the ranks of a shape in which the slots of `piece` (0: no slot) have `rank` and all others 0.
const fn ranks_of(piece: usize, rank: u64) -> u64 {
    let mut ranks = 0;
    if piece > 0 {
        let (first, width) = extent(piece);
        let mut slot = first;
        while slot < first + width {
            ranks |= rank << (4 * slot);
            slot += 1;
        }
    }
    ranks
}

const fn are_apart(one: usize, two: usize) -> bool {
    let ((a, a_width), (b, b_width)) = (extent(one), extent(two));
    a + a_width <= b || b + b_width <= a
}

const DICTIONARY: Dictionary = Dictionary::new();

/// By shape: the rank of slot `s` in bits `4 s` to `4 s + 3`.
pub(crate) static RANKS: [u64; SHAPES] = DICTIONARY.ranks;
static VALUES: [u8; SHAPES] = DICTIONARY.values;
static PAIRS: [[u16; PIECES + 1]; PIECES + 1] = DICTIONARY.pieces;

/// Returns how many values `shape` has.
pub(crate) fn values_of(shape: usize) -> usize {
    VALUES.get(shape).copied().map_or(0, usize::from)
}

/// 16 slots, fitted to a shape.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shaped {
    /// Its number; 0 if all slots are equal.
    pub(crate) shape: u32,
    values: [Leaf; SLOTS],
    len: usize,
}

impl Shaped {
    /// Fits `slots` to the shape with few values.
    pub(crate) fn fit(slots: &[Leaf; SLOTS]) -> Self {
        let mut starts = 0_u32;
        for (slot, pair) in (1..).zip(slots.windows(2)) {
            starts |= u32::from(pair[0] != pair[1]) << slot;
        }
        let mut shaped = Self { shape: 0, values: [slots[0]; SLOTS], len: 1 };
        if starts != 0 {
            // Two pieces apart from each other leave one of these to the rest, unless they leave nothing.
            let covers = [slots[0], slots[15], slots[7], slots[8]];
            // Each piece begins and ends.
            let may_fit = starts.count_ones() <= 4;
            let fits = may_fit.then(|| covers.into_iter().find_map(|cover| pieces(slots, starts, cover))).flatten();
            match fits {
                Some(pieces) => shaped.set_pieces(slots, pieces),
                None => shaped.set_quarters(slots),
            }
        }
        shaped
    }

    /// Returns the values, by rank.
    pub(crate) fn values(&self) -> &[Leaf] {
        self.values.get(..self.len).unwrap_or_default()
    }

    fn set_pieces(&mut self, slots: &[Leaf; SLOTS], Pieces { cover, one, two }: Pieces) {
        self.shape = u32::from(PAIRS[one][two]);
        self.values[0] = cover;
        self.values[1] = slots[extent(one).0];
        self.len = 2;
        if two > 0 {
            self.values[2] = slots[extent(two).0];
            self.len = 3;
        }
    }

    fn set_quarters(&mut self, slots: &[Leaf; SLOTS]) {
        let mut index = 0;
        self.len = 0;
        for quarter in slots.as_chunks::<4>().0.iter().rev() {
            let [a, b, c, d] = *quarter;
            let splitting = match (a == b, c == d) {
                (true, true) if b == c => 0,
                (true, true) => 1,
                (false, true) => 2,
                (true, false) => 3,
                (false, false) => 4,
            };
            index = index * 5 + splitting;
        }
        let mut rest = index;
        for quarter in slots.as_chunks::<4>().0 {
            let mut last = None;
            for (&slot, &rank) in quarter.iter().zip(&SPLITTINGS[rest % 5]) {
                if last != Some(rank) {
                    self.values[self.len] = slot;
                    self.len += 1;
                    last = Some(rank);
                }
            }
            rest /= 5;
        }
        self.shape = u32::try_from(QUARTERED + index).unwrap_or(0);
    }
}

/// One value for all slots except those of one or two pieces.
struct Pieces {
    cover: Leaf,
    /// The piece of the lower number.
    one: usize,
    /// The other, or 0.
    two: usize,
}

/// Finds the pieces that make `slots` of `cover`, if two are enough. `starts` has a bit for each slot that differs from the one before.
fn pieces(slots: &[Leaf; SLOTS], starts: u32, cover: Leaf) -> Option<Pieces> {
    let mut found = Pieces { cover, one: 0, two: 0 };
    let mut slot = 0;
    while slot < SLOTS {
        let same = ((starts >> slot >> 1) | (1 << (SLOTS - slot - 1))).trailing_zeros() as usize + 1;
        if slots[slot] == cover {
            slot += same;
            continue;
        }
        let mut width = 1;
        while width < 8 && 2 * width <= same && slot.is_multiple_of(2 * width) {
            width *= 2;
        }
        let piece = piece(slot, width);
        match (found.one, found.two) {
            (0, _) => found.one = piece,
            (one, 0) => (found.one, found.two) = (one.min(piece), one.max(piece)),
            _ => return None,
        }
        slot += width;
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn unfold(shaped: &Shaped) -> [Leaf; SLOTS] {
        core::array::from_fn(|slot| {
            let rank = RANKS[shaped.shape as usize] >> (4 * slot) & 15;
            shaped.values()[usize::try_from(rank).expect("a rank")]
        })
    }

    proptest! {
        #[test]
        fn any_slots_are_what_their_shape_says(slots in prop::array::uniform16(0_u16..4), range in 1_u16..4) {
            let slots = slots.map(|slot| slot % range);
            let shaped = Shaped::fit(&slots);
            prop_assert_eq!(unfold(&shaped), slots);
            prop_assert_eq!(shaped.values().len(), values_of(shaped.shape as usize));
        }
    }

    #[test]
    fn two_more_specific_prefixes_apart_from_each_other_take_three_values() {
        for one in 1..=PIECES {
            for two in (1..=PIECES).filter(|&two| are_apart(one, two)) {
                let mut slots = [7; SLOTS];
                for (piece, leaf) in [(one, 8), (two, 9)] {
                    let (first, width) = extent(piece);
                    slots[first..first + width].fill(leaf);
                }
                let shaped = Shaped::fit(&slots);
                assert_eq!(unfold(&shaped), slots);
                assert!(shaped.values().len() <= 3, "{slots:?}");
            }
        }
    }
}
