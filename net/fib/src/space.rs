//! Which parts of a table's arrays are in use: [`Space`]. Thread context; allocates.

use alloc::vec::Vec;

use crate::shape::SLOTS;

/// The longest slice: 16 values, each of which may lead to a group, whose number takes two more.
pub(crate) const LONGEST: usize = 3 * SLOTS;

/// A piece of the values.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slice {
    pub(crate) base: u32,
    pub(crate) len: usize,
}

/// What nobody is to find any more, and some reader may still be looking at.
#[derive(Debug, Default)]
pub(crate) struct Limbo {
    slices: Vec<Slice>,
    /// By their first entry.
    groups: Vec<u32>,
}

impl Limbo {
    pub(crate) fn add_slice(&mut self, slice: Slice) {
        push(&mut self.slices, slice);
    }

    pub(crate) fn add_group(&mut self, group: u32) {
        push(&mut self.groups, group);
    }

    /// Returns how many things are in it.
    pub(crate) fn len(&self) -> usize {
        self.slices.len() + self.groups.len()
    }
}

/// Free values and groups.
#[derive(Debug)]
pub(crate) struct Space {
    /// By length: where free slices begin.
    slices: [Vec<u32>; LONGEST + 1],
    /// Values from here on have never been used.
    pub(crate) next_value: usize,
    pub(crate) end_of_values: usize,
    groups: Vec<u32>,
    /// Entries from here on have never been used; so in whole groups.
    pub(crate) next_group: usize,
    pub(crate) end_of_entries: usize,
}

impl Space {
    /// Everything from `next_value` and `next_group` on is free, up to ends that are still to be set.
    pub(crate) fn new(next_value: usize, next_group: usize) -> Self {
        Self {
            slices: [const { Vec::new() }; LONGEST + 1],
            next_value,
            end_of_values: next_value,
            groups: Vec::new(),
            next_group,
            end_of_entries: next_group,
        }
    }

    /// Takes a slice of `len` values; `None` if there is none.
    pub(crate) fn slice(&mut self, len: usize) -> Option<u32> {
        if let Some(base) = self.slices.get_mut(len)?.pop() {
            return Some(base);
        }
        if self.end_of_values - self.next_value >= len {
            let base = u32::try_from(self.next_value).ok()?;
            self.next_value += len;
            return Some(base);
        }
        let longer = (len + 1..=LONGEST).find(|&longer| !self.slices[longer].is_empty())?;
        let base = self.slices[longer].pop()?;
        let used = u32::try_from(len).ok()?;
        push(&mut self.slices[longer - len], base + used);
        Some(base)
    }

    /// Gives a slice back that no reader can be looking at.
    pub(crate) fn free_slice(&mut self, slice: Slice) {
        if let Some(free) = self.slices.get_mut(slice.len) {
            push(free, slice.base);
        }
    }

    /// Takes a group and returns its first entry; `None` if there is none.
    pub(crate) fn group(&mut self) -> Option<u32> {
        if let Some(group) = self.groups.pop() {
            return Some(group);
        }
        let group = u32::try_from(self.next_group).ok()?;
        (self.end_of_entries - self.next_group >= SLOTS).then(|| {
            self.next_group += SLOTS;
            group
        })
    }

    /// Gives a group back that no reader can be looking at.
    pub(crate) fn free_group(&mut self, group: u32) {
        push(&mut self.groups, group);
    }

    /// Takes over all that is in `limbo`, now that no reader can be looking at it.
    pub(crate) fn reuse(&mut self, limbo: &mut Limbo) {
        for slice in limbo.slices.drain(..) {
            self.free_slice(slice);
        }
        for group in limbo.groups.drain(..) {
            self.free_group(group);
        }
    }
}

/// Without memory for the note the piece stays unused until the table is made anew.
fn push<T>(list: &mut Vec<T>, element: T) {
    if list.try_reserve(1).is_ok() {
        list.push(element);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_longer_slice_serves_when_nothing_else_is_left() {
        let mut space = Space::new(10, 0);
        space.end_of_values = 16;
        let base = space.slice(6).expect("six values are free");
        assert_eq!((base, space.slice(1)), (10, None));
        space.free_slice(Slice { base, len: 6 });
        assert_eq!(space.slice(2), Some(10));
        assert_eq!(space.slice(4), Some(12));
        assert_eq!(space.slice(1), None);
    }

    #[test]
    fn what_is_in_limbo_is_not_used_before_it_is_released() {
        let (mut space, mut limbo) = (Space::new(0, 0), Limbo::default());
        space.end_of_entries = SLOTS;
        let group = space.group().expect("one group is free");
        limbo.add_group(group);
        assert_eq!(space.group(), None);
        space.reuse(&mut limbo);
        assert_eq!((space.group(), limbo.len()), (Some(group), 0));
    }
}
