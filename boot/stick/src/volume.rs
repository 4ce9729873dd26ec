//! The FAT volume of a stick: [`Volume`].

use std::io::{Cursor, Read, Write};

use anyhow::{Context, Result};
use fatfs::{FatType, FileSystem, FormatVolumeOptions, FsOptions};

use crate::{SECTOR, VOLUME_START};

/// What computers call it.
const LABEL: [u8; 11] = *b"SLUICE     ";
/// What the BIOS loader reads at a time, so that no octet is read twice.
const CLUSTER: u32 = 16 * 1024;
/// Entries of the root folder: the BIOS loader reads as many, and no more.
const ROOT_ENTRIES: u16 = 512;
/// Where a boot sector says how many sectors precede the volume.
const HIDDEN_SECTORS: std::ops::Range<usize> = 28..32;

/// The volume of an image, opened; what was written is in the image once this is gone.
pub struct Volume<'a> {
    files: FileSystem<Cursor<&'a mut [u8]>>,
}

impl std::fmt::Debug for Volume<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Volume").field("label", &self.files.volume_label()).finish_non_exhaustive()
    }
}

/// Makes an empty volume of all of `space`.
pub(crate) fn format(space: &mut [u8]) -> Result<()> {
    let options = FormatVolumeOptions::new()
        .volume_label(LABEL)
        .fat_type(FatType::Fat12)
        .bytes_per_cluster(CLUSTER)
        .max_root_dir_entries(ROOT_ENTRIES);
    fatfs::format_volume(Cursor::new(&mut *space), options).context("the volume cannot be made")?;
    let boot_sector = space.get_mut(..SECTOR).context("the volume has no sector")?;
    let hidden = boot_sector.get_mut(HIDDEN_SECTORS).context("the boot sector is short")?;
    hidden.copy_from_slice(&VOLUME_START.to_le_bytes());
    Ok(())
}

impl<'a> Volume<'a> {
    /// Opens the volume of a stick's image.
    ///
    /// # Errors
    /// When the image is none, or its volume is damaged.
    pub fn open(image: &'a mut [u8]) -> Result<Self> {
        let range = crate::volume_range(image)?;
        Self::in_space(image.get_mut(range).context("the image is cut off")?)
    }

    /// Opens the volume that is all of `space`.
    pub(crate) fn in_space(space: &'a mut [u8]) -> Result<Self> {
        let files = FileSystem::new(Cursor::new(space), FsOptions::new()).context("the volume cannot be opened")?;
        Ok(Self { files })
    }

    /// Writes a file, with the folders it is in, in place of one that may be there.
    ///
    /// # Errors
    /// When there is no room.
    pub fn write(&self, path: &str, content: &[u8]) -> Result<()> {
        let root = self.files.root_dir();
        for (at, _) in path.match_indices('/') {
            root.create_dir(&path[..at]).with_context(|| format!("the folder of {path} cannot be made"))?;
        }
        let mut file = root.create_file(path).with_context(|| format!("{path} cannot be made"))?;
        file.truncate().with_context(|| format!("{path} cannot be emptied"))?;
        file.write_all(content).with_context(|| format!("{path} cannot be written"))?;
        file.flush().with_context(|| format!("{path} cannot be written"))
    }

    /// Removes a file.
    ///
    /// # Errors
    /// When there is none.
    pub fn remove(&self, path: &str) -> Result<()> {
        self.files.root_dir().remove(path).with_context(|| format!("there is no {path}"))
    }

    /// Reads a file.
    ///
    /// # Errors
    /// When there is none.
    pub fn read(&self, path: &str) -> Result<Vec<u8>> {
        let mut file = self.files.root_dir().open_file(path).with_context(|| format!("there is no {path}"))?;
        let mut content = Vec::new();
        file.read_to_end(&mut content).with_context(|| format!("{path} cannot be read"))?;
        Ok(content)
    }
}
