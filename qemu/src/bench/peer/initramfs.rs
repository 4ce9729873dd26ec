//! The initial file system of a Linux guest: [`Initramfs`], a cpio archive in the format "newc".
//!
//! The format is in the kernel's Documentation/driver-api/early-userspace/buffer-format.rst: for each entry a header of
//! 110 octets in ASCII, the name and the content, each padded to a multiple of four. The kernel does not make the
//! folders of a file, so they precede it.

use std::collections::BTreeSet;

/// The kinds of entries: bits of `st_mode`.
const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const CHARACTER_DEVICE: u32 = 0o020_000;

/// The name of the entry that ends an archive.
const TRAILER: &str = "TRAILER!!!";

/// An archive that is being written.
#[derive(Debug, Default)]
pub(super) struct Initramfs {
    archive: Vec<u8>,
    /// The number of entries so far, which numbers the inodes: two with one number would be one file.
    entries: usize,
    folders: BTreeSet<String>,
}

impl Initramfs {
    /// Begins an archive with the one device that the kernel opens before anything is mounted.
    #[must_use]
    pub(super) fn new() -> Self {
        let mut archive = Self::default();
        archive.folder("dev");
        archive.entry("dev/console", CHARACTER_DEVICE | 0o600, &[], (5, 1));
        archive
    }

    /// Adds a folder and those above it, unless they are there.
    pub(super) fn folder(&mut self, path: &str) {
        if path.is_empty() || self.folders.contains(path) {
            return;
        }
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.folder(parent);
        }
        self.folders.insert(path.to_owned());
        self.entry(path, FOLDER | 0o755, &[], (0, 0));
    }

    /// Adds a file; `path` does not begin with a slash.
    pub(super) fn file(&mut self, path: &str, content: &[u8]) {
        self.add_file(path, 0o644, content);
    }

    /// Adds a file that can be executed.
    pub(super) fn program(&mut self, path: &str, content: &[u8]) {
        self.add_file(path, 0o755, content);
    }

    fn add_file(&mut self, path: &str, permissions: u32, content: &[u8]) {
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.folder(parent);
        }
        self.entry(path, FILE | permissions, content, (0, 0));
    }

    /// Ends the archive and returns it.
    #[must_use]
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry(TRAILER, 0, &[], (0, 0));
        self.archive
    }

    /// Appends an entry of root's, with one name; `device` is the number of the device that it is, if any.
    fn entry(&mut self, name: &str, mode: u32, content: &[u8], device: (u32, u32)) {
        self.entries += 1;
        let (number, mode, size, length) = (self.entries, mode, content.len(), name.len() + 1);
        let (major, minor) = device;
        // Magic, inode, mode, user, group, links, time, size, device of the file system, device, name's length, no checksum.
        let header = format!(
            "070701{number:08X}{mode:08X}{0:08X}{0:08X}{1:08X}{0:08X}{size:08X}{0:08X}{0:08X}{major:08X}{minor:08X}{length:08X}{0:08X}",
            0, 1
        );
        self.archive.extend_from_slice(header.as_bytes());
        self.archive.extend_from_slice(name.as_bytes());
        self.archive.push(0);
        self.pad();
        self.archive.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.archive.resize(self.archive.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An entry as it is read again.
    #[derive(Debug, PartialEq, Eq)]
    struct Entry {
        name: String,
        number: u32,
        mode: u32,
        content: Vec<u8>,
        device: (u32, u32),
    }

    /// Reads an archive by the format's description.
    fn entries(mut archive: &[u8]) -> Vec<Entry> {
        let mut found = Vec::new();
        while !archive.is_empty() {
            let field = |index: usize| {
                let digits = &archive[6 + 8 * index..14 + 8 * index];
                u32::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap()
            };
            assert_eq!(&archive[..6], b"070701");
            let (size, length) = (field(6) as usize, field(11) as usize);
            let start = (110 + length).next_multiple_of(4);
            assert_eq!(archive[110 + length - 1], 0, "a name ends with a zero");
            found.push(Entry {
                name: String::from_utf8(archive[110..110 + length - 1].to_vec()).unwrap(),
                number: field(0),
                mode: field(1),
                content: archive[start..start + size].to_vec(),
                device: (field(9), field(10)),
            });
            archive = &archive[(start + size).next_multiple_of(4)..];
        }
        found
    }

    #[test]
    fn what_is_put_in_is_read_again_with_the_folders_before_the_files() {
        let mut archive = Initramfs::new();
        archive.program("init", b"#!/bin/sh\n");
        archive.file("lib/deep/er/x.so", &[1, 2, 3, 4, 5]);
        archive.file("lib/deep/y", b"");
        let entries = entries(&archive.finish());
        let names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
        let expected =
            ["dev", "dev/console", "init", "lib", "lib/deep", "lib/deep/er", "lib/deep/er/x.so", "lib/deep/y", TRAILER];
        assert_eq!(names, expected);
        let of = |name: &str| entries.iter().find(|entry| entry.name == name).unwrap();
        assert_eq!((of("dev/console").mode, of("dev/console").device), (0o020_600, (5, 1)));
        assert_eq!((of("init").mode, of("init").content.as_slice()), (0o100_755, b"#!/bin/sh\n".as_slice()));
        assert_eq!((of("lib").mode, of("lib/deep/er/x.so").mode), (0o040_755, 0o100_644));
        assert_eq!(of("lib/deep/er/x.so").content, [1, 2, 3, 4, 5]);
    }

    #[test]
    fn no_two_entries_are_the_same_inode() {
        let mut archive = Initramfs::new();
        archive.file("a", b"1");
        archive.file("b", b"2");
        let numbers: BTreeSet<u32> = entries(&archive.finish()).iter().map(|entry| entry.number).collect();
        assert_eq!(numbers.len(), 5);
    }
}
