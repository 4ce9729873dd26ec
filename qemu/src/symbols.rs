//! Makes the kernel's symbol and line table of its ELF file: [`table_of`].
//!
//! Names come from the symbol table, without the compiler's hashes, and lines from the DWARF line tables. Where the compiler
//! has put foreign code into ours (almost everywhere), the row names the innermost line that is ours: `tx.rs:120` tells more of a
//! backtrace than the line of `slice/index.rs` that was inlined there, and the table becomes a good deal smaller.

use std::{
    borrow::Cow,
    fs,
    path::{Path, PathBuf},
};

use addr2line::Context as Addresses;
use anyhow::{Context, Result, ensure};
use gimli::{Dwarf, EndianSlice, LittleEndian};
use object::{File, Object, ObjectSection, ObjectSymbol, SectionKind, SymbolKind};
use symbols::{build_id::BuildId, write::Builder};

use crate::workspace::Workspace;

pub(crate) type Slice<'a> = EndianSlice<'a, LittleEndian>;

/// Returns the table of the kernel in the ELF file `kernel`, in the format that [`symbols::Table`] reads.
///
/// # Errors
/// When this is no kernel with a build id, or its debug information is damaged.
pub fn table_of(workspace: &Workspace, kernel: &Path) -> Result<Vec<u8>> {
    let bytes = fs::read(kernel).with_context(|| format!("cannot read {}", kernel.display()))?;
    make(workspace, &bytes).with_context(|| format!("cannot make the symbol table of {}", kernel.display()))
}

/// Returns the build id of the kernel in the ELF file `kernel`.
///
/// # Errors
/// When it has none.
pub fn build_id_of(kernel: &Path) -> Result<BuildId> {
    let bytes = fs::read(kernel).with_context(|| format!("cannot read {}", kernel.display()))?;
    let file = File::parse(&*bytes).with_context(|| format!("{} is no ELF file", kernel.display()))?;
    build_id(&file)
}

pub(crate) fn make(workspace: &Workspace, bytes: &[u8]) -> Result<Vec<u8>> {
    let file = File::parse(bytes)?;
    let mut builder = Builder::default();
    add_symbols(&mut builder, &file)?;
    add_lines(&mut builder, &file, &Sources::of(workspace))?;
    builder.finish(build_id(&file)?).map_err(|error| anyhow::anyhow!("{error:?}"))
}

fn build_id(file: &File<'_>) -> Result<BuildId> {
    file.build_id()?.and_then(BuildId::new).context("the kernel has no build id")
}

fn add_symbols(builder: &mut Builder, file: &File<'_>) -> Result<()> {
    let mut count = 0_usize;
    for symbol in file.symbols().filter(|symbol| symbol.section_index().is_some()) {
        // Labels of assembly have no length: they reach up to the next symbol. A variable without one is nowhere.
        let wanted = match symbol.kind() {
            SymbolKind::Text | SymbolKind::Unknown | SymbolKind::Label => true,
            SymbolKind::Data => symbol.size() > 0,
            _ => false,
        };
        let name = symbol.name()?;
        if !wanted || !is_telling(name) {
            continue;
        }
        builder.symbol(u32::try_from(symbol.address())?, u32::try_from(symbol.size())?, &shown_name(name));
        count += 1;
    }
    ensure!(count > 0, "there are no symbols; was the kernel stripped?");
    Ok(())
}

/// Returns whether a symbol's name says something: not one that the compiler gave to a constant.
fn is_telling(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && (rustc_demangle::try_demangle(name).is_ok() || !name.contains('.'))
}

/// Returns the name as people write it: without hashes and the types a generic function was made for, and `path::Type::function`
/// for what the compiler calls `<path::Type>::function`.
pub(crate) fn shown_name(name: &str) -> String {
    let name = without_instances(&format!("{:#}", rustc_demangle::demangle(name)));
    let Some(inside) = name.strip_prefix('<') else { return name };
    let Some(end) = closing(inside) else { return name };
    let (path, rest) = (&inside[..end], &inside[end + 1..]);
    let is_plain = path.starts_with(|c: char| c.is_alphabetic()) && !path.starts_with("dyn ");
    if is_plain && !has_outer_as(path) { format!("{path}{rest}") } else { name }
}

/// Leaves out each `::<...>`.
fn without_instances(name: &str) -> String {
    let (mut short, mut rest) = (String::new(), name);
    while let Some((before, after)) = rest.split_once("::<") {
        short.push_str(before);
        let Some(end) = closing(after) else { return name.to_owned() };
        rest = &after[end + 1..];
    }
    short + rest
}

/// Returns where the angle bracket is that closes the one before `text`.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 1_usize;
    for (index, character) in text.char_indices() {
        match character {
            '<' => depth += 1,
            '>' if !text[..index].ends_with('-') => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(index);
        }
    }
    None
}

/// Returns whether ` as ` stands in `path` outside of angle brackets: then it is a trait's function for a type.
fn has_outer_as(path: &str) -> bool {
    path.match_indices(" as ")
        .any(|(at, _)| path[..at].matches('<').count() == path[..at].replace("->", "").matches('>').count())
}

/// Reads what the debug information says of the addresses of code.
pub(crate) fn addresses<'a>(file: &File<'a>) -> Result<Addresses<Slice<'a>>> {
    let load = |id: gimli::SectionId| -> Result<Slice<'a>> {
        let content = file.section_by_name(id.name()).map(|section| section.data()).transpose()?;
        Ok(EndianSlice::new(content.unwrap_or(&[]), LittleEndian))
    };
    Ok(Addresses::from_dwarf(Dwarf::load(load)?)?)
}

fn add_lines(builder: &mut Builder, file: &File<'_>, sources: &Sources) -> Result<()> {
    let addresses = addresses(file)?;
    let code = file.sections().filter(|section| section.kind() == SectionKind::Text);
    let mut count = 0_usize;
    for section in code {
        let (start, end) = (section.address(), section.address() + section.size());
        for (address, length, found) in addresses.find_location_range(start, end)? {
            let ours = found.file.is_some_and(|file| sources.is_ours(file));
            let outer = if ours { None } else { nearest_to_ours(&addresses, sources, address)? };
            let known = outer.or_else(|| Some((found.file?.to_owned(), found.line?)));
            let start = u32::try_from(address)?;
            match known {
                Some((path, line)) => builder.line(start, &sources.shown(&path), line),
                None => builder.no_line(start),
            }
            builder.no_line(u32::try_from(address + length)?);
            count += 1;
        }
    }
    ensure!(count > 0, "there are no line tables");
    Ok(())
}

/// Returns the innermost line of ours that the code at `address` was inlined into, else the innermost outside Rust's library.
fn nearest_to_ours(addresses: &Addresses<Slice<'_>>, sources: &Sources, address: u64) -> Result<Option<(String, u32)>> {
    let mut frames = addresses.find_frames(address).skip_all_loads()?;
    let mut nearest = None;
    while let Some(frame) = frames.next()? {
        let Some((file, line)) = frame.location.and_then(|location| Some((location.file?, location.line?))) else {
            continue;
        };
        if sources.is_ours(file) {
            return Ok(Some((file.to_owned(), line)));
        }
        if nearest.is_none() && !file.contains(LIBRARY) {
            nearest = Some((file.to_owned(), line));
        }
    }
    Ok(nearest)
}

/// Where sources are, to name them without the names of this machine's folders.
pub(crate) struct Sources {
    root: PathBuf,
    target: PathBuf,
}

impl Sources {
    pub(crate) fn of(workspace: &Workspace) -> Self {
        Self { root: workspace.root().to_path_buf(), target: workspace.target("") }
    }

    pub(crate) fn is_ours(&self, file: &str) -> bool {
        let path = Path::new(file);
        !file.contains(LIBRARY) && path.starts_with(&self.root) && !path.starts_with(&self.target)
    }

    /// Returns the name as it is shown: relative to the checkout, to Rust's library, or to the folder that crates are unpacked in.
    pub(crate) fn shown<'a>(&self, file: &'a str) -> Cow<'a, str> {
        if let Some((_, inside)) = file.split_once(LIBRARY) {
            return inside.into();
        }
        if let Some((_, inside)) = file.split_once("/registry/src/") {
            return inside.split_once('/').map_or(inside, |(_, inside)| inside).into();
        }
        let path = Path::new(file);
        path.strip_prefix(&self.root).map_or(Cow::Borrowed(file), |inside| inside.to_string_lossy().into_owned().into())
    }
}

/// The folder of Rust's library, wherever that is, and in whatever toolchain.
const LIBRARY: &str = "/library/";

#[cfg(test)]
mod tests {
    use super::*;

    fn sources() -> Sources {
        Sources::of(&Workspace::at(Path::new("/src/sluice"), Path::new("/src/sluice/target")))
    }

    #[test]
    fn files_are_named_without_this_machines_folders() {
        let sources = sources();
        for (file, shown, ours) in [
            ("/src/sluice/net/fib/src/rib.rs", "net/fib/src/rib.rs", true),
            ("/rustc/0123/library/core/src/slice/mod.rs", "core/src/slice/mod.rs", false),
            (
                "/src/sluice/target/toolchain/lib/rustlib/src/rust/library/alloc/src/vec/mod.rs",
                "alloc/src/vec/mod.rs",
                false,
            ),
            ("/home/x/.cargo/registry/src/index-0123/acpi-6.1.1/src/lib.rs", "acpi-6.1.1/src/lib.rs", false),
            ("/src/sluice/target/kernel/build/x/out/made.rs", "target/kernel/build/x/out/made.rs", false),
        ] {
            assert_eq!((sources.shown(file).as_ref(), sources.is_ours(file)), (shown, ours), "{file}");
        }
    }

    #[test]
    fn constants_of_the_compiler_are_left_out() {
        for name in ["_ZN4core3fmt9Formatter9write_str17h0123456789abcdefE", "_RNvCs1234_7mycrate3foo", "memcpy"] {
            assert!(is_telling(name), "{name}");
        }
        for name in ["", ".Lanon.0123.4", "switch.table.x", "anon.0123.4"] {
            assert!(!is_telling(name), "{name}");
        }
    }

    #[test]
    fn functions_of_types_are_named_as_people_write_them() {
        for (compilers, ours) in [
            ("_RNvMNtCs1_5e10002txNtB2_4Ring5encap", "e1000::tx::Ring::encap"),
            ("_RNvXNtCs1_5e10002txNtB2_4RingNtNtCs2_4core3fmt5Debug3fmt", "<e1000::tx::Ring as core::fmt::Debug>::fmt"),
            ("_RNvMCs1_5allocINtB2_3VechE4push", "alloc::Vec<u8>::push"),
            ("_RINvMNtCs1_5e10002rxNtB3_4Ring7harvesthE", "e1000::rx::Ring::harvest"),
            ("memcpy", "memcpy"),
        ] {
            assert_eq!(shown_name(compilers), ours);
        }
    }

    #[test]
    fn what_a_generic_function_was_made_for_is_left_out() {
        for (long, short) in [
            ("a::f::<b::T<u8>, fn(u8) -> c::U>::{closure#0}", "a::f::{closure#0}"),
            ("<a::T<u8> as b::C>::f::<d::E>", "<a::T<u8> as b::C>::f"),
            ("a::f::<b", "a::f::<b"),
        ] {
            assert_eq!(without_instances(long), short);
        }
        assert!(has_outer_as("a::T<fn() -> u8> as b::C") && !has_outer_as("a::T<<u8 as b::C>::D>"));
    }

    #[test]
    fn a_file_that_is_no_kernel_is_an_error() {
        let workspace = Workspace::at(Path::new("/src/sluice"), Path::new("/src/sluice/target"));
        assert!(make(&workspace, b"").is_err());
        assert!(make(&workspace, b"\x7FELF\x02\x01\x01").is_err());
    }
}
