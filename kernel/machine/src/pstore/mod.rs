//! Memory that survives a warm reset: what a run leaves for the next one to read.
//!
//! Two records of text: the shutdown's transcript and the crash dump ([`Kind`]). The region lies at a fixed place that firmware and
//! loader leave alone (`region` tells which), and is withheld from the frame allocator before that hands out anything. What the run
//! before left stays where it is for this run to read ([`previous`]); this run writes beside it ([`writer`]). Everything is
//! checksummed: after a cold start, or when somebody overwrote it, the region is simply empty, and a damaged record is refused.
//!
//! Written text goes to memory at once (the cache lines are flushed), so it survives any reset that keeps the memory powered and
//! that firmware does not answer by clearing it. QEMU's reset is one; on real machines it depends on the firmware ("fast boot",
//! memory overwrite on reset), and losing the records is all that can happen.
//!
//! Context: [`init`] at boot; the rest any, NMI and panic included: no lock, no allocation, nothing waits.

mod record;
mod region;

use core::{
    fmt, slice,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
};

use ksync::Once;

pub use self::record::{Kind, Record};
use self::{record::Slot, region::Header};
use crate::{
    boot::{BootRecord, UsableRange},
    cpu,
};

/// What the run before this one left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Previous {
    /// Its shutdown's transcript.
    pub transcript: Option<Record<'static>>,
    /// Its crash dump.
    pub dump: Option<Record<'static>>,
}

impl Previous {
    const NOTHING: &'static Self = &Self { transcript: None, dump: None };
}

#[derive(Debug)]
struct Region {
    range: UsableRange,
    run: u32,
    previous: Previous,
    /// By [`Kind`]: where this run writes.
    slots: [Slot<'static>; 2],
    /// By [`Kind`]: the newest writer.
    writers: [AtomicU32; 2],
}

static REGION: Once<Region> = Once::new();

/// Finds or makes the region, reads what the run before left, empties this run's records, and returns the frames that nobody else
/// may have. `None` on a machine without a place for it; then nothing is kept and all else works.
///
/// # Safety
/// Called once, on the boot CPU, before any of the usable memory is handed out, with all of it mapped writable at `phys_offset`.
pub(crate) unsafe fn init(record: &BootRecord, phys_offset: u64) -> Option<UsableRange> {
    let usable = record.usable();
    let words = |start: u64, size: u64| -> &'static [AtomicU64] {
        let first = core::ptr::with_exposed_provenance::<AtomicU64>((phys_offset + start) as usize);
        // SAFETY: `start` and `size` are from `candidates`, so this is usable memory, mapped by the caller's contract and used by
        // nobody yet; any bits are valid in an atomic word, and the address is a multiple of the page size.
        unsafe { slice::from_raw_parts(first, size as usize / size_of::<AtomicU64>()) }
    };
    let header_at = |start| words(start, size_of::<[u64; 3]>() as u64);
    // ORDERING: one CPU; the writer was an earlier run.
    let look = |start| Header::of_words(core::array::from_fn(|word| header_at(start)[word].load(Ordering::Relaxed)));
    let Some(place) = region::choose(usable, look) else {
        log::warn!("pstore: no memory for it; nothing survives a reset");
        return None;
    };
    // An older region elsewhere must not be taken for news when this one is lost some day.
    for stale in region::candidates(usable, size_of::<[u64; 3]>() as u64).filter(|start| *start != place.start) {
        if look(stale).is_some() {
            header_at(stale)[0].store(0, Ordering::Relaxed);
        }
    }
    let (size, run) = (place.header.size, place.header.run);
    let previous = place.found.map_or(Previous::default(), |found| {
        let octets = |kind| -> &'static [u8] {
            let part = region::part(size, found.run, kind);
            let first = core::ptr::with_exposed_provenance((phys_offset + place.start) as usize + part.start);
            // SAFETY: inside the region, which belongs to this module; this run writes only the other half.
            unsafe { slice::from_raw_parts(first, part.len()) }
        };
        Previous {
            transcript: read(octets(Kind::Transcript), Kind::Transcript, found.run),
            dump: read(octets(Kind::Dump), Kind::Dump, found.run),
        }
    });
    let slots = Kind::ALL.map(|kind| {
        let part = region::part(size, run, kind);
        let slot = Slot::new(kind, words(place.start + part.start as u64, part.len() as u64));
        slot.begin(run, &flush);
        slot
    });
    place.header.write(header_at(place.start));
    flush(header_at(place.start));
    let kept = if place.found.is_some() { "kept over the reset" } else { "new" };
    log::info!("pstore: {} KiB at {:#x}, run {run}, {kept}", size / 1024, place.start);
    let writers = [const { AtomicU32::new(0) }; 2];
    REGION.call_once(|| Region { range: place.range(), run, previous, slots, writers });
    Some(place.range())
}

/// Reads one record of an earlier run and says what became of it.
fn read(octets: &'static [u8], kind: Kind, run: u32) -> Option<Record<'static>> {
    match record::read(octets, kind, run) {
        Ok(record) => {
            let record = record?;
            let cut = if record.cut { ", cut" } else { "" };
            log::info!("pstore: {kind} of the previous run: {} lines{cut}", record.text.lines().count());
            Some(record)
        }
        Err(record::Damaged) => {
            log::warn!("pstore: the {kind} of the previous run is damaged and refused");
            None
        }
    }
}

/// Brings words from the cache to memory and waits for it.
fn flush(words: &[AtomicU64]) {
    cpu::flush_cache(words.as_ptr_range().start.cast(), size_of_val(words));
}

/// Returns what the run before this one left; nothing after a cold start.
#[must_use]
pub fn previous() -> &'static Previous {
    REGION.get().map_or(Previous::NOTHING, |region| &region.previous)
}

/// Returns the number of this run, counted since the region was made; `None` without one.
#[must_use]
pub fn run() -> Option<u32> {
    REGION.get().map(|region| region.run)
}

/// Returns the physical memory the region takes.
#[must_use]
pub fn range() -> Option<UsableRange> {
    REGION.get().map(|region| region.range)
}

/// Returns a writer that continues this run's record of `kind`. Without a region its text goes nowhere.
///
/// There is one writer of a kind at a time: a new one silences those before it. So who must write (a panic) never waits for who was
/// stopped while writing.
#[must_use]
pub fn writer(kind: Kind) -> Writer {
    // ORDERING: the number alone; that an older writer has stopped writing is the caller's business (its CPU has been stopped, or
    // it is this CPU), and if it has not, the checksum tells.
    let number = REGION.get().map_or(0, |region| region.writers[kind as usize].fetch_add(1, Ordering::Relaxed) + 1);
    Writer { kind, number }
}

/// Copies what this run has written into its record of `kind`, from octet `at` on, into `out`; returns how many octets.
pub fn written(kind: Kind, at: usize, out: &mut [u8]) -> usize {
    REGION.get().map_or(0, |region| region.slots[kind as usize].copy(at, out))
}

/// Writes this run's record of one kind; each piece is safe once [`fmt::Write::write_str`] has returned.
#[derive(Debug)]
pub struct Writer {
    kind: Kind,
    number: u32,
}

impl Writer {
    /// The place to write to, while no newer writer has it.
    fn slot(&self) -> Option<(&'static Slot<'static>, u32)> {
        let region = REGION.get()?;
        // ORDERING: as in `writer`.
        let newest = region.writers[self.kind as usize].load(Ordering::Relaxed);
        (newest == self.number).then_some((&region.slots[self.kind as usize], region.run))
    }

    /// Forgets what this run has written into this record so far.
    pub fn restart(&mut self) {
        if let Some((slot, run)) = self.slot() {
            slot.begin(run, &flush);
        }
    }

    /// Marks the record as whole; writing more takes the mark away again.
    pub fn finish(&mut self) {
        if let Some((slot, _)) = self.slot() {
            slot.finish(&flush);
        }
    }

    /// Returns how many octets of text still fit.
    #[must_use]
    pub fn room(&self) -> usize {
        self.slot().map_or(0, |(slot, _)| slot.room())
    }
}

impl fmt::Write for Writer {
    /// # Errors
    /// When the record is full; what fits is written.
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.slot().map_or(Ok(()), |(slot, _)| slot.append(text, &flush))
    }
}
