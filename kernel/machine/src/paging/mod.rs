//! The kernel's one address space.
//!
//! | from | what |
//! |---|---|
//! | [`LOADER_START`] | boot stack, boot information, configuration file, framebuffer: placed by the loader |
//! | [`PHYSICAL_BASE`] | all physical memory (at least 4 GiB), writable, never executable |
//! | [`MMIO_BASE`] | device registers, uncached ([`map_mmio`]) |
//! | [`STACK_BASE`] | kernel stacks, each above an unmapped guard page |
//! | [`HEAP_BASE`] | the heap |
//! | [`IMAGE_BASE`] | the kernel's image |
//!
//! The lower half is empty, so null pointers fault; [`map_identity`] lends it one page at a time to the processor start code.
//! No page is both writable and executable: [`Access`] cannot express it, and [`seal`] repairs what the loader left.
//!
//! Context: thread; one spin lock around the tables; never blocks. Source: Intel SDM volume 3, chapter 4.

mod seal;
mod walk;

use core::{
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};

use ksync::SpinLock;
use x86_64::{
    PhysAddr, VirtAddr,
    registers::control::Cr3,
    structures::paging::{
        FrameAllocator, Mapper, OffsetPageTable, Page, PageTable, PageTableFlags, PhysFrame, Size2MiB, Size4KiB,
        Translate, mapper::MapToError,
    },
};

pub use self::seal::{Seal, is_executable, is_mapped, seal};
use crate::{
    boot::BootRecord,
    frame::{
        self, FRAME_SIZE,
        census::{self, Use},
    },
    mmio::MmioWindow,
};

/// First address of what the loader places.
pub const LOADER_START: u64 = 0xFFFF_8000_0000_0000;
/// The loader places nothing from here on.
pub const LOADER_END: u64 = 0xFFFF_BFFF_FFFF_FFFF;
/// Where physical address 0 is mapped.
pub const PHYSICAL_BASE: u64 = 0xFFFF_C000_0000_0000;
/// First address of device register windows.
pub const MMIO_BASE: u64 = 0xFFFF_E000_0000_0000;
/// First address of kernel stacks.
pub const STACK_BASE: u64 = 0xFFFF_E800_0000_0000;
/// First address of the heap.
pub const HEAP_BASE: u64 = 0xFFFF_F000_0000_0000;

/// First address of the kernel's image: the highest 2 GiB, as other systems have it, and always the same, so that a debugger can
/// be told before the kernel is there.
pub const IMAGE_BASE: u64 = 0xFFFF_FFFF_8000_0000;

const LARGE: u64 = 2 << 20;

/// Why a mapping operation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PagingError {
    /// No frame for a page or a page table.
    NoMemory,
    /// The page is mapped already.
    AlreadyMapped,
    /// The page is not mapped.
    NotMapped,
    /// Address or length is not a multiple of the page size, empty, or out of range.
    BadRange,
    /// The tables have not been taken over yet.
    NotReady,
    /// The kernel file in memory is not the ELF file we run from.
    BadImage,
}

/// What a mapping allows. There is no writable and executable one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Data that nobody changes.
    ReadOnly,
    /// Data.
    ReadWrite,
    /// Code.
    ReadExecute,
    /// Device registers: writable, not cached, in program order.
    Device,
}

impl Access {
    fn flags(self) -> PageTableFlags {
        let present = PageTableFlags::PRESENT;
        match self {
            Self::ReadOnly => present | PageTableFlags::NO_EXECUTE,
            Self::ReadWrite => present | PageTableFlags::WRITABLE | PageTableFlags::NO_EXECUTE,
            Self::ReadExecute => present,
            Self::Device => {
                present
                    | PageTableFlags::WRITABLE
                    | PageTableFlags::NO_EXECUTE
                    | PageTableFlags::NO_CACHE
                    | PageTableFlags::WRITE_THROUGH
            }
        }
    }
}

static SPACE: SpinLock<Option<OffsetPageTable<'static>>> = SpinLock::new(None);
/// Octets of physical memory mapped from [`PHYSICAL_BASE`]; 0 before [`init`].
static PHYSICAL_LEN: AtomicU64 = AtomicU64::new(0);
static MMIO_NEXT: SpinLock<u64> = SpinLock::new(MMIO_BASE);

/// Frames for page tables, zeroed by the mapper.
struct TableFrames;

// SAFETY: `frame::allocate` hands out frames that nobody else owns.
unsafe impl FrameAllocator<Size4KiB> for TableFrames {
    fn allocate_frame(&mut self) -> Option<PhysFrame> {
        let frame = frame::allocate().ok()?;
        census::taken(Use::Tables, 1);
        Some(PhysFrame::containing_address(frame))
    }
}

/// Takes the loader's page tables over.
///
/// # Safety
/// Called once, on the boot CPU, with all physical memory mapped at `offset` and nobody else changing the tables.
pub(crate) unsafe fn init(offset: u64, record: &BootRecord) -> Result<(), PagingError> {
    if offset != PHYSICAL_BASE {
        return Err(PagingError::BadRange);
    }
    let (root, _) = Cr3::read();
    let root_table =
        core::ptr::with_exposed_provenance_mut::<PageTable>((offset + root.start_address().as_u64()) as usize);
    // SAFETY: the active root table, through the physical mapping; ours alone by the caller's contract.
    let table = unsafe { &mut *root_table };
    // SAFETY: the caller's contract is this function's contract.
    let space = unsafe { OffsetPageTable::new(table, VirtAddr::new(offset)) };
    let top = record.usable().last().map_or(0, |range| range.end).max(4 << 30);
    *SPACE.lock() = Some(space);
    // ORDERING: release; pairs with the acquire in `phys_to_virt`: who sees the length may use the mapping.
    PHYSICAL_LEN.store(top.next_multiple_of(LARGE), Ordering::Release);
    Ok(())
}

/// Returns where a physical address can be read and written (cached): RAM, firmware tables, the processor start page.
///
/// `None` outside the physical mapping, which covers all RAM and at least 4 GiB.
#[inline]
#[must_use]
pub fn phys_to_virt(address: PhysAddr) -> Option<NonNull<u8>> {
    // ORDERING: acquire; pairs with the release in `init`.
    let inside = address.as_u64() < PHYSICAL_LEN.load(Ordering::Acquire);
    let virt = core::ptr::with_exposed_provenance_mut((PHYSICAL_BASE + address.as_u64()) as usize);
    if inside { NonNull::new(virt) } else { None }
}

/// Returns the octets of physical memory that are mapped from [`PHYSICAL_BASE`] on, starting with address 0.
#[must_use]
pub fn physical_len() -> u64 {
    // ORDERING: acquire; pairs with the release in `init`.
    PHYSICAL_LEN.load(Ordering::Acquire)
}

/// Returns the physical address behind a pointer, or `None` if nothing is mapped there.
///
/// # Context
/// Any except NMI. Pointers into the physical mapping (packet and DMA memory) cost a subtraction; others walk the tables.
#[inline]
#[must_use]
pub fn translate<T>(pointer: *const T) -> Option<PhysAddr> {
    let address = pointer.addr() as u64;
    // ORDERING: acquire; pairs with the release in `init`.
    let offset = address.wrapping_sub(PHYSICAL_BASE);
    if offset < PHYSICAL_LEN.load(Ordering::Acquire) {
        return Some(PhysAddr::new(offset));
    }
    translate_slow(address)
}

#[cold]
fn translate_slow(address: u64) -> Option<PhysAddr> {
    let address = VirtAddr::try_new(address).ok()?;
    SPACE.lock().as_ref()?.translate_addr(address)
}

/// Returns the physical address of the root table, for CR3 of the other processors; below 4 GiB on every loader.
#[must_use]
pub fn root_table() -> PhysAddr {
    Cr3::read().0.start_address()
}

/// Maps `len` octets at `virt` to `phys`; all three are multiples of the page size. Uses 2 MiB pages where they fit.
///
/// # Errors
/// [`PagingError`]; on failure part of the range may stay mapped and belongs to the caller.
///
/// # Safety
/// The virtual range belongs to the caller, and so does the physical memory with the access asked for.
pub unsafe fn map(virt: u64, phys: u64, len: u64, access: Access) -> Result<(), PagingError> {
    if len == 0 || [virt, phys, len].iter().any(|value| value % FRAME_SIZE != 0) {
        return Err(PagingError::BadRange);
    }
    let mut guard = SPACE.lock();
    let space = guard.as_mut().ok_or(PagingError::NotReady)?;
    let mut done = 0;
    while done < len {
        let (page, frame) = (virt + done, phys + done);
        let large = page % LARGE == 0 && frame % LARGE == 0 && len - done >= LARGE;
        // SAFETY: the caller owns both ranges.
        unsafe { map_one(space, page, frame, large, access.flags()) }?;
        done += if large { LARGE } else { FRAME_SIZE };
    }
    Ok(())
}

/// Maps one page of either size.
///
/// # Safety
/// As [`map`].
unsafe fn map_one(
    space: &mut OffsetPageTable<'static>,
    virt: u64,
    phys: u64,
    large: bool,
    flags: PageTableFlags,
) -> Result<(), PagingError> {
    let virt = VirtAddr::try_new(virt).map_err(|_| PagingError::BadRange)?;
    let phys = PhysAddr::try_new(phys).map_err(|_| PagingError::BadRange)?;
    let parents = PageTableFlags::PRESENT | PageTableFlags::WRITABLE;
    let mut tables = TableFrames;
    if large {
        let page = Page::<Size2MiB>::containing_address(virt);
        let frame = PhysFrame::containing_address(phys);
        // SAFETY: the caller owns both ranges; parents are never more restrictive than a leaf.
        unsafe { space.map_to_with_table_flags(page, frame, flags, parents, &mut tables) }.map_err(map_error)?.flush();
    } else {
        let page = Page::<Size4KiB>::containing_address(virt);
        let frame = PhysFrame::containing_address(phys);
        // SAFETY: as above.
        unsafe { space.map_to_with_table_flags(page, frame, flags, parents, &mut tables) }.map_err(map_error)?.flush();
    }
    Ok(())
}

fn map_error<S: x86_64::structures::paging::PageSize>(error: MapToError<S>) -> PagingError {
    match error {
        MapToError::FrameAllocationFailed => PagingError::NoMemory,
        MapToError::ParentEntryHugePage | MapToError::PageAlreadyMapped(_) => PagingError::AlreadyMapped,
    }
}

/// Maps `len` octets at `virt` to fresh frames.
///
/// # Errors
/// As [`map`]; on failure everything mapped by this call has been undone.
///
/// # Safety
/// The virtual range belongs to the caller and no other CPU has touched it.
pub(crate) unsafe fn map_fresh(virt: u64, len: u64) -> Result<(), PagingError> {
    for done in (0..len).step_by(FRAME_SIZE as usize) {
        let result = frame::allocate().map_err(|_| PagingError::NoMemory).and_then(|frame| {
            // SAFETY: the frame is fresh; the page is the caller's.
            unsafe { map(virt + done, frame.as_u64(), FRAME_SIZE, Access::ReadWrite) }.inspect_err(|_| {
                // SAFETY: it was not mapped, so nobody uses it; the only error would be a double free, which it is not.
                let _ = unsafe { frame::free(frame, 1) };
            })
        });
        if let Err(error) = result {
            // SAFETY: these pages were mapped by this loop and not handed out.
            unsafe { unmap_fresh(virt, done) };
            return Err(error);
        }
    }
    census::taken(Use::at(virt), (len / FRAME_SIZE) as usize);
    Ok(())
}

/// Undoes [`map_fresh`] for `len` octets.
///
/// # Safety
/// Nobody uses the range, and no other CPU has touched it (its translation caches are not told).
unsafe fn unmap_fresh(virt: u64, len: u64) {
    for done in (0..len).step_by(FRAME_SIZE as usize) {
        // SAFETY: the caller's contract.
        if let Ok(frame) = unsafe { unmap(virt + done) } {
            // SAFETY: unmapped by the line above and allocated by `map_fresh`; a failure would be a bookkeeping bug we survive.
            let _ = unsafe { frame::free(frame, 1) };
        }
    }
}

/// Unmaps the 4 KiB page at `virt` on this CPU and returns the frame behind it.
///
/// # Errors
/// [`PagingError::NotMapped`].
///
/// # Safety
/// Nobody uses the page. Other CPUs are not told: either they never touched it, or the caller makes them reload CR3.
pub unsafe fn unmap(virt: u64) -> Result<PhysAddr, PagingError> {
    let virt = VirtAddr::try_new(virt).map_err(|_| PagingError::BadRange)?;
    let mut guard = SPACE.lock();
    let space = guard.as_mut().ok_or(PagingError::NotReady)?;
    let (frame, flush) = space.unmap(Page::<Size4KiB>::containing_address(virt)).map_err(|_| PagingError::NotMapped)?;
    flush.flush();
    Ok(frame.start_address())
}

/// Maps the 4 KiB page at physical address `page` to the same virtual address, for the processor start code.
///
/// # Errors
/// As [`map`].
///
/// # Safety
/// The page belongs to the caller. It must be undone with [`unmap`] when the processors have left it.
pub unsafe fn map_identity(page: u64, access: Access) -> Result<(), PagingError> {
    // SAFETY: the lower half is empty, and the page is the caller's.
    unsafe { map(page, page, FRAME_SIZE, access) }
}

/// Maps device registers, uncached, and returns a bounds-checked window. The window lives as long as the kernel.
///
/// # Errors
/// [`PagingError::BadRange`] for an empty or wrapping range, [`PagingError::NoMemory`].
///
/// # Safety
/// The range is device registers, not RAM, and accesses to it cannot break memory safety by themselves (a device's DMA is the
/// business of the driver that programs it).
pub unsafe fn map_mmio(phys: u64, len: usize) -> Result<MmioWindow, PagingError> {
    let end = phys.checked_add(len as u64).filter(|end| len > 0 && *end < 1 << 52).ok_or(PagingError::BadRange)?;
    let start = phys / FRAME_SIZE * FRAME_SIZE;
    let span = end.next_multiple_of(FRAME_SIZE) - start;
    // The same remainder modulo 2 MiB on both sides lets large ranges use large pages; one page of gap catches overruns.
    let virt = {
        let mut next = MMIO_NEXT.lock();
        let virt = next.next_multiple_of(LARGE) + start % LARGE;
        *next = virt + span + FRAME_SIZE;
        virt
    };
    // SAFETY: the virtual range was reserved above; the physical one is the caller's.
    unsafe { map(virt, start, span, Access::Device) }?;
    let base = core::ptr::with_exposed_provenance_mut::<u8>((virt + phys - start) as usize);
    let base = NonNull::new(base).ok_or(PagingError::BadRange)?;
    // SAFETY: mapped above for the life of the kernel.
    Ok(unsafe { MmioWindow::new(base, len, PhysAddr::new(phys)) })
}

/// Forgets all cached translations of this CPU except global ones (there are none).
pub fn flush_all() {
    x86_64::instructions::tlb::flush_all();
}

/// Calls `visit` with the name of each lock in here and whether somebody holds it. Any context; never waits.
pub(crate) fn locks(visit: &mut dyn FnMut(&'static str, bool)) {
    visit("page tables", SPACE.is_held());
    visit("device windows", MMIO_NEXT.is_held());
}
