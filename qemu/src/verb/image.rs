//! `image`: writes a bootable raw disk image that carries a configuration.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use sluice::{build::Builder, progress::Progress, workspace::Workspace};

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
}

/// Writes the image.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let progress = Progress::new();
    write(&arguments.config, arguments.routes.as_deref(), &arguments.out, progress)?;
    progress.say(&format!("{}: ready to boot, by BIOS and by UEFI", arguments.out.display()));
    Ok(())
}

/// Checks the configuration, builds, and writes an image.
pub(super) fn write(config: &Path, routes: Option<&Path>, out: &Path, progress: Progress) -> Result<()> {
    let (_, content) = super::read_config(config)?;
    let content = super::with_routes(content, routes)?;
    let builder = Builder::new(&Workspace::find(), progress)?;
    let kernel = builder.kernel()?;
    builder.image_file(&kernel, &content, out)
}
