//! How 16 neighbouring slots share few values: the dictionary of shapes, and [`Shaped`], which fits slots to it.
//!
//! A shape says for each of 16 slots which of a few values it has (its rank). All are made of what prefixes can do to 16 slots: up to
//! three of them, more specific than the whole, apart from each other or one in another (1 + 30 + 435 + 4060 shapes); and, for all else,
//! one of five splittings in each quarter (625). One word holds all ranks of a shape, so that a lookup finds the rank by one load and
//! counts no bits. All are 41 KiB, but three lookups of four in a table like the Internet's load one of the first 31. Any context.
//!
//! The fewest prefixes that say the same are found as by Draves, King, Venkatachary and Zill, "Constructing Optimal IP Routing Tables"
//! (INFOCOM 1999).

use crate::cells::Leaf;

/// How many slots a block has.
pub(crate) const SLOTS: usize = 16;
/// How many shapes an entry has room to name; the last ones are unused.
pub(crate) const SHAPES: usize = 8192;
/// How many pieces a shape of pieces has at most.
const MOST_PIECES: usize = 3;

/// Aligned pieces of a block, the nodes 2 to 31 of a binary tree whose root is the block: two of eight slots, then of four, two, one.
const PIECES: usize = 30;
/// The first shape of two pieces, of three, and of the kind that splits each quarter for itself.
const TWO: usize = 1 + PIECES;
const THREE: usize = TWO + PIECES * (PIECES - 1) / 2;
const QUARTERED: usize = THREE + PIECES * (PIECES - 1) * (PIECES - 2) / 6;
/// The ranks of the four slots of a quarter: whole, halved, left half split, right half split, all apart.
const SPLITTINGS: [[u64; 4]; 5] = [[0, 0, 0, 0], [0, 0, 1, 1], [0, 1, 2, 2], [0, 0, 1, 2], [0, 1, 2, 3]];

/// One in each four bits.
const EACH: u64 = 0x1111_1111_1111_1111;

/// Returns the shape in which `pieces`, in ascending order, lie upon each other.
const fn of_pieces(pieces: &[usize]) -> usize {
    match *pieces {
        [] => 0,
        [a] => 1 + a,
        [a, b] => TWO + b * (b - 1) / 2 + a,
        [a, b, c, ..] => THREE + c * (c - 1) * (c - 2) / 6 + b * (b - 1) / 2 + a,
    }
}

/// Paints the slots of a piece with `rank`.
const fn paint(ranks: u64, piece: usize, rank: u64) -> u64 {
    let node = piece + 2;
    let depth = node.ilog2();
    let width = SLOTS >> depth;
    let first = (node - (1 << depth)) * width;
    let slots = ((1 << (4 * width)) - 1) << (4 * first);
    (ranks & !slots) | ((EACH * rank) & slots)
}

/// By shape: the rank of slot `s` in bits `4 s` to `4 s + 3`, all of them turned left by two bits: so, shifted and masked, a small rank
/// comes out four times as large.
pub(crate) static RANKS: [u64; SHAPES] = ranks();

const fn ranks() -> [u64; SHAPES] {
    let mut ranks = [0; SHAPES];
    let mut c = 0;
    while c < PIECES {
        ranks[of_pieces(&[c])] = paint(0, c, 1);
        let mut b = 0;
        while b < c {
            ranks[of_pieces(&[b, c])] = paint(paint(0, b, 1), c, 2);
            let mut a = 0;
            while a < b {
                ranks[of_pieces(&[a, b, c])] = paint(paint(paint(0, a, 1), b, 2), c, 3);
                a += 1;
            }
            b += 1;
        }
        c += 1;
    }
    let mut index = 0;
    while index < 625 {
        let splits = [index % 5, index / 5 % 5, index / 25 % 5, index / 125];
        let (mut next, mut slot) = (0, 0);
        while slot < SLOTS {
            let splitting = &SPLITTINGS[splits[slot / 4]];
            ranks[QUARTERED + index] |= (next + splitting[slot % 4]) << (4 * slot);
            if slot % 4 == 3 {
                next += splitting[3] + 1;
            }
            slot += 1;
        }
        index += 1;
    }
    let mut shape = 0;
    while shape < SHAPES {
        ranks[shape] = ranks[shape].rotate_left(2);
        shape += 1;
    }
    ranks
}

/// Returns how many values `shape` has.
pub(crate) fn values_of(shape: usize) -> usize {
    match shape {
        0 => 1,
        1..TWO => 2,
        TWO..THREE => 3,
        THREE..QUARTERED => 4,
        // The last slot has the last of them.
        _ => RANKS.get(shape).map_or(0, |ranks| (ranks.rotate_right(2) >> 60) as usize + 1),
    }
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
        let mut shaped = Self { shape: 0, values: [slots[0]; SLOTS], len: 1 };
        if slots.iter().any(|slot| *slot != slots[0]) {
            match Pieces::of(slots) {
                Some(pieces) => shaped.set_pieces(&pieces),
                None => shaped.set_quarters(slots),
            }
        }
        shaped
    }

    /// Returns the values, by rank.
    pub(crate) fn values(&self) -> &[Leaf] {
        self.values.get(..self.len).unwrap_or_default()
    }

    fn set_pieces(&mut self, pieces: &Pieces) {
        self.shape = u32::try_from(of_pieces(pieces.places())).unwrap_or(0);
        self.len = pieces.len + 1;
        self.values[..=MOST_PIECES].copy_from_slice(&pieces.values);
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

/// A block, its halves, their halves, and so on down to the slots: steps between them.
const LEVELS: usize = 4;
/// By level: four bits for the first slot of each piece that is so wide.
const EVERY: [u64; LEVELS + 1] =
    [u64::MAX, 0x0f0f_0f0f_0f0f_0f0f, 0x000f_000f_000f_000f, 0x0000_000f_0000_000f, 0x0000_0000_0000_000f];

/// Returns the values there are, and for each slot four bits that say which of them it has. `None` if there are more than one for the cover and
/// one for each piece.
fn sets_of(slots: &[Leaf; SLOTS]) -> Option<([Leaf; MOST_PIECES + 1], u64)> {
    let (mut known, mut count) = ([slots[0]; MOST_PIECES + 1], 1);
    let (mut last, mut set, mut sets) = (slots[0], 1, 0);
    for &slot in slots.iter().rev() {
        if slot != last {
            let place = known.iter().take(count).position(|value| *value == slot).unwrap_or(count);
            *known.get_mut(place)? = slot;
            count = count.max(place + 1);
            (last, set) = (slot, 1 << place);
        }
        sets = sets << 4 | set;
    }
    Some((known, sets))
}

/// Fills each four bits of which any is set.
const fn full(sets: u64) -> u64 {
    let any = sets | sets >> 2;
    ((any | any >> 1) & EACH) * 15
}

/// Returns of each four bits the lowest that is set.
const fn lowest(sets: u64) -> u64 {
    let above = (sets & (EACH * 7)) << 1 | (sets & (EACH * 3)) << 2 | (sets & EACH) << 3;
    sets & !above
}

/// The fewest pieces that, one after the other upon a cover, make 16 slots.
struct Pieces {
    places: [usize; MOST_PIECES],
    len: usize,
    /// That of the cover, then those of the pieces.
    values: [Leaf; MOST_PIECES + 1],
}

impl Pieces {
    /// Finds them, if there are not too many.
    fn of(slots: &[Leaf; SLOTS]) -> Option<Self> {
        let (known, sets) = sets_of(slots)?;
        // By width, a power of two, and place: the values that may cover so many slots so that the pieces in them are fewest. For both
        // halves at once if there are such, else for one of them.
        let mut best = [sets; LEVELS + 1];
        for level in 1..=LEVELS {
            let halves = best[level - 1];
            let (left, right) = (halves & EVERY[level], (halves >> (2 << level)) & EVERY[level]);
            best[level] = left & right | (left | right) & !full(left & right);
        }
        let value = |bit: u32| known.get(bit as usize % 4).copied().unwrap_or(0);
        // From the widest down: what covers it covers its halves, unless a piece is better.
        let mut cover = lowest(best[LEVELS]);
        let values = [value(cover.trailing_zeros()); MOST_PIECES + 1];
        let mut made = Self { places: [0; MOST_PIECES], len: 0, values };
        for level in (0..LEVELS).rev() {
            let outer = cover | cover << (4 << level);
            let stays = full(best[level] & outer);
            let mut pieces = lowest(best[level] & !stays);
            cover = outer & stays | pieces;
            while pieces != 0 {
                let bit = pieces.trailing_zeros();
                pieces &= pieces - 1;
                *made.places.get_mut(made.len)? = ((SLOTS + bit as usize / 4) >> level) - 2;
                made.len += 1;
                made.values[made.len] = value(bit);
            }
        }
        Some(made)
    }

    fn places(&self) -> &[usize] {
        self.places.get(..self.len).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn unfold(shaped: &Shaped) -> [Leaf; SLOTS] {
        core::array::from_fn(|slot| {
            let rank = RANKS[shaped.shape as usize].rotate_right(2) >> (4 * slot) & 15;
            shaped.values()[usize::try_from(rank).expect("a rank")]
        })
    }

    /// Returns the slots of a piece.
    fn extent(piece: usize) -> core::ops::Range<usize> {
        let (depth, node) = ((piece + 2).ilog2(), piece + 2);
        let width = SLOTS >> depth;
        let first = (node - (1 << depth)) * width;
        first..first + width
    }

    proptest! {
        #[test]
        fn any_slots_are_what_their_shape_says(slots in prop::array::uniform16(0_u16..6), range in 1_u16..6) {
            let slots = slots.map(|slot| slot % range);
            let shaped = Shaped::fit(&slots);
            prop_assert_eq!(unfold(&shaped), slots);
            prop_assert_eq!(shaped.values().len(), values_of(shaped.shape as usize));
        }
    }

    #[test]
    fn each_shape_has_a_number_of_its_own() {
        let mut numbers = std::collections::BTreeSet::from([0]);
        for c in 0..PIECES {
            numbers.insert(of_pieces(&[c]));
            for b in 0..c {
                numbers.insert(of_pieces(&[b, c]));
                numbers.extend((0..b).map(|a| of_pieces(&[a, b, c])));
            }
        }
        assert_eq!((numbers.len(), numbers.last()), (QUARTERED, Some(&(QUARTERED - 1))));
        assert!(RANKS[QUARTERED + 625..].iter().all(|ranks| *ranks == 0));
    }

    #[test]
    fn three_more_specific_prefixes_take_no_more_than_four_values() {
        for one in 0..PIECES {
            for two in one..PIECES {
                for three in two..PIECES {
                    // The wider first, so that each leaves something of those before to be seen.
                    let mut slots = [7; SLOTS];
                    for (piece, leaf) in [(one, 8), (two, 9), (three, 10)] {
                        slots[extent(piece)].fill(leaf);
                    }
                    let shaped = Shaped::fit(&slots);
                    assert_eq!(unfold(&shaped), slots);
                    assert!(shaped.values().len() <= 4, "{slots:?}");
                }
            }
        }
    }
}
