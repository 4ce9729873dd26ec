//! A disk in memory that can be unplugged in the middle of a write, and images to put on it.

use fat::{SECTOR, Sectors, stick::Booted};
use stick::loader::Loader;

pub(crate) const CONFIG: &[u8] = b"hostname = \"r1\"\n[sysctl]\n\"kern.selftest\" = 1\n";

/// A disk, and how many more sectors it writes before it is pulled out.
pub(crate) struct Disk {
    pub(crate) octets: Vec<u8>,
    pub(crate) writes_left: usize,
    pub(crate) flushed: usize,
}

impl Disk {
    pub(crate) fn of(octets: Vec<u8>) -> Self {
        Self { octets, writes_left: usize::MAX, flushed: 0 }
    }
}

impl Sectors for Disk {
    type Error = &'static str;

    fn count(&self) -> u32 {
        u32::try_from(self.octets.len() / SECTOR).unwrap()
    }

    fn read(&mut self, first: u32, into: &mut [u8]) -> Result<(), &'static str> {
        let start = first as usize * SECTOR;
        into.copy_from_slice(self.octets.get(start..start + into.len()).ok_or("read behind the end")?);
        Ok(())
    }

    fn write(&mut self, first: u32, from: &[u8]) -> Result<(), &'static str> {
        assert!(from.len().is_multiple_of(SECTOR));
        for (sector, new) in (first as usize..).zip(from.chunks(SECTOR)) {
            self.writes_left = self.writes_left.checked_sub(1).ok_or("pulled out")?;
            self.octets
                .get_mut(sector * SECTOR..(sector + 1) * SECTOR)
                .ok_or("write behind the end")?
                .copy_from_slice(new);
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), &'static str> {
        self.flushed += 1;
        Ok(())
    }
}

/// A kernel's file whose end tells which one it is.
pub(crate) fn kernel(build: &str) -> Vec<u8> {
    [&[0x7F; 40_000][..], build.as_bytes()].concat()
}

/// The image of a stick, as the image tool makes it.
pub(crate) fn image(kernel: &[u8], configuration: &[u8]) -> Vec<u8> {
    let mut first_stage = vec![0x90; SECTOR];
    first_stage[440..510].fill(0);
    first_stage[510..].copy_from_slice(&[0x55, 0xAA]);
    let loader = Loader {
        first_stage,
        second_stage: b"ramdiskNo ramdisk found, skipping.\n".to_vec(),
        third_stage: vec![0x33; 50_000],
        fourth_stage: vec![0x44; 50_001],
        uefi: b"kernel-x86_64\0ramdisk\0boot.json\0".to_vec(),
        settings: b"{}".to_vec(),
    };
    stick::compose(&loader, kernel, configuration).unwrap()
}

/// What a kernel knows of itself: all of its file but the segments, which it has changed.
pub(crate) fn booted(kernel: &'static [u8]) -> Booted<'static> {
    Booted { kernel_octets: kernel.len() as u64, kernel_tail: &kernel[30_000..], configuration: CONFIG }
}

/// Keeps a file for as long as a test runs.
pub(crate) fn leak(octets: Vec<u8>) -> &'static [u8] {
    Box::leak(octets.into_boxed_slice())
}
