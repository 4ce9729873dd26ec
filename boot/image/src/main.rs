//! `image`: packs a kernel and its ramdisk into a bootable raw disk image.
//!
//! A host tool of its own, and not part of the runner, because the `bootloader` crate builds its stages by nested
//! cargo calls: the runner builds this package once, in a target folder of its own, and host tests never wait for it.
//! The ramdisk begins with the configuration, byte for byte, so the kernel parses the same text that the user wrote; what the
//! runner puts behind it (the kernel's symbols) is between the runner and the kernel.

#![forbid(unsafe_code)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use bootloader::{BootConfig, DiskImageBuilder};
use bootloader_boot_config::LevelFilter;
use clap::Parser;

/// Packs a kernel and its ramdisk into a bootable raw disk image.
#[derive(Parser, Debug)]
#[command(version, about)]
#[command(group(clap::ArgGroup::new("firmware").required(true).args(["bios", "uefi"])))]
struct Arguments {
    /// The kernel, an ELF executable for the bare machine.
    #[arg(long, value_name = "ELF")]
    kernel: PathBuf,
    /// What the kernel finds as its ramdisk: the configuration, and whatever follows it.
    #[arg(long, value_name = "FILE")]
    ramdisk: PathBuf,
    /// Where the image is written.
    #[arg(long, value_name = "IMG")]
    out: PathBuf,
    /// Makes an image for BIOS firmware (MBR).
    #[arg(long)]
    bios: bool,
    /// Makes an image for UEFI firmware (GPT).
    #[arg(long)]
    uefi: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    check_is_elf(&arguments.kernel)?;
    ensure!(arguments.ramdisk.is_file(), "no ramdisk at {}", arguments.ramdisk.display());
    let mut builder = DiskImageBuilder::new(arguments.kernel.clone());
    // The boot loader's BIOS stages hang over a ramdisk without octets. The kernel says that it has no configuration.
    if fs::metadata(&arguments.ramdisk).is_ok_and(|ramdisk| ramdisk.len() > 0) {
        builder.set_ramdisk(arguments.ramdisk.clone());
    }
    builder.set_boot_config(&boot_config());

    // Written beside the target and renamed, so that a reader never sees half an image.
    let partial = with_suffix(&arguments.out, ".partial");
    if arguments.uefi {
        builder.create_uefi_image(&partial)?;
    } else {
        builder.create_bios_image(&partial)?;
    }
    fs::rename(&partial, &arguments.out).with_context(|| format!("cannot write {}", arguments.out.display()))
}

/// Silences the bootloader but for warnings: the serial line belongs to the kernel's numbered boot stages.
fn boot_config() -> BootConfig {
    let mut config = BootConfig::default();
    config.log_level = LevelFilter::Warn;
    config
}

/// Refuses anything that is not a 64-bit ELF file; the bootloader itself would only say so on the next boot.
fn check_is_elf(path: &Path) -> Result<()> {
    const MAGIC_ELF64: &[u8] = b"\x7fELF\x02";
    let bytes = fs::read(path).with_context(|| format!("cannot read the kernel {}", path.display()))?;
    ensure!(bytes.starts_with(MAGIC_ELF64), "{} is not a 64-bit ELF file", path.display());
    Ok(())
}

/// Returns `path` with `suffix` added to its last component.
fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
