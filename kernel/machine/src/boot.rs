//! What the loader left us, and the numbered stages of the boot.
//!
//! - [`LOADER_CONFIG`]: what this kernel asks of the loader: everything in the upper half, physical memory at a fixed offset.
//! - [`BootRecord`]: our own copy of the loader's answers (memory map, ACPI root, the configuration file as bytes).
//! - [`symbols()`]: the kernel's symbol and line table, which follows the kernel in its file, and [`build_id`].
//! - [`bring_up`]: console, traps, memory, protections, interrupt stacks: the machine's share of the boot.
//! - [`stage`]: prints `[ 1/12] serial console` so that the last line on the screen says what was being tried.
//!
//! Context: the boot CPU, interrupts off, before there are threads.

use core::sync::atomic::{AtomicU32, Ordering};

use bootloader_api::{
    BootInfo, BootloaderConfig,
    config::Mapping,
    info::{MemoryRegion, MemoryRegionKind},
};
use ksync::{Once, cpu::CpuId};
use symbols::{
    Table,
    attached::{self, Damaged},
    build_id::BuildId,
};

use crate::{
    console, cpu, elf, entry,
    frame::{self, FRAME_SIZE, FrameError, census},
    gdt::{self, GdtError},
    heap, idt, kdb, paging,
    paging::PagingError,
    pci_early, percpu, pstore,
};

/// Stages [`bring_up`] announces.
pub const BRING_UP_STAGES: u32 = 5;
/// Octets of stack the boot thread gets; the loader puts an unmapped page below it.
pub const BOOT_STACK_SIZE: u64 = 128 * 1024;
/// The most memory map entries we keep.
const MAX_RANGES: usize = 128;

/// The loader's orders: the lower half stays empty (null pointers fault), and what the kernel maps later has slots of its own.
pub const LOADER_CONFIG: BootloaderConfig = {
    let mut config = BootloaderConfig::new_default();
    config.kernel_stack_size = BOOT_STACK_SIZE;
    config.mappings.physical_memory = Some(Mapping::FixedAddress(paging::PHYSICAL_BASE));
    config.mappings.kernel_base = Mapping::FixedAddress(paging::IMAGE_BASE);
    config.mappings.dynamic_range_start = Some(paging::LOADER_START);
    config.mappings.dynamic_range_end = Some(paging::LOADER_END);
    config
};

/// A range of RAM nobody uses, in octets, whole frames, `start < end`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UsableRange {
    /// First octet.
    pub start: u64,
    /// First octet beyond.
    pub end: u64,
}

/// Why the machine could not be brought up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootError {
    /// The loader did not map physical memory.
    NoPhysicalMapping,
    /// The memory map is unusable.
    Frames(FrameError),
    /// The page tables could not be taken over.
    Paging(PagingError),
    /// No memory for the boot CPU's descriptor tables or interrupt stacks.
    Gdt(GdtError),
    /// [`bring_up`] ran twice.
    Twice,
}

/// The loader's answers, kept for the life of the kernel.
#[derive(Debug)]
pub struct BootRecord {
    ranges: [UsableRange; MAX_RANGES],
    range_count: usize,
    /// Entries of the memory map that did not fit; 0 on every machine seen.
    pub dropped_ranges: usize,
    /// Frames that the loader and what it placed are in.
    loader_frames: usize,
    /// Physical address of the ACPI root pointer.
    pub rsdp: Option<u64>,
    /// The configuration file, exactly as it is on the disk; empty if there is none.
    pub ramdisk: &'static [u8],
    /// What the image tool has put behind the kernel in its file, but for the symbol table; may begin with the end of the kernel's
    /// own file.
    pub attached: &'static [u8],
    /// All that follows the last segment in the kernel's file.
    pub behind_kernel: &'static [u8],
    symbols: Result<Option<&'static [u8]>, Damaged>,
    /// What is added to an address in the kernel file to get the address it runs at.
    pub image_offset: u64,
    /// Physical address and length of the kernel file in memory, with all that follows it.
    pub image_file: (u64, u64),
    /// Lowest address of the boot thread's stack; the page below is unmapped.
    pub stack_bottom: u64,
    /// Octets of the boot thread's stack.
    pub stack_len: u64,
}

impl BootRecord {
    /// The usable ranges of physical memory at boot, ascending.
    #[must_use]
    pub fn usable(&self) -> &[UsableRange] {
        self.ranges.get(..self.range_count).unwrap_or(&[])
    }

    /// The addresses of the pages that hold nothing but what was attached to the kernel.
    pub(crate) fn attached_pages(&self) -> impl Iterator<Item = u64> + use<> {
        let start = self.attached.as_ptr_range().start.addr() as u64;
        let table = self.symbols.ok().flatten().unwrap_or(self.attached);
        whole_pages(start, table.as_ptr_range().end.addr() as u64)
    }
}

static RECORD: Once<BootRecord> = Once::new();
static SYMBOLS: Once<Table<'static>> = Once::new();
static BUILD_ID: Once<BuildId> = Once::new();
static STAGE: AtomicU32 = AtomicU32::new(0);
static STAGES: AtomicU32 = AtomicU32::new(0);

/// Returns the loader's answers; `None` before [`bring_up`] took them.
#[must_use]
pub fn record() -> Option<&'static BootRecord> {
    RECORD.get()
}

/// Returns the kernel's symbol and line table; `None` if the image carries none of this very kernel. Its addresses are those
/// of the kernel's file: [`image_offset`] less than those at run time. Any context.
#[must_use]
pub fn symbols() -> Option<&'static Table<'static>> {
    SYMBOLS.get()
}

/// Returns what is added to an address in the kernel's file to get the address it runs at; 0 before [`bring_up`]. Any context.
#[must_use]
pub fn image_offset() -> u64 {
    record().map_or(0, |record| record.image_offset)
}

/// Returns which build of the kernel this is; `None` before [`bring_up`]. Any context.
#[must_use]
pub fn build_id() -> Option<BuildId> {
    BUILD_ID.get().copied()
}

/// The kernel's first act: notes the time, refuses a processor that cannot run the kernel, and says how many stages the boot
/// will print.
pub fn begin_stages(total: u32) {
    entry::begin();
    // ORDERING: one CPU during boot.
    STAGES.store(total, Ordering::Relaxed);
}

/// Announces the next stage of the boot, before it is tried, and notes when. Its number goes to the port where firmware shows its
/// progress (0x80), as the console may be [held](console::hold) for as long as the boot goes on.
pub fn stage(what: &'static str) {
    // ORDERING: one CPU during boot.
    let number = STAGE.fetch_add(1, Ordering::Relaxed) + 1;
    entry::mark(what);
    entry::post_code(number);
    if entry::is_slow() {
        console::release();
    }
    let total = STAGES.load(Ordering::Relaxed).max(number);
    console::message(format_args!("[{number:2}/{total:2}] {what}\n"));
}

/// Takes the machine over from the loader: five stages, after which there are a console, traps, memory and a heap.
///
/// # Errors
/// [`BootError`] names what was missing; the console works from the first stage on, so the caller can print it.
pub fn bring_up(info: &'static mut BootInfo) -> Result<&'static BootRecord, BootError> {
    console::init_serial();
    stage("serial console");
    // Whoever looks at the serial line sees at once that the kernel has begun, and the tests see it before any card can be started.
    console::send_held();
    stage("exceptions");
    // Before the first exception: the stubs count in this processor's block.
    percpu::install(CpuId::BOOT);
    kdb::init();
    idt::init();
    cpu::enable_protections();
    if RECORD.get().is_some() {
        return Err(BootError::Twice);
    }
    let phys_offset = info.physical_memory_offset.into_option().ok_or(BootError::NoPhysicalMapping)?;
    let framebuffer = info.framebuffer.take();
    // SAFETY: the loader maps all of physical memory at this offset.
    let file = unsafe { kernel_file(info, phys_offset) };
    let image = elf::Image::parse(file, info.kernel_image_offset);
    let record = RECORD.call_once(|| capture(info, image.as_ref().map_or(&[], |image| image.behind(file))));
    if let Some(id) = image.and_then(|image| image.notes(file).find_map(BuildId::in_notes)) {
        BUILD_ID.call_once(|| id);
    }
    entry::mark("symbols");
    match find_symbols(record.symbols, build_id()) {
        Ok(Some(table)) => {
            SYMBOLS.call_once(|| table);
            log::info!("symbols: {} of build {}", table.len(), table.build_id());
        }
        Ok(None) => log::info!("symbols: none in the image"),
        Err(why) => log::warn!("symbols: not used, {why}"),
    }

    // Before any memory is given out, which a card may still be writing to.
    pci_early::quiet_network_cards();
    stage("physical memory");
    // SAFETY: the loader maps all of physical memory writable at this offset, and nobody has been given any of it yet; this runs once.
    let kept = unsafe { pstore::init(record, phys_offset) };
    // SAFETY: as above; the ranges are the loader's free RAM, and what is kept over a reset stays out.
    let frames = unsafe { frame::init(record.usable(), kept, phys_offset) }.map_err(BootError::Frames)?;
    let usable: u64 = record.usable().iter().map(|range| range.end - range.start).sum();
    census::begin(record.loader_frames, (usable / FRAME_SIZE) as usize, frames.total);
    log::info!("memory: {} MiB usable in {} ranges", frames.total >> 8, record.usable().len());

    stage("page tables and heap");
    // SAFETY: same offset; nobody else touches the page tables from here on.
    unsafe { paging::init(phys_offset, record) }.map_err(BootError::Paging)?;
    heap::init((frames.total as u64 * FRAME_SIZE / 4) as usize);

    stage("descriptor tables and interrupt stacks");
    gdt::init_cpu(CpuId::BOOT).map_err(BootError::Gdt)?;
    idt::use_interrupt_stacks();
    entry::mark("seal");
    let seal = paging::seal(record).map_err(BootError::Paging)?;
    log::info!("paging: {seal}");
    if let Some(framebuffer) = framebuffer {
        console::keep_framebuffer(framebuffer);
    }
    Ok(record)
}

/// Copies what we need out of the loader's structure.
fn capture(info: &BootInfo, behind_kernel: &'static [u8]) -> BootRecord {
    let mut ranges = [UsableRange::default(); MAX_RANGES];
    let (range_count, dropped_ranges) = collect_usable(&info.memory_regions, &mut ranges);
    let ramdisk: &'static [u8] = match info.ramdisk_addr.into_option() {
        // SAFETY: the loader mapped the file there, and nobody writes it (sealing makes it read-only).
        Some(address) if info.ramdisk_len > 0 => unsafe {
            core::slice::from_raw_parts(core::ptr::with_exposed_provenance(address as usize), info.ramdisk_len as usize)
        },
        _ => &[],
    };
    let parts = attached::split(behind_kernel);
    BootRecord {
        ranges,
        range_count,
        dropped_ranges,
        loader_frames: frames_of(&info.memory_regions, MemoryRegionKind::Bootloader),
        rsdp: info.rsdp_addr.into_option(),
        ramdisk,
        attached: parts.front,
        behind_kernel,
        symbols: parts.table,
        image_offset: info.kernel_image_offset,
        image_file: (info.kernel_addr, info.kernel_len),
        stack_bottom: info.kernel_stack_bottom,
        stack_len: info.kernel_stack_len,
    }
}

/// Returns the kernel's file, with all that follows it, where the loader has put it.
///
/// # Safety
/// All of physical memory is mapped at `phys_offset`.
unsafe fn kernel_file(info: &BootInfo, phys_offset: u64) -> &'static [u8] {
    let start = core::ptr::with_exposed_provenance(phys_offset.wrapping_add(info.kernel_addr) as usize);
    // SAFETY: the loader keeps the file in memory it never calls usable, inside the caller's mapping. Nobody writes it, but for the
    // kernel's own variables in the middle, which nobody reads here.
    unsafe { core::slice::from_raw_parts(start, info.kernel_len as usize) }
}

/// Returns the address of each page that lies wholly between two addresses.
fn whole_pages(start: u64, end: u64) -> impl Iterator<Item = u64> {
    (start.next_multiple_of(FRAME_SIZE)..end / FRAME_SIZE * FRAME_SIZE).step_by(FRAME_SIZE as usize)
}

/// Opens the symbol table of the kernel `running`; an image may carry none.
fn find_symbols<'a>(
    attached: Result<Option<&'a [u8]>, Damaged>,
    running: Option<BuildId>,
) -> Result<Option<Table<'a>>, &'static str> {
    let Some(bytes) = attached.map_err(|Damaged| "the table in the image is damaged")? else { return Ok(None) };
    let table = Table::parse(bytes).map_err(|_| "the table in the image is of another format")?;
    if running.is_some_and(|running| running != table.build_id()) {
        return Err("the table in the image is of another build");
    }
    Ok(Some(table))
}

/// Returns how many frames the regions of `kind` have.
fn frames_of(regions: &[MemoryRegion], kind: MemoryRegionKind) -> usize {
    let octets = regions.iter().filter(|region| region.kind == kind).map(|region| region.end - region.start);
    octets.map(|octets| (octets / FRAME_SIZE) as usize).sum()
}

/// Writes the usable regions into `out`, whole frames only, ascending, neighbours joined; returns how many fit and how many not.
fn collect_usable(regions: &[MemoryRegion], out: &mut [UsableRange]) -> (usize, usize) {
    let (mut count, mut dropped) = (0, 0);
    for region in regions.iter().filter(|region| region.kind == MemoryRegionKind::Usable) {
        let range =
            UsableRange { start: region.start.next_multiple_of(FRAME_SIZE), end: region.end / FRAME_SIZE * FRAME_SIZE };
        if range.start >= range.end {
            continue;
        }
        let filled = out.get_mut(..count).unwrap_or_default();
        if let Some(previous) = filled.iter_mut().find(|previous| previous.end == range.start) {
            previous.end = range.end;
        } else if let Some(slot) = out.get_mut(count) {
            *slot = range;
            count += 1;
        } else {
            dropped += 1;
        }
    }
    if let Some(filled) = out.get_mut(..count) {
        filled.sort_unstable_by_key(|range| range.start);
    }
    (count, dropped)
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use bootloader_api::info::{MemoryRegion, MemoryRegionKind};
    use symbols::{attached::Damaged, build_id::BuildId, write::Builder};

    use super::{UsableRange, collect_usable, find_symbols, whole_pages};

    fn region(start: u64, end: u64, kind: MemoryRegionKind) -> MemoryRegion {
        MemoryRegion { start, end, kind }
    }

    #[test]
    fn only_whole_usable_frames_are_kept_in_order() {
        let regions = [
            region(0x10_0000, 0x20_0000, MemoryRegionKind::Usable),
            region(0x20_0000, 0x30_0000, MemoryRegionKind::Bootloader),
            region(0x1001, 0x9_fc00, MemoryRegionKind::Usable),
            region(0x5_0000_0000, 0x5_0000_0800, MemoryRegionKind::Usable),
        ];
        let mut out = [UsableRange::default(); 4];
        assert_eq!(collect_usable(&regions, &mut out), (2, 0));
        assert_eq!(out[0], UsableRange { start: 0x2000, end: 0x9_f000 });
        assert_eq!(out[1], UsableRange { start: 0x10_0000, end: 0x20_0000 });
    }

    #[test]
    fn a_page_that_holds_anything_else_is_not_a_whole_one() {
        assert_eq!(whole_pages(0x1001, 0x4FFF).collect::<Vec<_>>(), [0x2000, 0x3000]);
        assert_eq!(whole_pages(0x1000, 0x2000).collect::<Vec<_>>(), [0x1000]);
        assert_eq!(whole_pages(0x1001, 0x1FFF).count(), 0);
    }

    #[test]
    fn symbols_are_taken_only_whole_and_of_the_running_kernel() {
        let id = |octet| BuildId::new(&[octet; 20]);
        let mut builder = Builder::default();
        builder.symbol(0x1000, 16, "kmain::boot");
        let table = builder.finish(id(1).expect("20 octets")).expect("a small table");
        let found = |running| find_symbols(Ok(Some(&table)), running);
        assert_eq!(found(id(1)).ok().flatten().map(|table| table.len()), Some(1));
        assert_eq!(found(None).ok().flatten().map(|table| table.len()), Some(1));
        assert!(found(id(2)).is_err_and(|why| why.contains("another build")));
        assert!(find_symbols(Ok(None), id(1)).is_ok_and(|table| table.is_none()));
        assert!(find_symbols(Ok(Some(b"something")), id(1)).is_err_and(|why| why.contains("another format")));
        assert!(find_symbols(Err(Damaged), id(1)).is_err_and(|why| why.contains("damaged")));
    }

    #[test]
    fn neighbours_are_joined_and_overflow_is_counted() {
        let regions = [
            region(0x1000, 0x2000, MemoryRegionKind::Usable),
            region(0x2000, 0x3000, MemoryRegionKind::Usable),
            region(0x8000, 0x9000, MemoryRegionKind::Usable),
        ];
        let mut out = [UsableRange::default(); 1];
        assert_eq!(collect_usable(&regions, &mut out), (1, 1));
        assert_eq!(out[0], UsableRange { start: 0x1000, end: 0x3000 });
    }
}
