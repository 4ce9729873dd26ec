//! A file as a disk: [`LoopDevice`], by losetup(8).

use std::{
    ffi::OsStr,
    fs::{self, File},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

/// A loop device over a file of its own; it is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct LoopDevice {
    path: PathBuf,
}

/// Something mounted, until this is dropped.
#[derive(Debug)]
pub(crate) struct Mounted(Option<PathBuf>);

impl LoopDevice {
    /// Makes a disk of `size` octets.
    pub(crate) fn make(file: &Path, size: u64) -> Result<Self> {
        File::create(file)?.set_len(size)?;
        let name = run("losetup", [OsStr::new("--find"), OsStr::new("--show"), file.as_os_str()])?;
        Ok(Self { path: PathBuf::from(name.trim()) })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn open(&self) -> Result<File> {
        let file = File::options().read(true).write(true).open(&self.path);
        file.with_context(|| format!("cannot open {}", self.path.display()))
    }

    /// Reads the start.
    pub(crate) fn start(&self) -> Result<[u8; 4096]> {
        let mut start = [0; 4096];
        self.open()?.read_exact_at(&mut start, 0)?;
        Ok(start)
    }

    /// Makes a file system on it and mounts that.
    pub(crate) fn mount(&self, folder: &Path) -> Result<Mounted> {
        fs::create_dir_all(folder)?;
        run("mkfs.ext4", [OsStr::new("-q"), self.path.as_os_str()])?;
        run("mount", [self.path.as_os_str(), folder.as_os_str()])?;
        Ok(Mounted(Some(folder.to_path_buf())))
    }
}

impl Mounted {
    /// Takes note that somebody else has unmounted it.
    pub(crate) fn forget(mut self) {
        self.0 = None;
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Some(folder) = &self.0 {
            let _ = run("umount", [folder]);
        }
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        let _ = run("losetup", [OsStr::new("--detach"), self.path.as_os_str()]);
    }
}

/// Runs a program to its end and returns what it wrote.
fn run<Word: AsRef<OsStr>>(program: &str, words: impl IntoIterator<Item = Word>) -> Result<String> {
    let output = Command::new(program).args(words).output().with_context(|| format!("cannot start {program}"))?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program}: {}", complaint.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
