//! Debian packages whose files go into guests: downloaded with all the libraries they need and unpacked, never installed.
//! [`PackageSet`].
//!
//! apt is asked what it would install on a machine where nothing is, so that what a guest is made of does not depend on
//! what this machine holds. Of the answer only the libraries and what was asked for are fetched; that needs no root.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::{progress::Progress, workspace::Workspace};

/// What the names of packages begin with whose files a program or a guest kernel may need to run.
const RUNTIME: &[&str] = &["lib", "zlib1g", "linux-image-"];

/// The file in a set's folder that names its packages; written last, as the sign that all is there.
const LIST: &str = "packages";

/// Unpacked packages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageSet {
    root: PathBuf,
    /// The packages' files, `NAME_VERSION_ARCHITECTURE.deb`.
    files: Vec<String>,
}

impl PackageSet {
    /// Returns the folder that the packages are unpacked in, as they would be in `/`.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the name and version of the first package whose name begins with `prefix`, for records.
    #[must_use]
    pub fn version(&self, prefix: &str) -> Option<String> {
        let file = self.files.iter().find(|file| file.starts_with(prefix))?;
        let mut parts = file.split('_');
        // apt writes an epoch's colon so.
        Some(format!("{} {}", parts.next()?, parts.next()?.replace("%3a", ":")))
    }

    fn read(home: &Path) -> Option<Self> {
        let list = fs::read_to_string(home.join(LIST)).ok()?;
        Some(Self { root: home.join("root"), files: list.lines().map(str::to_owned).collect() })
    }
}

/// Returns the packages `wanted` and the libraries they need, unpacked below `target/peer/NAME`; downloads them if they
/// are not there yet.
///
/// # Errors
/// Without apt, or when it does not deliver them.
pub fn package_set(workspace: &Workspace, name: &str, wanted: &[&str], progress: Progress) -> Result<PackageSet> {
    let home = workspace.folder("peer")?.join(name);
    if let Some(set) = PackageSet::read(&home) {
        return Ok(set);
    }
    let _lock = crate::build::lock(workspace)?;
    if let Some(set) = PackageSet::read(&home) {
        return Ok(set);
    }
    collect(&home, wanted, progress).with_context(|| format!("cannot get the packages {}", wanted.join(", ")))?;
    PackageSet::read(&home).context("they are not there after unpacking them")
}

fn collect(home: &Path, wanted: &[&str], progress: Progress) -> Result<()> {
    if super::program("apt-get").is_none() {
        bail!("this machine has no apt-get; the peers are made of Debian's packages");
    }
    let owned: Vec<String> = wanted.iter().map(|package| (*package).to_owned()).collect();
    if !super::is_listed(&owned) {
        super::update_lists(progress)?;
    }
    if let Err(refused) = fetch(home, wanted, progress) {
        progress.say(&format!("{refused:#}"));
        // Lists that are old name files that are gone.
        super::update_lists(progress)?;
        fetch(home, wanted, progress)?;
    }
    let archives = home.join("archives");
    let root = home.join("root");
    let mut files = Vec::new();
    for archive in super::unpacked::debs(&archives)? {
        let mut extract = Command::new("dpkg-deb");
        extract.arg("--extract").arg(&archive).arg(&root);
        progress.run(&format!("Unpacking {}", archive.display()), &mut extract)?;
        files.extend(archive.file_name().map(|name| name.to_string_lossy().into_owned()));
    }
    files.sort();
    fs::remove_dir_all(&archives).with_context(|| format!("cannot remove {}", archives.display()))?;
    let list = home.join(LIST);
    fs::write(&list, files.join("\n")).with_context(|| format!("cannot write {}", list.display()))
}

/// Downloads the packages into an empty folder `archives`.
fn fetch(home: &Path, wanted: &[&str], progress: Progress) -> Result<()> {
    let archives = home.join("archives");
    // What an earlier attempt left is no use.
    let _ = fs::remove_dir_all(home);
    fs::create_dir_all(&archives).with_context(|| format!("cannot make {}", archives.display()))?;
    let mut question = Command::new("apt-get");
    question.args(["-o", "Dir::State::status=/dev/null", "-o", "Debug::NoLocking=1", "--print-uris", "--yes"]);
    question.args(["--no-install-recommends", "install"]).args(wanted).stdin(Stdio::null());
    let answer = question.output().context("cannot start apt-get")?;
    if !answer.status.success() {
        bail!("apt-get does not know them all: {}", String::from_utf8_lossy(&answer.stderr).trim());
    }
    let packages = needed(&String::from_utf8_lossy(&answer.stdout), wanted);
    progress.say(&format!("Downloading {} of Debian's packages for a guest: {}", packages.len(), wanted.join(", ")));
    let mut download = Command::new("apt-get");
    download.args(["-o", "APT::Sandbox::User=root", "download"]).args(&packages).current_dir(&archives);
    progress.run("Downloading packages", &mut download)
}

/// Returns the names of the packages to fetch, out of apt's list of addresses: `'ADDRESS' FILE SIZE CHECKSUM` each.
fn needed(listing: &str, wanted: &[&str]) -> Vec<OsString> {
    let names = listing.lines().filter_map(|line| {
        let file = line.strip_prefix('\'')?.split(' ').nth(1)?;
        Some(file.split('_').next().unwrap_or(file))
    });
    let is_runtime = |name: &str| RUNTIME.iter().any(|prefix| name.starts_with(prefix)) && !name.ends_with("-dev");
    names.filter(|name| wanted.contains(name) || is_runtime(name)).map(OsString::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::scratch;

    #[test]
    fn libraries_and_what_was_asked_for_are_fetched_and_nothing_else() {
        let listing = "Reading package lists...\n\
            'http://x/libc6_2.36_amd64.deb' libc6_2.36_amd64.deb 2759320 MD5Sum:1\n\
            'http://x/perl-base_5_amd64.deb' perl-base_5_amd64.deb 1 SHA256:2\n\
            'http://x/libdpdk-dev_22_amd64.deb' libdpdk-dev_22_amd64.deb 1 SHA256:2\n\
            'http://x/dpdk-dev_22_amd64.deb' dpdk-dev_22_amd64.deb 1 SHA256:2\n\
            'http://x/zlib1g_1%3a1.2_amd64.deb' zlib1g_1%3a1.2_amd64.deb 1 SHA256:2\n";
        assert_eq!(needed(listing, &["dpdk-dev"]), ["libc6", "dpdk-dev", "zlib1g"]);
    }

    #[test]
    fn a_set_is_there_when_its_list_is_and_knows_the_versions() {
        let home = scratch("set");
        assert_eq!(PackageSet::read(&home), None);
        fs::write(home.join(LIST), "ethtool_1%3a6.1-1_amd64.deb\nlinux-image-6.1.0-56-amd64_6.1.192-2_amd64.deb")
            .unwrap();
        let set = PackageSet::read(&home).unwrap();
        assert_eq!(set.version("ethtool").unwrap(), "ethtool 1:6.1-1");
        assert_eq!(set.version("linux-image-6").unwrap(), "linux-image-6.1.0-56-amd64 6.1.192-2");
        assert_eq!(set.version("dpdk"), None);
        fs::remove_dir_all(home).unwrap();
    }
}
