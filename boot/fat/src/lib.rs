//! A small FAT volume, as far as a kernel needs it that wants to leave a text there: finding files, reading them, and overwriting one in
//! place.
//!
//! - [`Sectors`]: the disk. [`Volume`]: a volume in a partition, opened. [`File`]: where a file's octets are.
//! - [`stick`]: which volume of a disk a running kernel was booted from, and the file on it that is set aside for what it has to say.
//!
//! **Nothing but the contents of sectors that belong to a file is ever written**: no table, no folder, no length. A write that is
//! interrupted can spoil the text it writes and nothing else. That is why the file is made beforehand, at its full size.
//!
//! FAT12 and FAT16, in the first four partitions: what the boot loader reads. Everything on the disk is checked before it is believed;
//! chains that lead nowhere, or round in circles, are errors. Context: any thread; the host as well.
//!
//! Source: Microsoft's FAT specification (fatgen103).

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod folder;
mod partition;
pub mod stick;
mod volume;

use core::{error, fmt};

pub use volume::{File, Volume};

/// Octets of a sector.
pub const SECTOR: usize = 512;

/// A disk of sectors of 512 octets.
pub trait Sectors {
    /// Why a disk does not do it.
    type Error: fmt::Display;

    /// Returns how many sectors there are.
    fn count(&self) -> u32;

    /// Reads whole sectors, from `first`.
    ///
    /// # Errors
    /// When the disk does not.
    fn read(&mut self, first: u32, into: &mut [u8]) -> Result<(), Self::Error>;

    /// Writes whole sectors, from `first`.
    ///
    /// # Errors
    /// When the disk does not.
    fn write(&mut self, first: u32, from: &[u8]) -> Result<(), Self::Error>;

    /// Has everything written kept for good.
    ///
    /// # Errors
    /// When the disk does not.
    fn flush(&mut self) -> Result<(), Self::Error>;
}

/// Why something on a disk is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error<E> {
    /// The disk failed.
    Disk(E),
    /// There is no volume of FAT12 or FAT16 where it is looked for.
    NoVolume,
    /// The volume contradicts itself: what is said cannot be.
    Damaged(&'static str),
}

impl<E: fmt::Display> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk(error) => error.fmt(f),
            Self::NoVolume => f.write_str("no FAT volume"),
            Self::Damaged(what) => write!(f, "the volume is damaged: {what}"),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> error::Error for Error<E> {}

/// Returns the little-endian number at an offset; 0 behind the end.
fn u16_at(octets: &[u8], at: usize) -> u16 {
    octets.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |octets| u16::from_le_bytes(*octets))
}

fn u32_at(octets: &[u8], at: usize) -> u32 {
    octets.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |octets| u32::from_le_bytes(*octets))
}
