//! The disks of this host and what they are used for, as the kernel's own files tell it: [`Host`], [`Disk`].

use std::{
    fmt, fs,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use nix::sys::stat::{major, minor};

use super::readable;

/// The unit of sizes in /sys/block, whatever a disk's own sectors are.
const SIZE_UNIT: u64 = 512;

/// Where the kernel tells about disks.
#[derive(Clone, Debug)]
pub struct Host {
    sys: PathBuf,
    proc: PathBuf,
}

/// A whole disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// The kernel's name for it, such as `sdb`.
    pub name: String,
    /// Who made it and how it is called, as far as it says.
    pub model: String,
    /// Its octets; 0 without a medium.
    pub size: u64,
    /// Whether the kernel takes it for something that is pulled out.
    pub is_removable: bool,
    /// Whether it cannot be written.
    pub is_read_only: bool,
    /// What it and its partitions are used for.
    pub uses: Vec<Use>,
}

/// A use of a disk or a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// The disk or partition.
    pub device: String,
    /// What for.
    pub how: How,
}

/// What a disk or a partition is used for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    /// As a file system, mounted here.
    Mounted(PathBuf),
    /// As swap space.
    Swap,
    /// As a part of this other device: a volume group, an array, an encrypted disk.
    Part(String),
}

/// Returns the numbers of the block device at `path`.
///
/// # Errors
/// When it is none.
pub fn number_of(path: &Path) -> Result<(u64, u64)> {
    let metadata = fs::metadata(path).with_context(|| format!("there is no {}", path.display()))?;
    ensure!(metadata.file_type().is_block_device(), "{} is no disk", path.display());
    Ok((major(metadata.rdev()), minor(metadata.rdev())))
}

impl Host {
    /// Returns this host.
    #[must_use]
    pub fn this() -> Self {
        Self::at(Path::new("/sys"), Path::new("/proc"))
    }

    /// Returns a host whose files are in these folders.
    #[must_use]
    pub fn at(sys: &Path, proc: &Path) -> Self {
        Self { sys: sys.to_path_buf(), proc: proc.to_path_buf() }
    }

    /// Tells about the disk with these numbers.
    ///
    /// # Errors
    /// When there is none, when it is a partition, or when it cannot be told whether it is in use.
    pub fn disk(&self, (major, minor): (u64, u64)) -> Result<Disk> {
        let number = format!("{major}:{minor}");
        let link = self.sys.join("dev/block").join(&number);
        let folder = link.canonicalize().with_context(|| format!("the kernel knows no disk {number}"))?;
        let name = name_of(&folder);
        if folder.join("partition").exists() {
            let whole = folder.parent().map(name_of).unwrap_or_default();
            anyhow::bail!("{name} is a partition; a stick is written as a whole: /dev/{whole}");
        }
        let size = text(&folder.join("size")).and_then(|size| size.parse::<u64>().ok());
        let size = size.with_context(|| format!("the kernel does not tell the size of {name}"))? * SIZE_UNIT;
        let is_set = |file: &str| text(&folder.join(file)).is_some_and(|value| value == "1");
        Ok(Disk {
            model: model(&folder),
            size,
            is_removable: is_set("removable"),
            is_read_only: is_set("ro"),
            uses: self.uses(&folder)?,
            name,
        })
    }

    /// Tells what a disk and its partitions are used for.
    fn uses(&self, folder: &Path) -> Result<Vec<Use>> {
        let read = |file: &str| {
            let path = self.proc.join(file);
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        let mounts = read("self/mountinfo")?;
        // A kernel without swap has no such file.
        let swaps = read("swaps").unwrap_or_default();
        let mut devices = vec![folder.to_path_buf()];
        devices.extend(entries(folder).into_iter().filter(|entry| entry.join("partition").exists()));
        let mut uses = Vec::new();
        for device in devices {
            let name = name_of(&device);
            let number =
                text(&device.join("dev")).with_context(|| format!("the kernel does not tell what {name} is"))?;
            let file = format!("/dev/{name}");
            let mut add = |how| uses.push(Use { device: name.clone(), how });
            for mount in mounts.lines().filter_map(Mount::parse) {
                // Some file systems have numbers of their own; they name their device.
                if mount.number == number || mount.source == file {
                    add(How::Mounted(mount.at));
                }
            }
            if swaps.lines().skip(1).any(|line| line.split_whitespace().next() == Some(&file)) {
                add(How::Swap);
            }
            for holder in entries(&device.join("holders")) {
                add(How::Part(name_of(&holder)));
            }
        }
        Ok(uses)
    }
}

impl Disk {
    /// Returns what speaks against writing an image of so many octets to it, each with the way out if there is one.
    #[must_use]
    pub fn objections(&self, image: u64, even_if_not_removable: bool) -> Vec<String> {
        let name = &self.name;
        let mut objections: Vec<String> =
            self.uses.iter().map(|found| format!("{found}{}", found.how.advice())).collect();
        if !self.is_removable && !even_if_not_removable {
            objections.push(format!(
                "{name} is not removable, so it may be a disk of this computer; if it is not, say --even-if-not-removable"
            ));
        }
        if self.size == 0 {
            objections.push(format!("there is no medium in {name}"));
        } else if self.size < image {
            let (size, needed) = (readable(self.size), readable(image));
            objections.push(format!("{name} is too small: it has {size}, and the image {needed}"));
        }
        if self.is_read_only {
            objections.push(format!("{name} is read-only; some sticks have a switch for that"));
        }
        objections
    }

    /// Returns the disk as it will be once what can be unmounted is: not what this computer runs from.
    #[must_use]
    pub fn once_unmounted(&self) -> Self {
        let mut disk = self.clone();
        disk.uses.retain(|found| !matches!(&found.how, How::Mounted(at) if at != Path::new("/")));
        disk
    }

    /// Returns where it and its partitions are mounted; what was mounted last comes first.
    #[must_use]
    pub fn mounts(&self) -> Vec<&Path> {
        let mounts = self.uses.iter().filter_map(|found| match &found.how {
            How::Mounted(at) => Some(at.as_path()),
            How::Swap | How::Part(_) => None,
        });
        let mut mounts: Vec<&Path> = mounts.collect();
        mounts.reverse();
        mounts
    }
}

impl How {
    fn advice(&self) -> &'static str {
        match self {
            Self::Mounted(at) if at == Path::new("/") => ": this computer runs from it",
            Self::Mounted(_) => "; unmount it, or say --unmount",
            Self::Swap => "; see swapoff(8)",
            Self::Part(_) => "",
        }
    }
}

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let model = if self.model.is_empty() { "no model given" } else { &self.model };
        let removable = if self.is_removable { "removable" } else { "NOT removable" };
        write!(f, "/dev/{}: {model}, {}, {removable}", self.name, readable(self.size))?;
        if self.uses.is_empty() {
            return f.write_str(", not in use");
        }
        self.uses.iter().try_for_each(|found| write!(f, ", {found}"))
    }
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.how {
            How::Mounted(at) => write!(f, "{} is mounted at {}", self.device, at.display()),
            How::Swap => write!(f, "{} is swap space", self.device),
            How::Part(other) => write!(f, "{} is a part of {other}", self.device),
        }
    }
}

/// A line of /proc/self/mountinfo. Source: proc_pid_mountinfo(5).
struct Mount<'a> {
    number: &'a str,
    at: PathBuf,
    source: String,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (front, back) = line.split_once(" - ")?;
        let mut front = front.split(' ');
        let number = front.nth(2)?;
        let at = PathBuf::from(unescaped(front.nth(1)?));
        Some(Self { number, at, source: unescaped(back.split(' ').nth(1)?) })
    }
}

/// Undoes the octal numbers in which spaces and the like are written there.
fn unescaped(word: &str) -> String {
    let mut pieces = word.split('\\');
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let code = piece.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match (code, piece.get(3..)) {
            (Some(code), Some(rest)) => {
                text.push(char::from(code));
                text.push_str(rest);
            }
            _ => {
                text.push('\\');
                text.push_str(piece);
            }
        }
    }
    text
}

/// Returns who made a disk and how it is called. A loop device is called by its file.
fn model(folder: &Path) -> String {
    if let Some(file) = text(&folder.join("loop/backing_file")) {
        return format!("loop device over {file}");
    }
    let words =
        ["device/vendor", "device/model", "device/name"].map(|file| text(&folder.join(file)).unwrap_or_default());
    // Virtual disks have a number for a maker.
    let says = |word: &&String| !word.is_empty() && !word.starts_with("0x");
    words.iter().filter(says).cloned().collect::<Vec<_>>().join(" ")
}

/// Returns the name of a device by its folder, in which the kernel writes `!` for `/`.
fn name_of(folder: &Path) -> String {
    folder.file_name().unwrap_or_default().to_string_lossy().replace('!', "/")
}

/// Returns the text in a file of one line; `None` if there is none.
fn text(path: &Path) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

/// Returns what is in a folder, in the order of the names; nothing if there is no folder.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

#[cfg(test)]
#[path = "disk_tests.rs"]
mod tests;
