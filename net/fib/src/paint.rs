//! From the routes of a block to its entry: [`Painter`].
//!
//! In the order of a bucket a prefix comes before everything inside it, so that painting slots in that order leaves in each the longest match.
//! Thread context.

use ksync::atomic::{Ordering, TableU16, TableU64};

use crate::{
    bucket::{Bucket, Packed},
    cells::{Cells, LONG, Leaf},
    entry::Entry,
    shape::{SLOTS, Shaped},
    space::{Limbo, Slice, Space},
};

/// Makes entries in free parts of the arrays.
pub(crate) struct Painter<'a> {
    pub(crate) values: &'a [TableU16],
    pub(crate) entries: &'a [TableU64],
    /// By hop: the hop, or 0 if routes to it are not usable.
    pub(crate) leaves: &'a [Leaf],
}

/// No free part was large enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoSpace;

impl Painter<'_> {
    /// Makes the entry of block `block` (0 to 15) of `bucket`, where `cover` is the answer of prefixes too short for the bucket.
    pub(crate) fn block(&self, bucket: &Bucket, block: u16, cover: Leaf, space: &mut Space) -> Result<Entry, NoSpace> {
        let first = block << 12;
        let (mut rest, before) = bucket.from(first);
        let cover = if before == 0 { cover } else { self.cover(bucket, first, cover) };
        let is_inside = |route: &&Packed| route.key.bits() >> 12 == block;
        if rest.first().filter(is_inside).is_none() {
            return Ok(Entry::of(cover));
        }
        let mut slots = [cover; SLOTS];
        let mut groups = [0; SLOTS];
        let mut any_group = false;
        while let Some((route, after)) = rest.split_first().filter(|(route, _)| is_inside(route)) {
            let slot = usize::from(route.key.bits() >> 8) % SLOTS;
            let leaf = self.leaf(route.hop);
            match route.key.length() {
                length @ ..=24 => {
                    let covered = 1 << (24 - length.clamp(20, 24));
                    rest = skip_prefix(route, after, leaf);
                    if let Some(covered) = slots.get_mut(slot..slot + covered).filter(|_| leaf != 0) {
                        covered.fill(leaf);
                    }
                }
                _ => {
                    let same = rest.iter().take_while(|other| other.key.bits() >> 8 == route.key.bits() >> 8).count();
                    let (long, others) = rest.split_at(same);
                    rest = others;
                    if let Some(group) = self.group(long, slots[slot], space)? {
                        groups[slot] = group;
                        slots[slot] = LONG | u16::try_from(slot).unwrap_or(0);
                        any_group = true;
                    }
                }
            }
        }
        if any_group { self.with_groups(&slots, &groups, space) } else { self.store(&Shaped::fit(&slots), space) }
    }

    /// Returns the answer of a route that leads to `hop`; 0 if it is not usable.
    pub(crate) fn leaf(&self, hop: Leaf) -> Leaf {
        self.leaves.get(usize::from(hop)).copied().unwrap_or(0)
    }

    /// Returns the answer of the longest usable prefix that begins before the block and contains it.
    fn cover(&self, bucket: &Bucket, first: u16, cover: Leaf) -> Leaf {
        let lengths = (16..20_u8).rev().filter(|length| first & (u16::MAX >> (length - 16)) != 0);
        let mut covers = lengths.flat_map(|length| bucket.of_wide_prefix(first, length));
        covers.find_map(|route| Some(self.leaf(route.hop)).filter(|&leaf| leaf != 0)).unwrap_or(cover)
    }

    /// Makes the group of a /24 in which there are longer prefixes; `None` if they all lead where the rest does.
    fn group(&self, long: &[Packed], cover: Leaf, space: &mut Space) -> Result<Option<u32>, NoSpace> {
        let mut leaves = [cover; 256];
        let mut rest = long;
        while let Some((route, after)) = rest.split_first() {
            let leaf = self.leaf(route.hop);
            let first = usize::from(route.key.bits() & 0xff);
            rest = skip_prefix(route, after, leaf);
            if let Some(covered) = leaves.get_mut(first..first + (1 << (32 - route.key.length()))).filter(|_| leaf != 0)
            {
                covered.fill(leaf);
            }
        }
        if leaves.iter().all(|&leaf| leaf == cover) {
            return Ok(None);
        }
        let group = space.group().ok_or(NoSpace)?;
        for (place, slots) in (group as usize..).zip(leaves.as_chunks::<SLOTS>().0) {
            let entry = self.store(&Shaped::fit(slots), space)?;
            // ORDERING: relaxed, because nobody finds the group before the entry that leads to it is stored.
            self.entries.get(place).ok_or(NoSpace)?.store(entry.bits(), Ordering::Relaxed);
        }
        Ok(Some(group))
    }

    /// Returns the entry of a block, its values stored if it has not room for them.
    fn store(&self, shaped: &Shaped, space: &mut Space) -> Result<Entry, NoSpace> {
        if shaped.shape == 0 {
            return Ok(Entry::of(shaped.values().first().copied().unwrap_or(0)));
        }
        if let Some(entry) = Entry::near(shaped) {
            return Ok(entry);
        }
        let base = space.slice(shaped.values().len()).ok_or(NoSpace)?;
        self.write(base, shaped.values().iter().copied())?;
        Ok(Entry::far(shaped.shape, base))
    }

    /// As [`store`](Self::store), for a block some of whose slots lead to groups: the groups' numbers come after the values.
    fn with_groups(&self, slots: &[Leaf; SLOTS], groups: &[u32; SLOTS], space: &mut Space) -> Result<Entry, NoSpace> {
        let shaped = Shaped::fit(slots);
        let values = shaped.values();
        let long = values.iter().filter(|&&value| value & LONG != 0).count();
        let base = space.slice(values.len() + 2 * long).ok_or(NoSpace)?;
        let mut place = values.len();
        for (rank, &value) in values.iter().enumerate() {
            let at = base + u32::try_from(rank).map_err(|_| NoSpace)?;
            if value & LONG == 0 {
                self.write(at, [value])?;
                continue;
            }
            let [a, b, c, d] = groups[usize::from(value & !LONG) % SLOTS].to_le_bytes();
            self.write(at, [LONG | u16::try_from(place).map_err(|_| NoSpace)?])?;
            let number = base + u32::try_from(place).map_err(|_| NoSpace)?;
            self.write(number, [u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d])])?;
            place += 2;
        }
        Ok(Entry::far(shaped.shape, base))
    }

    fn write(&self, base: u32, values: impl IntoIterator<Item = Leaf>) -> Result<(), NoSpace> {
        for (place, value) in (base as usize..).zip(values) {
            // ORDERING: relaxed, because nobody finds the values before the entry that leads to them is stored.
            self.values.get(place).ok_or(NoSpace)?.store(value, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Skips the other sources' routes for the prefix of `route` if it is usable itself.
fn skip_prefix<'r>(route: &Packed, after: &'r [Packed], leaf: Leaf) -> &'r [Packed] {
    let others = after.iter().take_while(|other| leaf != 0 && other.key.same_prefix(route.key)).count();
    after.get(others..).unwrap_or_default()
}

/// Notes in `limbo` what `entry` leads to, now that no lookup finds it any more.
pub(crate) fn discard(cells: &Cells, entry: Entry, limbo: &mut Limbo) {
    let (base, mut len) = (entry.base(), entry.own_values());
    if len == 0 {
        return;
    }
    for value in cells.values.iter().skip(base as usize).take(len) {
        let value = value.load(Ordering::Relaxed);
        if value & LONG != 0 {
            len += 2;
            let group = cells.group(entry, value);
            for entry in cells.entries.iter().skip(group as usize).take(SLOTS) {
                discard(cells, Entry::from_bits(entry.load(Ordering::Relaxed)), limbo);
            }
            limbo.add_group(group);
        }
    }
    limbo.add_slice(Slice { base, len });
}
