//! `image`: packs a kernel and its configuration into a disk image that boots by BIOS and by UEFI.
//!
//! A host tool of its own, and not part of the runner, because the `bootloader` crate builds its stages by nested
//! cargo calls: the runner builds this package once, in a target folder of its own, and host tests never wait for it.
//! The crate hands out its stages only in images of its own; they are taken out of these ([`parts`]) and put into a
//! [`stick`]. The configuration is a file there, byte for byte, so the kernel parses the same text that the user wrote.

#![forbid(unsafe_code)]

mod parts;

use std::{
    fs::{self, File},
    io::{self, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use clap::Parser;

/// Packs a kernel and its configuration into a disk image that boots by BIOS and by UEFI.
#[derive(Parser, Debug)]
#[command(version, about)]
struct Arguments {
    /// The kernel, an ELF executable for the bare machine, with whatever is attached to it.
    #[arg(long, value_name = "ELF")]
    kernel: PathBuf,
    /// The configuration; an empty one is left out.
    #[arg(long, value_name = "FILE")]
    configuration: PathBuf,
    /// Where the image is written.
    #[arg(long, value_name = "IMG")]
    out: PathBuf,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let kernel = read_elf(&arguments.kernel)?;
    let configuration = fs::read(&arguments.configuration)
        .with_context(|| format!("cannot read the configuration {}", arguments.configuration.display()))?;
    let image = stick::compose(&parts::loader()?, &kernel, &configuration)?;
    // Written beside the target and renamed, so that a reader never sees half an image.
    let partial = with_suffix(&arguments.out, ".partial");
    write_sparse(&partial, &image).with_context(|| format!("cannot write {}", partial.display()))?;
    fs::rename(&partial, &arguments.out).with_context(|| format!("cannot write {}", arguments.out.display()))
}

/// Writes a file in which what is empty takes no space on the disk: most of an image is.
fn write_sparse(path: &Path, content: &[u8]) -> io::Result<()> {
    const BLOCK: usize = 4096;
    let mut file = File::create(path)?;
    file.set_len(content.len() as u64)?;
    for (index, block) in content.chunks(BLOCK).enumerate().filter(|(_, block)| block.iter().any(|octet| *octet != 0)) {
        file.seek(SeekFrom::Start((index * BLOCK) as u64))?;
        file.write_all(block)?;
    }
    Ok(())
}

/// Reads a 64-bit ELF file and refuses anything else; the bootloader itself would only say so on the next boot.
fn read_elf(path: &Path) -> Result<Vec<u8>> {
    const MAGIC_ELF64: &[u8] = b"\x7fELF\x02";
    let bytes = fs::read(path).with_context(|| format!("cannot read the kernel {}", path.display()))?;
    ensure!(bytes.starts_with(MAGIC_ELF64), "{} is not a 64-bit ELF file", path.display());
    Ok(bytes)
}

/// Returns `path` with `suffix` added to its last component.
fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
