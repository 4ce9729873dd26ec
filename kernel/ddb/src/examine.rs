//! `x`: memory in the format asked for.

use core::fmt::{self, Write};

use arrayvec::ArrayVec;

use crate::{
    Error, Refusal, Target,
    target::{Faulted, Symbol},
};

/// Elements of one command at most.
const MAX_COUNT: usize = 4096;
/// Octets on a line.
const LINE: usize = 16;
/// Octets of a string that are shown at most.
const MAX_STRING: usize = 256;

/// How an element is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Hexadecimal,
    Signed,
    Unsigned,
    Character,
    String,
    Address,
}

/// What `x` shows: kept from one command to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Manner {
    format: Format,
    /// Octets of an element: 1, 2, 4 or 8.
    size: u8,
    pub(crate) count: usize,
}

impl Manner {
    pub(crate) const fn new() -> Self {
        Self { format: Format::Hexadecimal, size: 4, count: 1 }
    }

    /// Changes what the letters and digits behind the `/` say; the count is 1 unless they do.
    pub(crate) fn change<'t>(self, letters: &'t str) -> Result<Self, Error<'t>> {
        let digits = letters.find(|c: char| !c.is_ascii_digit()).unwrap_or(letters.len());
        let (digits, letters) = letters.split_at(digits);
        let mut new = Self { count: if digits.is_empty() { 1 } else { count(digits)? }, ..self };
        for letter in letters.chars() {
            match letter {
                'x' => new.format = Format::Hexadecimal,
                'd' => new.format = Format::Signed,
                'u' => new.format = Format::Unsigned,
                'c' => (new.format, new.size) = (Format::Character, 1),
                's' => (new.format, new.size) = (Format::String, 1),
                'a' => (new.format, new.size) = (Format::Address, 8),
                'b' => new.size = 1,
                'h' => new.size = 2,
                'l' | 'w' => new.size = 4,
                'g' => new.size = 8,
                _ => return Err(Error::Modifier(letters)),
            }
        }
        match new.format {
            Format::Character | Format::String => new.size = 1,
            Format::Address => new.size = 8,
            _ => {}
        }
        Ok(new)
    }

    fn per_line(self) -> usize {
        match self.format {
            Format::String | Format::Address => 1,
            _ => LINE / usize::from(self.size.max(1)),
        }
    }
}

/// Reads a count, decimal.
pub(crate) fn count(digits: &str) -> Result<usize, Error<'_>> {
    let count = digits.parse().ok().filter(|count| (1..=MAX_COUNT).contains(count));
    count.ok_or(Error::Usage(crate::words::Command::Examine.usage()))
}

/// Writes `manner.count` elements from `address` on; returns the address behind the last one.
pub(crate) fn examine(
    target: &mut dyn Target,
    manner: Manner,
    mut address: u64,
    out: &mut dyn Write,
) -> Result<u64, Refusal> {
    for number in 0..manner.count {
        if number % manner.per_line() == 0 {
            if number > 0 {
                writeln!(out)?;
            }
            label(target, address, out)?;
        }
        let element = match manner.format {
            Format::String => string(target, address, out)?,
            _ => plain(target, manner, address, out)?,
        };
        match element {
            Some(octets) => address = address.wrapping_add(octets),
            None => {
                writeln!(out, "\n*** error reading from address {address:#x}: not mapped ***")?;
                return Ok(address);
            }
        }
    }
    writeln!(out)?;
    Ok(address)
}

/// Writes what is at the left of a line.
fn label(target: &dyn Target, address: u64, out: &mut dyn Write) -> fmt::Result {
    match target.symbol(address) {
        Some(symbol) => write!(out, "{symbol}:"),
        None => write!(out, "{address:#x}:"),
    }
}

/// Writes one number, character or address; returns its size, or `None` if it cannot be read.
fn plain(
    target: &mut dyn Target,
    manner: Manner,
    address: u64,
    out: &mut dyn Write,
) -> Result<Option<u64>, fmt::Error> {
    let size = usize::from(manner.size).min(8);
    let mut octets = [0; 8];
    if let Some(part) = octets.get_mut(..size)
        && target.read(address, part) == Err(Faulted)
    {
        return Ok(None);
    }
    let value = u64::from_le_bytes(octets);
    let unused = 64 - 8 * u32::from(manner.size.clamp(1, 8));
    match manner.format {
        Format::Hexadecimal => write!(out, " {value:>0width$x}", width = 2 * size)?,
        Format::Unsigned => write!(out, " {value}")?,
        Format::Signed => write!(out, " {}", (value << unused).cast_signed() >> unused)?,
        Format::Character | Format::String => write!(out, " {}", octets[0].escape_ascii())?,
        Format::Address => match target.symbol(value) {
            Some(symbol) => write!(out, " {value:#018x} {symbol}")?,
            None => write!(out, " {value:#018x}")?,
        },
    }
    Ok(Some(u64::from(manner.size)))
}

/// Writes one string that ends in a zero; returns its size with the zero, or `None` if its first octet cannot be read.
fn string(target: &mut dyn Target, address: u64, out: &mut dyn Write) -> Result<Option<u64>, fmt::Error> {
    let mut text: ArrayVec<u8, MAX_STRING> = ArrayVec::new();
    let mut octet = [0];
    let mut end = "\"";
    loop {
        match target.read(address.wrapping_add(text.len() as u64), &mut octet) {
            Err(Faulted) if text.is_empty() => return Ok(None),
            Err(Faulted) => end = "\" (then not mapped)",
            Ok(()) if octet[0] == 0 => {
                write!(out, " \"{}{end}", text.escape_ascii())?;
                return Ok(Some(text.len() as u64 + 1));
            }
            Ok(()) if text.try_push(octet[0]).is_ok() => continue,
            Ok(()) => end = "\" ...",
        }
        write!(out, " \"{}{end}", text.escape_ascii())?;
        return Ok(Some(text.len() as u64));
    }
}

/// An address with its symbol, if it has one.
pub(crate) struct Place(pub(crate) u64, pub(crate) Option<Symbol>);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            Some(symbol) => symbol.fmt(f),
            None => write!(f, "{:#x}", self.0),
        }
    }
}
