//! Numbers for next hops: [`Hops`]. Thread context; allocates.

use alloc::{collections::BTreeMap, vec::Vec};

use crate::{FibError, NextHop, cells::Leaf};

/// How many next hops a table can tell apart: a leaf has 15 bits, and 0 is "no route".
pub(crate) const MAX_HOPS: usize = 0x7fff;

/// The next hops of a table. Hop number 1 is the first; a number keeps its meaning until all are taken.
pub(crate) struct Hops {
    /// Each with the number of routes that lead there; the place is the number less one.
    list: Vec<(NextHop, u32)>,
    numbers: BTreeMap<NextHop, Leaf>,
    /// How often a number has been given a new meaning.
    pub(crate) renamed: u64,
}

impl Hops {
    pub(crate) const fn new() -> Self {
        Self { list: Vec::new(), numbers: BTreeMap::new(), renamed: 0 }
    }

    /// Returns the number of `next_hop`, for one route more.
    pub(crate) fn acquire(&mut self, next_hop: NextHop) -> Result<Leaf, FibError> {
        let leaf = match self.numbers.get(&next_hop) {
            Some(&leaf) => leaf,
            None => self.number(next_hop)?,
        };
        if let Some((_, routes)) = self.list.get_mut(place(leaf)) {
            *routes += 1;
        }
        Ok(leaf)
    }

    /// Takes note that one route less leads there, and returns where.
    pub(crate) fn release(&mut self, leaf: Leaf) -> Option<NextHop> {
        let (next_hop, routes) = self.list.get_mut(place(leaf))?;
        *routes -= 1;
        Some(*next_hop)
    }

    pub(crate) fn get(&self, leaf: Leaf) -> Option<&NextHop> {
        self.list.get(place(leaf)).map(|(next_hop, _)| next_hop)
    }

    /// Returns all, in the order of their numbers, which begin at 1.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &NextHop> {
        self.list.iter().map(|(next_hop, _)| next_hop)
    }

    /// Returns those with numbers above `leaf`, in order.
    pub(crate) fn above(&self, leaf: usize) -> impl Iterator<Item = &NextHop> {
        self.list.get(leaf..).unwrap_or_default().iter().map(|(next_hop, _)| next_hop)
    }

    fn number(&mut self, next_hop: NextHop) -> Result<Leaf, FibError> {
        let leaf = if self.list.len() < MAX_HOPS {
            self.list.try_reserve(1).map_err(|_| FibError::NoMemory)?;
            self.list.push((next_hop, 0));
            Leaf::try_from(self.list.len()).map_err(|_| FibError::TooManyNextHops)?
        } else {
            self.rename(next_hop)?
        };
        self.numbers.insert(next_hop, leaf);
        Ok(leaf)
    }

    /// Gives `next_hop` a number that no route uses any more.
    #[cold]
    fn rename(&mut self, next_hop: NextHop) -> Result<Leaf, FibError> {
        let unused = self.list.iter_mut().enumerate().find(|(_, (_, routes))| *routes == 0);
        let (place, slot) = unused.ok_or(FibError::TooManyNextHops)?;
        self.numbers.remove(&slot.0);
        *slot = (next_hop, 0);
        self.renamed += 1;
        Leaf::try_from(place + 1).map_err(|_| FibError::TooManyNextHops)
    }
}

fn place(leaf: Leaf) -> usize {
    usize::from(leaf).wrapping_sub(1)
}
