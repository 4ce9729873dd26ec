//! Packages that apt cannot install here without removing others: downloaded and unpacked under `target/unpacked`.
//!
//! A machine may hold a newer `qemu-utils` than its package sources offer, with which their `qemu-system-x86` does not go
//! together. Nothing of the machine is changed for that: the packages apt would install are downloaded into the target
//! folder and unpacked there, and a script starts the program with the libraries beside it.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{progress::Progress, workspace::Workspace};

/// Where the unpacked packages' libraries are.
const LIBRARIES: &[&str] = &["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"];

/// Returns the script that starts the unpacked `program`, if there is one.
pub(super) fn program(workspace: &Workspace, program: &str) -> Option<PathBuf> {
    let script = workspace.target("unpacked").join("bin").join(program);
    script.is_file().then_some(script)
}

/// Downloads `package` and everything it needs, unpacks them, and makes the script for its `program`.
///
/// # Errors
/// When apt does not deliver the packages, or `program` is not among them.
pub(super) fn unpack(workspace: &Workspace, package: &str, program: &str, progress: Progress) -> Result<()> {
    let home = workspace.folder("unpacked")?;
    let archives = workspace.folder("unpacked/archives")?;
    // apt wants this folder to be there.
    workspace.folder("unpacked/archives/partial")?;
    let mut cache = std::ffi::OsString::from("Dir::Cache::archives=");
    cache.push(&archives);
    let mut download = Command::new("apt-get");
    download.arg("-o").arg(cache).args(["-o", "Debug::NoLocking=1", "--yes", "--download-only"]);
    download.args(["--no-install-recommends", "install", package]).env("DEBIAN_FRONTEND", "noninteractive");
    progress.run(&format!("Downloading {package} into the target folder"), &mut download)?;
    let root = home.join("root");
    for archive in debs(&archives)? {
        let mut extract = Command::new("dpkg-deb");
        extract.arg("--extract").arg(&archive).arg(&root);
        progress.run(&format!("Unpacking {}", archive.display()), &mut extract)?;
    }
    let binary = root.join("usr/bin").join(program);
    if !binary.is_file() {
        bail!("{} is not in the packages that apt downloaded for {package}", binary.display());
    }
    let script = workspace.folder("unpacked/bin")?.join(program);
    write_script(&script, &root, &binary).with_context(|| format!("cannot write {}", script.display()))?;
    fs::remove_dir_all(&archives).with_context(|| format!("cannot remove {}", archives.display()))
}

/// Lists the packages in a folder.
pub(super) fn debs(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let paths = entries.flatten().map(|entry| entry.path());
    Ok(paths.filter(|path| path.extension().is_some_and(|extension| extension == "deb")).collect())
}

/// Writes the script that starts `binary` with the libraries under `root`; last, and by renaming, as the sign that all is there.
fn write_script(script: &Path, root: &Path, binary: &Path) -> io::Result<()> {
    let libraries: Vec<String> = LIBRARIES.iter().map(|folder| quoted(&root.join(folder))).collect();
    let text = format!("#!/bin/sh\nLD_LIBRARY_PATH={} exec {} \"$@\"\n", libraries.join(":"), quoted(binary));
    let fresh = script.with_extension(format!("{}", std::process::id()));
    fs::write(&fresh, text)?;
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755))?;
    fs::rename(fresh, script)
}

/// Returns a path as the shell takes it, whatever is in it.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::scratch;

    #[test]
    fn the_script_runs_the_program_with_its_libraries_and_arguments_even_from_an_odd_folder() {
        let root = scratch("un'packed $HOME");
        let binary = root.join("usr/bin/tell");
        fs::create_dir_all(binary.parent().unwrap()).unwrap();
        fs::write(&binary, "#!/bin/sh\necho \"$LD_LIBRARY_PATH|$1|$2\"\n").unwrap();
        fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
        let script = root.join("tell");
        write_script(&script, &root, &binary).unwrap();
        let output = Command::new(&script).args(["a b", "c"]).output().unwrap();
        let folders: Vec<String> = LIBRARIES.iter().map(|folder| root.join(folder).display().to_string()).collect();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{}|a b|c\n", folders.join(":")));
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn only_packages_are_unpacked() {
        let folder = scratch("debs");
        for name in ["a.deb", "lock", "b.deb.part"] {
            fs::write(folder.join(name), "").unwrap();
        }
        assert_eq!(debs(&folder).unwrap(), [folder.join("a.deb")]);
        fs::remove_dir_all(folder).unwrap();
    }
}
