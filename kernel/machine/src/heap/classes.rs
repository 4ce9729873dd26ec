//! Lists of free small blocks, one for each size: [`SizeClasses`].
//!
//! The heap behind them searches its holes from the first on, which takes longer the more small blocks have come and gone: firmware's
//! bytecode alone allocates tens of thousands of them at boot. A small block that is freed waits here for the next of its
//! size instead. New ones are cut from slabs, which stay cut. Pure but for the links, which are kept in the free blocks.

use core::{alloc::Layout, ptr::NonNull};

/// The sizes, ascending; all multiples of [`ALIGN`].
const SIZES: [usize; 12] = [16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024];
/// The strictest alignment that a small block has.
const ALIGN: usize = 16;
/// Octets of a slab, from which blocks of one size are cut.
pub(super) const SLAB: Layout = match Layout::from_size_align(4096, ALIGN) {
    Ok(layout) => layout,
    Err(_) => panic!("a slab's size and alignment are powers of two"),
};

/// Which list blocks of a layout are in; `None` for large or strictly aligned ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Class(usize);

impl Class {
    /// Returns the class of `layout`.
    #[inline]
    pub(super) fn of(layout: Layout) -> Option<Self> {
        if layout.align() > ALIGN {
            return None;
        }
        SIZES.iter().position(|size| layout.size() <= *size).map(Self)
    }

    fn size(self) -> usize {
        SIZES.get(self.0).copied().unwrap_or(SLAB.size())
    }
}

/// A free block's content.
struct Link {
    next: Option<NonNull<Link>>,
}

/// The lists.
pub(super) struct SizeClasses {
    free: [Option<NonNull<Link>>; SIZES.len()],
    /// Octets in the lists.
    idle: usize,
    /// Octets at the ends of slabs, too few for a block.
    rests: usize,
}

// SAFETY: the lists own the blocks in them; nothing is bound to a CPU.
unsafe impl Send for SizeClasses {}

impl SizeClasses {
    pub(super) const fn new() -> Self {
        Self { free: [None; SIZES.len()], idle: 0, rests: 0 }
    }

    /// Octets in the lists and at the ends of slabs: not in use, though the heap behind has given them out.
    pub(super) fn idle(&self) -> usize {
        self.idle + self.rests
    }

    /// Takes a block of `class`, if one is free.
    #[inline]
    pub(super) fn take(&mut self, class: Class) -> Option<NonNull<u8>> {
        let head = self.free.get_mut(class.0)?;
        let block = (*head)?;
        // SAFETY: a block in the list is free, and begins with a link, which `give` wrote.
        *head = unsafe { block.read() }.next;
        self.idle -= class.size();
        Some(block.cast())
    }

    /// Puts a block of `class` into its list.
    ///
    /// # Safety
    /// The block was taken with this class, or cut for it, and nobody uses it any more.
    #[inline]
    pub(super) unsafe fn give(&mut self, class: Class, block: NonNull<u8>) {
        let Some(head) = self.free.get_mut(class.0) else { return };
        let link = block.cast::<Link>();
        // SAFETY: by contract the block is ours; it is at least as large as a link and as strictly aligned.
        unsafe { link.write(Link { next: *head }) };
        *head = Some(link);
        self.idle += class.size();
    }

    /// Cuts a slab into blocks of `class`.
    ///
    /// # Safety
    /// The slab has the layout [`SLAB`], is nobody's, and stays with the lists for ever.
    pub(super) unsafe fn cut(&mut self, class: Class, slab: NonNull<u8>) {
        let size = class.size();
        // From the end, so that blocks are taken in ascending order.
        for number in (0..SLAB.size() / size).rev() {
            // SAFETY: the block lies inside the slab.
            let block = unsafe { slab.add(number * size) };
            // SAFETY: cut for this class, and nobody's.
            unsafe { self.give(class, block) };
        }
        self.rests += SLAB.size() % size;
    }
}

#[cfg(test)]
mod tests {
    use core::{alloc::Layout, ptr::NonNull};
    use std::{boxed::Box, collections::BTreeSet};

    use super::{ALIGN, Class, SIZES, SLAB, SizeClasses};

    #[repr(align(16))]
    struct Slab {
        _octets: [u8; 4096],
    }

    fn slab() -> NonNull<u8> {
        NonNull::from(Box::leak(Box::new(Slab { _octets: [0; 4096] }))).cast()
    }

    #[test]
    fn a_class_holds_what_was_asked_for() {
        for size in 0..=1024 {
            let class = Class::of(Layout::from_size_align(size, 8).unwrap()).unwrap();
            assert!(class.size() >= size && (class.size() == 16 || class.size() / 2 < size), "{size}: {class:?}");
        }
        assert_eq!(Class::of(Layout::from_size_align(1025, 8).unwrap()), None);
        assert_eq!(Class::of(Layout::from_size_align(64, 64).unwrap()), None);
        assert!(SIZES.iter().all(|size| size.is_multiple_of(ALIGN)));
    }

    #[test]
    fn blocks_of_a_slab_are_disjoint_aligned_and_come_back() {
        let layout = Layout::from_size_align(90, 16).unwrap();
        let class = Class::of(layout).unwrap();
        let (mut classes, slab) = (SizeClasses::new(), slab());
        assert_eq!(classes.take(class), None);
        // SAFETY: a fresh slab that is leaked.
        unsafe { classes.cut(class, slab) };
        let count = SLAB.size() / 96;
        assert_eq!(classes.idle(), SLAB.size(), "nothing of a new slab is in use, its end neither");
        let taken: BTreeSet<usize> = (0..count).map(|_| classes.take(class).unwrap().addr().get()).collect();
        assert_eq!((taken.len(), classes.take(class), classes.idle()), (count, None, SLAB.size() % 96));
        let (start, end) = (slab.addr().get(), slab.addr().get() + SLAB.size());
        assert!(taken.iter().all(|at| at.is_multiple_of(ALIGN) && *at >= start && at + 96 <= end));
        assert!(taken.iter().zip(taken.iter().skip(1)).all(|(one, next)| one + 96 <= *next));
        // SAFETY: taken above from the same class.
        unsafe { classes.give(class, slab) };
        assert_eq!(
            (classes.take(class), classes.idle()),
            (Some(slab), SLAB.size() % 96),
            "the last one given is the next one taken"
        );
    }

    #[test]
    fn a_block_goes_back_to_its_own_size_only() {
        let class = |size| Class::of(Layout::from_size_align(size, 8).unwrap()).unwrap();
        let mut classes = SizeClasses::new();
        // SAFETY: a fresh slab that is leaked.
        unsafe { classes.cut(class(64), slab()) };
        assert_eq!((classes.take(class(48)), classes.take(class(65))), (None, None));
        assert!(classes.take(class(50)).is_some());
    }
}
