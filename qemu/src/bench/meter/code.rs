//! Whose an instruction of the kernel is: [`Code`] finds its [`Place`].

use addr2line::Context as Addresses;
use anyhow::{Context, Result};
use object::File;
use symbols::Table;

use crate::{
    gdb::IMAGE_BASE,
    symbols::{self as tables, Slice, Sources},
    workspace::Workspace,
};

/// A function that an instruction belongs to, be it inlined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The function, as people write it.
    pub function: String,
    /// The source file, from the checkout on; a library's from its package on.
    pub file: String,
    /// The line.
    pub line: u32,
    /// Whether the file is of this checkout.
    pub is_ours: bool,
}

/// Where an instruction is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The symbol whose code it is in: the function that all others have been inlined into.
    pub symbol: String,
    /// The functions it belongs to: the innermost first, and what that was inlined into.
    pub frames: Vec<Frame>,
}

/// The code of a kernel, with all that its ELF file says of it.
pub struct Code<'a> {
    addresses: Addresses<Slice<'a>>,
    table: Vec<u8>,
    sources: Sources,
}

impl std::fmt::Debug for Code<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Code").field("table", &self.table.len()).finish_non_exhaustive()
    }
}

impl<'a> Code<'a> {
    /// Reads the kernel in the ELF file whose content is `bytes`.
    ///
    /// # Errors
    /// When it is no kernel, or has been stripped.
    pub fn of(workspace: &Workspace, bytes: &'a [u8]) -> Result<Self> {
        let file = File::parse(bytes).context("the kernel is no ELF file")?;
        let (addresses, table) = (tables::addresses(&file)?, tables::make(workspace, bytes)?);
        Ok(Self { addresses, table, sources: Sources::of(workspace) })
    }

    /// Returns where the instruction at the virtual `address` is, unless outside of the kernel.
    ///
    /// # Errors
    /// When the debug information is damaged.
    pub fn place(&self, address: u64) -> Result<Option<Place>> {
        let Some(address) = address.checked_sub(IMAGE_BASE) else { return Ok(None) };
        let table = Table::parse(&self.table).map_err(|error| anyhow::anyhow!("the symbol table is bad: {error:?}"))?;
        let Some(symbol) = table.lookup(address) else { return Ok(None) };
        let mut place = Place { symbol: symbol.name.to_string(), frames: Vec::new() };
        let mut frames = self.addresses.find_frames(address).skip_all_loads()?;
        while let Some(frame) = frames.next()? {
            let name = frame.function.as_ref().and_then(|function| function.raw_name().ok());
            let location = frame.location.as_ref();
            let file = location.and_then(|location| location.file).unwrap_or_default();
            place.frames.push(Frame {
                function: name.map_or_else(|| place.symbol.clone(), |name| plain(&tables::shown_name(&name))),
                file: self.sources.shown(file).into_owned(),
                line: location.and_then(|location| location.line).unwrap_or(0),
                is_ours: self.sources.is_ours(file),
            });
        }
        Ok(Some(place))
    }
}

/// Leaves out of a function's name the types that it was made for, which debug information writes behind it.
fn plain(name: &str) -> String {
    match name.find('<').filter(|at| *at > 0 && name.ends_with('>')) {
        Some(at) => name.get(..at).unwrap_or(name).to_owned(),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_types_behind_a_functions_name_are_left_out() {
        for (long, short) in
            [("get<2, 2, 20>", "get"), ("f<a::B<u8>, c>", "f"), ("<a as b>::c", "<a as b>::c"), ("x", "x")]
        {
            assert_eq!(plain(long), short);
        }
    }
}
