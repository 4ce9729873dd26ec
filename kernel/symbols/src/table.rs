//! The reader: [`Table`].

use core::fmt;

use crate::{
    build_id::BuildId,
    layout::{self, BUILD_ID_SIZE, HEADER_SIZE, MAGIC, SYMBOL_SIZE, Section},
    lines::{Lines, Location},
    name::Name,
};

/// A symbol and line table, read where it lies.
#[derive(Clone, Copy)]
pub struct Table<'a> {
    build_id: BuildId,
    symbols: &'a [u8],
    names: &'a [u8],
    lines: Lines<'a>,
    words: Words<'a>,
}

/// Why octets are no table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableError {
    /// It does not begin as tables of this format do.
    NoTable,
    /// A section lies outside.
    CutOff,
    /// The build id has no length that one can have.
    BadBuildId,
}

/// What an address belongs to.
#[derive(Clone, Copy, Debug)]
pub struct Symbol<'a> {
    /// The function's or variable's name, without the compiler's hash.
    pub name: Name<'a>,
    /// How far the address is behind its beginning.
    pub offset: u64,
}

/// One symbol of the table.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// The address in the kernel's file.
    pub address: u64,
    /// Octets it occupies; 0 if only its beginning is known.
    pub size: u64,
    /// Its name.
    pub name: Name<'a>,
}

/// All words and file names.
#[derive(Clone, Copy)]
pub(crate) struct Words<'a> {
    ends: &'a [u8],
    text: &'a [u8],
}

impl<'a> Words<'a> {
    pub(crate) fn get(&self, number: u32) -> Option<&'a str> {
        let index = number as usize;
        let start = match index.checked_sub(1) {
            Some(before) => layout::nth_u32(self.ends, before)?,
            None => 0,
        };
        let end = layout::nth_u32(self.ends, index)?;
        core::str::from_utf8(self.text.get(start as usize..end as usize)?).ok()
    }
}

impl<'a> Table<'a> {
    /// Finds the sections; the entries are looked at when they are needed.
    ///
    /// # Errors
    /// When this is no table or not a whole one. A table damaged otherwise gives wrong answers or none, but no panic.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, TableError> {
        let header = bytes.get(..HEADER_SIZE).filter(|header| header.starts_with(MAGIC)).ok_or(TableError::NoTable)?;
        let id_len = layout::u32_at(header, MAGIC.len()).ok_or(TableError::CutOff)? as usize;
        let id = header.get(MAGIC.len() + 4..).and_then(|rest| rest.get(..id_len.min(BUILD_ID_SIZE + 1)));
        let build_id = id.and_then(BuildId::new).ok_or(TableError::BadBuildId)?;
        let section = |section: Section| section.of(bytes).ok_or(TableError::CutOff);
        let words = Words { ends: section(Section::WordEnds)?, text: section(Section::Text)? };
        Ok(Self {
            build_id,
            symbols: section(Section::Symbols)?,
            names: section(Section::Names)?,
            lines: Lines { blocks: section(Section::Blocks)?, rows: section(Section::Rows)?, words },
            words,
        })
    }

    /// Returns the id of the kernel that the table was made of.
    #[must_use]
    pub fn build_id(&self) -> BuildId {
        self.build_id
    }

    /// Returns the symbol that `address` lies in.
    #[must_use]
    pub fn lookup(&self, address: u64) -> Option<Symbol<'a>> {
        let address = u32::try_from(address).ok()?;
        let start = |index| layout::u32_at(self.symbols, index * SYMBOL_SIZE);
        let index = layout::count_up_to(self.len(), address, start).checked_sub(1)?;
        let entry = self.entry(index)?;
        let offset = u64::from(address).checked_sub(entry.address)?;
        (entry.size == 0 || offset < entry.size).then_some(Symbol { name: entry.name, offset })
    }

    /// Returns the address of the symbol called `name`: the whole name, or the end of a path that only one symbol has.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<u64> {
        if let Some(exact) = self.symbols().find(|entry| entry.name == *name) {
            return Some(exact.address);
        }
        let mut matches = self.symbols().filter(|entry| entry.name.ends_with_path(name));
        let only = matches.next()?;
        matches.next().is_none().then_some(only.address)
    }

    /// Returns the source line that the code at `address` was made of: of inlined code the innermost line that is ours.
    #[must_use]
    pub fn line(&self, address: u64) -> Option<Location<'a>> {
        self.lines.find(u32::try_from(address).ok()?)
    }

    /// Returns all symbols, by address.
    pub fn symbols(&self) -> impl Iterator<Item = Entry<'a>> {
        (0..self.len()).map_while(|index| self.entry(index))
    }

    /// Returns how many symbols there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.symbols.len() / SYMBOL_SIZE
    }

    /// Returns whether there is no symbol.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn entry(&self, index: usize) -> Option<Entry<'a>> {
        let entry = self.symbols.get(index.checked_mul(SYMBOL_SIZE)?..)?;
        let numbers = self.names.get(layout::nth_u32(entry, 2)? as usize..)?;
        Some(Entry {
            address: layout::nth_u32(entry, 0)?.into(),
            size: layout::nth_u32(entry, 1)?.into(),
            name: Name { numbers, words: self.words },
        })
    }
}

impl fmt::Debug for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Table of {} symbols of build {}", self.len(), self.build_id)
    }
}
