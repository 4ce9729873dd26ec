//! The partition table in a disk's first sector, as BIOS knows it: [`partitions`].

use crate::{SECTOR, u16_at, u32_at};

/// Types of partitions with a FAT volume.
const TYPES: [u8; 6] = [0x01, 0x04, 0x06, 0x0B, 0x0C, 0x0E];
const ENTRIES: usize = 446;
const ENTRY: usize = 16;

/// Returns where the partitions with a FAT volume are: first sector and number of sectors, within a disk of `count`.
pub(crate) fn partitions(sector: &[u8; SECTOR], count: u32) -> impl Iterator<Item = (u32, u32)> {
    let is_table = u16_at(sector, SECTOR - 2) == 0xAA55;
    let entry = move |index: usize| {
        let entry = sector.get(ENTRIES + index * ENTRY..)?.first_chunk::<ENTRY>()?;
        let (first, sectors) = (u32_at(entry, 8), u32_at(entry, 12));
        let fits = first > 0 && sectors > 0 && first.checked_add(sectors).is_some_and(|end| end <= count);
        (is_table && entry[0] & 0x7F == 0 && TYPES.contains(&entry[4]) && fits).then_some((first, sectors))
    };
    (0..4).filter_map(entry)
}
