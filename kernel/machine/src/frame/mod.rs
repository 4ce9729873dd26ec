//! Physical memory, frame by frame: one bitmap for the whole machine.
//!
//! - [`allocate`]: one frame, from the top of memory downwards, for page tables, stacks and the heap.
//! - [`allocate_run`]: contiguous frames from the bottom upwards under a [`RunRequest`] (alignment, boundary, highest address),
//!   for DMA: of the range that is [preferred](prefer), else above 4 GiB, else anywhere, so that what little lies below 4 GiB on
//!   a large machine is left to devices that reach no further. The first MiB is touched only by requests whose `max_addr` lies inside it (the processor start page).
//!
//! Context: thread, or interrupt; one short spin lock; never blocks. Exhaustion is an error, never a panic.

mod bitmap;
pub mod census;

use core::{ptr, slice};

use ksync::SpinLock;
use x86_64::PhysAddr;

use self::{
    bitmap::{FrameBitmap, Run},
    census::Census,
};
use crate::boot::UsableRange;

/// Octets per frame.
pub const FRAME_SIZE: u64 = 4096;

/// Why a frame operation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// No free memory satisfies the request.
    Exhausted,
    /// The request contradicts itself: no frames, an alignment or boundary that is no power of two, a run beyond its boundary.
    Impossible,
    /// The frames to free are not all allocated: the caller's books are wrong and nothing was freed.
    NotAllocated,
    /// There is no usable memory map yet, or it held nothing usable.
    NotReady,
}

/// What a contiguous allocation must satisfy; addresses and distances in octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunRequest {
    /// Number of contiguous frames.
    pub frames: usize,
    /// Power of two the start is a multiple of; at least [`FRAME_SIZE`] in effect.
    pub alignment: u64,
    /// Power of two whose multiples the run must not cross, or 0 for none.
    pub boundary: u64,
    /// The highest address the run may include.
    pub max_addr: u64,
}

impl RunRequest {
    /// A run of `frames` anywhere.
    #[must_use]
    pub const fn new(frames: usize) -> Self {
        Self { frames, alignment: FRAME_SIZE, boundary: 0, max_addr: u64::MAX }
    }

    /// A run that holds `octets`, anywhere.
    #[must_use]
    pub const fn octets(octets: usize) -> Self {
        Self::new(octets.div_ceil(FRAME_SIZE as usize))
    }
}

/// How much physical memory there is; counts of frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameUsage {
    /// Frames handed to the allocator at boot.
    pub total: usize,
    /// Frames free now.
    pub free: usize,
}

/// The first frame beyond what 32 bits address.
const FOUR_GIB: usize = 1 << 20;

/// First frame and first frame beyond of the memory that runs come from if they can; nothing at first.
static PREFERRED: SpinLock<(usize, usize)> = SpinLock::new((0, 0));
static FRAMES: SpinLock<Option<FrameBitmap<'static>>> = SpinLock::new(None);

/// Builds the bitmap in the highest usable range that can hold it and frees everything else but `kept`.
///
/// # Errors
/// [`FrameError::NotReady`] if no range can hold the bitmap.
///
/// # Safety
/// Called once; `ranges` without `kept` are RAM nobody uses, and `phys_offset` is where all physical memory is mapped writable.
pub(crate) unsafe fn init(
    ranges: &[UsableRange],
    kept: Option<UsableRange>,
    phys_offset: u64,
) -> Result<FrameUsage, FrameError> {
    let frames = ranges.iter().map(|range| range.end / FRAME_SIZE).max().unwrap_or(0) as usize;
    let words = frames.div_ceil(64);
    let map_size = (words as u64 * 8).next_multiple_of(FRAME_SIZE);
    let free = || ranges.iter().flat_map(|range| without(*range, kept.unwrap_or_default()));
    let home = free().rfind(|range| range.end - range.start >= map_size).ok_or(FrameError::NotReady)?;
    let map_start = home.end - map_size;
    let words_ptr = ptr::with_exposed_provenance_mut::<u64>((phys_offset + map_start) as usize);
    // SAFETY: the range is unused RAM, mapped writable at the offset, and is withheld from the free frames below.
    unsafe { ptr::write_bytes(words_ptr, 0, words) };
    // SAFETY: as above; initialised by the line before, and referenced by nobody else.
    let storage: &'static mut [u64] = unsafe { slice::from_raw_parts_mut(words_ptr, words) };
    let mut bitmap = FrameBitmap::new(storage, frames);
    for range in free() {
        let end = if range.start == home.start { map_start } else { range.end };
        // Frame 0 stays out: address 0 must never be a valid answer.
        let first = (range.start / FRAME_SIZE).max(1) as usize;
        bitmap.add_free(first, (end / FRAME_SIZE) as usize);
    }
    let usage = FrameUsage { total: bitmap.free(), free: bitmap.free() };
    *FRAMES.lock() = Some(bitmap);
    Ok(usage)
}

/// What is left of `range` without `kept`: below it and above it, either of which may be empty.
fn without(range: UsableRange, kept: UsableRange) -> [UsableRange; 2] {
    if kept.start >= range.end || kept.end <= range.start {
        return [range, UsableRange::default()];
    }
    let below = UsableRange { end: kept.start.max(range.start), ..range };
    let above = UsableRange { start: kept.end.min(range.end), ..range };
    [below, above]
}

/// Has runs come from the memory from `start` to `end` from now on, where a request allows it and there is room.
pub(crate) fn prefer(start: u64, end: u64) {
    *PREFERRED.lock() = (start.div_ceil(FRAME_SIZE) as usize, (end / FRAME_SIZE) as usize);
}

/// Allocates one frame with undefined contents.
///
/// # Errors
/// [`FrameError::Exhausted`], or [`FrameError::NotReady`] during early boot.
pub fn allocate() -> Result<PhysAddr, FrameError> {
    let mut frames = FRAMES.lock();
    let bitmap = frames.as_mut().ok_or(FrameError::NotReady)?;
    bitmap.allocate_one().map(address_of).ok_or(FrameError::Exhausted)
}

/// Allocates contiguous frames with undefined contents and returns where they start.
///
/// # Errors
/// [`FrameError::Exhausted`] or [`FrameError::Impossible`].
pub fn allocate_run(request: &RunRequest) -> Result<PhysAddr, FrameError> {
    let run = Run::from_request(request)?;
    let preferred = *PREFERRED.lock();
    let mut frames = FRAMES.lock();
    let bitmap = frames.as_mut().ok_or(FrameError::NotReady)?;
    let places = [preferred, (FOUR_GIB, usize::MAX), (0, usize::MAX)];
    let found = places.into_iter().find_map(|(first, end)| bitmap.allocate_run_within(&run, first, end));
    found.map(address_of).ok_or(FrameError::Exhausted)
}

/// Gives `frames` frames from `start` back.
///
/// # Errors
/// [`FrameError::NotAllocated`] if any of them is free or unknown; then nothing changes.
///
/// # Safety
/// Nobody uses the memory any more: no mapping for others, no device.
pub unsafe fn free(start: PhysAddr, frames: usize) -> Result<(), FrameError> {
    let mut guard = FRAMES.lock();
    let bitmap = guard.as_mut().ok_or(FrameError::NotReady)?;
    bitmap.free_run((start.as_u64() / FRAME_SIZE) as usize, frames)
}

/// Takes a frame in that nobody has given out: of the boot loader's page tables, once they are not needed. Answers whether it is
/// one this allocator knows of.
///
/// # Safety
/// It is RAM, and nobody uses it any more.
pub(crate) unsafe fn adopt(frame: PhysAddr) -> bool {
    let mut guard = FRAMES.lock();
    let Some(bitmap) = guard.as_mut() else { return false };
    let (index, before) = ((frame.as_u64() / FRAME_SIZE) as usize, bitmap.free());
    bitmap.add_free(index, index + 1);
    let adopted = bitmap.free() > before;
    if adopted {
        census::adopted();
    }
    adopted
}

/// Returns who has the memory, or `None` when the lock's holder has been stopped or there is no map yet.
#[must_use]
pub fn census() -> Option<Census> {
    let guard = FRAMES.look().ok()?;
    guard.as_ref().map(|bitmap| Census::with_free(bitmap.free()))
}

/// Returns the figures for `show memory`.
#[must_use]
pub fn usage() -> FrameUsage {
    FRAMES
        .lock()
        .as_ref()
        .map_or(FrameUsage::default(), |bitmap| FrameUsage { total: bitmap.total(), free: bitmap.free() })
}

/// As [`usage`], but gives up when the lock's holder has been stopped: for panic reports and the debugger.
#[must_use]
pub fn usage_bounded() -> Option<FrameUsage> {
    let guard = FRAMES.look().ok()?;
    guard.as_ref().map(|bitmap| FrameUsage { total: bitmap.total(), free: bitmap.free() })
}

/// Returns where frame `index` starts.
fn address_of(index: usize) -> PhysAddr {
    PhysAddr::new(index as u64 * FRAME_SIZE)
}

/// Calls `visit` with the name of each lock in here and whether somebody holds it. Any context; never waits.
pub(crate) fn locks(visit: &mut dyn FnMut(&'static str, bool)) {
    visit("frames", FRAMES.is_held());
    visit("preferred memory", PREFERRED.is_held());
}

#[cfg(test)]
mod tests {
    use super::{UsableRange, without};

    #[test]
    fn what_is_kept_is_cut_out_of_the_range_it_is_in() {
        let range = |start, end| UsableRange { start, end };
        let nothing = UsableRange::default();
        assert_eq!(without(range(10, 20), range(12, 15)), [range(10, 12), range(15, 20)]);
        assert_eq!(without(range(10, 20), range(10, 15)), [range(10, 10), range(15, 20)]);
        assert_eq!(without(range(10, 20), range(15, 20)), [range(10, 15), range(20, 20)]);
        for elsewhere in [nothing, range(0, 10), range(20, 30)] {
            assert_eq!(without(range(10, 20), elsewhere), [range(10, 20), nothing]);
        }
    }
}
