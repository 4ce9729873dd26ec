//! `flash`: writes an image to a stick, after a look at what that is, and reads it back.

use std::{
    fs::{self, File},
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use nix::mount::umount;
use sluice::{
    flash::{self, BlockDevice, Disk, Host, Interruption, Phase, Step},
    progress::Progress,
    workspace::Workspace,
};
use stick::CONFIGURATION;

/// What `flash` takes.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The stick as a whole, such as /dev/sdb. Everything on it is lost
    #[arg(value_name = "DISK")]
    disk: PathBuf,
    /// The image, as `image` has made it
    #[arg(long, value_name = "IMG", default_value = "sluice.img", conflicts_with = "config")]
    image: PathBuf,
    /// Makes an image with this configuration instead
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Further static routes for it, as for `image`
    #[arg(long, value_name = "FILE", requires = "config")]
    routes: Option<PathBuf>,
    /// Does not ask
    #[arg(long)]
    yes: bool,
    /// Unmounts what is mounted of the stick
    #[arg(long)]
    unmount: bool,
    /// Writes to a disk that is not removable, too: a hard disk in a case, a loop device, or your own
    #[arg(long)]
    even_if_not_removable: bool,
}

/// Looks, asks, writes, and reads back.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let shown = arguments.disk.display().to_string();
    let interruption = Interruption::watch(&shown)?;
    let progress = Progress::new();
    let disk = Host::this().disk(flash::number_of(&arguments.disk)?)?;
    progress.say(&disk.to_string());
    // Before anything takes long.
    object(&disk, arguments, 1)?;
    let made = match &arguments.config {
        Some(config) => Some(make(config, arguments.routes.as_deref(), progress)?),
        None => None,
    };
    let path = made.as_ref().unwrap_or(&arguments.image);
    let (image, len) = open(path)?;
    if made.is_some() {
        // It stays until it is closed.
        let _ = fs::remove_file(path);
    }

    object(&disk, arguments, len)?;
    if !arguments.yes {
        confirm(&disk)?;
    }
    if arguments.unmount {
        unmount(&disk, progress)?;
    }
    // Once more, and nothing is forgiven now: it may be another stick, or mounted again.
    let now = Host::this().disk(flash::number_of(&arguments.disk)?)?;
    ensure!((&now.name, &now.model, now.size) == (&disk.name, &disk.model, disk.size), "{shown} is another disk now");
    refuse(&now.objections(len, arguments.even_if_not_removable))?;
    let mut device = BlockDevice::open(&arguments.disk)?;

    progress.say(&format!("Writing {} to {shown}", flash::readable(len)));
    let started = std::time::Instant::now();
    interruption.enter(Phase::Writing);
    let written = write(&mut device, &image, len, progress);
    if written.is_ok() {
        interruption.enter(Phase::Complete);
    }
    drop(device);
    written.with_context(|| format!("{shown} is NOT usable"))?;
    let seconds = started.elapsed().as_secs_f32();
    progress.say(&format!("{shown}: written and read back without a difference in {seconds:.1} s, ready to boot"));
    progress
        .say(&format!("To change its configuration, plug it in again and edit {CONFIGURATION} on the volume SLUICE."));
    Ok(())
}

/// Refuses a disk that something speaks against.
fn object(disk: &Disk, arguments: &Arguments, image: u64) -> Result<()> {
    let disk = if arguments.unmount { disk.once_unmounted() } else { disk.clone() };
    refuse(&disk.objections(image, arguments.even_if_not_removable))
}

fn refuse(objections: &[String]) -> Result<()> {
    ensure!(objections.is_empty(), "nothing was written: {}", objections.join("; "));
    Ok(())
}

/// Makes an image in a file of its own.
fn make(config: &Path, routes: Option<&Path>, progress: Progress) -> Result<PathBuf> {
    let name = format!("flash-{}.img", std::process::id());
    let path = Workspace::find().folder("tmp")?.join(name);
    super::image::write(config, routes, &path, progress)?;
    Ok(path)
}

/// Opens an image and makes sure that it is one.
fn open(path: &Path) -> Result<(File, u64)> {
    let shown = path.display();
    let file = File::open(path)
        .with_context(|| format!("there is no image {shown}; make it with `image`, or say --config"))?;
    let len = file.metadata().with_context(|| format!("cannot see {shown}"))?.len();
    let mut start = [0; stick::SECTOR];
    io::Read::read_exact(&mut &file, &mut start).with_context(|| format!("cannot read {shown}"))?;
    ensure!(stick::is_stick(&start), "{shown} is no image of a stick");
    Ok((file, len))
}

/// Has the disk's name typed by somebody who wants to lose what is on it.
fn confirm(disk: &Disk) -> Result<()> {
    let name = &disk.name;
    ensure!(io::stdin().is_terminal(), "nothing was written: there is nobody to ask; say --yes");
    eprint!("Everything on the {} of {name} will be lost. Type {name} to go on: ", flash::readable(disk.size));
    io::stderr().flush().context("cannot ask")?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).context("cannot read the answer")?;
    ensure!(answer.trim() == name.as_str(), "nothing was written");
    Ok(())
}

fn unmount(disk: &Disk, progress: Progress) -> Result<()> {
    for at in disk.mounts() {
        if let Err(error) = umount(at) {
            bail!("nothing was written: {} cannot be unmounted: {}", at.display(), error.desc());
        }
        progress.say(&format!("Unmounted {}", at.display()));
    }
    Ok(())
}

/// Writes with a bar that moves once forth for writing and once for reading back.
fn write(device: &mut BlockDevice, image: &File, len: u64, progress: Progress) -> Result<()> {
    let bar = progress.bar("Writing", len);
    let mut checks = false;
    let written = flash::write(device, image, len, &mut |step, done| {
        if step == Step::Checking && !checks {
            checks = true;
            bar.set_prefix("Reading back");
            bar.reset();
        }
        bar.set_position(done);
    });
    bar.finish_and_clear();
    written
}
