//! `image`: writes a bootable raw disk image that carries a configuration.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use sluice::{build::Builder, machine::Firmware, progress::Progress, workspace::Workspace};

/// What `image` takes.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Further static routes, a line each: PREFIX via ADDRESS, PREFIX blackhole or PREFIX unreachable
    #[arg(long, value_name = "FILE")]
    routes: Option<PathBuf>,
    /// Where the image is written
    #[arg(long, value_name = "IMG")]
    out: PathBuf,
    /// For BIOS firmware (MBR); the default
    #[arg(long, conflicts_with = "uefi")]
    bios: bool,
    /// For UEFI firmware (GPT)
    #[arg(long)]
    uefi: bool,
}

/// Writes the image.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let (_, config) = super::read_config(&arguments.config)?;
    let config = super::with_routes(config, arguments.routes.as_deref())?;
    let firmware = if arguments.uefi { Firmware::Uefi } else { Firmware::Bios };
    let progress = Progress::new();
    let builder = Builder::new(&Workspace::find(), progress)?;
    let kernel = builder.kernel()?;
    builder.image_file(&kernel, &config, &arguments.out, firmware)?;
    progress.say(&format!("{}: ready to boot ({})", arguments.out.display(), firmware.name()));
    Ok(())
}
