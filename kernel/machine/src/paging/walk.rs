//! A read-only walk over the page tables, and permission bits changed in place.
//!
//! Used by the sealing pass and by the trap report, which wants to know whether a page is mapped without taking a lock.

use core::ops::Range;

use x86_64::{
    PhysAddr,
    registers::control::Cr3,
    structures::paging::{PageTable, PageTableFlags},
};

use super::{PagingError, phys_to_virt};
use crate::frame::{
    self, FRAME_SIZE,
    census::{self, Use},
};

const GIB: u64 = 1 << 30;

/// A mapped page.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leaf {
    /// First virtual address.
    pub(super) virt: u64,
    /// Octets.
    pub(super) size: u64,
    /// Some level on the way does not allow writing.
    pub(super) writable: bool,
    /// No level on the way forbids execution.
    pub(super) executable: bool,
}

/// Returns the table at `frame` for reading and writing.
///
/// # Safety
/// `frame` holds a page table, and nobody else holds a reference to it.
unsafe fn table_at<'a>(frame: PhysAddr) -> Option<&'a mut PageTable> {
    let pointer = phys_to_virt(frame)?.cast::<PageTable>();
    // SAFETY: frames of page tables are page aligned, inside the physical mapping, and by contract unshared.
    Some(unsafe { &mut *pointer.as_ptr() })
}

/// Returns the place in the root table of a virtual address.
const fn root_index(virt: u64) -> usize {
    (virt >> 39) as usize & 511
}

/// Calls `change` for each mapped page of the upper half outside `skipped` (whole entries of the root table) and stores the
/// permissions it answers (writable, executable).
///
/// # Safety
/// Nobody else changes the tables meanwhile, and `change` takes no right away that code still needs.
pub(super) unsafe fn for_each_leaf(skipped: Range<u64>, change: &mut dyn FnMut(&Leaf) -> (bool, bool)) {
    let skipped = root_index(skipped.start)..root_index(skipped.end);
    let root = Cr3::read().0.start_address();
    // SAFETY: the active root table; exclusive by the caller's contract.
    let Some(table) = (unsafe { table_at(root) }) else { return };
    for (index, entry) in table.iter().enumerate().filter(|(index, _)| *index >= 256 && !skipped.contains(index)) {
        let flags = entry.flags();
        if flags.contains(PageTableFlags::PRESENT) {
            let writable = flags.contains(PageTableFlags::WRITABLE);
            let executable = !flags.contains(PageTableFlags::NO_EXECUTE);
            let address = (0xFFFF << 9) | index as u64;
            // SAFETY: a present entry of the root names a table.
            unsafe { visit(entry.addr(), 3, address, writable, executable, change) };
        }
    }
}

/// Forbids execution in all of `start..end` (whole entries of the root table).
///
/// # Safety
/// As [`for_each_leaf`]: no code runs there.
pub(super) unsafe fn forbid_execution(start: u64, end: u64) {
    let root = Cr3::read().0.start_address();
    // SAFETY: the active root table; exclusive by the caller's contract.
    let Some(table) = (unsafe { table_at(root) }) else { return };
    for entry in table.iter_mut().take(root_index(end)).skip(root_index(start)) {
        let flags = entry.flags();
        if flags.contains(PageTableFlags::PRESENT) {
            entry.set_flags(flags | PageTableFlags::NO_EXECUTE);
        }
    }
}

/// Takes out of `start..end` (whole entries of the root table) what lies more than `len` octets behind `start`, gigabyte by
/// gigabyte, and gives the frames of the tables back; returns how many. The caller flushes.
///
/// # Safety
/// As [`for_each_leaf`]: nobody uses an address there, and nobody else has the tables' frames.
pub(super) unsafe fn cut_mapping(start: u64, end: u64, len: u64) -> u32 {
    let root = Cr3::read().0.start_address();
    let mut freed = 0;
    for place in root_index(start)..root_index(end) {
        // SAFETY: the active root table; exclusive by the caller's contract; one reference at a time.
        let Some(entry) = (unsafe { table_at(root) }).map(|table| &mut table[place]) else { return freed };
        if !entry.flags().contains(PageTableFlags::PRESENT) {
            continue;
        }
        let third = entry.addr();
        let first_gib = (place - root_index(start)) as u64 * 512;
        let kept = len.div_ceil(GIB).saturating_sub(first_gib).min(512) as usize;
        if kept == 0 {
            entry.set_unused();
        }
        // SAFETY: a present entry of the root names a table.
        let Some(table) = (unsafe { table_at(third) }) else { continue };
        for entry in table.iter_mut().skip(kept) {
            let flags = entry.flags();
            if flags.contains(PageTableFlags::PRESENT) && !flags.contains(PageTableFlags::HUGE_PAGE) {
                // SAFETY: the table's only user was this entry.
                freed += u32::from(unsafe { frame::adopt(entry.addr()) });
            }
            entry.set_unused();
        }
        if kept == 0 {
            // SAFETY: its entry in the root is gone.
            freed += u32::from(unsafe { frame::adopt(third) });
        }
    }
    freed
}

/// Visits one table; `prefix` is the virtual address above this level's bits.
///
/// # Safety
/// As [`for_each_leaf`].
unsafe fn visit(
    frame: PhysAddr,
    level: u32,
    prefix: u64,
    writable: bool,
    executable: bool,
    change: &mut dyn FnMut(&Leaf) -> (bool, bool),
) {
    // SAFETY: the parent entry (or CR3) says this frame is a table.
    let Some(table) = (unsafe { table_at(frame) }) else { return };
    let shift = 12 + 9 * (level - 1);
    for (index, entry) in table.iter_mut().enumerate() {
        let flags = entry.flags();
        if !flags.contains(PageTableFlags::PRESENT) {
            continue;
        }
        let writable = writable && flags.contains(PageTableFlags::WRITABLE);
        let executable = executable && !flags.contains(PageTableFlags::NO_EXECUTE);
        let address = (prefix << 9) | index as u64;
        let is_leaf = level == 1 || flags.contains(PageTableFlags::HUGE_PAGE);
        if !is_leaf {
            // SAFETY: a present entry without the size bit names a table.
            unsafe { visit(entry.addr(), level - 1, address, writable, executable, change) };
            continue;
        }
        let leaf = Leaf { virt: address << shift, size: 1 << shift, writable, executable };
        let (keep_write, keep_execute) = change(&leaf);
        let mut new = flags;
        new.set(PageTableFlags::WRITABLE, flags.contains(PageTableFlags::WRITABLE) && keep_write);
        new.set(PageTableFlags::NO_EXECUTE, flags.contains(PageTableFlags::NO_EXECUTE) || !keep_execute);
        if new != flags {
            entry.set_flags(new);
        }
    }
}

/// Takes the right to write from the 4 KiB page at `virt`, splitting the 2 MiB page it lies in; answers whether it had the right.
///
/// # Safety
/// As [`for_each_leaf`]: nobody needs to write there through this mapping.
pub(super) unsafe fn write_protect(virt: u64) -> Result<bool, PagingError> {
    let mut frame = Cr3::read().0.start_address();
    for level in (1..=4_u32).rev() {
        // SAFETY: walks from CR3 along present entries; one reference at a time.
        let table = unsafe { table_at(frame) }.ok_or(PagingError::NotMapped)?;
        let index = (virt >> (12 + 9 * (level - 1))) as usize & 511;
        let entry = &mut table[index];
        let flags = entry.flags();
        if !flags.contains(PageTableFlags::PRESENT) {
            return Err(PagingError::NotMapped);
        }
        if level == 1 {
            entry.set_flags(flags - PageTableFlags::WRITABLE);
            return Ok(flags.contains(PageTableFlags::WRITABLE));
        }
        if flags.contains(PageTableFlags::HUGE_PAGE) {
            let fine = (level == 2).then(|| split(entry.addr(), flags)).ok_or(PagingError::BadRange)??;
            entry.set_addr(fine, PageTableFlags::PRESENT | PageTableFlags::WRITABLE);
        }
        frame = entry.addr();
    }
    Err(PagingError::NotMapped)
}

/// Builds a table of 4 KiB pages that maps what the 2 MiB page at `start` maps, with the same rights.
fn split(start: PhysAddr, flags: PageTableFlags) -> Result<PhysAddr, PagingError> {
    let frame = frame::allocate().map_err(|_| PagingError::NoMemory)?;
    census::taken(Use::Tables, 1);
    // SAFETY: a fresh frame; every entry is written before it is used.
    let table = unsafe { table_at(frame) }.ok_or(PagingError::NotMapped)?;
    for (page, entry) in (0_u64..).zip(table.iter_mut()) {
        entry.set_addr(start + page * FRAME_SIZE, flags - PageTableFlags::HUGE_PAGE);
    }
    Ok(frame)
}

/// Returns whether `address` may be executed, `None` if it is not mapped; without a lock: for trap reports, guarded reads and
/// breakpoints.
pub(crate) fn is_executable(address: u64) -> Option<bool> {
    const NO_EXECUTE: u64 = 1 << 63;
    let mut executable = true;
    let mut frame = Cr3::read().0.start_address();
    for level in (1..=4_u32).rev() {
        let shift = 12 + 9 * (level - 1);
        let table = phys_to_virt(frame)?;
        let index = (address >> shift) as usize & 511;
        // SAFETY: `index` is below 512, so the entry lies inside the table's frame.
        let entry = unsafe { table.cast::<u64>().add(index) };
        // SAFETY: CR3 and present entries name tables; read through a raw pointer, no reference to a live table is kept.
        let entry = unsafe { entry.read_volatile() };
        if entry & 1 == 0 {
            return None;
        }
        executable &= entry & NO_EXECUTE == 0;
        if level == 1 || (level < 4 && entry & (1 << 7) != 0) {
            return Some(executable);
        }
        frame = PhysAddr::new_truncate(entry & 0x000F_FFFF_FFFF_F000);
    }
    None
}
