//! Makes the machine ready: finds out which programs are missing and installs their Debian packages.
//!
//! Packages are installed through apt when the user is root or sudo asks no question, and are announced first. In
//! every other case the one command that installs them is all that happens. apt is told never to remove a package; where it
//! could not install QEMU without, QEMU is unpacked below the target folder instead.

mod collected;
mod unpacked;

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
pub use collected::{PackageSet, package_set};
use nix::unistd::Uid;

use crate::{machine::Firmware, progress::Progress, toolchain, toolchain::Toolchain, workspace::Workspace};

/// The program that runs the machines, and its package.
const QEMU: &str = "qemu-system-x86_64";
const QEMU_PACKAGE: &str = "qemu-system-x86";

/// Firmware images for UEFI, in the places where distributions put them; the first that exists is used.
const OVMF: &[&str] = &[
    "/usr/share/ovmf/OVMF.fd",
    "/usr/share/OVMF/OVMF.fd",
    "/usr/share/edk2/x64/OVMF.4m.fd",
    "/usr/share/edk2-ovmf/x64/OVMF.fd",
];

/// Returns the UEFI firmware image of this machine.
#[must_use]
pub fn ovmf() -> Option<&'static Path> {
    OVMF.iter().map(Path::new).find(|path| path.exists())
}

/// Makes sure that `firmware` can be booted in QEMU.
///
/// # Errors
/// When something is missing and cannot be installed.
pub fn for_running(firmware: Firmware, progress: Progress) -> Result<()> {
    if found_qemu().is_none() {
        // Several test programs may find out at once.
        let workspace = Workspace::find();
        let _lock = crate::build::lock(&workspace)?;
        if found_qemu().is_none() {
            obtain_qemu(&workspace, progress)?;
        }
    }
    if firmware == Firmware::Uefi && ovmf().is_none() {
        install(&["ovmf".to_owned()], progress)?;
    }
    if found_qemu().is_none() || (firmware == Firmware::Uefi && ovmf().is_none()) {
        bail!("{QEMU} or its firmware is still missing after installing it");
    }
    Ok(())
}

/// Returns the program that runs the machines: the machine's own or, without one, the one unpacked below the target folder.
#[must_use]
pub fn qemu() -> PathBuf {
    found_qemu().unwrap_or_else(|| QEMU.into())
}

fn found_qemu() -> Option<PathBuf> {
    program(QEMU).or_else(|| unpacked::program(&Workspace::find(), QEMU))
}

/// Installs QEMU or, if it does not go together with what is installed here, unpacks it.
fn obtain_qemu(workspace: &Workspace, progress: Progress) -> Result<()> {
    let Err(refused) = install(&[QEMU_PACKAGE.to_owned()], progress) else { return Ok(()) };
    progress.say(&format!("{refused:#}\nUnpacking it below the target folder instead"));
    unpacked::unpack(workspace, QEMU_PACKAGE, QEMU, progress).with_context(|| format!("{refused:#}"))
}

/// Makes sure that there is a toolchain for the bare machine, and returns it.
///
/// # Errors
/// When something is missing and cannot be installed.
pub fn for_building(workspace: &Workspace, progress: Progress) -> Result<Toolchain> {
    if let Ok(toolchain) = Toolchain::find(workspace) {
        return Ok(toolchain);
    }
    // The LLVM tools have to suit the compiler, so that comes first.
    install(&compiler_packages(), progress)?;
    if !compiler_packages().is_empty() {
        // Still too old: so were the lists that apt chose from.
        update_lists(progress)?;
        install(&compiler_packages(), progress)?;
    }
    install(&llvm_packages(), progress)?;
    Toolchain::find(workspace)
}

/// Makes sure that the programs are there with which Linux's own hosts talk through the router: `(program, package)` each.
///
/// # Errors
/// When one is missing and cannot be installed.
pub fn for_real_hosts(programs: &[(&str, &str)], progress: Progress) -> Result<()> {
    let absent = |(program_name, _): &&(&str, &str)| program(program_name).is_none();
    let missing: Vec<String> = programs.iter().filter(absent).map(|(_, package)| (*package).to_owned()).collect();
    install(&missing, progress)?;
    match programs.iter().find(absent) {
        Some((program, package)) => bail!("{program} is still missing after installing {package}"),
        None => Ok(()),
    }
}

/// Returns the packages that complete Debian's toolchain on this machine.
#[must_use]
pub fn toolchain_packages() -> Vec<String> {
    [compiler_packages(), llvm_packages()].concat()
}

/// Returns the command that installs `packages`.
#[must_use]
pub fn install_command(packages: &[String]) -> String {
    format!("sudo apt-get install --no-install-recommends {}", packages.join(" "))
}

/// Finds a program in the folders of `PATH`.
#[must_use]
pub fn program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(name)).find(|candidate| candidate.is_file())
}

/// The parts of Debian's compiler that are not installed.
fn compiler_packages() -> Vec<String> {
    let parts = [
        ("rustc-web", "/usr/bin/rustc"),
        ("cargo-web", "/usr/bin/cargo"),
        ("rust-web-src", "/usr/lib/rustlib/src/rust/library/core"),
        ("rust-web-clippy", "/usr/bin/cargo-clippy"),
        ("rustfmt-web", "/usr/bin/rustfmt"),
    ];
    // An older compiler under the same name is Debian's plain one, which the packages of the newer one replace.
    let is_old = toolchain::debian_version().is_some_and(|version| version.release < (1, 95));
    let missing = parts.iter().filter(|(_, path)| is_old || !Path::new(path).exists());
    missing.map(|(package, _)| (*package).to_owned()).collect()
}

/// The LLVM packages that suit Debian's compiler, unless installed; a guess while the compiler is not there.
fn llvm_packages() -> Vec<String> {
    let newest = toolchain::debian_version().map_or(22, |version| version.llvm);
    if toolchain::newest_llvm(Path::new("/usr/lib"), newest).is_some() {
        return Vec::new();
    }
    let listing = Command::new("apt-cache").args(["search", "--names-only", "^lld-[0-9]+$"]).output();
    let listing = listing.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let number = newest_listed(&listing, newest).unwrap_or(newest);
    vec![format!("lld-{number}"), format!("llvm-{number}")]
}

/// Returns the newest `lld-N` of an apt-cache listing that is not newer than `newest`.
fn newest_listed(listing: &str, newest: u32) -> Option<u32> {
    let number = |line: &str| line.split(' ').next()?.strip_prefix("lld-")?.parse::<u32>().ok();
    listing.lines().filter_map(number).filter(|number| *number <= newest).max()
}

/// Installs `packages`, or says how.
fn install(packages: &[String], progress: Progress) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let names = packages.join(" ");
    if !is_listed(packages) {
        update_lists(progress)?;
    }
    let arguments: Vec<&str> = ["install", "--yes", "--no-remove", "--no-install-recommends"]
        .into_iter()
        .chain(packages.iter().map(String::as_str))
        .collect();
    let by_hand = format!("packages are missing; install them with: {}", install_command(packages));
    let mut command = apt(&arguments, &by_hand)?;
    progress.say(&format!("Installing Debian packages with apt-get: {names}"));
    if progress.run("Installing packages", &mut command).is_ok() {
        return Ok(());
    }
    // Lists that are old name files that are gone.
    update_lists(progress)?;
    progress
        .run("Installing packages", &mut apt(&arguments, &by_hand)?)
        .with_context(|| format!("apt-get could not install them; by hand: {}", install_command(packages)))
}

/// Has apt fetch its lists anew.
fn update_lists(progress: Progress) -> Result<()> {
    let mut command = apt(&["update"], "apt's lists are missing or old; renew them with: sudo apt-get update")?;
    progress.run("Updating the list of packages", &mut command)
}

/// Returns apt-get with `arguments`, as root.
///
/// # Errors
/// Without apt-get; `by_hand` where neither we are root nor sudo works without asking.
fn apt(arguments: &[&str], by_hand: &str) -> Result<Command> {
    let Some(apt_get) = program("apt-get") else {
        bail!("this machine has no apt-get: {by_hand}");
    };
    let mut command = if Uid::effective().is_root() {
        Command::new("env")
    } else if sudo_is_silent() {
        let mut sudo = Command::new("sudo");
        sudo.args(["-n", "env"]);
        sudo
    } else {
        bail!("{by_hand}");
    };
    command.arg("DEBIAN_FRONTEND=noninteractive").arg(apt_get);
    command.args(["-o", "DPkg::Lock::Timeout=120"]).args(arguments);
    Ok(command)
}

/// Returns whether apt has heard of every package, so that its lists need no update.
fn is_listed(packages: &[String]) -> bool {
    let output = Command::new("apt-cache").arg("show").args(packages).stdin(Stdio::null()).output();
    output.is_ok_and(|output| output.status.success())
}

/// Returns whether sudo works without asking anything.
fn sudo_is_silent() -> bool {
    let probe = Command::new("sudo").args(["-n", "true"]).stdin(Stdio::null()).output();
    probe.is_ok_and(|output| output.status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_listed_linker_that_suits_the_compiler_is_taken() {
        let listing = "lld-14 - LLVM-based linker\nlld-9 - LLVM-based linker\nlld-22 - LLVM-based linker\n";
        assert_eq!(newest_listed(listing, 22), Some(22));
        assert_eq!(newest_listed(listing, 21), Some(14));
        assert_eq!(newest_listed("liblld-14 - library\n", 21), None);
    }

    #[test]
    fn nothing_missing_is_nothing_to_do() {
        install(&[], Progress::new()).unwrap();
    }

    #[test]
    fn the_command_for_the_user_names_every_package() {
        let command = install_command(&["ovmf".into(), "qemu-system-x86".into()]);
        assert_eq!(command, "sudo apt-get install --no-install-recommends ovmf qemu-system-x86");
    }
}
