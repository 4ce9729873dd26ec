//! A volume: its geometry and its table ([`Volume`]), and where a file's octets are ([`File`]).

use alloc::{vec, vec::Vec};
use core::ops::Range;

use crate::{Error, SECTOR, Sectors, folder, u16_at, u32_at};

const SECTOR_32: u32 = 512;
/// Clusters from which on a volume is FAT16, and FAT32.
const FAT16_FROM: u32 = 4085;
const FAT32_FROM: u32 = 65_525;
/// The number of the first cluster.
const FIRST_CLUSTER: u32 = 2;
/// Entries of the root folder, at most.
const MOST_ENTRIES: u16 = 4096;

/// A volume, opened: all of its table is in memory (128 KiB at most).
#[derive(Debug)]
pub struct Volume {
    /// The first table.
    table: Vec<u8>,
    is_12: bool,
    clusters: u32,
    sectors_per_cluster: u32,
    /// The sector of the first cluster.
    data: u32,
    root: Range<u32>,
}

/// A file of the root folder: how long, and in which runs of sectors, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Octets.
    pub octets: u32,
    /// The sectors of the disk that have them; those behind the last octet are not in here.
    pub runs: Vec<Range<u32>>,
}

impl Volume {
    /// Opens the volume in a partition of so many sectors.
    ///
    /// # Errors
    /// [`Error::NoVolume`] if there is none, or of another kind.
    pub fn open<D: Sectors>(disk: &mut D, first: u32, sectors: u32) -> Result<Self, Error<D::Error>> {
        let mut boot = [0; SECTOR];
        disk.read(first, &mut boot).map_err(Error::Disk)?;
        let per_cluster = u32::from(boot[13]);
        let [reserved, entries, small, fat] = [14, 17, 19, 22].map(|at| u16_at(&boot, at));
        let tables = u32::from(boot[16]);
        let total = if small == 0 { u32_at(&boot, 32) } else { u32::from(small) };
        let is_volume = u16_at(&boot, SECTOR - 2) == 0xAA55
            && usize::from(u16_at(&boot, 11)) == SECTOR
            && per_cluster.is_power_of_two()
            && reserved > 0
            && (1..=2).contains(&tables)
            && fat > 0
            && (1..=MOST_ENTRIES).contains(&entries)
            && total <= sectors;
        let root_sectors = (u32::from(entries) * folder::ENTRY_32).div_ceil(SECTOR_32);
        let root = u32::from(reserved) + tables * u32::from(fat);
        let Some(rest) = total.checked_sub(root + root_sectors).filter(|_| is_volume) else {
            return Err(Error::NoVolume);
        };
        let clusters = rest / per_cluster;
        let is_12 = clusters < FAT16_FROM;
        let bits = if is_12 { 12 } else { 16 };
        // Of a kind whose table can hold all clusters.
        let needed = (u64::from(clusters + FIRST_CLUSTER) * bits).div_ceil(8);
        if clusters == 0 || clusters >= FAT32_FROM || needed > u64::from(fat) * u64::from(SECTOR_32) {
            return Err(Error::NoVolume);
        }
        let mut table = vec![0; usize::from(fat) * SECTOR];
        disk.read(first + u32::from(reserved), &mut table).map_err(Error::Disk)?;
        if tables == 2 {
            let mut copy = vec![0; table.len()];
            disk.read(first + u32::from(reserved) + u32::from(fat), &mut copy).map_err(Error::Disk)?;
            if copy != table {
                return Err(Error::Damaged("its two tables differ"));
            }
        }
        Ok(Self {
            table,
            is_12,
            clusters,
            sectors_per_cluster: per_cluster,
            data: first + root + root_sectors,
            root: first + root..first + root + root_sectors,
        })
    }

    /// Finds a file of the root folder by its name, in exactly these letters.
    ///
    /// # Errors
    /// [`Error::Damaged`] if its chain of clusters is not what its length asks for.
    pub fn find<D: Sectors>(&self, disk: &mut D, name: &str) -> Result<Option<File>, Error<D::Error>> {
        let mut octets = vec![0; self.root.len() * SECTOR];
        disk.read(self.root.start, &mut octets).map_err(Error::Disk)?;
        let Some(entry) = folder::find(&octets, name) else { return Ok(None) };
        let runs = self.runs(entry.cluster, entry.octets).map_err(Error::Damaged)?;
        Ok(Some(File { octets: entry.octets, runs }))
    }

    /// Follows a chain of clusters for as many as there have to be; then it ends.
    fn runs(&self, first: u32, octets: u32) -> Result<Vec<Range<u32>>, &'static str> {
        let mut runs: Vec<Range<u32>> = Vec::new();
        let mut left = octets.div_ceil(SECTOR_32);
        let mut cluster = first;
        while left > 0 {
            if cluster < FIRST_CLUSTER || cluster - FIRST_CLUSTER >= self.clusters {
                return Err("a chain of clusters ends early, or leads out of the volume");
            }
            let start = self.data + (cluster - FIRST_CLUSTER) * self.sectors_per_cluster;
            let end = start + self.sectors_per_cluster.min(left);
            left -= end - start;
            match runs.last_mut() {
                Some(last) if last.end == start => last.end = end,
                _ => runs.push(start..end),
            }
            cluster = self.next(cluster);
        }
        let is_end = cluster >= if self.is_12 { 0xFF8 } else { 0xFFF8 };
        if octets > 0 && !is_end {
            return Err("a chain of clusters goes on behind its file's end");
        }
        // A circle takes in the same sectors twice.
        let mut sorted: Vec<&Range<u32>> = runs.iter().collect();
        sorted.sort_unstable_by_key(|run| run.start);
        if sorted.windows(2).any(|two| two[0].end > two[1].start) {
            return Err("a chain of clusters goes round in circles");
        }
        Ok(runs)
    }

    /// What the table has for a cluster.
    fn next(&self, cluster: u32) -> u32 {
        let cluster = cluster as usize;
        if self.is_12 {
            let pair = u16_at(&self.table, cluster + cluster / 2);
            u32::from(if cluster.is_multiple_of(2) { pair & 0xFFF } else { pair >> 4 })
        } else {
            u16_at(&self.table, cluster * 2).into()
        }
    }
}

impl File {
    /// Calls `visit` with each piece of the file, in order, until it says no.
    ///
    /// # Errors
    /// The disk's.
    pub fn read<D: Sectors>(
        &self,
        disk: &mut D,
        mut visit: impl FnMut(usize, &[u8]) -> bool,
    ) -> Result<(), Error<D::Error>> {
        const PIECE: u32 = 64;
        let mut piece = vec![0; PIECE as usize * SECTOR];
        let mut offset = 0;
        for run in &self.runs {
            for first in run.clone().step_by(PIECE as usize) {
                let sectors = PIECE.min(run.end - first) as usize;
                let Some(part) = piece.get_mut(..sectors * SECTOR) else { continue };
                disk.read(first, part).map_err(Error::Disk)?;
                let octets = part.len().min((self.octets as usize).saturating_sub(offset));
                if !visit(offset, part.get(..octets).unwrap_or(&[])) {
                    return Ok(());
                }
                offset += octets;
            }
        }
        Ok(())
    }

    /// Says whether the file has just these octets from an offset to its end.
    ///
    /// # Errors
    /// The disk's.
    pub fn ends_with<D: Sectors>(&self, disk: &mut D, tail: &[u8]) -> Result<bool, Error<D::Error>> {
        let Some(start) = (self.octets as usize).checked_sub(tail.len()) else { return Ok(false) };
        let mut same = true;
        self.read(disk, |offset, piece| {
            let skipped = start.saturating_sub(offset).min(piece.len());
            let (_, seen) = piece.split_at(skipped);
            let at = (offset + skipped).saturating_sub(start);
            same = tail.get(at..at + seen.len()) == Some(seen);
            same
        })?;
        Ok(same)
    }
}
