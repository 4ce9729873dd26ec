//! The stick: one disk image that boots by BIOS and by UEFI, and a volume on it that any computer shows and edits.
//!
//! | sectors | what | who reads it |
//! |---|---|---|
//! | 0 | the loader's first stage, and the partition table | BIOS; UEFI and everybody else: the table |
//! | 1.. | partition 1, type 0x20: the loader's second stage | the first stage |
//! | [`VOLUME_START`].. | partition 2, type 0x0C: a FAT [`Volume`] | the second stage, UEFI, people |
//!
//! Everything that is loaded is a file of the volume. The user's is [`CONFIGURATION`], a text and nothing else; [`NOTE`] says so
//! beside it. The loader would look for a file named `ramdisk` instead; [`loader`] tells why it does not, and what a name has to
//! be like.
//!
//! The BIOS loader bounds the volume: it reads FAT12 and FAT16 of at most 65,535 sectors, and of each cluster 16 KiB, however
//! small the cluster is. So the volume has [`VOLUME_SECTORS`] sectors in clusters of 16 KiB, which makes it FAT12.
//!
//! Runs on hosts; an image is in memory as a whole.

#![forbid(unsafe_code)]

pub mod loader;
mod volume;

use std::io::Cursor;

use anyhow::{Context, Result, bail, ensure};
use loader::Loader;
use mbrman::{BOOT_ACTIVE, BOOT_INACTIVE, CHS, MBR, MBRPartitionEntry};
pub use volume::Volume;

/// The file that the user edits. It is found by this name in exactly these letters.
pub const CONFIGURATION: &str = loader::NAME;
/// The file that the self-test writes its result to, made at its full size: the kernel changes nothing but its octets.
pub use fat::stick::RESULT;
/// The file that says so.
pub const NOTE: &str = "README.TXT";

/// Octets of a sector.
pub const SECTOR: usize = 512;
const SECTOR_32: u32 = 512;
/// The volume's first sector: at a whole MiB, as flash memory likes it.
pub const VOLUME_START: u32 = 2048;
/// The volume's sectors: 32 MiB less one cluster, the most that the BIOS loader reads.
pub const VOLUME_SECTORS: u32 = 65_504;

/// Types of partitions. The second stage looks for the first of them and takes the partition after it.
const SECOND_STAGE_TYPE: u8 = 0x20;
const VOLUME_TYPE: u8 = 0x0C;

/// The end of a cylinder scheme's world, which stands for "see the sector numbers".
const BEYOND_CYLINDERS: (u16, u8, u8) = (1023, 254, 63);

/// Makes the image of a stick: `kernel` is the kernel's file with whatever is attached to it. Without a configuration there is no
/// file for it.
///
/// # Errors
/// When it does not fit, or the loader is another than the known one.
pub fn compose(loader: &Loader, kernel: &[u8], configuration: &[u8]) -> Result<Vec<u8>> {
    let loader = loader.renamed()?;
    let mut image = vec![0; (VOLUME_START + VOLUME_SECTORS) as usize * SECTOR];
    let (before, space) = image.split_at_mut(VOLUME_START as usize * SECTOR);
    let table = partition_table(&loader)?;
    let (first, further) = before.split_at_mut(SECTOR);
    first.copy_from_slice(&table);
    let second_stage = further.get_mut(..loader.second_stage.len()).context("the second stage is too long")?;
    second_stage.copy_from_slice(&loader.second_stage);

    volume::format(space)?;
    let volume = Volume::in_space(space)?;
    // In the order in which they are loaded: a disk likes to be read in one direction.
    volume.write("boot-stage-3", &loader.third_stage)?;
    volume.write("boot-stage-4", &loader.fourth_stage)?;
    volume
        .write(fat::stick::KERNEL, kernel)
        .context("the kernel and what is attached to it are too large for a stick")?;
    // The BIOS loader hangs over a file without octets. Without the file, the kernel says that it has no configuration.
    if !configuration.is_empty() {
        volume.write(CONFIGURATION, configuration)?;
    }
    volume.write("boot.json", &loader.settings)?;
    volume.write("EFI/BOOT/BOOTX64.EFI", &loader.uefi)?;
    volume.write(NOTE, note().as_bytes())?;
    volume.write(RESULT, &fat::stick::blank())?;
    drop(volume);
    Ok(image)
}

/// Returns whether an image or a disk begins as a stick does.
#[must_use]
pub fn is_stick(start: &[u8]) -> bool {
    table(start).is_ok_and(|table| {
        let is = |index: usize, kind| table.get(index).is_some_and(|entry: &MBRPartitionEntry| entry.sys == kind);
        is(1, SECOND_STAGE_TYPE) && is(2, VOLUME_TYPE)
    })
}

/// Reads the partition table of an image or a disk.
///
/// # Errors
/// When there is none in its first sector.
pub fn table(start: &[u8]) -> Result<MBR> {
    let sector = start.get(..SECTOR).context("there is no whole sector")?;
    MBR::read_from(&mut Cursor::new(sector), SECTOR_32).context("there is no partition table")
}

/// Returns where in an image its volume is.
///
/// # Errors
/// When it is no stick's.
fn volume_range(image: &[u8]) -> Result<std::ops::Range<usize>> {
    ensure!(is_stick(image), "this is no image of a stick");
    let table = table(image)?;
    let Some(entry) = table.get(2) else { bail!("the image has no second partition") };
    let start = entry.starting_lba as usize * SECTOR;
    Ok(start..start + entry.sectors as usize * SECTOR)
}

/// Returns the first sector.
fn partition_table(loader: &Loader) -> Result<Vec<u8>> {
    let mut table = table(&loader.first_stage).context("the boot loader's first stage")?;
    let sectors = u32::try_from(loader.second_stage.len().div_ceil(SECTOR)).context("the second stage is too long")?;
    ensure!(sectors < VOLUME_START, "the second stage is too long: {sectors} sectors");
    let (cylinder, head, sector) = BEYOND_CYLINDERS;
    let far = CHS::new(cylinder, head, sector);
    let entry = |boot, sys, starting_lba, sectors| MBRPartitionEntry {
        boot,
        first_chs: far,
        sys,
        last_chs: far,
        starting_lba,
        sectors,
    };
    table[1] = entry(BOOT_INACTIVE, SECOND_STAGE_TYPE, 1, sectors);
    // There is to be one active partition; some firmware counts.
    table[2] = entry(BOOT_ACTIVE, VOLUME_TYPE, VOLUME_START, VOLUME_SECTORS);
    let mut sector = Cursor::new(vec![0; SECTOR]);
    table.write_into(&mut sector).context("the partition table cannot be written")?;
    let mut sector = sector.into_inner();
    sector.truncate(SECTOR);
    Ok(sector)
}

/// Returns the text for people, with the ends of lines that every editor knows.
fn note() -> String {
    include_str!("README.TXT").replace("{CONFIGURATION}", CONFIGURATION).replace('\n', "\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A loader whose parts can be told apart and that has the texts that are looked for.
    fn loader() -> Loader {
        let mut first_stage = vec![0x90; SECTOR];
        first_stage[440..510].fill(0);
        first_stage[510..].copy_from_slice(&[0x55, 0xAA]);
        Loader {
            first_stage,
            second_stage: [&[0x22; 600][..], b"ramdiskNo ramdisk found, skipping.\n", &[0x22; 600]].concat(),
            third_stage: vec![0x33; 100_000],
            fourth_stage: vec![0x44; 100_001],
            uefi: [&[0x55; 9][..], b"kernel-x86_64\0ramdisk\0boot.json\0", &[0x55; 9]].concat(),
            settings: b"{}".to_vec(),
        }
    }

    const CONFIG: &[u8] = b"hostname = \"r1\"\n";

    #[test]
    fn a_stick_has_a_table_a_second_stage_and_every_file() {
        let mut image = compose(&loader(), &[0x7F; 1_500_000], CONFIG).unwrap();
        assert_eq!(image.len(), (2048 + 65_504) * SECTOR);
        assert!(is_stick(&image) && !is_stick(&image[..100]) && !is_stick(&[0; SECTOR]));
        assert_eq!(image[512..1112], [0x22; 600]);
        assert!(image[512..2048].windows(34).any(|text| text.starts_with(b"Cfg.txtNo ramdisk found")));
        let volume = Volume::open(&mut image).unwrap();
        assert_eq!(volume.read("kernel-x86_64").unwrap(), [0x7F; 1_500_000]);
        assert_eq!(volume.read("boot-stage-4").unwrap(), [0x44; 100_001]);
        assert_eq!(volume.read(CONFIGURATION).unwrap(), CONFIG);
        assert!(volume.read("efi/boot/bootx64.efi").unwrap().windows(8).any(|text| text == b"Cfg.txt\0"));
        let note = String::from_utf8(volume.read(NOTE).unwrap()).unwrap();
        assert!(note.contains("Cfg.txt") && !note.contains('{'), "{note}");
        assert!(
            note.lines().all(|line| line.len() <= 79) && note.matches('\n').count() == note.matches("\r\n").count()
        );
    }

    #[test]
    fn without_a_configuration_there_is_no_file_for_it() {
        let mut image = compose(&loader(), b"kernel", b"").unwrap();
        assert!(Volume::open(&mut image).unwrap().read(CONFIGURATION).is_err());
    }

    #[test]
    fn an_edited_configuration_replaces_the_old_one_whole() {
        let mut image = compose(&loader(), b"kernel", &[b'#'; 40_000]).unwrap();
        Volume::open(&mut image).unwrap().write(CONFIGURATION, CONFIG).unwrap();
        let volume = Volume::open(&mut image).unwrap();
        assert_eq!(volume.read(CONFIGURATION).unwrap(), CONFIG);
        assert_eq!(volume.read("kernel-x86_64").unwrap(), b"kernel");
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let error = compose(&loader(), &vec![1; 33 << 20], CONFIG).unwrap_err();
        assert!(format!("{error:#}").contains("too large for a stick"), "{error:#}");
        let long = Loader { second_stage: [loader().second_stage, vec![0; 2 << 20]].concat(), ..loader() };
        assert!(compose(&long, b"kernel", CONFIG).is_err());
    }

    #[test]
    fn there_is_one_active_partition_and_none_overlap() {
        let image = compose(&loader(), b"kernel", CONFIG).unwrap();
        let table = table(&image).unwrap();
        let used: Vec<_> = table.iter().filter(|(_, entry)| entry.is_used()).collect();
        assert_eq!(used.len(), 2);
        assert_eq!(used.iter().filter(|(_, entry)| entry.is_active()).count(), 1);
        assert!(used[0].1.starting_lba + used[0].1.sectors <= used[1].1.starting_lba);
        assert_eq!((used[1].1.starting_lba + used[1].1.sectors) as usize * SECTOR, image.len());
    }
}
