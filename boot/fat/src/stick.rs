//! The stick that a kernel was booted from, told from every other disk, and the text that it gets: [`find`], [`overwrite`].
//!
//! The boot loader does not say what it has read the kernel from, so the kernel looks for itself: a volume is the one if the files on it
//! are those that are running. The kernel's file must have the length of that in memory, and end in the same octets: routes, symbols
//! and the build's own number, which no other build has. The configuration's file must be the same octet for octet. Two sticks made
//! alike cannot be told apart; who finds two writes to neither.

use alloc::{vec, vec::Vec};

use crate::{Error, File, SECTOR, Sectors, Volume, partition::partitions};

/// The kernel's file on a stick.
pub const KERNEL: &str = "kernel-x86_64";
/// The configuration's.
pub const CONFIGURATION: &str = "Cfg.txt";
/// The file that the self-test's result is written to.
pub const RESULT: &str = "SELFTEST.TXT";
/// Its octets, however long the result is.
pub const RESULT_OCTETS: usize = 128 * 1024;

/// How the file begins, by which it is recognised before it is overwritten.
const HEAD: &str = "Sluice self-test: ";
/// What fills it: lines of blanks, which every editor copes with.
const BLANK: [u8; 80] = {
    let mut line = [b' '; 80];
    line[78] = b'\r';
    line[79] = b'\n';
    line
};

/// What runs, as its files have it.
#[derive(Clone, Copy, Debug)]
pub struct Booted<'b> {
    /// Octets of the kernel's file.
    pub kernel_octets: u64,
    /// The last of them.
    pub kernel_tail: &'b [u8],
    /// The configuration's file; empty if there was none.
    pub configuration: &'b [u8],
}

/// What a disk is to the running kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It has no volume with these files.
    Another,
    /// The kernel was booted from it, or from its twin; with the place for the result.
    Booted(File),
    /// The same, but there is no such place; with the reason.
    NoPlace(&'static str),
}

/// Looks at a disk.
///
/// # Errors
/// When it fails, or its volume contradicts itself.
pub fn find<D: Sectors>(disk: &mut D, booted: &Booted<'_>) -> Result<Answer, Error<D::Error>> {
    if disk.count() == 0 {
        return Ok(Answer::Another);
    }
    let mut first = [0; SECTOR];
    disk.read(0, &mut first).map_err(Error::Disk)?;
    let places: Vec<(u32, u32)> = partitions(&first, disk.count()).collect();
    for (start, sectors) in places {
        let volume = match Volume::open(disk, start, sectors) {
            Ok(volume) => volume,
            Err(Error::NoVolume) => continue,
            Err(error) => return Err(error),
        };
        if is_booted(disk, &volume, booted)? {
            return place(disk, &volume);
        }
    }
    Ok(Answer::Another)
}

fn is_booted<D: Sectors>(disk: &mut D, volume: &Volume, booted: &Booted<'_>) -> Result<bool, Error<D::Error>> {
    // Without octets to compare, every kernel would be the one.
    let Some(kernel) = volume.find(disk, KERNEL)?.filter(|_| !booted.kernel_tail.is_empty()) else { return Ok(false) };
    if u64::from(kernel.octets) != booted.kernel_octets || !kernel.ends_with(disk, booted.kernel_tail)? {
        return Ok(false);
    }
    match volume.find(disk, CONFIGURATION)? {
        None => Ok(booted.configuration.is_empty()),
        Some(file) if file.octets as usize == booted.configuration.len() => file.ends_with(disk, booted.configuration),
        Some(_) => Ok(false),
    }
}

/// Finds the file that is set aside for the result.
fn place<D: Sectors>(disk: &mut D, volume: &Volume) -> Result<Answer, Error<D::Error>> {
    let Some(file) = volume.find(disk, RESULT)? else { return Ok(Answer::NoPlace("it has no SELFTEST.TXT")) };
    // Of another length it has been edited, and is somebody's.
    if file.octets as usize != RESULT_OCTETS {
        return Ok(Answer::NoPlace("its SELFTEST.TXT was changed and has another length now"));
    }
    // All of it is looked at: what a damaged table has mixed in from another file would be lost.
    let is_text = |octet: &u8| matches!(octet, b'\t' | b'\r' | b'\n' | b' '..0x7F);
    let mut is_ours = false;
    file.read(disk, |offset, piece| {
        is_ours = piece.iter().all(is_text) && (offset > 0 || piece.starts_with(HEAD.as_bytes()));
        is_ours
    })?;
    Ok(if is_ours { Answer::Booted(file) } else { Answer::NoPlace("its SELFTEST.TXT has other content") })
}

/// Returns the file as it is made with a stick, before there is any result.
#[must_use]
pub fn blank() -> Vec<u8> {
    lay_out("no result yet", "The machine writes it here when it was started from this stick and its test is over.\n")
}

/// Returns the file with a result in it.
#[must_use]
pub fn filled(result: &str) -> Vec<u8> {
    lay_out("result", result)
}

/// Lays a text out over the whole of the file. What does not fit is cut off, which is said at the end.
fn lay_out(what: &str, text: &str) -> Vec<u8> {
    const CUT: &str = "(the rest did not fit)\r\n";
    let mut octets = Vec::with_capacity(RESULT_OCTETS);
    octets.extend_from_slice(HEAD.as_bytes());
    octets.extend_from_slice(what.as_bytes());
    octets.extend_from_slice(b"\r\n\r\n");
    for line in text.lines() {
        // An editor shows other octets in its own way, or takes the file for something else than a text.
        let line = line.bytes().map(|octet| if octet == b'\t' || (b' '..0x7F).contains(&octet) { octet } else { b'?' });
        let whole = octets.len();
        octets.extend(line.chain(*b"\r\n"));
        if octets.len() > RESULT_OCTETS - CUT.len() {
            octets.truncate(whole);
            octets.extend_from_slice(CUT.as_bytes());
            break;
        }
    }
    let blanks = BLANK.iter().copied().cycle().take(RESULT_OCTETS - octets.len());
    octets.extend(blanks);
    // The last line has an end as well.
    octets.truncate(RESULT_OCTETS - 2);
    octets.extend_from_slice(b"\r\n");
    octets
}

/// Writes the file's octets anew, all of them, and reads them back. While that is under way the file says so.
///
/// # Errors
/// When the disk fails, or has other octets afterwards.
pub fn overwrite<D: Sectors>(disk: &mut D, file: &File, result: &str) -> Result<(), Error<D::Error>> {
    const UNDER_WAY: &str = "The machine was stopped, or the stick pulled out, while it wrote its result here.\n";
    let octets = filled(result);
    let wait = lay_out("interrupted", UNDER_WAY);
    let first = file.runs.first().map(|run| run.start).ok_or(Error::Damaged("the file has no sectors"))?;
    if file.octets as usize != octets.len() {
        return Err(Error::Damaged("the file has another length"));
    }
    // The first sector says what the others are, so it is written first, and again last.
    disk.write(first, wait.get(..SECTOR).unwrap_or(&[])).map_err(Error::Disk)?;
    disk.flush().map_err(Error::Disk)?;
    let mut rest = octets.as_slice();
    for (number, run) in file.runs.iter().enumerate() {
        let (now, later) = rest.split_at_checked(run.len() * SECTOR).ok_or(Error::Damaged("the file is shorter"))?;
        let skipped = usize::from(number == 0);
        let start = run.start + u32::from(number == 0);
        if let Some(now) = now.get(skipped * SECTOR..).filter(|now| !now.is_empty()) {
            disk.write(start, now).map_err(Error::Disk)?;
        }
        rest = later;
    }
    disk.flush().map_err(Error::Disk)?;
    disk.write(first, octets.get(..SECTOR).unwrap_or(&[])).map_err(Error::Disk)?;
    disk.flush().map_err(Error::Disk)?;
    let mut back = vec![];
    file.read(disk, |_, piece| {
        back.extend_from_slice(piece);
        true
    })?;
    if back == octets { Ok(()) } else { Err(Error::Damaged("the file reads back otherwise")) }
}
