//! Sealing the address space after boot: W^X everywhere, nothing in the lower half.
//!
//! The loader maps by its own rules; here every page of the upper half is compared with what the kernel file says about it, and
//! rights are only ever taken away: code is never writable, everything but code is never executable, the configuration file and
//! what is attached to the kernel are read-only. The same holds for the second view of the kernel image in the physical mapping. The lower half (the loader's identity-mapped switch code and descriptor table) is dropped.

use core::fmt;

use x86_64::{
    PhysAddr, VirtAddr,
    structures::paging::{PageTable, Translate},
};

use super::{MMIO_BASE, PHYSICAL_BASE, PagingError, SPACE, flush_all, phys_to_virt, walk};
use crate::{boot::BootRecord, elf};

/// What sealing found and changed; counts of pages of any size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seal {
    /// Pages looked at; those of the physical mapping, which are all alike, are not.
    pub pages: u32,
    /// Pages that hold code.
    pub code: u32,
    /// Pages that were writable and executable.
    pub both: u32,
    /// Pages whose rights were reduced.
    pub repaired: u32,
    /// Pages of the physical mapping that were made read-only because they are the kernel's code and constants.
    pub aliases: u32,
    /// Pages that were made read-only because they are what was attached to the kernel.
    pub attached: u32,
    /// Top-level entries of the lower half that were dropped.
    pub dropped: u32,
    /// Frames of page tables that mapped addresses without memory, given back.
    pub freed: u32,
}

impl fmt::Display for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pages, code, both, repaired, aliases, attached, dropped, freed } = self;
        write!(
            f,
            "{pages} pages, {code} executable, {both} were writable too, {repaired} repaired, {aliases} aliases closed, {attached} attached, {dropped} low entries dropped, {freed} tables freed"
        )
    }
}

/// Checks and repairs the rights of every mapped page and empties the lower half.
///
/// # Errors
/// [`PagingError::BadImage`] if the kernel file in memory does not describe the running kernel.
///
/// # Context
/// The boot CPU, before other processors run, with our own descriptor tables loaded (the loader's are in the lower half).
pub fn seal(record: &BootRecord) -> Result<Seal, PagingError> {
    let (file_start, file_len) = record.image_file;
    let file = phys_to_virt(PhysAddr::new(file_start)).ok_or(PagingError::BadImage)?;
    // SAFETY: the loader keeps the file in memory it never calls usable, inside the physical mapping; nobody writes it.
    let file = unsafe { core::slice::from_raw_parts(file.as_ptr(), file_len as usize) };
    let image = elf::Image::parse(file, record.image_offset).ok_or(PagingError::BadImage)?;
    let here = seal as fn(&BootRecord) -> Result<Seal, PagingError> as usize as u64;
    if !image.is_code(here, 1) {
        return Err(PagingError::BadImage);
    }
    let ramdisk = record.ramdisk.as_ptr_range();
    let ramdisk = ramdisk.start.addr() as u64..ramdisk.end.addr() as u64;

    // Nothing in the physical mapping is code; said once for each half TiB, not once for each page.
    // SAFETY: the tables are not locked yet, but nobody else runs; no code is executed through the physical mapping.
    unsafe { walk::forbid_execution(PHYSICAL_BASE, MMIO_BASE) };
    // SAFETY: as above; nobody is told of an address beyond this length.
    let freed = unsafe { walk::cut_mapping(PHYSICAL_BASE, MMIO_BASE, super::physical_len()) };
    let span = image.span();
    let mut guard = SPACE.lock();
    let space = guard.as_mut().ok_or(PagingError::NotReady)?;
    let mut seal = Seal { dropped: drop_lower_half(space.level_4_table_mut()), freed, ..Seal::default() };
    let mut rights = |leaf: &walk::Leaf| {
        let inside = span.start < leaf.virt + leaf.size && leaf.virt < span.end;
        let code = inside && image.is_code(leaf.virt, leaf.size);
        let constant = ramdisk.start < leaf.virt + leaf.size && leaf.virt < ramdisk.end;
        let constant = constant || (inside && image.is_constant(leaf.virt, leaf.size));
        let write = !code && !constant;
        seal.pages += 1;
        seal.code += u32::from(code);
        seal.both += u32::from(leaf.writable && leaf.executable);
        seal.repaired += u32::from((leaf.writable && !write) || (leaf.executable && !code));
        (write, code)
    };
    // SAFETY: the tables are locked, and only rights that the kernel file does not grant are taken away.
    unsafe { walk::for_each_leaf(PHYSICAL_BASE..MMIO_BASE, &mut rights) };
    // SAFETY: the tables are locked; nobody writes the kernel's code and constants and what is attached to it, under any address.
    let protect = |page| unsafe { walk::write_protect(page) };
    for page in image.fixed_pages() {
        let virt = VirtAddr::try_new(page).map_err(|_| PagingError::BadImage)?;
        let phys = space.translate_addr(virt).ok_or(PagingError::BadImage)?;
        seal.aliases += u32::from(protect(PHYSICAL_BASE + phys.as_u64())?);
    }
    for page in record.attached_pages() {
        seal.attached += u32::from(protect(page)?);
    }
    flush_all();
    Ok(seal)
}

/// Clears the lower half of the root table and returns how many entries it had.
fn drop_lower_half(root: &mut PageTable) -> u32 {
    let mut dropped = 0;
    for entry in root.iter_mut().take(256).filter(|entry| !entry.is_unused()) {
        entry.set_unused();
        dropped += 1;
    }
    dropped
}

/// Returns whether `address` is mapped; takes no lock.
///
/// # Context
/// Any, including NMI.
#[must_use]
pub fn is_mapped(address: u64) -> bool {
    VirtAddr::try_new(address).is_ok() && walk::is_executable(address).is_some()
}

/// Returns whether `address` is mapped as code; takes no lock.
///
/// # Context
/// Any, including NMI.
#[must_use]
pub fn is_executable(address: u64) -> bool {
    VirtAddr::try_new(address).is_ok() && walk::is_executable(address) == Some(true)
}
