//! The entries of the root folder, with names long and short: [`find`].

use alloc::string::String;

use crate::{u16_at, u32_at};

/// Octets of an entry.
pub(crate) const ENTRY_32: u32 = 32;
const ENTRY: usize = ENTRY_32 as usize;
/// The first octet of an entry behind which there is none, and of one that was deleted.
const LAST: u8 = 0x00;
const DELETED: u8 = 0xE5;
/// Attributes: a folder, a volume's label; both with others, a part of a long name.
const LABEL: u8 = 0x08;
const FOLDER: u8 = 0x10;
const LONG: u8 = 0x0F;
/// In an entry for a short name: that stem and extension are of small letters.
const SMALL_STEM: u8 = 0x08;
const SMALL_EXTENSION: u8 = 0x10;
/// Letters of a part of a long name, and where they are.
const LETTERS: [usize; 13] = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];

/// Where a file begins, and how long it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) cluster: u32,
    pub(crate) octets: u32,
}

/// The parts of a long name so far: they come last part first, each with its number and the sum of the short name.
#[derive(Default)]
struct Long {
    letters: [[u16; 13]; 20],
    parts: usize,
    /// The number that comes next; 0 when the name is complete.
    next: usize,
    sum: u8,
}

impl Long {
    fn take(&mut self, entry: &[u8; ENTRY]) {
        let number = usize::from(entry[0] & 0x3F);
        let begins = entry[0] & 0x40 != 0;
        if begins {
            (self.parts, self.next, self.sum) = (number, number, entry[13]);
        }
        let fits = number == self.next && entry[13] == self.sum;
        match self.letters.get_mut(number.wrapping_sub(1)).filter(|_| fits) {
            Some(part) => {
                *part = LETTERS.map(|at| u16_at(entry, at));
                self.next = number - 1;
            }
            None => *self = Self::default(),
        }
    }

    /// The name, if all its parts were there and it belongs to this short one.
    fn name(&self, entry: &[u8; ENTRY]) -> Option<String> {
        let sum = entry.iter().take(11).fold(0_u8, |sum, octet| sum.rotate_right(1).wrapping_add(*octet));
        if self.parts == 0 || self.next != 0 || sum != self.sum {
            return None;
        }
        let letters = self.letters.iter().take(self.parts).flatten().copied();
        char::decode_utf16(letters.take_while(|letter| *letter != 0)).collect::<Result<_, _>>().ok()
    }
}

/// Returns the short name, as it is shown.
fn short(entry: &[u8; ENTRY]) -> String {
    let part = |range: core::ops::Range<usize>, small: u8| {
        let octets = entry.get(range).unwrap_or(&[]);
        let is_small = entry[12] & small != 0;
        let letter = move |octet: &u8| char::from(if is_small { octet.to_ascii_lowercase() } else { *octet });
        let text: String = octets.iter().map(letter).collect();
        String::from(text.trim_end())
    };
    let (mut name, extension) = (part(0..8, SMALL_STEM), part(8..11, SMALL_EXTENSION));
    if !extension.is_empty() {
        name.push('.');
        name += &extension;
    }
    name
}

/// Finds a file by its name in exactly these letters.
pub(crate) fn find(folder: &[u8], name: &str) -> Option<Found> {
    let mut long = Long::default();
    for entry in folder.chunks_exact(ENTRY) {
        let entry: &[u8; ENTRY] = entry.try_into().ok()?;
        match (entry[0], entry[11]) {
            (LAST, _) => break,
            (DELETED, _) => long = Long::default(),
            (_, attributes) if attributes & 0x3F == LONG => long.take(entry),
            (_, attributes) => {
                let is_file = attributes & (LABEL | FOLDER) == 0;
                if is_file && long.name(entry).unwrap_or_else(|| short(entry)) == name {
                    return Some(Found { cluster: u16_at(entry, 26).into(), octets: u32_at(entry, 28) });
                }
                long = Long::default();
            }
        }
    }
    None
}
