//! Writing an image in an order in which no half of it boots: [`write()`].

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
};

use anyhow::{Context, Result, ensure};
use nix::{
    errno::Errno,
    fcntl::{OFlag, PosixFadviseAdvice, posix_fadvise},
};

/// The octets that are written last: the boot sector and the partition table are among them.
const START: usize = 4096;
/// What is written or read at a time, and what may be on its way to the medium at a time.
const CHUNK: usize = 1 << 20;
const UNSYNCED: u64 = 4 << 20;
/// Disks are written in whole sectors.
const SECTOR: u64 = 512;

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The image is written.
    Writing,
    /// What was written is read and compared.
    Checking,
}

/// What can be written to.
pub trait Medium {
    /// Writes these octets at `offset`; they may be under way when this returns.
    ///
    /// # Errors
    /// When that fails.
    fn write_at(&mut self, offset: u64, octets: &[u8]) -> io::Result<()>;

    /// Waits until everything written is on the medium, and forgets what is known of it: what is read then comes from there.
    ///
    /// # Errors
    /// When something did not arrive.
    fn settle(&mut self) -> io::Result<()>;

    /// Reads what is at `offset`.
    ///
    /// # Errors
    /// When that fails.
    fn read_at(&mut self, offset: u64, octets: &mut [u8]) -> io::Result<()>;
}

/// A disk that nobody else has.
#[derive(Debug)]
pub struct BlockDevice(File);

impl BlockDevice {
    /// Opens a disk, to the exclusion of everybody who would mount it or make it a part of something.
    ///
    /// # Errors
    /// When somebody else has it, or it may not be written.
    pub fn open(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().read(true).write(true).custom_flags(OFlag::O_EXCL.bits()).open(path);
        match file {
            Ok(file) => Ok(Self(file)),
            Err(error) => Err(match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::EBUSY) => anyhow::anyhow!("{} is in use", path.display()),
                Some(Errno::EACCES) => anyhow::anyhow!("you may not write to {}; try it with sudo", path.display()),
                _ => anyhow::Error::new(error).context(format!("cannot open {}", path.display())),
            }),
        }
    }
}

impl Medium for BlockDevice {
    fn write_at(&mut self, offset: u64, octets: &[u8]) -> io::Result<()> {
        self.0.write_all_at(octets, offset)
    }

    fn settle(&mut self) -> io::Result<()> {
        self.0.sync_all()?;
        Ok(posix_fadvise(&self.0, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?)
    }

    fn read_at(&mut self, offset: u64, octets: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(octets, offset)
    }
}

/// Writes an image of `len` octets and reads it back.
///
/// The medium's start is emptied before anything else. It is written last, once all the rest has been read back and found right: until
/// then the medium has no boot sector and no partitions, and nobody can take it for a good one. `report` is told how
/// many octets each step has done.
///
/// # Errors
/// When the image cannot be read, the medium not written, or what is read back is something else.
pub fn write(medium: &mut dyn Medium, image: &File, len: u64, report: &mut dyn FnMut(Step, u64)) -> Result<()> {
    ensure!(len > START as u64 && len.is_multiple_of(SECTOR), "this is no image of a disk: {len} octets");
    let mut start = vec![0; START];
    medium.write_at(0, &start).and_then(|()| medium.settle()).context("the stick cannot be written")?;

    let mut image_chunk = vec![0; CHUNK];
    let mut unsynced = 0;
    for (offset, size) in chunks(len) {
        let octets = image_chunk.get_mut(..size).unwrap_or_default();
        image.read_exact_at(octets, offset).context("the image cannot be read")?;
        medium.write_at(offset, octets).with_context(|| format!("octet {offset} of the stick cannot be written"))?;
        unsynced += size as u64;
        if unsynced >= UNSYNCED {
            medium.settle().with_context(|| format!("the stick has lost something before octet {offset}"))?;
            unsynced = 0;
        }
        report(Step::Writing, offset + size as u64);
    }
    medium.settle().context("the stick has lost something")?;

    let mut medium_chunk = vec![0; CHUNK];
    for (offset, size) in chunks(len) {
        let octets = image_chunk.get_mut(..size).unwrap_or_default();
        image.read_exact_at(octets, offset).context("the image cannot be read again")?;
        compare(medium, offset, octets, medium_chunk.get_mut(..size).unwrap_or_default())?;
        report(Step::Checking, offset + size as u64);
    }

    image.read_exact_at(&mut start, 0).context("the image cannot be read again")?;
    medium.write_at(0, &start).and_then(|()| medium.settle()).context("the stick's start cannot be written")?;
    compare(medium, 0, &start, medium_chunk.get_mut(..START).unwrap_or_default())
}

/// Returns offset and size of each piece behind the start.
fn chunks(len: u64) -> impl Iterator<Item = (u64, usize)> {
    (START as u64..len).step_by(CHUNK).map(move |offset| {
        let size = usize::try_from(len - offset).map_or(CHUNK, |left| left.min(CHUNK));
        (offset, size)
    })
}

/// Reads what should be these octets.
fn compare(medium: &mut dyn Medium, offset: u64, wanted: &[u8], found: &mut [u8]) -> Result<()> {
    medium.read_at(offset, found).with_context(|| format!("octet {offset} of the stick cannot be read"))?;
    if let Some(at) = wanted.iter().zip(found.iter()).position(|(wanted, found)| wanted != found) {
        let at = offset + at as u64;
        anyhow::bail!("octet {at} of the stick is not what was written there: it is broken, or smaller than it says");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::workspace::scratch;

    /// A medium in memory that may have fewer octets than it says, forget one, or break.
    struct Fake {
        octets: Vec<u8>,
        /// Where what is beyond its octets goes.
        says: usize,
        spoils: Option<u64>,
        breaks_after: Option<usize>,
        operations: usize,
    }

    impl Fake {
        fn of(size: usize) -> Self {
            Self { octets: vec![0xEE; size], says: size, spoils: None, breaks_after: None, operations: 0 }
        }

        fn operate(&mut self) -> io::Result<()> {
            self.operations += 1;
            match self.breaks_after {
                Some(limit) if self.operations > limit => Err(io::Error::other("pulled out")),
                _ => Ok(()),
            }
        }
    }

    fn place(offset: u64) -> usize {
        usize::try_from(offset).expect("an offset in memory")
    }

    impl Medium for Fake {
        fn write_at(&mut self, offset: u64, octets: &[u8]) -> io::Result<()> {
            self.operate()?;
            for (index, octet) in octets.iter().enumerate() {
                let at = place(offset) + index;
                if at >= self.says {
                    return Err(io::Error::from(Errno::ENOSPC));
                }
                let size = self.octets.len();
                self.octets[at % size] = if self.spoils == Some(at as u64) { !octet } else { *octet };
            }
            Ok(())
        }

        fn settle(&mut self) -> io::Result<()> {
            self.operate()
        }

        fn read_at(&mut self, offset: u64, octets: &mut [u8]) -> io::Result<()> {
            self.operate()?;
            for (index, octet) in octets.iter_mut().enumerate() {
                *octet = self.octets[(place(offset) + index) % self.octets.len()];
            }
            Ok(())
        }
    }

    const LEN: usize = 3 * CHUNK + 512;

    fn image(name: &str) -> (Vec<u8>, File) {
        let octets: Vec<u8> = (0..LEN).map(|at| (at / 7 + at / 4096).to_le_bytes()[0] | 1).collect();
        let folder = scratch(name);
        fs::write(folder.join("image"), &octets).unwrap();
        let file = File::open(folder.join("image")).unwrap();
        fs::remove_dir_all(folder).unwrap();
        (octets, file)
    }

    fn flash(medium: &mut Fake, file: &File) -> Result<()> {
        write(medium, file, LEN as u64, &mut |_, _| {})
    }

    #[test]
    fn a_good_stick_has_the_image_and_keeps_what_is_behind_it() {
        let (octets, file) = image("write-good");
        let mut medium = Fake::of(LEN + 100);
        let mut steps = Vec::new();
        write(&mut medium, &file, LEN as u64, &mut |step, done| steps.push((step, done))).unwrap();
        assert!(medium.octets[..LEN] == octets && medium.octets[LEN..] == [0xEE; 100]);
        assert!(steps.is_sorted_by_key(|(step, done)| (*step == Step::Checking, *done)), "{steps:?}");
        assert_eq!(steps.last(), Some(&(Step::Checking, LEN as u64)));
    }

    #[test]
    fn wherever_it_ends_no_half_image_has_a_start() {
        let (octets, file) = image("write-broken");
        let mut whole = Fake::of(LEN);
        flash(&mut whole, &file).unwrap();
        let mut without_start = 0;
        for limit in 1..whole.operations {
            let mut medium = Fake { breaks_after: Some(limit), ..Fake::of(LEN) };
            flash(&mut medium, &file).unwrap_err();
            let start = &medium.octets[..START];
            if start == [0; START] {
                without_start += 1;
            } else {
                assert!(medium.octets == octets, "half an image after {limit} operations");
            }
        }
        // The last three operations write the start, settle it and read it.
        assert_eq!(without_start, whole.operations - 3);
    }

    #[test]
    fn an_octet_that_was_not_kept_is_found_and_the_start_stays_empty() {
        let (_, file) = image("write-spoilt");
        for at in [START, CHUNK, LEN - 1] {
            let mut medium = Fake { spoils: Some(at as u64), ..Fake::of(LEN) };
            let error = flash(&mut medium, &file).unwrap_err().to_string();
            assert!(error.starts_with(&format!("octet {at} of the stick is not what was written")), "{error}");
            assert_eq!(medium.octets[..START], [0; START]);
        }
        let mut medium = Fake { spoils: Some(17), ..Fake::of(LEN) };
        assert!(flash(&mut medium, &file).unwrap_err().to_string().starts_with("octet 17 "));
    }

    #[test]
    fn a_stick_that_is_smaller_than_it_says_is_found_out() {
        let (_, file) = image("write-fraud");
        let mut medium = Fake { says: LEN, ..Fake::of(2 * CHUNK) };
        assert!(flash(&mut medium, &file).unwrap_err().to_string().contains("smaller than it says"));
    }

    #[test]
    fn what_is_no_disk_is_not_written() {
        let (_, file) = image("write-odd");
        let mut medium = Fake::of(LEN);
        for len in [0, 4096, 5000] {
            assert!(write(&mut medium, &file, len, &mut |_, _| {}).is_err(), "{len}");
        }
        assert_eq!(medium.operations, 0);
    }
}
