//! The parts of the boot loader, taken out of what the `bootloader` crate makes of no kernel at all: [`loader`].

use std::{
    fs,
    io::{Cursor, Read},
    path::Path,
};

use anyhow::{Context, Result};
use bootloader::{BootConfig, DiskImageBuilder};
use bootloader_boot_config::LevelFilter;
use fatfs::{FileSystem, FsOptions};
use mbrman::MBRPartitionEntry;
use stick::{SECTOR, loader::Loader};

/// Returns the boot loader, silenced but for warnings: the serial line belongs to the kernel's numbered boot stages.
pub(crate) fn loader() -> Result<Loader> {
    let mut settings = BootConfig::default();
    settings.log_level = LevelFilter::Warn;
    let mut builder = DiskImageBuilder::empty();
    builder.set_boot_config(&settings);
    let folder = tempfile::tempdir().context("cannot make a folder for the boot loader's parts")?;

    let bios = folder.path().join("bios.img");
    builder.create_bios_image(&bios)?;
    let bios = read(&bios)?;
    let table = stick::table(&bios).context("the BIOS image")?;
    let partition = |index| {
        let entry: &MBRPartitionEntry = table.get(index)?;
        let start = entry.starting_lba as usize * SECTOR;
        // The last sector of the last partition may be cut off.
        bios.get(start..(start + entry.sectors as usize * SECTOR).min(bios.len()))
    };
    let second_stage = partition(1).context("the BIOS image has no second stage")?;
    let mut volume = partition(2).context("the BIOS image has no volume")?.to_vec();
    let files = FileSystem::new(Cursor::new(volume.as_mut_slice()), FsOptions::new())
        .context("the volume of the BIOS image cannot be opened")?;
    let stage = |name: &str| {
        let mut content = Vec::new();
        let mut file = files.root_dir().open_file(name).with_context(|| format!("the BIOS image has no {name}"))?;
        file.read_to_end(&mut content).with_context(|| format!("{name} cannot be read"))?;
        Ok::<_, anyhow::Error>(content)
    };
    let (third_stage, fourth_stage) = (stage("boot-stage-3")?, stage("boot-stage-4")?);

    // For network booting, UEFI's loader is a file beside its settings.
    let uefi = folder.path().join("uefi");
    builder.create_uefi_tftp_folder(&uefi)?;
    Ok(Loader {
        first_stage: bios.get(..SECTOR).context("the BIOS image has no first sector")?.to_vec(),
        second_stage: second_stage.to_vec(),
        third_stage,
        fourth_stage,
        uefi: read(&uefi.join("bootloader"))?,
        settings: read(&uefi.join("boot.json"))?,
    })
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
